"""One update, from the moment its turn has come to its end.

An update ends in one of five ways: its handlers returned; they failed or ran out of time; it was too old to be answered; its
sender asks too much at once; or it failed, but money hangs on it, so that it does not end yet and will be tried again. Whatever
else (a cancellation at shutdown, above all) is no end, and leaves the update unfinished in the inbox.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from vpnd.runtime import metrics
from vpnd.runtime.journal import context, get_journal
from vpnd.telegram.flood import FloodGuard, TooFast, Verdict
from vpnd.telegram.update import StoredUpdate, handling

__all__ = [
    "DEADLINE",
    "PRE_CHECKOUT_DEADLINE",
    "STALE_AFTER",
    "Ending",
    "Handling",
    "OnFailure",
    "UpdateDeadline",
]

journal = get_journal("telegram")

#: Seconds an update's handlers have.
DEADLINE: Final = 25.0
#: Telegram gives up on a pre-checkout after 10 s; the answer needs some of them for its way.
PRE_CHECKOUT_DEADLINE: Final = 8.0
#: Seconds after which Telegram's own server forgets a callback or a pre-checkout: nobody waits for the answer any more.
STALE_AFTER: Final = 150.0
#: Seconds that telling the customer about a failure may take.
TELLING_TIME: Final = 5.0

_PERISHABLE: Final = frozenset({"callback_query", "pre_checkout_query"})

#: Called with an update whose handlers failed, and why.
OnFailure = Callable[[StoredUpdate, Exception], Awaitable[None]]


class UpdateDeadline(Exception):
    """An update's handlers did not end in time and were cancelled."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no end within {seconds:g} s")
        self.seconds = seconds


class Ending(enum.Enum):
    """How an update ended; the value is the inbox's word for it. RETRY is no end."""

    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"
    RETRY = "retry"


class Handling:
    """Runs the handlers of single updates.

    Args:
        dispatch: runs the handlers of one update's JSON and raises what they raise.
        on_failure: tells the customer; its own failures are only written to the journal.
        guard: says which updates are too many; None: none are.
        too_fast: tells their sender, likewise.
    """

    def __init__(
        self,
        dispatch: Callable[[dict[str, Any]], Awaitable[None]],
        on_failure: OnFailure,
        *,
        guard: FloodGuard | None = None,
        too_fast: TooFast | None = None,
    ) -> None:
        self._dispatch = dispatch
        self._on_failure = on_failure
        self._guard = guard
        self._too_fast = too_fast

    async def handle(self, update: StoredUpdate, *, attempt: int = 1) -> Ending:
        """Run the handlers of `update` under its deadline and return how it ended; only a cancellation is raised.

        Args:
            attempt: 1 for the first; the customer is told of the first failure only.
        """
        kind = update.kind
        if kind in _PERISHABLE and update.age() > STALE_AFTER:
            self._count(kind, "expired", update)
            return Ending.DROPPED
        if self._guard is not None:
            verdict = self._guard.judge(update, trio.current_time())
            if verdict is not Verdict.HANDLE:
                self._count(kind, "limited", update)
                if verdict is Verdict.TELL:
                    await self._tell_to_wait(update)
                return Ending.DROPPED
        seconds = PRE_CHECKOUT_DEADLINE if kind == "pre_checkout_query" else DEADLINE
        error: Exception | None = None
        try:
            with trio.move_on_after(seconds) as scope, handling(update):
                await self._dispatch(update.payload)
            if scope.cancelled_caught:
                error = UpdateDeadline(seconds)
        # An update is this room's iteration: whatever its handlers raise is its own failure and nobody else's.
        except Exception as raised:
            error = raised
        except BaseException:
            self._count(kind, "cancelled", update)
            raise
        if error is None:
            self._count(kind, "done", update)
            return Ending.DONE
        self._count(kind, "deadline" if isinstance(error, UpdateDeadline) else "failed", update)
        await self._report(update, error, attempt)
        return Ending.RETRY if update.carries_money else Ending.FAILED

    async def _report(self, update: StoredUpdate, error: Exception, attempt: int) -> None:
        with context(update_id=update.update_id, kind=update.kind):
            journal.error(
                "telegram.update_failed",
                message=f"an update of kind {update.kind} failed: {type(error).__name__}: {error}",
                exc_info=error,
                attempt=attempt,
                will_retry=update.carries_money,
            )
            if attempt > 1:
                return
            try:
                with handling(update), trio.move_on_after(TELLING_TIME):
                    await self._on_failure(update, error)
            # Telling of a failure must not become a second one; mostly it fails for the same reason.
            except Exception as second:
                journal.warning(
                    "telegram.failure_not_told",
                    message=f"the customer could not be told: {type(second).__name__}: {second}",
                )

    async def _tell_to_wait(self, update: StoredUpdate) -> None:
        if self._too_fast is None:
            return
        try:
            with handling(update), trio.move_on_after(TELLING_TIME):
                await self._too_fast(update)
        # A courtesy, and in a flood one line for each that fails would be a flood itself.
        except Exception as error:
            journal.debug(
                "telegram.not_told_to_wait",
                message=f"somebody could not be told to wait: {type(error).__name__}: {error}",
            )

    def _count(self, kind: str, outcome: str, update: StoredUpdate) -> None:
        label = kind if kind in metrics.UPDATE_KINDS else "other"
        series = _series.get((label, outcome))
        if series is None:
            series = _series[label, outcome] = (
                metrics.telegram_updates_total.labels(label, outcome),
                metrics.telegram_update_duration_seconds.labels(label),
            )
        series[0].inc()
        series[1].observe(max(0.0, update.age()))


# labels() costs as much as the observation itself.
_series: dict[tuple[str, str], Any] = {}
