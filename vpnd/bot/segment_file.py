"""The customers of a segment as a file for a spreadsheet: page by page into a temporary file, never more than a page in memory.

A cell that a spreadsheet would take for a formula gets an apostrophe before it: names are chosen by strangers. A long list is
packed, since Telegram takes files of 50 MB.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TextIO

import trio
from attrs import define

from vpnd.database.database import Database
from vpnd.shop.segments import Member, Segment, members

__all__ = ["MOST_BYTES", "SegmentFile", "harmless", "segment_file"]

#: Bytes of a file that are handed over in one call of Telegram: well below its 50 MB, and what may stand in memory once.
MOST_BYTES: Final = 20_000_000
#: Customers from which on the file is packed.
PACK_FROM: Final = 50_000
_HEAD: Final = ("customer", "telegram_id", "username", "first_name", "language")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(text: str | None) -> str:
    """A cell that no spreadsheet computes."""
    word = (text or "").replace("\x00", "")
    return f"'{word}" if word.lstrip(" ").startswith(_FORMULA) or word.startswith(_FORMULA) else word


@define
class SegmentFile:
    """A file that is whole: its name for whoever gets it, how many rows it has, and its size in bytes."""

    name: str
    rows: int
    size: int
    path: Path

    async def content(self) -> bytes:
        """All of it."""
        return await trio.Path(self.path).read_bytes()


@asynccontextmanager
async def segment_file(db: Database, segment: Segment, name: str) -> AsyncIterator[SegmentFile]:
    """Write the customers of a segment into a file that is there for the block."""
    folder = await trio.to_thread.run_sync(_folder)
    try:
        path = Path(folder.name) / "segment.csv"
        out: TextIO = await trio.to_thread.run_sync(_open, path)
        rows = 0
        try:
            async for page in members(db, segment):
                await trio.to_thread.run_sync(_write, out, page)
                rows += len(page)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(out.close)
        suffix = ".csv"
        if rows > PACK_FROM:
            path, suffix = await trio.to_thread.run_sync(_pack, path), ".csv.gz"
        size = (await trio.Path(path).stat()).st_size
        yield SegmentFile(f"{name}{suffix}", rows, size, path)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(folder.cleanup)


def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="vpnd-segment-")


def _open(path: Path) -> TextIO:
    out = path.open("w", encoding="utf-8-sig", newline="")  # the mark tells Excel that this is UTF-8
    csv.writer(out).writerow(_HEAD)
    return out


def _write(out: TextIO, page: Sequence[Member]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows(
        (one.id, one.telegram_id, harmless(one.username), harmless(one.first_name), harmless(one.language))
        for one in page
    )
    out.write(text.getvalue())


def _pack(path: Path) -> Path:
    packed = path.with_suffix(".csv.gz")
    with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=5) as out:
        while part := source.read(1 << 16):
            out.write(part)
    path.unlink()
    return packed
