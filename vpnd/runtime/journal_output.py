"""Where log entries go: the journal's socket or a stream, neither of which is ever waited for."""

from __future__ import annotations

import os
import select
import sys
import threading
from functools import partial
from typing import Literal, TextIO

from vpnd.runtime import metrics
from vpnd.runtime.journal_lines import (
    PRIORITIES,
    Entry,
    Renderer,
    render_console,
    render_json,
    render_native,
    render_plain,
)
from vpnd.runtime.journald import JournalSocket, stream_matches

__all__ = ["Format", "Output", "choose"]

Format = Literal["auto", "journal", "console", "json"]


class Output:
    """One place where entries go; it can be turned elsewhere while in use, from any thread."""

    def __init__(self) -> None:
        self.renderer: Renderer = partial(render_console, colour=False)
        self.stream: TextIO | None = None  # None: sys.stderr as it is at that moment
        self.socket: JournalSocket | None = None
        self.captured: list[Entry] | None = None
        self.threshold = PRIORITIES["info"]
        self._lock = threading.Lock()
        self._lost = 0  # entries since the last one that was taken

    def turn(self, chosen: str, stream: TextIO | None, socket_path: str) -> None:
        """Send what follows to ``stream`` (None: standard error), or to the journal's socket if ``native`` was chosen."""
        former, self.socket = self.socket, JournalSocket(socket_path) if chosen == "native" else None
        target = stream if stream is not None else sys.stderr
        renderers: dict[str, Renderer] = {
            "native": render_native,
            "plain": render_plain,
            "json": render_json,
            "console": partial(
                render_console, colour=_is_terminal(target) and not os.environ.get("NO_COLOR")
            ),
        }
        self.stream, self.renderer = stream, renderers[chosen]
        self._lost = 0  # of another place
        if former is not None:
            former.close()

    def emit(self, entry: Entry) -> None:
        """Render one entry and hand it over, or drop it; never raises, never waits.

        A drop is counted, and told by the first entry that is taken again: a gap that nobody sees would be read as silence.
        """
        if self.captured is not None:
            self.captured.append(entry)
            return
        if not self._hand_over(entry):
            self._lost += 1
        elif self._lost:
            lost, self._lost = self._lost, 0
            if not self._hand_over(_gap(lost)):
                self._lost += lost

    def _hand_over(self, entry: Entry) -> bool:
        rendered = self.renderer(entry)
        if isinstance(rendered, bytes):
            return self.socket is None or self.socket.send(rendered)
        with self._lock:
            return self._write(rendered + "\n")

    def _write(self, text: str) -> bool:
        stream = self.stream if self.stream is not None else sys.stderr
        try:
            fd = _descriptor(stream)
            if fd is None:
                stream.write(text)
                stream.flush()
                return True
            if _write_without_waiting(fd, text.encode("utf-8", "backslashreplace")):
                return True
        except (OSError, ValueError, AttributeError):
            pass  # a closed, broken or absent stream: there is nowhere left to complain but the metric
        metrics.journal_dropped_total.inc()
        return False


def _gap(lost: int) -> Entry:
    return Entry(
        event="journal.gap",
        level="warning",
        room="runtime",
        message=f"{lost} {'entry is' if lost == 1 else 'entries are'} missing just before the last one:"
        " the journal did not take them at once, and nobody waits for it",
        fields={"lost": lost},
    )


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _write_without_waiting(fd: int, data: bytes) -> bool:
    """Write as far as the reader has room for; return False if he had not for all of it.

    The descriptor is shared with whoever started us, so it is not made non-blocking. A pipe that polls as
    writable has room for PIPE_BUF bytes: pieces of that size never wait.
    """
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    for start in range(0, len(data), select.PIPE_BUF):
        if not any(events & select.POLLOUT for _, events in poll.poll(0)):
            return False
        os.write(fd, data[start : start + select.PIPE_BUF])
    return True


def choose(format: Format, target: TextIO) -> str:  # noqa: A002 - the configuration key has this name
    if format in ("console", "json"):
        return format
    announced = os.environ.get("JOURNAL_STREAM")
    fd = _descriptor(target)
    if fd is not None and stream_matches(fd, announced):
        return "native"
    if format == "journal":
        return "plain"
    return "plain" if announced and not _is_terminal(target) else "console"


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (ValueError, AttributeError):
        return False
