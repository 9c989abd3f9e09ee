"""Imports that are to do without what they load only where they find it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["absent"]


@contextmanager
def absent(name: str) -> Iterator[None]:
    """Have a top-level module not be found for the time of the block, unless it is loaded already.

    For libraries that try an import and go on without: what the daemon has no use for costs it neither time nor memory, and is
    there for whoever imports it later.
    """
    modules: dict[str, Any] = sys.modules
    if name in modules:
        yield
        return
    modules[name] = None  # the import system's own sign for what is not to be found
    try:
        yield
    finally:
        del modules[name]
