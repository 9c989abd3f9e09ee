"""Languages that are written from the right, and languages with other plurals, proven on small ones of the tests' own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from screen_samples import screens

from vpnd.bot.direction import FIRST_STRONG_ISOLATE as FSI
from vpnd.bot.direction import POP_ISOLATE as PDI
from vpnd.bot.direction import RIGHT_TO_LEFT_MARK as RLM
from vpnd.bot.direction import is_right_to_left
from vpnd.bot.markup import code, html_faults
from vpnd.bot.speech import Speech
from vpnd.bot.texts import Texts, read_locale
from vpnd.sandbox.telegram_entities import parse_html, utf16_length
from vpnd.shop.money import Money

ARABIC = """
hello = <b>مرحبا { $name }!</b>
until = { $title } متاح حتى { $until }
brand = <b>VPN</b> سريع
list =
    VPN سريع
    سريع VPN
    https://example.org
link = الرابط: { $link }
command = اكتب <code>/refund { $provider }:{ $charge }</code> هنا
address = <a href="https://example.org/{ $name }">افتح</a>
block =
    <pre>first
    ثانية</pre>
only = { $name }
button-go = VPN الآن: { $price }
date = { $day } { $month ->
       *[other] نوفمبر
    } { $year }
days = { $count ->
        [zero] بلا أيام
        [one] يوم واحد
        [two] يومان
        [few] { $count } أيام
        [many] { $count } يومًا
       *[other] { $count } يوم
    }
money-rub = { $amount } روبل
"""

POLISH = """
days = { $count ->
        [one] { $count } dzień
        [few] { $count } dni-few
        [many] { $count } dni-many
       *[other] { $count } dnia
    }
"""

SOURCES = {"ar": ARABIC, "pl": POLISH, "en": "days = { $count }\nlink = Link: { $link }"}


@pytest.fixture
def texts() -> Texts:
    """The small languages."""
    return Texts.load(("en", "ar", "pl"), sources=SOURCES)


@pytest.mark.parametrize("language", ["ar", "fa", "he", "ur"])
def test_languages_from_the_right_are_known(language: str) -> None:
    """By the Unicode tables, not by a list of ours."""
    assert is_right_to_left(language)


@pytest.mark.parametrize("language", ["en", "ru", "de", "xx", ""])
def test_all_others_are_not(language: str) -> None:
    """What is not known is written from the left."""
    assert not is_right_to_left(language)


def test_a_value_is_isolated(texts: Texts) -> None:
    """A Latin name does not turn the words around it; in a language from the left there are no marks."""
    assert texts.format("ar", "hello", name="Anna <3") == f"<b>مرحبا {FSI}Anna &lt;3{PDI}!</b>"
    assert texts.format("en", "link", link="x") == "Link: x"


def test_a_line_that_begins_with_a_latin_word_is_still_laid_out_from_the_right(texts: Texts) -> None:
    """The mark stands before the tag and only where it is needed: not on a line that is Latin altogether."""
    assert texts.format("ar", "brand") == f"{RLM}<b>VPN</b> سريع"
    assert texts.format("ar", "list") == f"{RLM}VPN سريع\nسريع VPN\nhttps://example.org"
    assert texts.plain("ar", "button-go", price="5").startswith(RLM + "VPN")
    assert texts.format("ar", "only", name="Anna") == "Anna"


def test_a_value_at_the_beginning_does_not_decide(texts: Texts) -> None:
    """What stands in isolation is passed over: the first letter that counts comes after it."""
    said = texts.format("ar", "until", title="Basic", until=datetime(2026, 11, 23, tzinfo=UTC))

    assert said.startswith(f"{FSI}Basic{PDI} متاح")
    # All of a date's parts are values: nothing else could decide its direction.
    assert texts.date("ar", datetime(2026, 11, 23, tzinfo=UTC)).startswith(RLM + FSI)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("link", {"link": code("https://example.org/sub/x")}),
        ("command", {"provider": "stars", "charge": "c1"}),
        ("address", {"name": "x"}),
        ("block", {}),
    ],
)
def test_what_is_copied_holds_no_marks(texts: Texts, key: str, values: dict[str, str]) -> None:
    """Links, codes and addresses come out of a tap as they went in, and Telegram's parser takes the text."""
    said = texts.format("ar", key, **values)

    text, entities = parse_html(said)
    units = text.encode("utf-16-le")
    assert html_faults(said) == []
    assert len(entities) == 1
    for entity in entities:
        start, end = entity["offset"] * 2, (entity["offset"] + entity["length"]) * 2
        copied = units[start:end].decode("utf-16-le") + entity.get("url", "")
        assert not {FSI, PDI, RLM} & set(copied), copied
        assert "example.org" in copied or "refund stars:c1" in copied or "first\nثانية" in copied


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "بلا أيام"), (1, "يوم واحد"), (2, "يومان"), (3, "3 أيام"), (10, "10 أيام"), (11, "11 يومًا"), (99, "99 يومًا"),
     (100, "100 يوم"), (102, "102 يوم"), (103, "103 أيام")],
)  # fmt: skip
def test_arabic_counts_in_six_ways(texts: Texts, count: int, words: str) -> None:
    """Each plural form of the language comes up for the numbers it is for."""
    assert (
        texts.format("ar", "days", count=count).translate({ord(mark): None for mark in (FSI, PDI, RLM)})
        == words
    )


@pytest.mark.parametrize(
    ("count", "word"),
    [(1, "dzień"), (2, "dni-few"), (4, "dni-few"), (5, "dni-many"), (12, "dni-many"), (22, "dni-few")],
)
def test_polish_counts_in_three(texts: Texts, count: int, word: str) -> None:
    """A third language needs no code of ours."""
    assert texts.format("pl", "days", count=count) == f"{count} {word}"


def test_prices_and_numbers_stay_whole(texts: Texts) -> None:
    """A price is one piece among the words, its digits in their order."""
    said = texts.money("ar", Money(149050, "RUB"))

    assert f"{FSI}1,490.50{PDI} روبل" in said


@pytest.mark.parametrize("language", ["ar", "he"])
def test_every_screen_survives_the_marks(language: str) -> None:
    """A whole language from the right: marks break no HTML, and get into nothing that is copied or opened."""
    speech = Speech(Texts.load(("en",), brought={language: read_locale("en")}), language)

    for name, screen in screens(speech).items():
        assert html_faults(screen.text) == [], name
        text, entities = parse_html(screen.text)
        assert 0 < utf16_length(text) <= (1024 if screen.qr else 4096), name
        for entity in entities:
            if entity["type"] in ("code", "pre"):
                start, end = 2 * entity["offset"], 2 * (entity["offset"] + entity["length"])
                copied = text.encode("utf-16-le")[start:end].decode("utf-16-le")
                assert not {FSI, PDI, RLM} & set(copied), (name, copied)
            assert not {FSI, PDI, RLM} & set(entity.get("url", "")), name
        for button in (button for row in screen.rows for button in row):
            assert not {FSI, PDI, RLM} & set((button.url or "") + (button.copy or "")), (name, button)
