"""The command line: what is wrong with it, or with the configuration, ends with 2 and a sentence, and starts nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vpnd import __version__, cli
from vpnd.shell import arguments

SECRET = "123456789:AAH-secret-of-a-bot-nobody-may-see1"

COMPLETE = f"""
[telegram]
token = "{SECRET}"

[database]
url = "postgresql://shop:hidden-word@127.0.0.1/shop"
"""

NODE = """
[agent]
token = "a-token-that-is-long-enough-for-anybody"
public_host = "vpn.example"

[[agent.inbounds]]
tag = "main"
sni = "www.example.com"
"""


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this machine's configuration nor its environment takes part."""
    for name in list(os.environ):
        if name.startswith(("VPND_", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(arguments, "DAEMON_CONFIG", tmp_path / "no-vpnd.toml")
    monkeypatch.setattr(arguments, "NODE_CONFIG", tmp_path / "no-node.toml")


def written(folder: Path, text: str) -> str:
    """A configuration file's name."""
    place = folder / "given.toml"
    place.write_text(text, "utf-8")
    place.chmod(0o600)
    return str(place)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["unknown"],
        ["run", "--unknown"],
        ["run", "surplus"],
        ["run", "--config"],
        ["node"],
        ["node", "unknown"],
        ["migrate", "--phase", "later"],
        ["audit", "--seconds", "many"],
        ["audit", "surplus"],
        ["status", "--seconds", "1"],
        ["demo", "--port", "many"],
        ["demo", "--port", "65536"],
        ["demo", "--port", "-1"],
        ["demo", "--port", "²"],
    ],
)
def test_a_wrong_command_line_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the usage on standard error, and nothing on standard output."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)

    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.err.startswith("usage: vpnd")
    assert said.out == ""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and a good end."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"vpnd {__version__}\n"


def test_a_complete_configuration_is_said_to_be_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the daemon, and of a node."""
    assert cli.main(["check-config", "--config", written(tmp_path, COMPLETE)]) == 0
    assert cli.main(["check-config", "--node", "--config", written(tmp_path, NODE)]) == 0
    assert capsys.readouterr().out.count("complete and valid") == 2


def test_every_fault_of_a_configuration_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its key, no secret among them, and the end is 2."""
    faulty = COMPLETE + '[http]\nlisten = "nowhere"\n\n[shop]\ncurrency = "roubles"\nunheard_of = 1\n'

    assert cli.main(["check-config", "--config", written(tmp_path, faulty)]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    for key in ("http.listen", "shop.currency", "shop.unheard_of"):
        assert key in said.err
    assert SECRET not in said.err
    assert "hidden-word" not in said.err


def test_faults_of_texts_are_told_and_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration is right and a text is not: file, key and remedy, and 1; mended, it is 0."""
    (tmp_path / "words").mkdir()
    given = written(tmp_path, COMPLETE + '[shop]\ntexts_dir = "words"\n')
    (tmp_path / "words" / "en.ftl").write_text("help = <b>Help\nhome-new = Hi!\n")

    assert cli.main(["check-config", "--config", given]) == 1
    said = capsys.readouterr()
    assert "en.ftl: help: <b> is never closed" in said.err
    assert "home-new" not in said.err
    assert said.out == ""

    (tmp_path / "words" / "en.ftl").write_text("help = <b>Help</b>\n")
    assert cli.main(["check-config", "--config", given]) == 0


@pytest.mark.parametrize("command", [["run"], ["migrate"], ["node", "run"], ["check-config"]])
def test_a_missing_configuration_ends_every_command_with_2(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that was named and is not there, and one that was not named while nothing else is configured."""
    assert cli.main([*command, "--config", str(tmp_path / "absent.toml")]) == 2
    assert "absent.toml" in capsys.readouterr().err
    assert cli.main(command) == 2
    assert "token" in capsys.readouterr().err


def test_the_default_file_is_read_when_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config the file of the unit is taken: the agent's for a node, whatever else is on the machine."""
    for name, text in (("DAEMON_CONFIG", COMPLETE), ("NODE_CONFIG", NODE)):
        place = tmp_path / f"{name}.toml"
        place.write_text(text, "utf-8")
        place.chmod(0o600)
        monkeypatch.setattr(arguments, name, place)

    assert cli.main(["check-config"]) == 0
    assert cli.main(["check-config", "--node"]) == 0


def test_the_environment_alone_may_configure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container needs no file."""
    monkeypatch.setenv("VPND_TELEGRAM__TOKEN", SECRET)
    monkeypatch.setenv("VPND_DATABASE__URL", "postgresql://shop@127.0.0.1/shop")

    assert cli.main(["check-config"]) == 0


def test_an_interrupted_command_ends_as_shells_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before anything runs is 130 and no traceback."""

    def interrupted(_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_check_config", interrupted)

    assert cli.main(["check-config"]) == 130


@pytest.mark.parametrize("command", ["status", "audit"])
def test_looking_needs_no_configuration(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who may ask the daemon need not be able to read its secrets: one that is not found is a sentence and 1."""
    monkeypatch.setenv("VPND_INSTANCE__STATE_DIR", str(tmp_path))
    (tmp_path / "control.sock").touch()

    assert cli.main([command]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_checking_loads_neither_telegram_nor_the_core(tmp_path: Path) -> None:
    """It answers at once, also on a machine that lacks what only the daemon needs."""
    program = (
        "import sys; from vpnd.cli import main; code = main(sys.argv[1:]);"
        "print(sorted({'telegram', 'xray', 'grpc', 'asyncpg', 'hypercorn'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "check-config", "--config", written(tmp_path, COMPLETE)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr
