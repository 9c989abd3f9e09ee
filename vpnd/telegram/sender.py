"""The way out: every call of the Bot API passes here, whoever makes it.

Handlers go on using PTB's own methods (`message.reply_text`): the limiter hooks into PTB's public extension point for
rate limiters, and reads the lane from a context variable. Only methods that make a new message are metered;
answers to callbacks and pre-checkouts, edits and deletes obey nothing but a 429.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import telegram.error as ptb
import trio
from telegram.ext import BaseRateLimiter

from vpnd.runtime import metrics
from vpnd.runtime.held import refuse_if_held
from vpnd.runtime.journal import get_journal
from vpnd.telegram.bot import TrioBot
from vpnd.telegram.errors import Blocked, RetryLater, TelegramUnavailable, translate
from vpnd.telegram.lanes import Lane, Lanes, LanesStatistics

__all__ = ["Lane", "LaneLimiter", "Sender", "current_lane", "in_lane", "tokens_needed"]

journal = get_journal("telegram")

#: How often a call is tried again after a 429 before its caller is told.
TRIES: Final = 3

_lane: Final[ContextVar[Lane]] = ContextVar("vpnd_lane", default=Lane.REPLY)

_MAKES_MESSAGES: Final = ("send", "copyMessage", "forwardMessage")
_MAKES_NONE: Final = frozenset({"sendChatAction", "sendMessageDraft"})


def tokens_needed(method: str, parameters: dict[str, Any]) -> int:
    """Return how many new messages a call makes; 0 for one that makes none and is not metered."""
    if not method.startswith(_MAKES_MESSAGES) or method in _MAKES_NONE:
        return 0
    several = parameters.get("message_ids") or (
        parameters.get("media") if method == "sendMediaGroup" else None
    )
    return max(1, len(several)) if isinstance(several, (list, tuple)) else 1


def current_lane() -> Lane:
    """Return the lane in which the calling task sends."""
    return _lane.get()


@contextmanager
def in_lane(lane: Lane) -> Iterator[None]:
    """Send in `lane` within this block, the calling task and its children."""
    token = _lane.set(lane)
    try:
        yield
    finally:
        _lane.reset(token)


class LaneLimiter(BaseRateLimiter[Any]):
    """PTB's hook before each call: waits for the tokens, obeys 429, counts."""

    __slots__ = ("_durations", "_lanes")

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._durations = {lane: metrics.telegram_send_duration_seconds.labels(lane.label) for lane in Lane}

    async def initialize(self) -> None:
        """Do nothing: the lanes are run by whoever opened them."""

    async def shutdown(self) -> None:
        """Do nothing, likewise."""

    async def process_request(
        self,
        callback: Callable[..., Awaitable[Any]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: Any,
    ) -> Any:
        """Make one call when it may be made; `rate_limit_args` may name a lane.

        Raises:
            RetryLater: the wait would outlast the caller's deadline or `LONGEST_WAIT`; nothing was sent.
            HeldConnectionError: the calling task holds a database connection.
        """
        refuse_if_held(f"{endpoint} of the Bot API")
        lane = rate_limit_args if isinstance(rate_limit_args, Lane) else _lane.get()
        began = trio.current_time()
        outcome = "cancelled"
        try:
            result = await self._send(
                callback, args, kwargs, endpoint, data.get("chat_id"), tokens_needed(endpoint, data), lane
            )
            outcome = "ok"
        except Exception as error:
            outcome = _outcome(translate(error, endpoint))
            raise
        finally:
            _count(endpoint, lane.label, outcome)
            self._durations[lane].observe(trio.current_time() - began)
        return result

    async def _send(
        self,
        callback: Callable[..., Awaitable[Any]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        chat_id: int | str | None,
        tokens: int,
        lane: Lane,
    ) -> Any:
        for attempt in range(1, TRIES + 1):
            if tokens:
                await self._lanes.take(lane, chat_id, tokens, method=endpoint)
            else:
                await self._lanes.pass_unmetered(chat_id, method=endpoint)
            try:
                result = await callback(*args, **kwargs)
            except ptb.RetryAfter as error:
                later = translate(error, endpoint)
                assert isinstance(later, RetryLater)  # noqa: S101  what translate makes of it, for the type checker
                self._lanes.refused(chat_id, later.after)
                journal.warning(
                    "telegram.flood_control",
                    message=f"Telegram asks {endpoint} to wait {later.after:g} s",
                    method=endpoint,
                    lane=lane.label,
                    retry_after=later.after,
                )
                if attempt == TRIES:
                    raise later from None
            else:
                self._lanes.succeeded()
                return result
        raise AssertionError("the loop above returns or raises")


class Sender:
    """Sends in a lane of the caller's choice.

    Args:
        bot: makes the calls; its limiter must stand on `lanes`.
        lanes: gives out the tokens.
    """

    def __init__(self, bot: TrioBot, lanes: Lanes) -> None:
        self.bot = bot
        self._lanes = lanes

    def limit(self, per_second: float, per_chat: float) -> None:
        """Send by other limits from now on: new messages a second in all, and to one chat; 0 lifts a limit."""
        self._lanes.limit(per_second, per_chat)

    def lane(self, lane: Lane) -> Any:
        """Return a context manager: calls within it, by any of PTB's methods, go in `lane`."""
        return in_lane(lane)

    async def call(self, lane: Lane, method: str | Callable[..., Awaitable[Any]], /, **arguments: Any) -> Any:
        """Call one of the bot's methods in `lane`.

        Args:
            method: the name of a method of PTB's bot ("send_message"), or such a bound method.
            arguments: the method's own.

        Raises:
            TelegramError: see `vpnd.telegram.errors`.
            HeldConnectionError: the calling task holds a database connection.
        """
        function = getattr(self.bot, method) if isinstance(method, str) else method
        with in_lane(lane):
            return await function(**arguments)

    async def post(self, lane: Lane, method: str, parameters: Mapping[str, Any]) -> Any:
        """Call a method of the Bot API in `lane` by its own name, and return the plain JSON result: for what is said most.

        PTB's methods make objects of the arguments and of the answer, which is a quarter of what a reply costs, and nobody
        looks at the answer to a screen.

        Args:
            method: for instance "editMessageText".
            parameters: plain values by their Bot API names; those that are None are left out.

        Raises:
            TelegramError, HeldConnectionError: as `call`.
        """
        token = _lane.set(lane)  # `in_lane`, without its price
        try:
            return await self.bot.call(method, parameters, timeout=None)
        finally:
            _lane.reset(token)

    def statistics(self) -> LanesStatistics:
        """Return a picture of the lanes."""
        return self._lanes.statistics()


def _outcome(error: Exception) -> str:
    if isinstance(error, Blocked):
        return "blocked"
    if isinstance(error, RetryLater):
        return "retry_later"
    return "unreachable" if isinstance(error, TelegramUnavailable) else "rejected"


# labels() costs as much as the count itself.
_counters: dict[tuple[str, str, str], Any] = {}


def _count(method: str, lane: str, outcome: str) -> None:
    counter = _counters.get((method, lane, outcome))
    if counter is None:
        counter = _counters[method, lane, outcome] = metrics.telegram_sends_total.labels(
            method, lane, outcome
        )
    counter.inc()
