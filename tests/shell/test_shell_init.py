"""`vpnd init` without terminal and network: its questions, answers given beforehand, the dialogue, and what is written."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import define, field

from vpnd.config import Secret, load_settings
from vpnd.config.reader import keys_of
from vpnd.config.settings import SECTIONS
from vpnd.shell.init_arguments import _QUESTIONS
from vpnd.shell.init_dialogue import AnswersWrong, ChecksFailed, Dialogue, Given, malformed, missing
from vpnd.shell.init_files import in_the_way, put, unwritable
from vpnd.shell.init_questions import LOCAL_DATABASE, QUESTIONS, Answers, CheckName, Question, question_named
from vpnd.shell.init_sources import SecretUnreadable, gather, local_time_zone, secret_in
from vpnd.shell.init_terminal import _shown, printable
from vpnd.shell.init_verdict import Verdict, doubt, good, wrong
from vpnd.shell.init_writing import Layout, Planned, compose, next_steps, secrets_of

TOKEN = "123456789:AAH-secret-of-a-bot-nobody-may-see1"
CRYPTO = "500001:AAanother-secret-that-nobody-may-see"
NODE_TOKEN = "a-token-that-is-long-enough-for-anybody"
PIN = "5f1c7e0a9b3d42868d0f6a1be24c97530f8e6d7cb5a49382716050f4e3d2c1b0"

#: As few answers as a shop needs.
LEAST = {"telegram.token": TOKEN, "telegram.admins": "777"}
#: All that can be answered.
MOST = {
    **LEAST,
    "telegram.proxy": "socks5://127.0.0.1:1080",
    "database.url": "postgresql://shop:hidden-word@db.example:5432/shop",
    "instance.name": "best-shop",
    "shop.currency": "eur",
    "shop.languages": "en",
    "shop.time_zone": "Europe/Berlin",
    "shop.support": "@best_help",
    "pay": "cryptopay, yookassa",
    "cryptopay.token": CRYPTO,
    "yookassa.shop_id": "100500",
    "yookassa.secret_key": "test_a-secret-key-nobody-may-see",
    "http.public_url": "https://vpn.example.com/",
    "telegram.mode": "webhook",
    "node.name": "Berlin",
    "node.url": "https://203.0.113.10:8443",
    "node.token": NODE_TOKEN,
    "node.fingerprint": PIN.upper(),
}


def given(texts: dict[str, str]) -> dict[str, Given]:
    """Answers as if a script had given them."""
    return {name: Given(text, question_named(name).option) for name, text in texts.items()}


def answered(texts: dict[str, str], **options: Any) -> Answers:
    """All answers, with nothing checked."""
    return Dialogue(Answers(given=frozenset(texts), **options), given(texts), None, None).hold()


@define
class Played:
    """A person who types what a test says, and hears everything."""

    lines: list[str]
    settles: list[Literal["again", "change", "keep"]] = field(factory=list)
    asked: list[tuple[str, str | None, bool]] = field(factory=list)
    heard: list[str] = field(factory=list)

    def ask(self, question: Question, default: str | None, *, again: bool) -> str:
        self.asked.append((question.name, default, again))
        if not self.lines:
            raise EOFError
        return self.lines.pop(0) or default or ""

    def settle(self) -> Literal["again", "change", "keep"]:
        return self.settles.pop(0)

    def looks(self) -> None:
        self.heard.append("looking")

    def may_replace(self, places: Sequence[Path]) -> bool:
        raise AssertionError(places)

    def refused(self, question: Question, why: str) -> None:
        self.heard.append(f"{question.name} {why}")

    def told(self, question: Question, verdict: Verdict) -> None:
        self.heard.append(f"{question.name}: {verdict.kind}")

    @property
    def names(self) -> list[str]:
        """What was asked, in order."""
        return [name for name, _, _ in self.asked]


def checks(**verdicts: list[Verdict]) -> Callable[[CheckName, Answers], Verdict]:
    """Live checks that say what a test wants, one after the other, and then that all is good."""

    def check(name: CheckName, _answers: Answers) -> Verdict:
        waiting = verdicts.get(name)
        return waiting.pop(0) if waiting else good("fine")

    return check


# ------------------------------------------------------------------ questions


def test_the_command_line_has_every_question() -> None:
    """The list that is read without loading the questions is the same."""
    assert [(question.name, question.secret) for question in QUESTIONS] == list(_QUESTIONS)


def test_what_is_a_key_of_the_configuration_is_judged_as_one() -> None:
    """A secret here is one there, and every question of a key names one that there is."""
    for question in QUESTIONS:
        section, _, name = question.name.partition(".")
        if section in SECTIONS:
            assert keys_of(SECTIONS[section])[name].secret == question.secret, question.name
            assert question.variable == f"VPND_{section}__{name}".upper()
        else:
            assert question.variable is None
    assert question_named("telegram.api_base").option == "--telegram-api-base"
    assert question_named("yookassa.secret_key").option == "--yookassa-secret-key-file"


def test_every_question_that_is_asked_explains_itself() -> None:
    """Who does not know where a token comes from reads it; and who needs nothing else answers eleven times."""
    assert [question.name for question in QUESTIONS if question.asked and not question.hint] == []
    person = Played([TOKEN, "777", *[""] * 9])
    Dialogue(Answers(), {}, person, checks()).hold()
    assert len(person.names) == 11


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("telegram.token", "12:short", "must be a bot token"),
        ("telegram.token", "", "needs an answer"),
        ("telegram.admins", "me", "whole number"),
        ("database.url", "mysql://x", "must begin with postgresql://"),
        ("shop.currency", "GBX", "is no currency of a shop; there are USD, EUR"),
        ("shop.currency", "XTR", "is no currency of a shop"),
        ("shop.time_zone", "Mars/Base", "is no time zone"),
        ("shop.support", "call me", "must be a @name"),
        ("pay", "cash", "must be one of"),
        ("pay", "", "needs an answer"),
        ("http.public_url", "http://vpn.example.com", "must begin with https://"),
        ("node.name", "Berlin_1", "lower-case letters"),
        ("node.fingerprint", "abc", "must be a SHA-256"),
    ],
)
def test_a_malformed_answer_is_refused_with_what_is_allowed(name: str, text: str, fault: str) -> None:
    """The sentence completes the name of the key, as in every fault of the configuration."""
    with pytest.raises(ValueError, match=fault):
        Answers().put(question_named(name), text)


def test_defaults_follow_from_answers() -> None:
    """The bot's name makes the shop's, its currency the languages, the machine the time zone, what was given the ways to pay."""
    answers = Answers(zone="Europe/Riga", given={"cryptopay.token"}, learned={"bot": "Best_VPN_bot"})

    def default(name: str) -> str | None:
        return question_named(name).default(answers)

    assert default("instance.name") == "best-vpn"
    assert question_named("instance.name").default(Answers(learned={"bot": "Bot"})) == "my-shop"
    assert default("shop.languages") == "en, ru"
    answers.put(question_named("shop.currency"), "rub")
    assert default("shop.languages") == "ru, en"
    assert default("shop.time_zone") == "Europe/Riga"
    assert default("pay") == "stars, cryptopay"
    assert default("database.url") == LOCAL_DATABASE


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("", False),
        ("http://127.0.0.1:8080", False),
        ("https://127.0.0.1", False),
        ("https://vpn.example.com", True),
        ("https://vpn.example.com:8443", True),
        ("https://vpn.example.com:9443", False),
    ],
)
def test_a_webhook_is_offered_where_telegram_could_use_it(url: str, asked: bool) -> None:
    """Else the configuration would be refused, after all those answers."""
    answers = Answers()
    answers.put(question_named("http.public_url"), url)
    assert question_named("telegram.mode").needed(answers) is asked


# ------------------------------------------------------------------ the dialogue


def test_wrong_answers_are_asked_again_and_nothing_else_is() -> None:
    """A malformed one at once; one that a check refuses with itself as the default, since its remedy may lie outside."""
    person = Played([TOKEN[:9], TOKEN, "777", "postgresql://a/b", "", *[""] * 8])
    check = checks(database=[wrong("no such role", "make it"), good("there")])

    answers = Dialogue(Answers(), {}, person, check).hold()

    assert person.names[:5] == ["telegram.token"] * 2 + ["telegram.admins"] + ["database.url"] * 2
    assert person.asked[4] == ("database.url", "postgresql://a/b", True)
    assert answers.value("telegram.token") == TOKEN
    assert answers.value("database.url") == "postgresql://a/b"
    assert person.heard[0].startswith("telegram.token must be a bot token")
    assert "database.url: wrong" in person.heard


def test_a_check_says_which_answers_are_asked_again() -> None:
    """A refused key of YooKassa may be a wrong shop, and a node's fingerprint is not its address."""
    person = Played(
        [
            *("", "stars, yookassa", "1", "key-one-of-the-shop", "2", "key-two-of-the-shop"),
            *("", "berlin", "https://203.0.113.10:8443", NODE_TOKEN, PIN, PIN[::-1]),
        ]
    )
    check = checks(
        yookassa=[wrong("refused", "take the right ones", "yookassa.shop_id", "yookassa.secret_key")],
        node=[wrong("another certificate", "compare", "node.fingerprint")],
    )
    names = ("instance.name", "database.url", "shop.currency", "shop.languages", "shop.time_zone")
    texts = LEAST | {name: MOST[name] for name in names}

    answers = Dialogue(Answers(), given(texts), person, check).hold()

    assert person.names == [
        *(
            "shop.support",
            "pay",
            "yookassa.shop_id",
            "yookassa.secret_key",
            "yookassa.shop_id",
            "yookassa.secret_key",
        ),
        *("http.public_url", "node.name", "node.url", "node.token", "node.fingerprint", "node.fingerprint"),
    ]
    assert (answers.value("yookassa.shop_id"), answers.value("node.fingerprint")) == ("2", PIN[::-1])


