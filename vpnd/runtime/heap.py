"""The heap: the garbage collector is kept from stopping the loop, and memory that is free goes back to the system.

A full collection looks at every container object there is. Imported modules alone are some hundred thousand of them, never
garbage, and looking at them takes 50 to 80 ms on a small machine, about once a second under load: longer than anything
else in the loop. What exists when a service has been built lives as long as the process, so it is taken out of the
collector's sight; a full collection then sees what requests have left behind, and takes a millisecond or two.

The C library keeps what a burst has used: free pieces between pieces in use, 15 MB after some minutes of load, which look like
a leak and are of no use to anybody. Asked to, it gives whole pages of them back. What is large it is told not to keep at all.
"""

from __future__ import annotations

import ctypes
import gc
import linecache
from collections.abc import Callable
from typing import Any, Final

__all__ = ["forget_sources", "hoard_nothing", "settle_heap", "trim_heap"]

#: Allocations between two young collections, and how many of those make an older one. An update makes a few thousand objects and
#: hardly any cycle: Python's own rhythm (700 to 2000) looks at them several times an update, which is a tenth of its cost.
#: A young collection takes a quarter of a millisecond for a thousand of them: with 50 000 it took 11 to 16 ms, in the middle of
#: whatever step it came in, and with 20 000 it was what the slowest replies had met.
THRESHOLDS: Final = (5_000, 20, 10)
#: Bytes of sources that may stay for the next traceback: a burst of the same failures reads most of its files once.
MOST_SOURCES: Final = 512 * 1024
#: What mallopt is told: M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, in bytes, at their first values, which fixes them; M_ARENA_MAX.
ALLOCATOR: Final = ((-3, 128 * 1024), (-1, 128 * 1024), (-8, 1))
#: How attrs names what it has written.
_GENERATED: Final = "<attrs generated "


def settle_heap() -> None:
    """Exempt every object that exists now from garbage collection, and collect less often from now on.

    What only a debugger would read is dropped. Call it once, when the service has been built. Takes about 0.1 s of the calling
    thread, so it belongs before the loop has anything to do.
    """
    _forget_generated_sources()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def _forget_generated_sources() -> None:
    """Drop the text of methods that attrs has written, 2 MB for five hundred classes: only a debugger would show it."""
    for name in [name for name in linecache.cache if name.startswith(_GENERATED)]:
        del linecache.cache[name]


def forget_sources() -> None:
    """Drop the sources that the lines of tracebacks were read from, when they have become many.

    Python keeps each such file whole and for good, as a string a line: of python-telegram-bot alone 2 MB after one failed call.
    """
    # A copy, since some other thread may be reading a source just now.
    if sum(entry[0] for entry in list(linecache.cache.values()) if len(entry) > 1) > MOST_SOURCES:
        linecache.clearcache()


def _find(name: str) -> Callable[..., Any] | None:
    """A function of the C library; None where it has none of this name (musl)."""
    function: Callable[..., Any] | None = getattr(ctypes.CDLL(None), name, None)
    return function


_trim: Final = _find("malloc_trim")


def hoard_nothing() -> None:
    """Have the C library give large pieces back when they are freed, and threads share one heap.

    Left alone it takes the first large piece that is freed for a sign that more will come, and keeps up to 32 MB of such; each
    thread gets a heap of its own, of which the free part is of no use to others. To be called before there is a second thread,
    best before anything is loaded: files are read whole. See mallopt(3).
    """
    tell = _find("mallopt")
    if tell is not None:
        for parameter, value in ALLOCATOR:
            tell(parameter, value)


def trim_heap() -> None:
    """Give the C library's free pages back to the system.

    Takes up to a few milliseconds, without the interpreter's lock: call it in a thread.
    """
    if _trim is not None:
        _trim(0)
