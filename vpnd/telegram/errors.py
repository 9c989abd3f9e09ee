"""What can go wrong between us and Telegram, in our own words, and the one place where PTB's words are translated.

A caller decides by type: has this person gone (`Blocked`), must we wait (`RetryLater`), is the request itself
wrong (`Rejected`), or is Telegram out of reach as a whole (`TelegramUnavailable`)? Every method of
`vpnd.telegram.bot.TrioBot` raises these and never `telegram.error.*`.

The descriptions Telegram sends are free text; the few that decide something are matched by their stable part.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import telegram.error as ptb

from vpnd.runtime.held import HeldConnectionError
from vpnd.runtime.redact import redact

__all__ = [
    "Blocked",
    "Conflict",
    "Migrated",
    "NotModified",
    "Rejected",
    "RetryLater",
    "TelegramError",
    "TelegramUnavailable",
    "TransportFailure",
    "TransportTimeout",
    "Unauthorized",
    "translate",
]


class TelegramError(Exception):
    """Anything that went wrong with a call of the Bot API.

    Attributes:
        method: the Bot API method, "" when unknown.
        boundary_down: Telegram as a whole cannot be used now. Whoever works through a queue pauses on it and
            charges no attempt to the item in hand.
    """

    boundary_down: bool = False

    def __init__(self, message: str, *, method: str = "") -> None:
        self.method = method
        super().__init__(f"{method}: {message}" if method else message)


class Blocked(TelegramError):
    """This chat cannot be written to: the bot was blocked or removed, or the account or chat is gone."""


class Migrated(TelegramError):
    """The group became a supergroup; it is written to under `new_chat_id`."""

    def __init__(self, new_chat_id: int, *, method: str = "") -> None:
        self.new_chat_id = new_chat_id
        super().__init__(f"the group has moved to chat {new_chat_id}", method=method)


class RetryLater(TelegramError):
    """Telegram asked for a pause, or the wait for our own token would outlast the caller's deadline.

    Nothing was sent. `after` is in seconds.
    """

    def __init__(self, after: float, *, method: str = "") -> None:
        self.after = after
        super().__init__(f"not before {after:.1f} s have passed", method=method)


class Rejected(TelegramError):
    """Telegram refuses the request as it is (400); repeating it changes nothing."""


class NotModified(Rejected):
    """An edit that would have changed nothing."""


class TelegramUnavailable(TelegramError):
    """Telegram cannot be reached or answers with its own faults (5xx).

    Attributes:
        maybe_sent: the whole request had left and no answer came, so its effect may have happened.
    """

    boundary_down = True

    def __init__(self, message: str, *, method: str = "", maybe_sent: bool = False) -> None:
        self.maybe_sent = maybe_sent
        super().__init__(message, method=method)


class Conflict(TelegramError):
    """Somebody else takes the updates of this bot: a second poller, or a webhook is set (409)."""


class Unauthorized(TelegramError):
    """The token is not a bot's (401, or 404 for a malformed one)."""


class TransportFailure(ptb.NetworkError):
    """The transport's own failure, in the family that PTB lets pass unchanged.

    Attributes:
        maybe_sent: see `TelegramUnavailable.maybe_sent`.
    """

    def __init__(self, message: str, *, maybe_sent: bool) -> None:
        self.maybe_sent = maybe_sent
        super().__init__(message)


class TransportTimeout(TransportFailure):
    """A timeout of the transport passed."""


# A proxy's error page may stand in PTB's message as a whole.
_LONGEST_TEXT: Final = 300

# 400 answers that speak of the person and not of the request.
_GONE: Final = (
    "chat not found",
    "user not found",
    "peer_id_invalid",
    "input_user_deactivated",
    "user_is_blocked",
    "bot_blocked",
    "have no rights to send",
    "not enough rights to send",
)
_SERVER_FAULTS: Final = ("internal server error", "bad gateway", "gateway timeout", "service unavailable")


def translate(error: Exception, method: str = "") -> Exception:
    """Return `error` in our own words.

    What is not Telegram's is returned unchanged: a fault of the program keeps its own name, also when PTB has wrapped
    it (PTB turns whatever a transport raises into its NetworkError).
    """
    if isinstance(error, TelegramError) or not isinstance(error, ptb.TelegramError):
        return error
    cause = error.__cause__
    if isinstance(cause, HeldConnectionError):
        return cause
    text = redact(error.message)[:_LONGEST_TEXT]
    found: TelegramError
    if isinstance(error, ptb.RetryAfter):
        after = error.retry_after
        seconds = after.total_seconds() if isinstance(after, timedelta) else float(after)
        found = RetryLater(seconds, method=method)
    elif isinstance(error, ptb.ChatMigrated):
        found = Migrated(error.new_chat_id, method=method)
    elif isinstance(error, ptb.Forbidden):
        found = Blocked(text, method=method)
    elif isinstance(error, ptb.Conflict):
        found = Conflict(text, method=method)
    elif isinstance(error, ptb.InvalidToken):
        found = Unauthorized("the token is refused", method=method)
    elif isinstance(error, ptb.BadRequest):
        found = _bad_request(text, method)
    elif isinstance(error, TransportFailure):
        found = TelegramUnavailable(text, method=method, maybe_sent=error.maybe_sent)
    elif isinstance(error, ptb.NetworkError):
        # A 5xx of Telegram, or a failure of a transport that cannot say whether the request had left.
        answered = any(fault in text.lower() for fault in _SERVER_FAULTS)
        found = TelegramUnavailable(text, method=method, maybe_sent=not answered)
    else:
        # An answer that is no JSON: something between us and Telegram spoke in its place.
        found = TelegramUnavailable(text, method=method, maybe_sent=True)
    return found


def _bad_request(text: str, method: str) -> Rejected | Blocked:
    lower = text.lower()
    if "message is not modified" in lower:
        return NotModified(text, method=method)
    if any(phrase in lower for phrase in _GONE):
        return Blocked(text, method=method)
    return Rejected(text, method=method)