def test_what_cannot_be_judged_is_tried_again_changed_or_kept() -> None:
    """The other side may be away: a person decides."""
    person = Played(
        [TOKEN, "777", "postgresql://away/one", "postgresql://away/two", *[""] * 8],
        ["again", "change", "keep"],
    )
    check = checks(database=[doubt("away", "start it")] * 3)

    answers = Dialogue(Answers(), {}, person, check).hold()

    assert person.names.count("database.url") == 2
    assert answers.value("database.url") == "postgresql://away/two"
    assert person.settles == []


def test_what_was_given_is_not_asked_unless_it_is_wrong() -> None:
    """Then it is the default of its question."""
    person = Played(["778"])
    check = checks(admins=[wrong("a group", "a person")])
    texts = LEAST | {
        question.name: question.default(Answers()) or ""
        for question in QUESTIONS
        if question.asked and question.needed(Answers()) and question.name not in LEAST
    }

    answers = Dialogue(Answers(), given(texts), person, check).hold()

    assert person.asked == [("telegram.admins", "777", True)]
    assert answers.value("telegram.admins") == (778,)


def test_a_person_may_go_back() -> None:
    """Step by step, to what was asked; each answer is the default of its question, and what was not gone back to stays."""
    person = Played([TOKEN, "777", "<", "<", "", "778", "<", "779", *[""] * 9])

    answers = Dialogue(Answers(), {}, person, checks()).hold()

    assert person.names[:8] == [
        *("telegram.token", "telegram.admins", "database.url", "telegram.admins"),
        *("telegram.token", "telegram.admins", "database.url", "telegram.admins"),
    ]
    assert person.asked[4] == ("telegram.token", TOKEN, True)
    assert answers.value("telegram.admins") == (779,)
    assert answers.value("telegram.token") == TOKEN
    stuck = Played([TOKEN, "777", "postgresql://a/b", "<", "778", *[""] * 9])
    check = checks(database=[wrong("no such role", "make it")])
    assert Dialogue(Answers(), {}, stuck, check).hold().value("telegram.admins") == (778,)
    first = Played(["<", TOKEN, "777", *[""] * 9])
    assert Dialogue(Answers(), {}, first, checks()).hold().value("telegram.token") == TOKEN


