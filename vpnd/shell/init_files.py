"""Files that `vpnd init` writes: each whole or not at all, and never over another one without being told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from vpnd.runtime.whole_file import to_disk, whole_file
from vpnd.shell.init_writing import Layout, Planned

__all__ = ["in_the_way", "put", "unwritable"]


def in_the_way(files: Sequence[Planned], layout: Layout) -> list[Path]:
    """Return the places where something else stands than what would be written. Raises OSError."""
    places = [(layout.on_disk(file.path), file.text.encode()) for file in files]
    return [place for place, content in places if place.exists() and place.read_bytes() != content]


def unwritable(layout: Layout) -> list[Path]:
    """Return the folders that could not be written into, so that nobody answers questions for nothing."""
    places = [layout.config.parent, layout.secrets, *([layout.drop_in.parent] if layout.drop_in else [])]
    nearest = dict.fromkeys(_nearest(layout.on_disk(place)) for place in places)
    return [folder for folder in nearest if not os.access(folder, os.W_OK | os.X_OK)]


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def put(files: Sequence[Planned], layout: Layout, *, now: datetime | None = None) -> list[Path]:
    """Write the files, in their order, and return the copies that were kept of what stood there.

    A file that is the same already is left as it is. Raises OSError; what was written by then stays, and is whole.
    """
    stamp = f"{now or datetime.now(UTC):%Y%m%dT%H%M%S}"
    copies = []
    layout.on_disk(layout.secrets).mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in files:
        place, content = layout.on_disk(file.path), file.text.encode()
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if place.exists():
            if place.read_bytes() == content:
                continue
            # With a dot in front: in a folder of credentials every other name would be read as one.
            copy = place.with_name(f".{place.name}.{stamp}.old")
            _write(copy, place.read_bytes(), 0o600)
            copies.append(copy)
        _write(place, content, file.mode)
    return copies


def _write(path: Path, content: bytes, mode: int) -> None:
    with whole_file(path) as out:
        out.write(content)
        os.fchmod(out.fileno(), mode)
        to_disk(out)
