"""The examples of the documentation are files that vpnd takes: who copies one is not told of a fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from vpnd.config import load_settings
from vpnd.shell.init_dialogue import Dialogue, missing
from vpnd.shell.init_files import put
from vpnd.shell.init_node_questions import NODE_QUESTIONS
from vpnd.shell.init_node_writing import compose_node
from vpnd.shell.init_questions import QUESTIONS, Answers
from vpnd.shell.init_sources import gather
from vpnd.shell.init_writing import Layout, compose, secrets_of
from vpnd.shop.plans_file import parse_plans

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: A mark, then its block. Only whole files are marked; a fragment that shows one section is not.
EXAMPLE = re.compile(r"^<!-- example: (\w+) -->\n```(?:toml|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
        known = {"daemon", "agent", "plans", "answers", "dialogue", "node_answers", "node_dialogue"}
        assert set(kinds) <= known, page.name
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


@pytest.mark.parametrize(("kind", "text"), examples("answers"))
def test_a_file_of_answers_is_taken(kind: str, text: str, tmp_path: Path) -> None:
    """`vpnd init` misses nothing in it, and what it writes is a configuration."""
    assert kind == "answers"
    for name, value in (
        ("bot-token", CREDENTIALS["telegram.token"]),
        ("yookassa-key", "test_key"),
        ("berlin-token", "0" * 32),
    ):
        (tmp_path / name).write_text(value)
    file, layout = tmp_path / "answers.toml", Layout(tmp_path / "vpnd.toml", tmp_path / "credentials")
    file.write_text(text.replace("/root/", f"{tmp_path}/"), "utf-8")

    given = gather({}, {}, file, layout.secrets, take_secrets=True)
    assert missing(given, Answers(given=given)) == []
    answers = Dialogue(Answers(given=given), given, None, None).hold()
    put(compose(answers, layout, secrets_of(answers, "")), layout)
    settings = load_settings(layout.config, {}, role="daemon")
    assert settings.yookassa.shop_id
    assert [node.name for node in settings.nodes] == ["berlin"]


@pytest.mark.parametrize(("kind", "text"), examples("node_answers"))
def test_a_nodes_file_of_answers_is_taken(kind: str, text: str, tmp_path: Path) -> None:
    """`vpnd init --node` misses nothing in it, and what it writes is a configuration."""
    assert kind == "node_answers"
    file, layout = tmp_path / "answers.toml", Layout(tmp_path / "node.toml", tmp_path / "credentials")
    file.write_text(text, "utf-8")

    given = gather({}, {}, file, layout.secrets, take_secrets=True, questions=NODE_QUESTIONS)
    answers = Answers(given=given)
    assert missing(given, answers, NODE_QUESTIONS) == []
    put(compose_node(answers, layout, CREDENTIALS["agent.token"], by_the_unit=False), layout)
    assert load_settings(layout.config, {}, role="agent").agent.inbounds[0].port == 443


@pytest.mark.parametrize(("kind", "text"), examples("dialogue", "node_dialogue"))
def test_a_dialogue_is_the_programs(kind: str, text: str) -> None:
    """The questions that a page shows are asked in these words and in this order, with these hints."""
    questions = QUESTIONS if kind == "dialogue" else NODE_QUESTIONS
    asked = [question for question in questions if question.asked]
    shown = re.findall(r"^ ?(\d+)\. (.*)$", text, re.MULTILINE)
    assert [int(number) for number, _ in shown] == list(range(1, len(shown) + 1))
    found = [next(question for question in asked if words.startswith(question.words)) for _, words in shown]
    assert found == [question for question in asked if question in found]
    hints = [
        line.strip()
        for line in text.splitlines()
        if line.startswith("   ") and not line.startswith(("   ok: ", "   note: "))
    ]
    assert hints
    assert set(hints) <= {question.hint for question in found}


@pytest.mark.parametrize(("kind", "text"), examples("plans"))
def test_a_plans_file_is_valid(kind: str, text: str) -> None:
    """The plans are read without a fault, each offer with a price in the shop's default currency."""
    assert kind == "plans"
    assert parse_plans(text, currency="RUB")