def test_an_answer_that_makes_others_needless_forgets_them() -> None:
    """Who takes a node's name back has no node's token left over."""
    answers = answered(MOST)
    answers.put(question_named("node.name"), "")
    answers.put(question_named("pay"), "stars")
    person = Played([])
    Dialogue(answers, given(MOST | {"node.name": "", "pay": "stars"}), person, None).hold()

    assert not {
        name for name in answers.values if name.startswith(("node.u", "node.t", "node.f", "crypto", "yoo"))
    }
    assert "nodes.berlin.token" not in secrets_of(answers, "x" * 32)


def test_an_agent_on_this_machine_is_taken_as_it_is_found() -> None:
    """Its token lies here, and nobody stands between: the certificate that it shows is its fingerprint; elsewhere it is not."""
    seen: list[str] = []

    def present(url: str) -> str | None:
        seen.append(url)
        return PIN

    for url, default in (("https://127.0.0.1:8443", PIN), ("https://203.0.113.10:8443", "")):
        person = Played([*[""] * 8, "berlin", url, NODE_TOKEN, ""])
        texts = given(LEAST)
        answers = Dialogue(Answers(agent_token=NODE_TOKEN), texts, person, checks(), present).hold()
        assert person.asked[-1] == ("node.fingerprint", default, False)
        assert answers.value("node.fingerprint") == (default or None)
    assert person.asked[-2][1] is None
    assert seen == ["https://127.0.0.1:8443"]


