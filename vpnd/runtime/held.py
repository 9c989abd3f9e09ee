"""Who is holding a database connection right now, and may therefore not wait for a stranger.

The idea: a transaction scope puts a *mark* into a context variable. Whatever would wait for the network (the
HTTP client, the message sender, a second transaction scope) asks :func:`refuse_if_held` first and is refused
while the mark is open.

The mark is an object and not a plain value, for the sake of child tasks. A task copies its parent's context
when it is spawned, so a child that was started inside the scope sees the same object: it is accused for as
long as the scope is open, since the scope's nursery would hold the connection until the child ends. A
long-lived child (say, a worker started from a handler through a shared nursery) outlives the scope; resetting
the variable in the parent would not reach its copy, closing the object does. A value in the copied context
would accuse such a child for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from attrs import define

__all__ = ["HeldConnectionError", "ScopeMark", "current_mark", "open_mark", "refuse_if_held"]


class HeldConnectionError(RuntimeError):
    """Something that may wait for long was tried while a database connection is held.

    It is a fault of the program, never of the world: there is nothing to retry.
    """

    def __init__(self, what: str, site: str) -> None:
        super().__init__(f"{what} is not allowed while the transaction scope {site!r} is open")
        self.what = what
        self.site = site


@define(eq=False)
class ScopeMark:
    """The trace of one transaction scope; ``site`` is the scope's name, ``closed`` turns true with its end."""

    site: str
    closed: bool = False


_current: Final[ContextVar[ScopeMark | None]] = ContextVar("vpnd_scope_mark", default=None)


def current_mark() -> ScopeMark | None:
    """Return the open mark that the calling task stands under, or None."""
    mark = _current.get()
    return None if mark is None or mark.closed else mark


@contextmanager
def open_mark(site: str) -> Iterator[ScopeMark]:
    """Mark the calling task, and every task spawned from here on, as holding a connection for ``site``.

    The mark is closed when the block is left, whatever the reason (cancellation included), and is then void
    in each context that inherited it.

    Raises:
        HeldConnectionError: a mark is open already; scopes do not nest, since two connections held by one
            task are a deadlock as soon as the pool is busy.
    """
    refuse_if_held(f"a second transaction scope ({site!r})")
    mark = ScopeMark(site)
    # Not reset by token: a generator-based fixture or an async generator may be left in another context than
    # it was entered in, where a reset raises. A closed mark means the same as none.
    _current.set(mark)
    try:
        yield mark
    finally:
        mark.closed = True


def refuse_if_held(what: str) -> None:
    """Raise if the calling task stands inside an open transaction scope.

    Args:
        what: the deed that is refused, as the subject of a sentence (``"an HTTP request to cryptopay"``).

    Raises:
        HeldConnectionError: a scope is open; it names the deed and the scope.
    """
    mark = current_mark()
    if mark is not None:
        raise HeldConnectionError(what, mark.site)
