"""Texts that an operator has written: each fault named and its text alone refused, and nothing that could break the bot."""

from __future__ import annotations

import os
import re
from pathlib import Path

import attrs
import pytest
from screen_samples import screens

from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.speech import Speech
from vpnd.bot.texts import LANGUAGES, CurrentTexts, Texts, read_locale
from vpnd.bot.texts_folder import MOST_BYTES, MOST_FILES, load_texts, read_texts_folder

HELLO = "home-new = <b>Ahoy, { $name }!</b>\n"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    """One file of the folder."""
    place = folder / name
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    return place


def german() -> str:
    """A whole language that the package does not have: its words are English."""
    return read_locale("en").replace("button-this-language = English", "button-this-language = Deutsch")


def test_what_is_changed_is_said_and_all_else_stays(tmp_path: Path) -> None:
    """An override replaces its text in its language; other texts, other languages and the fallback are the package's."""
    write(tmp_path, "en.ftl", HELLO + "-brand = Fog & Sons\n" + 'button-buy = 🚀 Get { -brand }{ "!" }\n')

    texts, faults = load_texts(("en", "ru"), tmp_path)

    assert faults == ()
    assert texts.format("en", "home-new", name="<Jo>") == "<b>Ahoy, &lt;Jo&gt;!</b>"
    assert texts.plain("en", "button-buy") == "🚀 Get Fog & Sons!"
    assert texts.format("ru", "home-new", name="Jo") == Texts.load().format("ru", "home-new", name="Jo")
    assert texts.plain("en", "button-plans") == Texts.load().plain("en", "button-plans")