def test_the_end_of_the_input_ends_it() -> None:
    """Whatever was answered by then."""
    with pytest.raises(EOFError):
        Dialogue(Answers(), {}, Played([TOKEN]), checks()).hold()


# ------------------------------------------------------------------ without a terminal


def test_without_a_terminal_every_missing_answer_is_named_with_its_ways() -> None:
    """At once, before anything is looked at; what has a default is not among them."""
    token, admins = missing({}, Answers())

    ways = "--telegram-token-file, VPND_TELEGRAM__TOKEN or telegram.token in --answers"
    assert token == f"telegram.token is missing: Token of the bot. Give it by {ways}."
    assert admins.startswith("telegram.admins is missing")
    node = given(LEAST | {"node.name": "berlin", "node.url": "https://203.0.113.10:8443"})
    assert [fault.partition(" ")[0] for fault in missing(node, Answers())] == ["node.token"]
    assert missing(given(LEAST), Answers()) == []


def test_without_a_terminal_malformed_and_needless_answers_are_named() -> None:
    """With where they came from; what is there by chance, like a secret's file, may be needless."""
    texts = LEAST | {
        "shop.currency": "GBX",
        "telegram.mode": "webhook",
        "node.url": "https://203.0.113.10:8443",
    }
    faults = missing(given(texts) | {"cryptopay.token": Given(CRYPTO, "a file", found=True)}, Answers())

    assert [fault.partition(" ")[0] for fault in faults] == ["shop.currency", "telegram.mode", "node.url"]
    assert "(--shop-currency)" in faults[0]
    assert "is only needed with an http.public_url that Telegram can reach" in faults[1]


