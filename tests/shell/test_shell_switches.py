"""`vpnd pause`, `resume` and `banner`, as an operator types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpnd.cli import main


def test_an_operators_session(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pause with its reason is listed, a name that is none is answered with those there are, a banner comes and goes."""
    config = tmp_path / "vpnd.toml"
    config.write_text(f'[telegram]\ntoken = "123456:{"A" * 35}"\n[database]\nurl = "{database_url}"\n')

    def vpnd(*words: str) -> tuple[int, str, str]:
        code = main([words[0], "--config", str(config), *words[1:]])
        said = capsys.readouterr()
        return code, said.out, said.err

    assert vpnd("pause", "shop", "--reason", "prices are wrong")[:2] == (0, "shop is paused\n")
    assert vpnd("pause", "shop")[:2] == (0, "shop is paused, as it was\n")
    listed = {line.split()[0]: line for line in vpnd("pause")[1].splitlines()}
    assert "paused  since" in listed["shop"]
    assert listed["shop"].endswith(": prices are wrong")
    assert listed["trial"].split() == ["trial", "running"]
    assert listed["pay_stars"].split() == ["pay_stars", "running"]
    code, _, error = vpnd("pause", "shpo")
    assert code == 1
    assert 'did you mean "shop"?' in error
    assert vpnd("resume", "shop")[:2] == (0, "shop is running\n")
    assert vpnd("banner", "We are on it")[:2] == (0, "the banner is shown\n")
    assert vpnd("pause")[1].splitlines()[-1].endswith("We are on it")
    assert vpnd("banner", " ")[0] == 1
    assert vpnd("banner", "--off")[:2] == (0, "there is no banner any more\n")
