"""A file that is whole or not there: written under another name beside its own, and renamed at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["to_disk", "whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that gets the name `path` when the block ends; readable by its owner alone.

    When an error or a cancellation leaves the block nothing is left of it, and what had the name before keeps it. A kill
    leaves the file of the other name, `.<name>.<number>.part`. Raises OSError.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def to_disk(file: BinaryIO) -> None:
    """Have what was written survive a loss of power. Blocking: a disk may take long."""
    file.flush()
    os.fsync(file.fileno())
