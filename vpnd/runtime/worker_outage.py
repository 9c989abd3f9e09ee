"""What a worker says of its failures: each one in full, but an outage once, and once that it is over.

A boundary that is away, or stands still, fails each iteration of every worker for one reason. Fifteen tracebacks a minute tell
nobody more than one of each worker, and bury what is new. So the first iteration that fails because of it is said with its
traceback, the next ones are counted (and said at the debug level), and the first one for which the boundary is there again
says how long it lasted and how many iterations it cost.
"""

from __future__ import annotations

import trio

from vpnd.runtime.groups import plainest
from vpnd.runtime.journal import get_journal

__all__ = ["Failures", "boundary_down"]

journal = get_journal("workers")


def boundary_down(error: BaseException) -> bool:
    """Return whether an error, or any of a group, says that a boundary is away."""
    if isinstance(error, BaseExceptionGroup):
        return any(boundary_down(inner) for inner in error.exceptions)
    return bool(getattr(error, "boundary_down", False))


def unanswered(error: BaseException) -> bool:
    """Return whether an error, or any of a group, says that a boundary is away or gave no answer (``no_answer``)."""
    if isinstance(error, BaseExceptionGroup):
        return any(unanswered(inner) for inner in error.exceptions)
    return boundary_down(error) or bool(getattr(error, "no_answer", False))


class Failures:
    """The failures of one worker's iterations."""

    def __init__(self, worker: str) -> None:
        """`worker` is its name."""
        self._worker = worker
        self._outage = 0  # iterations that the present outage has cost
        self._since = 0.0

    @property
    def known(self) -> bool:
        """Whether the last failure belongs to an outage that was said before."""
        return self._outage > 1

    def failed(self, error: BaseException) -> None:
        """Say that an iteration failed with `error`; of an outage, only the first one."""
        if not unanswered(error):
            self.over()
            journal.error(
                "worker.failed",
                message=f"An iteration of {self._worker} failed",
                exc_info=error,
                worker=self._worker,
            )
            return
        self._outage += 1
        if self._outage == 1:
            self._since = trio.current_time()
            journal.error(
                "worker.failed",
                message=f"An iteration of {self._worker} failed: what it needs is away or gives no answer."
                " Until it answers, failures are only counted",
                exc_info=error,
                worker=self._worker,
            )
        else:
            journal.debug(
                "worker.still_failing",
                message=f"An iteration of {self._worker} failed, what it needs is as before: {plainest(error)}",
                worker=self._worker,
                failures=self._outage,
            )

    def over(self) -> None:
        """Note that the boundary is there; say so, if there was an outage."""
        failures, self._outage = self._outage, 0
        if not failures:
            return
        lasted = trio.current_time() - self._since
        journal.info(
            "worker.back",
            message=f"{self._worker} works again after {lasted:.0f} s, in which {failures} of its iterations failed",
            worker=self._worker,
            failures=failures,
            seconds=round(lasted, 1),
        )
