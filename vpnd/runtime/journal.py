r"""The daemon's log: events with a stable name, a sentence for people and facts for machines.

``journal.info("payment.settled", message="Paid 149 RUB with Crypto Pay", provider="cryptopay",
amount=14900)``

One pipeline serves all that is said, by us or by a library through the standard :mod:`logging`: collect the
context, turn everything into plain values, redact, render, hand over. Redaction stands before rendering, so
no output can forget it; it covers the sentence, every field, and the whole text of an exception with its
causes, contexts, notes and groups.

Where the entries go is decided by :func:`configure`: to journald in its native protocol if standard error
*is* the journal, to a terminal as aligned lines, otherwise as lines that systemd, a file or a log shipper can
read. Handing over never waits for a slow reader: what is not taken at once is dropped and counted in
``vpnd_journal_dropped_total``.

A field that belongs to a whole task (an update's id) is bound with :func:`context`; it is a context variable,
so child tasks inherit it.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Final, TextIO

from vpnd.runtime.heap import forget_sources
from vpnd.runtime.journal_lines import PRIORITIES, Entry, FieldValue, Level
from vpnd.runtime.journal_output import Format, Output, choose
from vpnd.runtime.journald import SOCKET_PATH
from vpnd.runtime.redact import MASK, redact
from vpnd.runtime.structlog_alone import bound_contextvars, get_contextvars, structlog

__all__ = ["Format", "Journal", "capture", "catch_crashes", "configure", "context", "get_journal"]

ExcInfo = bool | BaseException | tuple[Any, Any, Any] | None

# A field of this name is masked whatever it holds; numbers pass (`tokens=3` is a fact).
_SECRET_NAME: Final = re.compile(
    r"(?i)(?:^|_)(?:token|secret|password|passwd|dsn|api_key|private_key|authorization|cookie)$"
)
# Characters. One entry cannot fill the journal: a body or a row that slipped into a log call is cut.
_LONGEST_FIELD: Final = 4096
_LONGEST_MESSAGE: Final = 16384
_LONGEST_TRACE: Final = 65536
# A cut before redaction may halve a secret that is then not recognised: this much at the cut goes as well.
_LONGEST_SECRET: Final = 1024
# Below this level a library is not heard. httpx logs each URL at INFO, and a Bot API URL holds the bot's
# token.
_LIBRARIES: Final = {
    "httpx": logging.WARNING, "httpcore": logging.WARNING, "hypercorn.access": logging.WARNING, "h11": logging.WARNING,
    "h2": logging.WARNING, "hpack": logging.WARNING, "asyncio": logging.INFO, "trio_asyncio": logging.INFO,
    "fluent": logging.WARNING, "grpc": logging.WARNING,
}  # fmt: skip


class Journal(structlog.BoundLoggerBase):
    """Says things for one room. ``bind(**fields)`` returns another one that adds these fields to all it says.

    No method ever raises or waits. The first argument is the event's stable dotted name, ``message`` a
    sentence for people, ``tag`` a greppable word put before it (``"[HTTP_SLOW]"``); the rest are facts: plain
    values stay what they are, others become text.
    """

    def debug(self, event: str, /, message: str = "", *, tag: str | None = None, **fields: Any) -> None:
        """Say what only a developer wants to know."""
        self._say("debug", event, message, tag, None, fields)

    def info(self, event: str, /, message: str = "", *, tag: str | None = None, **fields: Any) -> None:
        """Say what an operator may want to read."""
        self._say("info", event, message, tag, None, fields)

    def warning(
        self,
        event: str,
        /,
        message: str = "",
        *,
        tag: str | None = None,
        exc_info: ExcInfo = None,
        **fields: Any,
    ) -> None:
        """Say what an operator should look at."""
        self._say("warning", event, message, tag, exc_info, fields)

    def error(
        self,
        event: str,
        /,
        message: str = "",
        *,
        tag: str | None = None,
        exc_info: ExcInfo = None,
        **fields: Any,
    ) -> None:
        """Say what went wrong; ``exc_info`` adds a traceback (an exception, or True for the one in hand)."""
        self._say("error", event, message, tag, exc_info, fields)

    def exception(
        self,
        event: str,
        /,
        message: str = "",
        *,
        tag: str | None = None,
        exc_info: ExcInfo = True,
        **fields: Any,
    ) -> None:
        """Say what went wrong, with the traceback of the exception in hand."""
        self._say("error", event, message, tag, exc_info, fields)

    def critical(
        self,
        event: str,
        /,
        message: str = "",
        *,
        tag: str | None = None,
        exc_info: ExcInfo = None,
        **fields: Any,
    ) -> None:
        """Say why the process cannot go on."""
        self._say("critical", event, message, tag, exc_info, fields)

    def _say(
        self,
        level: Level,
        event: str,
        message: str,
        tag: str | None,
        exc_info: ExcInfo,
        fields: dict[str, Any],
    ) -> None:
        if PRIORITIES[level] <= _output.threshold:
            self._proxy_to_logger(
                "emit", event, _level=level, message=message, tag=tag, exc_info=exc_info, _fields=fields
            )


def get_journal(room: str) -> Journal:
    """Return the journal of a room; cheap, meant for module level, and it follows every later :func:`configure`."""
    return Journal(_output, _PIPELINE, {"room": room})


def context(**fields: Any) -> AbstractContextManager[None]:
    """Add ``fields`` to whatever is said inside the block, by this task and by those it spawns."""
    return bound_contextvars(**fields)


# --- the pipeline --------------------------------------------------------------------------------------------------------


def _assemble(_logger: object, _name: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make one redacted entry of what was said, of what the journal was bound with and of the task's context."""
    event, level, message = said.pop("event"), said.pop("_level"), said.pop("message")
    room, tag, exc_info, own = said.pop("room"), said.pop("tag"), said.pop("exc_info"), said.pop("_fields")
    fields = {name: _fact(name, value) for name, value in {**get_contextvars(), **said, **own}.items()}
    trace = _trace(exc_info)
    return {
        "entry": Entry(
            event=redact(str(event)),
            level=level,
            room=room,
            message=_cleaned(_text(message), _LONGEST_MESSAGE),
            tag=tag,
            fields=fields,
            trace=trace,
        )
    }