def test_with_a_terminal_what_nobody_is_asked_for_is_judged_beforehand() -> None:
    """No answer is given for nothing; and what was given and proves needless is told at the end."""
    texts = given({"cryptopay.api_base": "nowhere", "telegram.token": "malformed, but asked for"})
    assert [fault.partition(" ")[0] for fault in malformed(texts)] == ["cryptopay.api_base"]

    dialogue = Dialogue(Answers(), given(LEAST | {"telegram.mode": "webhook"}), Played([""] * 9), checks())
    dialogue.hold()
    assert [sentence.partition(" ")[0] for sentence in dialogue.unused()] == ["telegram.mode"]


def test_without_a_terminal_every_check_that_says_no_is_told() -> None:
    """All of them, with their remedies, a doubt as well as a fault."""
    check = checks(telegram=[wrong("refused", "another token")], database=[doubt("away", "start it")])

    with pytest.raises(ChecksFailed) as ended:
        Dialogue(Answers(), given(LEAST), None, check).hold()

    assert ended.value.faults == ("telegram.token: refused. another token", "database.url: away. start it")


# ------------------------------------------------------------------ sources


def test_the_nearest_source_wins(tmp_path: Path) -> None:
    """An option before the environment, that before the file of answers, that before a secret which is there already."""
    secrets, file = tmp_path / "credentials", tmp_path / "answers.toml"
    secrets.mkdir()
    (secrets / "telegram.token").write_text(TOKEN + "\n")
    (secrets / "cryptopay.token").write_text(CRYPTO)
    (tmp_path / "key").write_text("a-key-of-yookassa \n")
    file.write_text(
        'pay = ["stars", "yookassa"]\n[telegram]\nadmins = [1, 2]\n[shop]\ncurrency = "EUR"\nsupport = "@a_help"\n'
        '[yookassa]\nshop_id = "7"\nsecret_key_file = "key"\n[node]\nname = "oslo"\n'
    )
    options = {"shop.currency": "USD", "telegram.token": None}
    environ = {"VPND_SHOP__CURRENCY": "RUB", "VPND_SHOP__SUPPORT": "@b_help"}

    found = gather(options, environ, file, secrets, take_secrets=True)

    assert {name: one.text for name, one in found.items()} == {
        "telegram.token": TOKEN,
        "telegram.admins": "1, 2",
        "shop.currency": "USD",
        "shop.support": "@b_help",
        "pay": "stars, yookassa",
        "cryptopay.token": CRYPTO,
        "yookassa.shop_id": "7",
        "yookassa.secret_key": "a-key-of-yookassa",
        "node.name": "oslo",
    }
    assert found["telegram.token"].found
    assert (found["shop.currency"].source, found["shop.support"].source) == (
        "--shop-currency",
        "VPND_SHOP__SUPPORT",
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[shop\n", "is not TOML"),
        ('[shop]\ncurency = "RUB"\n', 'nobody asks for shop.curency, did you mean "shop.currency"?'),
        ("[telegram.admins]\na = 1\n", "must be a text, a number, or a list of them"),
        ('[telegram]\ntoken_file = "absent"\n', "absent cannot be read"),
    ],
)
def test_a_file_of_answers_with_a_fault_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    """With the name that is wrong and the nearest one that is right."""
    file = tmp_path / "answers.toml"
    file.write_text(text)
    with pytest.raises(AnswersWrong, match=fault.replace("?", r"\?")):
        gather({}, {}, file, tmp_path, take_secrets=False)
    with pytest.raises(AnswersWrong, match="cannot be read"):
        gather({}, {}, tmp_path / "no.toml", tmp_path, take_secrets=False)


def test_the_file_of_a_secret_is_small_text(tmp_path: Path) -> None:
    """Else it is another file than was meant; it is named and its content is not."""
    place = tmp_path / "secret"
    for content, fault in ((b"\xff\xfe", "is not UTF-8"), (b"x" * 70_000, "is larger than")):
        place.write_bytes(content)
        with pytest.raises(SecretUnreadable, match=fault):
            secret_in(place)