def test_a_value_may_be_left_out_and_choices_too(tmp_path: Path) -> None:
    """Whoever does not want the name writes it without; plurals may be fewer."""
    write(tmp_path, "en.ftl", "home-new = Hello!\nperiod-days = { $count } d\n")

    texts, faults = load_texts(("en",), tmp_path)

    assert faults == ()
    assert texts.format("en", "home-new", name="Jo") == "Hello!"
    assert texts.format("en", "period-days", count=2) == "2 d"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("home-nwe = x", "home-nwe", "is no text of the bot"),
        ("home-new = { $nmae }", "home-new", "$nmae, which is not given to it; there are: $name"),
        ("home-new = <div>{ $name }</div>", "home-new", "<div> is unknown to Telegram"),
        ("home-new = <b>{ $name }", "home-new", "<b> is never closed"),
        ("home-new = a & b", "home-new", "a bare '&'"),
        ("home-new = <{ $name }>", "home-new", "a value inside of a tag"),
        ("home-new = <a href={ $name }>x</a>", "home-new", "a value inside of a tag"),
        ("home-new = <a { $name }='x'>x</a>", "home-new", "a value inside of a tag"),
        ("home-new = <a href=https://example.org>x</a>", "home-new", "no tag that Telegram reads"),
        ("home-new = x <!-- later -->", "home-new", "no tag that Telegram reads"),
        ("home-new = a<b/>", "home-new", "no tag that Telegram reads"),
        ("button-buy = <b>Buy</b>", "button-buy", "is plain text, but contains HTML"),
        (f"button-buy = {'x' * 41}", "button-buy", "longer than 40"),
        (f"button-buy = {'🙂' * 21}", "button-buy", "longer than 40"),
        (f"home-new = {'x' * 2001}", "home-new", "longer than 2000"),
        (f"home-new = {'<b>x</b>' * 400}", "home-new", "longer than 2400 characters with its HTML"),
        ('home-new = {""}', "home-new", "can be empty"),
        ("home-new = <b></b>", "home-new", "can be empty"),
        ("home-new = {", "home-new", "cannot be read (line 1"),
        ("\n\nhome-new = { $name ->\n [one] x\n }", "home-new", "cannot be read (line 3"),
        ("what is this?", "", "cannot be read (line 1"),
        ("home-new = a\nhome-new = b", "home-new", "more than once"),
        ("home-new = { home-active }", "home-new", "write the words out"),
        ("home-new = { -brand }", "home-new", "-brand, which is not defined in this file"),
        ("-brand = { $name }\nhome-new = { -brand }", "home-new", "not defined in this file as plain words"),
        ("-brand = { $name }", "-brand", "plain words"),
        ('home-new = { NUMBER("x") }', "home-new", "calls NUMBER()"),
        ("home-new = x\n  .tip = y", "home-new", "has attributes"),
        ("home-new =\n  .tip = y", "home-new", "has attributes"),
        ("-bad = <i>\nhome-new = { -bad }", "home-new", "<i> is never closed"),
        (
            "home-new = x" + "".join("{ $name ->\n [a] a\n *[b] b\n }" for _ in range(8)),
            "home-new",
            "has 256 ways through its choices; 128",
        ),
        ("home-new = " + "{ $name ->\n *[b] " * 6 + "x" + "\n }" * 6, "home-new", "make it simpler"),
    ],
)  # fmt: skip
def test_a_text_with_a_fault_is_named_and_refused(tmp_path: Path, text: str, key: str, words: str) -> None:
    """The fault has file, key and what to do; the package's text stands, and the others of the file count."""
    write(tmp_path, "en.ftl", f"{text}\n\nhome-expired = Gone.\n")

    texts, faults = load_texts(("en",), tmp_path)

    assert {(fault.file, fault.key) for fault in faults} == {("en.ftl", key)} or key == "home-new"
    assert any(fault.key == key and words in fault.message for fault in faults), faults
    plain = Texts.load()
    assert texts.format("en", "home-new", name="Jo") == plain.format("en", "home-new", name="Jo")
    assert texts.plain("en", "button-buy") == plain.plain("en", "button-buy")
    assert texts.format("en", "home-expired", name="", until="") == "Gone."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("en.ftl", b"home-new = \xff\n", "is not UTF-8 (line 1)"),
        ("en.ftl", b"# x\n" * (MOST_BYTES // 4 + 1), "is larger than 256 kB"),
        ("en.ftl", b"home-new = a\x00b\n", "zero bytes"),
        ("en.ftl", b"home-new = " + b"{" * 50_000, ""),
        ("english.ftl", b"", "is called by no language"),
        ("EN.ftl", b"", "is called by no language"),
        ("xx.ftl", b"", "nobody knows plural rules"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    """The file is the fault; every text is the package's."""
    write(tmp_path, name, content)

    texts, faults = load_texts(LANGUAGES, tmp_path)

    assert len(faults) == 1
    assert (faults[0].file, words in faults[0].message) == (name, True)
    assert texts.languages == LANGUAGES
    assert "Hello, Jo" in texts.format("en", "home-new", name="Jo")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe, a folder and a link that leads nowhere are told and left."""
    os.mkfifo(tmp_path / "en.ftl")
    (tmp_path / "ru.ftl").mkdir()
    (tmp_path / "de.ftl").symlink_to(tmp_path / "nowhere")

    faults = read_texts_folder(tmp_path).faults

    assert [(fault.file, fault.message.split(":")[0]) for fault in faults] == [
        ("de.ftl", "cannot be read (No such file or directory)"), ("en.ftl", "is no file"), ("ru.ftl", "is no file"),
    ]  # fmt: skip


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The folder itself is named; without one nothing is looked for."""
    texts, faults = load_texts(("en",), tmp_path / "none")

    assert [fault.file for fault in faults] == [str(tmp_path / "none")]
    assert texts.languages == ("en",)
    assert load_texts(("en",), None)[1] == ()


def test_files_are_bounded_in_number(tmp_path: Path) -> None:
    """A folder that holds something else is not read to its end."""
    for number in range(MOST_FILES + 5):
        write(tmp_path, f"x{number:02}.ftl", "")

    faults = read_texts_folder(tmp_path).faults

    assert len(faults) == MOST_FILES + 1
    assert f"holds {MOST_FILES + 5} files" in str(faults[0])


def test_letters_of_other_systems(tmp_path: Path) -> None:
    """A byte order mark and lines that end in two letters are no fault; other files are nobody's business."""
    write(tmp_path, "en.ftl", b"\xef\xbb\xbf" + b"home-new =\r\n    Ahoy\r\n    there\r\n")
    write(tmp_path, "README.md", "not a text")

    texts, faults = load_texts(("en",), tmp_path)

    assert faults == ()
    assert texts.format("en", "home-new", name="") == "Ahoy\nthere"


# ------------------------------------------------------------------------------------------ other languages


def test_a_whole_language_is_offered_like_the_others(tmp_path: Path) -> None:
    """Listed or not, it is there, with its own name on its button; a stranger who speaks it is answered in it."""
    write(tmp_path, "de.ftl", german())

    texts, faults = load_texts(("en", "ru"), tmp_path)
    first, _ = load_texts(("de", "en"), tmp_path)

    assert faults == ()
    assert texts.languages == ("en", "ru", "de")
    assert first.languages == ("de", "en")
    assert texts.pick("de-AT") == "de"
    assert texts.plain("de", "button-this-language") == "Deutsch"
    for name, screen in screens(Speech(texts, "de")).items():
        assert screen.text, name


def test_a_language_that_is_not_whole_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    """One missing text, or one missing value, is named; nobody is offered half a language."""
    write(
        tmp_path, "de.ftl", german().replace("button-buy = ", "# ").replace("Ended: renew", "Zu Ende: renew")
    )
    write(tmp_path, "fr.ftl", "button-this-language = Français\n")
    write(tmp_path, "es.ftl", german().replace("Hello, { $name }!", "Hola!", 1))
    write(tmp_path, "it.ftl", german().replace("<b>Help</b>", "<b>Help", 1))

    texts, faults = load_texts(("en", "de"), tmp_path)

    assert texts.languages == ("en",)
    said = {fault.file: str(fault) for fault in faults if not fault.key}
    assert "button-buy is missing" in said["de.ftl"]
    assert re.search(r"; and \d{3} more$", said["fr.ftl"])
    assert "home-new does not use $name" in said["es.ftl"]
    assert any(fault.file == "it.ftl" and fault.key == "help" for fault in faults)
    assert any(fault.file == "[shop] languages" and fault.key == "de" for fault in faults)


def test_a_language_that_nobody_has_is_named(tmp_path: Path) -> None:
    """A code in the configuration without any texts is told, where it was passed over in silence."""
    texts, faults = load_texts(("en", "de"), None)

    assert texts.languages == ("en",)
    assert "bring a whole de.ftl" in str(faults[0])


def test_who_has_begun_to_speak_keeps_his_texts(tmp_path: Path) -> None:
    """An exchange is one assignment: who comes after it gets the new texts, who is speaking the old ones."""
    write(tmp_path, "en.ftl", HELLO)
    wording = CurrentTexts(Texts.load())
    deps = attrs.evolve(_dependencies(), texts=wording)
    speech = Speech(deps.texts, "en")

    wording.texts = load_texts(("en",), tmp_path)[0]

    assert "Hello, Jo" in speech.say("home-new", name="Jo")
    assert Speech(deps.texts, "en").say("home-new", name="Jo") == "<b>Ahoy, Jo!</b>"


def _dependencies() -> BotDependencies:
    """A bot that only its texts are asked of."""
    nobody: object = None
    return BotDependencies(
        db=nobody, sender=nobody, texts=Texts.load(), customers=nobody, terms={}, topups=nobody, switches=nobody,
    )  # type: ignore[arg-type]  # fmt: skip