def _render(
    _logger: object, _name: str, said: MutableMapping[str, Any]
) -> tuple[tuple[Entry], dict[str, Any]]:
    return (said["entry"],), {}


_PIPELINE: Final[list[Any]] = [_assemble, _render]


def _fact(name: str, value: object) -> FieldValue:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_NAME.search(name):
        return MASK
    return _cleaned(_text(value), _LONGEST_FIELD)


def _cleaned(text: str, longest: int) -> str:
    """Return the text redacted and cut, in a time that does not depend on how long it was."""
    whole, cut_before = len(text), 2 * longest + _LONGEST_SECRET
    text = redact(text) if whole <= cut_before else redact(text[:cut_before])[:-_LONGEST_SECRET]
    if len(text) <= longest and whole <= cut_before:
        return text
    return f"{text[:longest]}… ({whole} characters)"


def _text(value: object) -> str:
    """Return any object as text; one whose own conversion fails is named: a log call must not break a payment."""
    if isinstance(value, str):
        return value
    try:
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        return str(value)
    except Exception as error:
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"


# What one thread forgets another must not be reading. The text of an exception may log something by itself, hence R.
_tracing: Final = threading.RLock()


def _trace(exc_info: ExcInfo) -> str | None:
    if exc_info is True:
        error = sys.exc_info()[1]
    elif isinstance(exc_info, tuple):
        error = exc_info[1]
    else:
        error = exc_info or None
    if not isinstance(error, BaseException):
        return None
    try:
        with _tracing:
            text = "".join(traceback.format_exception(error)).rstrip()
            forget_sources()
    except Exception as broken:
        return f"<unprintable {type(error).__name__}: {type(broken).__name__}>"
    # The end tells the most: it names the exception that arrived.
    kept = text[-_LONGEST_TRACE:]
    return redact(text) if len(text) == len(kept) else redact(kept)[_LONGEST_SECRET:]