def test_this_machine_says_its_time_zone() -> None:
    """One that the configuration takes."""
    Answers().put(question_named("shop.time_zone"), local_time_zone())


# ------------------------------------------------------------------ what is written


def layout(folder: Path, *, systemd: bool = False) -> Layout:
    """Places below a folder."""
    drop_in = folder / "system" / "vpnd.service.d" / "credentials.conf" if systemd else None
    return Layout(folder / "vpnd.toml", folder / "credentials", drop_in)


@pytest.mark.parametrize("systemd", [False, True])
@pytest.mark.parametrize("texts", [LEAST, MOST], ids=["least", "most"])
def test_what_is_written_is_what_was_answered(tmp_path: Path, systemd: bool, texts: dict[str, str]) -> None:
    """The daemon reads from it each answer; secrets are in files of their own that their owner alone reads, and nowhere else."""
    answers = answered(texts)
    where = layout(tmp_path, systemd=systemd)
    files = compose(answers, where, secrets_of(answers, "w" * 32))
    assert put(files, where) == []

    environ = {"CREDENTIALS_DIRECTORY": str(where.secrets)} if systemd else {}
    settings = load_settings(where.config, environ, role="daemon")
    assert settings.telegram.token.reveal() == TOKEN
    assert settings.telegram.admins == (777,)
    assert settings.stars.enabled is ("pay" not in texts)
    if texts is MOST:
        assert settings.instance.name == "best-shop"
        assert (settings.shop.currency, settings.shop.languages, settings.shop.time_zone) == (
            "EUR",
            ("en",),
            "Europe/Berlin",
        )
        assert settings.shop.support == "@best_help"
        assert settings.database.url.reveal() == texts["database.url"]
        assert settings.telegram.proxy == texts["telegram.proxy"]
        assert settings.telegram.mode == "webhook"
        assert settings.telegram.webhook_secret == Secret("w" * 32)
        assert settings.cryptopay.token is not None
        assert settings.cryptopay.token.reveal() == CRYPTO
        assert settings.yookassa.shop_id == "100500"
        (node,) = settings.nodes
        assert (node.name, node.url, node.token.reveal(), node.fingerprint) == (
            "berlin",
            texts["node.url"],
            NODE_TOKEN,
            PIN,
        )

    config = where.config.read_text()
    for name in (question.name for question in QUESTIONS if question.secret and question.name in texts):
        assert texts[name] not in config
    for place in where.secrets.iterdir():
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(where.secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE(where.config.stat().st_mode) == (0o644 if systemd else 0o600)
    assert "# " + keys_of(SECTIONS["shop"])["currency"].doc in config


def test_systemd_is_told_of_the_secrets_that_the_unit_does_not_name(tmp_path: Path) -> None:
    """A line each, and no file where there is none to name."""
    answers = answered(MOST)
    where = layout(tmp_path, systemd=True)
    assert where.drop_in is not None
    put(compose(answers, where, secrets_of(answers, "w" * 32)), where)

    lines = [line for line in where.drop_in.read_text().splitlines() if line.startswith("LoadCredential=")]
    assert lines == [
        f"LoadCredential={name}:{where.secrets / name}"
        for name in (
            "cryptopay.token",
            "yookassa.secret_key",
            "telegram.webhook_secret",
            "nodes.berlin.token",
        )
    ]
    least = answered(LEAST)
    files = compose(least, where, secrets_of(least, ""))
    assert [file.path.name for file in files] == ["telegram.token", "database.url", "vpnd.toml"]


def test_what_was_not_answered_stands_there_to_be_filled_in(tmp_path: Path) -> None:
    """As a comment that is right once its mark is taken away."""
    answers = answered(LEAST)
    where = layout(tmp_path)
    (*_, config) = compose(answers, where, secrets_of(answers, ""))
    marks = ("# support", "# public_url", "# [[nodes]]", "# name", "# url", "# fingerprint")
    lines = config.text.splitlines()
    uncommented = "\n".join(line.removeprefix("# ") if line.startswith(marks) else line for line in lines)

    document = tomllib.loads(uncommented)
    assert document["shop"]["support"] == "@my_shop_support"
    assert document["http"]["public_url"].startswith("https://")
    assert document["nodes"][0]["name"] == "berlin"
    assert set(tomllib.loads(config.text)) == {"instance", "shop", "telegram", "database", "http"}


def test_nothing_is_written_over_without_a_copy(tmp_path: Path) -> None:
    """What is the same is left alone, what is another is kept beside it under a name that no reader of credentials takes."""
    where = layout(tmp_path)
    files = [
        Planned(where.secrets / "telegram.token", "new\n", 0o600),
        Planned(where.config, "same\n", 0o644),
    ]
    where.secrets.mkdir()
    (where.secrets / "telegram.token").write_text("old\n")
    where.config.write_text("same\n")
    inode = where.config.stat().st_ino

    assert in_the_way(files, where) == [where.secrets / "telegram.token"]
    (copy,) = put(files, where, now=datetime(2026, 11, 27, 5, 0, tzinfo=UTC))

    assert copy == where.secrets / ".telegram.token.20261127T050000.old"
    assert (copy.read_text(), stat.S_IMODE(copy.stat().st_mode)) == ("old\n", 0o600)
    assert (where.secrets / "telegram.token").read_text() == "new\n"
    assert where.config.stat().st_ino == inode
    assert in_the_way(files, where) == []


def test_a_place_that_cannot_be_written_to_is_known_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of folders that are not there yet the nearest one above counts."""
    where = Layout(tmp_path / "a" / "b" / "vpnd.toml", tmp_path / "a" / "credentials")
    assert unwritable(where) == []
    monkeypatch.setattr("os.access", lambda path, _mode: path != tmp_path)
    assert unwritable(where) == [tmp_path]


def test_what_is_left_to_do(tmp_path: Path) -> None:
    """As it is here: the unit's commands or the program's, plans in another currency, webhooks, a node."""
    answers = answered(MOST)
    text = "\n".join(next_steps(answers, layout(tmp_path, systemd=True), started_by_installer=False))
    for words in (
        "systemctl daemon-reload",
        "no price in EUR",
        "com/webhooks/cryptopay",
        "com/webhooks/yookassa",
    ):
        assert words in text
    assert "VPN node" not in text
    least = answered(LEAST, learned={"bot": "my_bot"})
    text = "\n".join(next_steps(least, layout(tmp_path), started_by_installer=False))
    assert f"vpnd run --config {tmp_path}/vpnd.toml" in text
    assert "Write /start to @my_bot" in text
    assert "Make a VPN node" in text
    assert "systemctl" not in "\n".join(
        next_steps(least, layout(tmp_path, systemd=True), started_by_installer=True)
    )


# ------------------------------------------------------------------ the terminal's words


def test_a_secret_is_never_shown() -> None:
    """Neither as a default nor when it is asked again; another default is, but for a password in it."""
    token, database, proxy = (
        question_named(name) for name in ("telegram.token", "database.url", "telegram.proxy")
    )
    assert _shown(token, None, again=False) == " (not shown)"
    assert _shown(token, TOKEN, again=True) == " (not shown) [the same again]"
    assert (
        _shown(database, LOCAL_DATABASE, again=False)
        == " (not shown) [the PostgreSQL of this machine, as vpnd]"
    )
    assert "hidden-word" not in _shown(proxy, "http://me:hidden-word@proxy:1", again=False)
    assert _shown(question_named("shop.support"), "", again=False) == ""


def test_other_peoples_names_do_not_steer_the_terminal() -> None:
    """A bot may be called anything."""
    assert printable("a\x1b[2Jb\rc") == "a [2Jb c"
