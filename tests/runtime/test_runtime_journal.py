"""The journal: what is said, how it looks, where it goes, and what never leaves."""

from __future__ import annotations

import array
import fcntl
import io
import json
import linecache
import logging
import os
import runpy
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vpnd.runtime import journal as journal_module
from vpnd.runtime import metrics
from vpnd.runtime.journal import Journal, capture, catch_crashes, configure, context, get_journal
from vpnd.runtime.journal_lines import (
    Entry,
    message_id,
    render_console,
    render_json,
    render_native,
    render_plain,
)
from vpnd.runtime.journald import JournalSocket, encode_entry, field_name, stream_matches
from vpnd.runtime.redact import register_secret

BOT = "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC"
journal = get_journal("test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Put the journal and the standard library's logging back as they were."""
    root, former = logging.getLogger(), {}
    former = {name: logging.getLogger(name).level for name in journal_module._LIBRARIES}
    level, handlers = root.level, root.handlers[:]
    yield
    journal_module._output.turn("console", None, "")
    journal_module._output.threshold = 6
    root.setLevel(level)
    root.handlers[:] = handlers
    for name, number in former.items():
        logging.getLogger(name).setLevel(number)


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    """A datagram socket where journald would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "journal"))
        listening.setblocking(False)
        yield listening


def path_of(listening: socket.socket) -> str:
    return str(listening.getsockname())


def dropped() -> float:
    return metrics.REGISTRY.get_sample_value("vpnd_journal_dropped_total") or 0.0


def parsed(entry: bytes) -> dict[str, str]:
    """Read the native protocol back."""
    fields, rest = {}, entry
    while rest:
        line, _, rest = rest.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            (size,) = struct.unpack("<Q", rest[:8])
            name, value, rest = line, rest[8 : 8 + size], rest[9 + size :]
        fields[name.decode()] = value.decode()
    return fields


# --- the native protocol ---------------------------------------------------------------------------------------------------


def test_native_vector() -> None:
    """The encoding is the one journald documents, byte for byte, with and without a line break in a value."""
    fields = {"MESSAGE": "a\nb", "PRIORITY": "6", "VPND_EVENT": "payment.settled"}
    expected = b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\nPRIORITY=6\nVPND_EVENT=payment.settled\n"

    assert encode_entry(fields) == expected


def test_native_survives_broken_unicode() -> None:
    """A lone surrogate is escaped: no text may stop an entry."""
    assert encode_entry({"MESSAGE": "\ud800"}) == b"MESSAGE=\\ud800\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("charge_id", "CHARGE_ID"),
        ("_pid", "PID"),
        ("naïve-name.x", "NA_VE_NAME_X"),
        ("1st", "ST"),
        ("", "FIELD"),
        ("a" * 99, "A" * 64),
    ],
)
def test_field_names_fit_journald(name: str, expected: str) -> None:
    """Names are upper case, of allowed characters only, never trusted ones, and not too long."""
    assert field_name(name) == expected


def test_message_id_is_stable() -> None:
    """An event's MESSAGE_ID never changes: operators match on it."""
    assert message_id("payment.settled") == "5d6d69f0ac3054c5a29539deaa3fcb80"
    assert message_id("payment.settled") != message_id("payment.held")


def test_entry_arrives_as_one_datagram(journald: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """When standard error is the journal, an event becomes one native entry with its facts as VPND_ fields."""
    with open(os.devnull, "w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert configure("auto", stream=stream, socket_path=path_of(journald)) == "native"

        journal.warning(
            "http.slow", "boundary=cryptopay", tag="[HTTP_SLOW]", boundary="cryptopay", duration=2.5
        )

        fields = parsed(journald.recv(65536))
        assert fields == {
            "MESSAGE": "[HTTP_SLOW] boundary=cryptopay",
            "MESSAGE_ID": message_id("http.slow"),
            "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "vpnd",
            "VPND_EVENT": "http.slow",
            "VPND_ROOM": "test",
            "VPND_TAG": "HTTP_SLOW",
            "VPND_BOUNDARY": "cryptopay",
            "VPND_DURATION": "2.5",
        }


def test_own_facts_cannot_replace_the_journals_fields() -> None:
    """A fact named like a field of ours does not overwrite it."""
    entry = Entry("a.b", "info", "room", fields={"event": "forged", "room": "forged", "message": "kept"})
    fields = parsed(render_native(entry))

    assert (fields["VPND_EVENT"], fields["VPND_ROOM"], fields["VPND_MESSAGE"]) == ("a.b", "room", "kept")


def test_large_entry_travels_as_sealed_file(journald: socket.socket) -> None:
    """An entry too large for a datagram arrives as a descriptor of a memory file nobody can change any more."""
    entry = encode_entry({"MESSAGE": "x" * 20_000_000})
    sender = JournalSocket(path_of(journald))
    try:
        assert sender.send(entry)
    finally:
        sender.close()
    content, rights, _, _ = journald.recvmsg(16, socket.CMSG_SPACE(4))
    fds = array.array("i", rights[0][2])
    try:
        seals = fcntl.fcntl(fds[0], fcntl.F_GET_SEALS)
        assert content == b""
        assert seals == fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        assert os.pread(fds[0], len(entry) + 1, 0) == entry
    finally:
        os.close(fds[0])


def test_full_or_absent_journal_never_blocks_and_is_counted(journald: socket.socket, tmp_path: Path) -> None:
    """What the journal does not take at once is dropped and counted, be it full or gone."""
    sender, before = JournalSocket(path_of(journald)), dropped()
    sent = 0
    while sender.send(b"MESSAGE=x\n"):
        sent += 1
        assert sent < 100_000
    sender.close()
    assert dropped() == before + 1

    nowhere = JournalSocket(str(tmp_path / "nobody"))
    assert not nowhere.send(b"MESSAGE=x\n")
    nowhere.close()
    assert dropped() == before + 2


def test_journal_may_restart(journald: socket.socket, tmp_path: Path) -> None:
    """A new socket under the old name, as after a restart of journald, is spoken to without any help."""
    sender = JournalSocket(path_of(journald))
    journald.close()
    os.unlink(tmp_path / "journal")
    assert not sender.send(b"MESSAGE=lost\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(tmp_path / "journal"))
        assert sender.send(b"MESSAGE=back\n")
        assert again.recv(100) == b"MESSAGE=back\n"
    sender.close()


@pytest.mark.parametrize("variable", [None, "", "1:2", "x:y", "8", "8:1:2"])
def test_other_streams_are_not_the_journal(variable: str | None) -> None:
    """Only an exact device and inode make a stream the journal."""
    with open(os.devnull) as stream:
        assert not stream_matches(stream.fileno(), variable)


# --- lines -----------------------------------------------------------------------------------------------------------------

ENTRY = Entry(
    "payment.settled",
    "info",
    "payments",
    "Paid 149 RUB by Ann",
    fields={
        "provider": "cryptopay",
        "amount": 14900,
        "name": "Ann B",
        "share": 0.25,
        "late": False,
        "none": None,
    },
    time=datetime(2026, 11, 23, 12, 0, 0, 123000, tzinfo=UTC),
)


def test_console_line_is_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal line has time, level, event, sentence and facts, in columns, colours only where wanted."""
    line = render_console(ENTRY, colour=False)

    facts = 'provider=cryptopay amount=14900 name="Ann B" share=0.25 late=no none=-'
    assert line[12:] == f" info     payment.settled              Paid 149 RUB by Ann  {facts}"
    assert "\x1b" not in line
    assert "\x1b[32minfo" in render_console(ENTRY, colour=True)


def test_facts_in_the_sentence_are_not_repeated() -> None:
    """A fact the sentence spells out is not said twice: the audit's tags stay greppable and short."""
    entry = Entry("worker.done", "info", "runtime", "worker=expiry duration=0.1s", tag="[WORKER_DURATION]",
                  fields={"worker": "expiry", "duration": 0.1, "items": 3})  # fmt: skip

    assert render_console(entry, colour=False).endswith(
        "[WORKER_DURATION] worker=expiry duration=0.1s  items=3"
    )


def test_plain_lines_carry_the_priority_on_each_line() -> None:
    """Under systemd every line, a traceback's too, has the prefix its priority is read from."""
    entry = Entry("a.failed", "error", "room", "It failed", trace="Traceback:\n  boom")

    assert render_plain(entry) == "<3>a.failed: It failed\n<3>  Traceback:\n<3>    boom"


def test_json_is_one_object_a_line() -> None:
    """JSON keeps types and stays on one line."""
    line = render_json(ENTRY)

    shape = json.loads(line)
    assert "\n" not in line
    assert shape["time"] == "2026-11-23T12:00:00.123+00:00"
    assert (shape["event"], shape["level"], shape["room"]) == ("payment.settled", "info", "payments")
    assert shape["fields"]["amount"] == 14900
    assert shape["fields"]["late"] is False


@pytest.mark.parametrize(
    "evil", ["a\n<0>forged: entry", "\x1b[2Jgone", "x\u2028y", "\u202eabc", "a\rb", "\x00"]
)
def test_text_cannot_forge_lines_or_terminal_escapes(evil: str) -> None:
    """A customer's name with a line break or an escape sequence is shown, not obeyed."""
    entry = Entry("customer.new", "info", "shop", f"Hello {evil}", fields={"name": evil})

    for line in (render_plain(entry), render_console(entry, colour=False), render_json(entry)):
        assert len(line.split("\n")) == 1
        assert "\x1b" not in line
    for line in (render_plain(entry), render_console(entry, colour=False)):
        assert line.isprintable()


# --- where it goes ---------------------------------------------------------------------------------------------------------


def test_auto_chooses_by_what_standard_error_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terminal: console. Under systemd but not into the journal: prefixed lines. Else: plain console lines."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert configure("auto", stream=io.StringIO()) == "console"
    assert configure("journal", stream=io.StringIO()) == "plain"
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    assert configure("auto", stream=io.StringIO()) == "plain"
    assert configure("auto", stream=Terminal()) == "console"
    assert configure("json", stream=Terminal()) == "json"


def test_colours_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours are for a terminal whose user did not refuse them."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream, coloured in ((Terminal(), True), (io.StringIO(), False)):
        configure("console", stream=stream)
        journal.info("a.b", "text")
        assert ("\x1b[" in stream.getvalue()) is coloured
    monkeypatch.setenv("NO_COLOR", "1")
    configure("console", stream=(refused := Terminal()))
    journal.info("a.b", "text")
    assert "\x1b[" not in refused.getvalue()


def test_level_is_a_threshold() -> None:
    """What is below the level is not said."""
    configure("console", stream=(stream := io.StringIO()), level="warning")
    journal.info("not.said")
    journal.warning("is.said")

    assert "not.said" not in stream.getvalue()
    assert "is.said" in stream.getvalue()


def test_stuck_reader_does_not_stop_us() -> None:
    """A pipe nobody reads fills up, then entries are dropped and counted, and no write waits."""
    reading, writing = os.pipe()
    before = dropped()
    with os.fdopen(writing, "w") as stream:
        configure("console", stream=stream)
        for _ in range(200):
            journal.info("a.b", "x" * 1000)
    os.close(reading)

    assert dropped() > before


def test_a_gap_is_told_by_the_first_entry_that_is_taken_again() -> None:
    """Whoever reads on after a stuck reader sees how much is missing there, once."""
    reading, writing = os.pipe()
    before = dropped()
    with os.fdopen(writing, "w") as stream:
        configure("json", stream=stream)
        for _ in range(200):
            journal.info("a.b", "x" * 1000)
        lost = int(dropped() - before)
        os.read(reading, 1_000_000)
        journal.info("a.again")
        journal.info("a.more")
        said = [json.loads(line) for line in os.read(reading, 1_000_000).decode().splitlines()]
    os.close(reading)

    assert [entry["event"] for entry in said] == ["a.again", "journal.gap", "a.more"]
    assert said[1]["fields"] == {"lost": lost}
    assert lost > 1


def test_closed_stream_is_counted_not_raised() -> None:
    """A log call never raises, even when its stream is gone."""
    stream = io.StringIO()
    configure("console", stream=stream)
    stream.close()
    before = dropped()
    journal.info("a.b")

    assert dropped() == before + 1


# --- the pipeline ----------------------------------------------------------------------------------------------------------


def test_context_and_binding_reach_the_entry() -> None:
    """Bound fields and the task's context stand in each entry; the call's own fields win."""
    with capture() as said, context(update=7, who="context"):
        journal.bind(node="nl1").info("a.b", who="call")
    with capture() as outside:
        journal.info("a.b")

    assert said[0].fields == {"update": 7, "who": "call", "node": "nl1"}
    assert outside[0].fields == {}


def test_any_field_name_is_allowed() -> None:
    """No name of a fact makes a log call fail."""
    with capture() as said:
        journal.info("a.b", event=1, level=2, room=3, method_name=4, _level=5, self=6)

    assert said[0].event == "a.b"
    assert said[0].fields["room"] == 3


def test_unprintable_objects_are_named() -> None:
    """An object whose text conversion fails does not make a payment fail that logs it."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    with capture() as said:
        journal.info("a.b", thing=Broken(), error=BrokenError())
        journal.error("a.b", exc_info=BrokenError())

    assert said[0].fields["thing"] == "<unprintable Broken: RuntimeError>"
    assert "BrokenError" in str(said[0].fields["error"])
    assert said[1].trace is not None


def test_a_traceback_leaves_no_large_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows the line, and the file that the line was read from does not stay in memory for good."""
    monkeypatch.setattr(linecache, "cache", {})
    path = tmp_path / "large.py"
    path.write_text("\n" * 600_000 + "raise ValueError('at the end of a large file')\n")

    with capture() as said:
        try:
            runpy.run_path(str(path))
        except ValueError:
            journal.error("a.b", exc_info=True)

    assert "raise ValueError('at the end" in (said[0].trace or "")
    assert str(path) not in linecache.cache


def test_overlong_field_is_cut_after_redaction() -> None:
    """A field cannot fill the journal, and the cut cannot leave half of a token behind."""
    with capture() as said:
        journal.info("a.b", body="x" * 4080 + " " + BOT + "y" * 5000)

    assert len(str(said[0].fields["body"])) < 4200
    assert "AAzQ" not in str(said[0].fields["body"])


def test_cut_text_shows_no_half_of_a_secret() -> None:
    """Wherever a text is cut, before or after redaction, no part of a token is left at the end."""
    for length in range(2 * 4096 + 1024 - 60, 2 * 4096 + 1024, 5):
        with capture() as said:
            # Mostly masks, so that the redacted text is short and ends where the raw text was cut.
            journal.info("a.b", body=(BOT + " ") * (length // 43) + "z" * (length % 43) + BOT * 10)
        assert "AAzQ" not in str(said[0].fields["body"])


def test_a_long_message_is_cut() -> None:
    """A message of megabytes is cut and says how long it was."""
    with capture() as said:
        journal.info("a.b", "m" * 3_000_000)
        journal.error("a.b", exc_info=ValueError("e" * 3_000_000))

    assert said[0].message.endswith("… (3000000 characters)")
    assert len(said[0].message) < 17_000
    assert len(said[1].trace or "") <= 65536


def test_chained_exceptions_and_groups_are_told_and_redacted() -> None:
    """A traceback shows causes, contexts, notes and groups, and none of them shows a secret."""
    try:
        try:
            raise ValueError(f"inner {BOT}")
        except ValueError as inner:
            error = RuntimeError(f"outer https://api.telegram.org/bot{BOT}/x")
            error.add_note(f"note {BOT}")
            raise ExceptionGroup("several", [error, KeyError(f"/sub/{'s' * 20}")]) from inner
    except ExceptionGroup:
        with capture() as said:
            journal.exception("a.failed", "It failed")

    trace = said[0].trace or ""
    for part in (
        "inner <bot-token>",
        "outer https",
        "note <bot-token>",
        "/sub/<link-token>",
        "ExceptionGroup",
    ):
        assert part in trace
    assert "AAzQ" not in trace


def test_library_records_join_the_pipeline() -> None:
    """What a library logs becomes an event of ours; httpx is held at WARNING, since its INFO lines hold the bot's token."""
    configure("json", stream=(stream := io.StringIO()), level="debug")
    logging.getLogger("httpx").info("HTTP Request: POST https://api.telegram.org/bot%s/getMe", BOT)
    logging.getLogger("httpcore.connection").debug("never")
    logging.getLogger("hypercorn.error").warning("Running on %s", "http://127.0.0.1")
    # Straight to the bridge: the test runner's own handler raises on a record that does not fit its arguments.
    journal_module._bridge.emit(
        logging.LogRecord("telegram.ext", logging.ERROR, "x.py", 1, "mismatch %d", ("x",), None)
    )
    logging.getLogger("httpx").warning("failed for bot%s", BOT)

    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [entry["event"] for entry in said] == ["library.hypercorn", "library.telegram", "library.httpx"]
    assert said[0]["fields"]["logger"] == "hypercorn.error"
    assert "while formatting" in said[1]["message"]
    assert said[2]["message"] == "failed for bot<bot-token>"


def test_configuring_twice_does_not_double_lines() -> None:
    """A second configuration replaces the first."""
    configure("console", stream=io.StringIO())
    configure("console", stream=(stream := io.StringIO()))
    logging.getLogger("hypercorn.error").warning("once")
    journal.info("a.b", "once")

    assert stream.getvalue().count("once") == 2


def test_crashes_are_said_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An uncaught exception, in a thread or not, reaches the journal without its secrets."""
    for hook in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    catch_crashes()

    def crash() -> None:
        raise ValueError(f"token {BOT}")

    with capture() as said:
        thread = threading.Thread(target=crash, name="sampler")
        thread.start()
        thread.join()
        try:
            crash()
        except ValueError as error:
            sys.excepthook(type(error), error, error.__traceback__)

    assert [entry.event for entry in said] == ["thread.crashed", "process.crashed"]
    assert said[0].fields["thread"] == "sampler"
    for entry in said:
        assert "<bot-token>" in (entry.trace or "")
        assert "AAzQ" not in (entry.trace or "")


PLANTED = {
    "bot": BOT,
    "link": "c3Vic2NyaXB0aW9uLWxpbms",
    "vless": "vless://550e8400-e29b-41d4-a716-446655440000@nl.example:443#x",
    "dsn": "Pa55word/with@odd:signs",
    "bearer": "node.Token-0123456789",
    "registered": "webhook_Secret-registered",
}


def say_everything(journal: Journal) -> None:
    """Say every planted secret in every place where one may turn up."""
    shown = [
        PLANTED["bot"],
        f"https://api.telegram.org/bot{PLANTED['bot']}/sendMessage",
        f"https://shop.example/sub/{PLANTED['link']}",
        PLANTED["vless"],
        f"postgresql://vpnd:{PLANTED['dsn']}@db/vpnd",
        f"Authorization: Bearer {PLANTED['bearer']}",
        PLANTED["registered"],
    ]
    for text in shown:
        journal.debug("debug.event", text, detail=text, nested={"a": [text]}, data=text.encode())
        journal.bind(bound=text).info("info.event", tag="[TAG]", error=ValueError(text))
        with context(shown=text):
            journal.warning("event." + text)
        logging.getLogger("telegram").debug("library says %s", text)
        logging.getLogger("asyncio").error(text, exc_info=ValueError(text))
        try:
            raise OSError(text) from ValueError(text)
        except OSError:
            journal.exception("failed.event", text)
    journal.info("named.event", token="short-token-x1", password="short-pass-x1")


@pytest.mark.parametrize("chosen", ["console", "json", "journal"])
def test_a_full_debug_run_holds_no_planted_secret(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every level on, in each format, by our own calls and libraries', none of the planted secrets gets out."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    register_secret(PLANTED["registered"])
    configure(chosen, stream=(stream := io.StringIO()), level="debug")  # type: ignore[arg-type] # parametrised
    say_everything(journal)

    text = stream.getvalue()
    assert text.count("debug.event") == 7
    for name, secret in {**PLANTED, "token": "short-token-x1", "password": "short-pass-x1"}.items():
        assert secret not in text, name
    for fragment in ("AAzQcZWQ", "c3Vic2", "446655440000", "Pa55word", "odd:signs", "Token-0123"):
        assert fragment not in text


def test_the_same_run_in_native_form() -> None:
    """What is sent to journald in binary form is as clean."""
    register_secret(PLANTED["registered"])
    configure("console", stream=io.StringIO(), level="debug")
    with capture() as said:
        say_everything(journal)

    whole = b"".join(render_native(entry) for entry in said).decode("utf-8", "replace")
    assert whole.count("debug.event") == 7
    for secret in PLANTED.values():
        assert secret not in whole