# --- where it goes -------------------------------------------------------------------------------------------------------


_output: Final = Output()


def configure(
    format: Format = "auto",  # noqa: A002 - the configuration key has this name
    *,
    stream: TextIO | None = None,
    level: Level = "info",
    socket_path: str = SOCKET_PATH,
) -> str:
    """Decide where the log goes and route the standard library's logging into it. May be called again.

    Args:
        format: ``auto`` speaks to journald if standard error is the journal, else writes console lines to a
            terminal, lines with a ``<N>`` prefix under systemd, and uncoloured console lines otherwise.
            ``journal`` is the same without the terminal. ``console`` and ``json`` are what they say.
        stream: where lines are written, and what is compared with ``$JOURNAL_STREAM``; standard error unless
            given.
        level: the least severe level that is said: ``debug``, ``info``, ``warning``, ``error`` or
            ``critical``.
        socket_path: journald's socket; a test brings its own.

    Returns:
        What was chosen: ``native``, ``plain``, ``console`` or ``json``.
    """
    target = stream if stream is not None else sys.stderr
    chosen = choose(format, target)
    _output.turn(chosen, stream, socket_path)
    _output.threshold = PRIORITIES[level]
    _route_standard_logging(level)
    return chosen


# --- other people's words ------------------------------------------------------------------------------------------------


class _Bridge(logging.Handler):
    """Takes records of the standard library's logging into the pipeline, as event ``library.<top-level logger>``."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception as error:
            # A library's format string that does not fit its arguments.
            message = f"{record.msg!r} ({type(error).__name__} while formatting)"
        top = record.name.partition(".")[0]
        _library_journal._say(  # noqa: SLF001 - the bridge is the journal's other mouth
            _level_of(record.levelno),
            f"library.{top}",
            message,
            None,
            record.exc_info,
            {"logger": record.name},
        )


def _level_of(number: int) -> Level:
    for name in ("critical", "error", "warning", "info"):
        if number >= logging.getLevelNamesMapping()[name.upper()]:
            return name
    return "debug"


_library_journal: Final = get_journal("library")
_bridge: Final = _Bridge()


def _route_standard_logging(level: Level) -> None:
    """Make the bridge the only handler of the root logger, and hold the talkative libraries down whatever the level."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if type(h) is logging.StreamHandler]:
        root.removeHandler(handler)  # what basicConfig may have left; a test runner's own handlers stay
    if _bridge not in root.handlers:
        root.addHandler(_bridge)
    lowest = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(lowest)
    for name, floor in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(floor, lowest))


def catch_crashes() -> None:
    """Say uncaught exceptions, of the main thread and of others, through the journal, so that their text is
    redacted too.

    For a process's entry point only: it replaces the interpreter's hooks for good.
    """

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            _process_journal.critical("process.crashed", f"{kind.__name__} ends the process", exc_info=error)

    def of_thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread is not None else "?"
        _process_journal.critical(
            "thread.crashed", f"{args.exc_type.__name__} in a thread", exc_info=args.exc_value, thread=name
        )

    def of_nobody(args: sys.UnraisableHookArgs) -> None:
        _process_journal.error(
            "process.unraisable",
            args.err_msg or "an exception nobody could catch",
            exc_info=args.exc_value,
            object=args.object,
        )

    sys.excepthook, threading.excepthook, sys.unraisablehook = of_process, of_thread, of_nobody


_process_journal: Final = get_journal("process")


@contextmanager
def capture() -> Iterator[list[Entry]]:
    """Collect what is said inside the block, debug level included, in place of writing it; for tests and the audit."""
    entries: list[Entry] = []
    former = (_output.captured, _output.threshold)
    _output.captured, _output.threshold = entries, PRIORITIES["debug"]
    try:
        yield entries
    finally:
        _output.captured, _output.threshold = former
