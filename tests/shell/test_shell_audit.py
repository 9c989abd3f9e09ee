"""`vpnd audit`: finds the daemon, prints a line for each finding, and its exit code can be relied on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from vpnd import cli
from vpnd.monitors.picture import AuditCommand
from vpnd.runtime import observations
from vpnd.runtime.control import ControlServer
from vpnd.runtime.observations import LINES, MEASURES
from vpnd.shell.audit import judge, render
from vpnd.shell.daemon_socket import find_socket


@pytest.fixture(autouse=True)
def fresh_record() -> None:
    """Nothing was measured before the test."""
    for measure in MEASURES:
        measure.forget()


def measure_everything() -> None:
    """One observation of each, well within its limit."""
    for measure in MEASURES:
        measure.note(measure.limit * (1.1 if measure.floor else 0.1), "somebody", "somewhere")


def history() -> dict[str, Any]:
    days = observations.history()
    return {"kind": "history", "days": days, "lines": next(iter(days.values()))}


def test_a_fine_day_ends_with_0() -> None:
    """Every line measured, no limit broken."""
    measure_everything()

    assert judge(history()["lines"], allow_idle=False) == 0
    assert "no limit broken; everything measured." in render(history())


def test_what_was_not_measured_is_not_fine() -> None:
    """It ends with 1, unless idleness is allowed."""
    lines = history()["lines"]

    assert judge(lines, allow_idle=False) == 1
    assert judge(lines, allow_idle=True) == 0
    assert render(history()).count("not measured") == len(LINES) + 1


def test_a_broken_limit_ends_with_1_whatever_is_allowed() -> None:
    """And the line says who broke it, with the value beside the limit."""
    measure_everything()
    observations.BLOCKING.note(0.3, "worker expiry", "workers/periodic.py:7 page")
    text = render(history())

    assert judge(history()["lines"], allow_idle=True) == 1
    (line,) = [line for line in text.splitlines() if "BROKEN" in line]
    for part in ("blocking", "300 ms", "50 ms", "worker expiry workers/periodic.py:7 page"):
        assert part in line
    assert "1 limit broken" in text


def test_what_the_journal_only_tells_of_is_no_broken_limit() -> None:
    """A slow node is nobody's fault here; a strict audit fails for it all the same."""
    measure_everything()
    observations.HTTP_CALL.note(3.0, "node", "push")
    lines = history()["lines"]

    assert judge(lines, allow_idle=False) == 0
    assert judge(lines, allow_idle=False, strict=True) == 1
    assert "1 over what the journal tells from" in render(history())


def test_every_finding_has_its_line() -> None:
    """In the order of the audit, each with its limit and the number of observations."""
    measure_everything()
    lines = render(history()).splitlines()[3:-2]

    assert len(lines) == len(LINES)
    for shown, line in zip(lines, LINES, strict=True):
        assert line.what in shown
        assert "somebody somewhere" in shown
    assert "at least 80%" in "\n".join(lines)


def test_a_bad_day_of_the_week_is_remembered() -> None:
    """Today's exit code is today's; the line below names the days that were not fine."""
    measure_everything()
    document = history()
    broken = [dict(line, state="broken") if line["row"] == "held" else line for line in document["lines"]]
    document["days"] = {**document["days"], "2026-01-02": broken}

    assert "on 2026-01-02: a connection held by one scope or read" in render(document)


# --- the whole way ---------------------------------------------------------------------------------------------------------


def run_cli(path: Path, *words: str) -> int:
    """Run the command in a thread, as the shell would, beside a daemon's socket in this one."""

    async def main() -> int:
        async def command(request: Mapping[str, Any], tell: Any) -> Mapping[str, Any]:
            return await AuditCommand()(request, tell)

        async with trio.open_nursery() as nursery:
            await nursery.start(ControlServer(path, {"audit": command}).run)
            with trio.fail_after(10):
                while not path.exists():
                    await trio.sleep(0.01)
            code = await trio.to_thread.run_sync(cli.main, ["audit", "--socket", str(path), *words])
            nursery.cancel_scope.cancel()
            return code
        raise AssertionError

    return trio.run(main)


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path."""
    return tmp_path_factory.mktemp("a") / "control.sock"


def test_the_command_asks_the_running_daemon(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over the real socket: the report on standard output, and the exit code."""
    assert run_cli(path) == 1
    assert run_cli(path, "--allow-idle") == 0
    measure_everything()
    assert run_cli(path) == 0
    assert "connections in use" in capsys.readouterr().out


def test_a_watch_is_of_its_time_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was before does not count, and JSON is the whole document."""
    measure_everything()
    assert run_cli(path, "--seconds", "0.2", "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["seconds"]) == ("watch", 0.2)
    assert [line["row"] for line in document["lines"]] == [line.row for line in LINES]

    assert run_cli(path, "--seconds", "0.1", "--allow-idle") == 0
    said = capsys.readouterr()
    assert "watching for 0.1 s" in said.err
    assert "What 0.1 s showed." in said.out


def test_no_daemon_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the place where it was looked for, and 1."""
    assert cli.main(["audit", "--socket", str(tmp_path / "absent.sock")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "absent.sock" in said.err
    assert "Traceback" not in said.err


# --- finding the daemon ----------------------------------------------------------------------------------------------------


def test_the_socket_is_found_without_secrets(tmp_path: Path) -> None:
    """What was given; else the unit's place or the state directory's; a configuration that was named comes first."""
    unit, state = tmp_path / "run", tmp_path / "state"
    unit.mkdir()
    state.mkdir()
    config = tmp_path / "vpnd.toml"
    config.write_text(
        f'[instance]\nstate_dir = "{state}"\n[telegram]\ntoken_file = "/root/secret"\n', "utf-8"
    )
    here = {"unit_runtime": unit}

    assert find_socket(tmp_path / "x", config, {}, **here) == tmp_path / "x"
    assert find_socket(None, None, {}, **here) == unit / "control.sock"
    (state / "control.sock").touch()
    assert find_socket(None, config, {}, **here) == state / "control.sock"
    (unit / "control.sock").touch()
    assert find_socket(None, config, {}, **here) == state / "control.sock"
    assert find_socket(None, None, {"VPND_INSTANCE__STATE_DIR": str(state)}, **here) == state / "control.sock"
    assert find_socket(None, None, {}, **here) == unit / "control.sock"


@pytest.mark.parametrize(
    "text", ["no toml at all [", "[instance]\n", "instance = 3\n", "[instance]\nstate_dir = 7\n"]
)
def test_a_configuration_that_cannot_be_read_is_no_obstacle(tmp_path: Path, text: str) -> None:
    """The defaults are looked at then; nothing is written or raised."""
    config = tmp_path / "vpnd.toml"
    config.write_text(text, "utf-8")
    unit = tmp_path / "run"
    unit.mkdir()
    (unit / "control.sock").touch()

    assert find_socket(None, config, {}, unit_runtime=unit) == unit / "control.sock"
    assert find_socket(None, tmp_path / "absent", {}, unit_runtime=unit) == unit / "control.sock"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_place_that_may_not_be_looked_at_is_asked(tmp_path: Path) -> None:
    """The daemon's own refusal says more than "not there"."""
    unit = tmp_path / "run"
    unit.mkdir(mode=0)
    try:
        assert find_socket(None, None, {}, unit_runtime=unit) == unit / "control.sock"
    finally:
        unit.chmod(0o700)
