"""What is wrong with a money command's line or configuration ends with 2 and a sentence, and asks nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vpnd import cli
from vpnd.shell import arguments

COMMANDS = (
    ["refund", "p"],
    ["doctor"],
    ["promo", "add", "SPRING", "percent", "10"],
    ["promo", "list"],
    ["promo", "off", "SPRING"],
    ["discount", "5", "10"],
)


@pytest.fixture(autouse=True)
def nobody_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A complete configuration by the environment, whose database would refuse at once."""
    for name in list(os.environ):
        if name.startswith(("VPND_", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(arguments, "DAEMON_CONFIG", tmp_path / "no-vpnd.toml")
    monkeypatch.setenv("VPND_TELEGRAM__TOKEN", "123456789:AAH-secret-of-a-bot-nobody-may-see1")
    monkeypatch.setenv("VPND_DATABASE__URL", "postgresql://shop@127.0.0.1:9/shop")


@pytest.mark.parametrize(
    "words",
    [
        ["refund"],
        ["refund", "p", "--amount"],
        ["refund", "p", "surplus"],
        ["doctor", "--days", "0"],
        ["doctor", "--days", "91"],
        ["doctor", "--days", "many"],
        ["doctor", "--accept-node"],
        ["doctor", "--repair", "--accept-node", "oslo"],
        ["promo"],
        ["promo", "add"],
        ["promo", "add", "SPRING"],
        ["promo", "add", "SPRING", "gold", "10"],
        ["promo", "add", "SPRING", "percent", "10", "--uses", "few"],
        ["promo", "off"],
        ["discount"],
        ["discount", "somebody", "10"],
        ["discount", "5", "100"],
        ["discount", "5", "-1"],
    ],
)
def test_a_wrong_command_line_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the usage on standard error, and nothing on standard output."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith("usage: vpnd ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["promo", "add", "X", "percent", "10"], "3 to 32 letters"),
        (["promo", "add", "ЛЕТО", "percent", "10"], "3 to 32 letters"),
        (["promo", "add", "SPRING", "percent", "100"], "from 1 to 99"),
        (["promo", "add", "SPRING", "percent", "0"], "from 1 to 99"),
        (["promo", "add", "SPRING", "percent", "ten"], "from 1 to 99"),
        (["promo", "add", "SPRING", "percent", "²"], "from 1 to 99"),
        (["promo", "add", "SPRING", "days", "3661"], "from 1 to 3660"),
        (["promo", "add", "SPRING", "money", "much"], "not a plain decimal number"),
        (["promo", "add", "SPRING", "money", "0"], "above 0"),
        (["promo", "add", "SPRING", "money", "1.005"], "decimal places of RUB"),
        (["promo", "add", "SPRING", "percent", "10", "--uses", "0"], "--uses is"),
        (["promo", "add", "SPRING", "percent", "10", "--uses", "99999999999"], "--uses is"),
        (["promo", "add", "SPRING", "percent", "10", "--per-customer", "0"], "--per-customer is"),
        (["promo", "add", "SPRING", "percent", "10", "--valid", "0"], "--valid is"),
        (["promo", "add", "SPRING", "percent", "10", "--valid", "99999999999"], "--valid is"),
        (["discount", "5", "10", "--valid", "-1"], "--valid is"),
        (["discount", "5", "10", "--valid", "99999999999"], "--valid is"),
        (["discount", "99999999999999999999", "10"], "TELEGRAM_ID is"),
    ],
)
def test_a_value_that_makes_no_sense_ends_with_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says which and why; no database is looked for."""
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("vpnd: ")
    assert sentence in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_configuration_ends_with_2(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it does for every command."""
    assert cli.main([*command, "--config", str(tmp_path / "absent.toml")]) == 2
    assert "absent.toml" in capsys.readouterr().err


def test_a_database_that_is_away_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, no traceback."""
    assert cli.main(["promo", "list"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith("vpnd: ")
    assert "Traceback" not in said.err
