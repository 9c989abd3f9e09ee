"""Exception groups, for people: a group of one error is that error."""

from __future__ import annotations


def plainest(error: BaseException) -> BaseException:
    """Return the one error inside a group of one, however deep; the group itself when there are several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
