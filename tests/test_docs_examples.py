"""The examples of the documentation are files that vpnd takes: who copies one is not told of a fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from vpnd.config import load_settings
from vpnd.shop.plans_file import parse_plans

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: A mark, then its block. Only whole files are marked; a fragment that shows one section is not.
EXAMPLE = re.compile(r"^<!-- example: (\w+) -->\n```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"^<!-- example: (\w+) -->$", re.MULTILINE)

#: What the pages have an operator put beside the file, under the names that systemd gives to credentials.
CREDENTIALS = {
    "telegram.token": "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC",
    "telegram.webhook_secret": "0123456789abcdef0123456789abcdef",
    "database.url": "postgresql://vpnd@/vpnd?host=/run/postgresql",
    "agent.token": "0123456789abcdef0123456789abcdef",
}
NODE_NAME = re.compile(r'^\[\[nodes\]\]\nname = "([a-z0-9-]+)"', re.MULTILINE)


def examples(*kinds: str) -> list[Any]:
    """Return the marked blocks of some kinds, each under the name of its page and its number there."""
    return [
        pytest.param(match[1], match[2], id=f"{page.name}-{number}-{match[1]}")
        for page in PAGES
        for number, match in enumerate(EXAMPLE.finditer(page.read_text("utf-8")), start=1)
        if match[1] in kinds
    ]


def test_every_mark_has_a_block_of_a_known_kind() -> None:
    """A mark that is misspelt, or parted from its block, would silently check nothing."""
    found = 0
    for page in PAGES:
        text = page.read_text("utf-8")
        kinds = MARK.findall(text)
        assert kinds == [match[1] for match in EXAMPLE.finditer(text)], page.name
        assert set(kinds) <= {"daemon", "agent", "plans"}, page.name
        found += len(kinds)
    assert found >= 4


@pytest.mark.parametrize(("kind", "text"), examples("daemon", "agent"))
def test_a_configuration_is_valid(kind: str, text: str, tmp_path: Path) -> None:
    """With the credentials that the page names, the configuration loads without a fault."""
    config, credentials = tmp_path / "vpnd.toml", tmp_path / "credentials"
    config.write_text(text, "utf-8")
    credentials.mkdir()
    secrets = CREDENTIALS | {f"nodes.{name}.token": "0123456789abcdef" for name in NODE_NAME.findall(text)}
    for name, value in secrets.items():
        (credentials / name).write_text(value + "\n", "utf-8")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    if kind == "daemon":
        settings = load_settings(config, environ, role="daemon")
        assert all(node.token and node.fingerprint for node in settings.nodes)
    else:
        settings = load_settings(config, environ, role="agent")
        assert settings.agent.inbounds


@pytest.mark.parametrize(("kind", "text"), examples("plans"))
def test_a_plans_file_is_valid(kind: str, text: str) -> None:
    """The plans are read without a fault, each offer with a price in the shop's default currency."""
    assert kind == "plans"
    assert parse_plans(text, currency="RUB")
