"""The texts, and what surrounds them: fallbacks, plurals, prices, HTML."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vpnd.bot
from vpnd.bot.apps import PLATFORMS
from vpnd.bot.counters import text_fallbacks_total
from vpnd.bot.handlers import COMMANDS
from vpnd.bot.markup import Markup, html_faults, visible_length
from vpnd.bot.screens.trouble import WORDS
from vpnd.bot.speech import Speech
from vpnd.bot.texts import LONGEST_KEPT, MOST_KEPT, Texts, check_locales, keys
from vpnd.sandbox.telegram_entities import parse_html
from vpnd.shop.money import Money


@pytest.fixture
def texts() -> Texts:
    """The real texts."""
    return Texts.load()


def fallbacks(reason: str) -> float:
    """How often a text fell back so far."""
    return float(text_fallbacks_total.labels(reason)._value.get())


def test_the_languages_are_complete() -> None:
    """Every language has every key with the same placeholders, in HTML that Telegram accepts."""
    assert check_locales() == []


@pytest.mark.parametrize(
    ("russian", "fault"),
    [
        ("", "greet is missing"),
        ("greet = Привет", "does not use $name"),
        ("greet = <div>{ $name }</div>", "<div>"),
        ("greet = <b>{ $name }", "never closed"),
        ("greet = { $name ->\n [one] <b>a</b>\n *[other] <b>b\n }", "never closed"),
        ("greet = { $name } & co", "bare '&'"),
        ("greet = { $name }&nbsp;", "&nbsp;"),
        ("greet = { $name }\ngreet = { $name }", "twice"),
        ("greet = { $name }\n} broken", "cannot be read"),
    ],
)
def test_the_check_finds(russian: str, fault: str) -> None:
    """Each kind of mistake in a translation is found and named."""
    faults = check_locales({"en": "greet = Hello { $name }", "ru": russian})

    assert any(fault in line for line in faults), faults


def test_the_check_measures_what_is_plain() -> None:
    """Buttons and alerts have Telegram's lengths and no HTML."""
    faults = check_locales({"en": f"button-a = {'x' * 41}\nalert-b = <b>x</b>\ninvoice-title = {'y' * 33}"})

    assert len(faults) == 3


def test_code_asks_only_for_texts_there_are() -> None:
    """Every key written in the code exists, and every text of the files is used."""
    known = keys()
    asked: set[str] = set()
    for path in Path(vpnd.bot.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                asked.add(node.value)
    prefixes = (
        "period-", "command-", "button-method-", "button-platform-", "money-", "button-figures-", "button-chart-", "figures-",
    )  # fmt: skip
    used = {key for key in known if key in asked or key.startswith(prefixes)}

    assert known - used == set()
    pattern = re.compile(r'\.(?:say|label)\(\s*"([^"]+)"')
    named = {m for p in Path(vpnd.bot.__file__).parent.rglob("*.py") for m in pattern.findall(p.read_text())}
    assert named - known == set()
    assert {f"command-{name}" for name in COMMANDS} | {f"button-platform-{name}" for name in PLATFORMS} | set(
        WORDS
    ) <= known


@pytest.mark.parametrize(
    ("language", "count", "words"),
    [
        ("en", 1, "1 day"), ("en", 2, "2 days"),
        ("ru", 1, "1 день"), ("ru", 3, "3 дня"), ("ru", 5, "5 дней"), ("ru", 11, "11 дней"), ("ru", 21, "21 день"),
    ],
)  # fmt: skip
def test_plurals(texts: Texts, language: str, count: int, words: str) -> None:
    """Each language counts in its own way."""
    assert texts.format(language, "period-days", count=count) == words


@pytest.mark.parametrize(
    ("days", "english", "russian"),
    [
        (7, "7 days", "7 дней"), (30, "1 month", "1 месяц"), (180, "6 months", "6 месяцев"), (365, "1 year", "1 год"),
        (730, "2 years", "2 года"),
    ],
)  # fmt: skip
def test_periods(texts: Texts, days: int, english: str, russian: str) -> None:
    """Days are told as people buy them."""
    assert (Speech(texts, "en").period(days), Speech(texts, "ru").period(days)) == (english, russian)


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (timedelta(days=30, seconds=-5), "30 days"), (timedelta(hours=47), "47 hours"),
        (timedelta(minutes=5), "less than an hour"),
        (timedelta(hours=-3), "less than an hour"), (timedelta(hours=1, minutes=1), "1 hour"),
    ],
)  # fmt: skip
def test_time_left(texts: Texts, rest: timedelta, words: str) -> None:
    """What is left is told in days, at the end in hours, and is never negative."""
    now = datetime(2026, 11, 23, tzinfo=UTC)

    assert Speech(texts, "en").left(now + rest, now) == words


@pytest.mark.parametrize(
    ("money", "english", "russian"),
    [
        (Money(19900, "RUB"), "199 ₽", "199 ₽"), (Money(149050, "RUB"), "1,490.50 ₽", "1 490,50 ₽"),
        (Money(150, "XTR"), "150 ⭐", "150 ⭐"),
        (Money(2_100_000, "USDT"), "2.10 USDT", "2,10 USDT"), (Money(1, "BTC"), "0.00000001 BTC", "0,00000001 BTC"),
        (Money(5, "USD"), "$0.05", "0,05 $"), (Money(700, "XYZ"), "7 XYZ", "7 XYZ"),
    ],
)  # fmt: skip
def test_prices(texts: Texts, money: Money, english: str, russian: str) -> None:
    """Prices are exact, with the separators of the language and no idle cents; no line ever ends within one."""
    said = (texts.money("en", money), texts.money("ru", money))

    assert said == (english.replace(" ", "\u00a0"), russian.replace(" ", "\u00a0"))


def test_dates(texts: Texts) -> None:
    """A day is written in the language's words, in UTC whatever zone it came in."""
    moment = datetime.fromisoformat("2026-12-31T23:30:00-05:00")

    assert (texts.date("en", moment), texts.date("ru", moment)) == ("1 January 2027", "1 января 2027")


def test_values_are_escaped_and_markup_is_not(texts: Texts) -> None:
    """A name cannot bring HTML along; what we made ourselves stays HTML; plain text stays as it is."""
    assert "&lt;b&gt;&amp;" in texts.format("en", "home-new", name="<b>&")
    assert "<code>x</code>" in texts.format("en", "invite", link=Markup("<code>x</code>"), count=0)
    assert texts.plain("en", "button-plan", title="A & B", price="<1>") == "A & B · from <1>"


def test_a_missing_text_falls_back_and_is_counted() -> None:
    """The language asked for, then English, then the key; each miss is counted, none raises."""
    texts = Texts.load(("ru", "en"), sources={"ru": "a = { $x }", "en": "a = en { $x }\nb = en"})
    before = {reason: fallbacks(reason) for reason in ("language", "message", "placeholder")}

    said = [
        texts.format("ru", "a", x=1), texts.format("ru", "b"), texts.format("ru", "c"),
        texts.format("ru", "a"), texts.format("de", "b"),
    ]  # fmt: skip

    assert said == ["1", "en", "c", "en x", "en"]
    assert {reason: fallbacks(reason) - before[reason] for reason in before} == {
        "language": 1, "message": 3, "placeholder": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "language"),
    [("ru", "ru"), ("ru-RU", "ru"), ("RU_ru", "ru"), ("de", "en"), (None, "en"), ("", "en")],
)
def test_the_language_of_a_stranger(texts: Texts, code: str | None, language: str) -> None:
    """Telegram's language code chooses ours; the first of the shop's is for all others."""
    assert texts.pick(code) == language
    assert Texts.load(("ru", "en")).pick("de") == "ru"


def test_visible_length_counts_as_telegram_does() -> None:
    """Tags and entities don't count, an emoji counts twice."""
    assert visible_length("<b>a&lt;b</b>🙂") == 5


_PIECES = (
    "<b>", "</b>", "<i>", "</i>", '<a href="x">', "<a href='x'>", "<a href=x>", "<a href=http://x>", "<a href>", "<a>", "</a>",
    "<code>", "</code>", "<pre>", "</pre>", "<!-- x -->", "<?x>", "<!DOCTYPE x>", "<![CDATA[x]]>", "<b/>", "<b >", "</b >", "<B>",
    "</B>", '<b class="x">', "<b x>", "<b/x>", "&lt;", "&lt", "&#39;", "&#x27;", "&#0;", "&amp;", "&", "<", ">", '"', "'", "=",
    "x", " ", "\n", "<blockquote>", "</blockquote>", "<tg-spoiler>", "</tg-spoiler>", '<a href="x', "<span>", "/>", "</>", "<>",
    "< b>",
)  # fmt: skip


@settings(max_examples=3000, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=7).map("".join))
def test_what_the_check_lets_pass_telegram_reads(text: str) -> None:
    """Whatever is found without a fault can be sent: another parser, written after the real server's grammar, agrees."""
    if html_faults(text) == []:
        parse_html(text)


def test_only_so_many_texts_are_kept() -> None:
    """What was said is kept as long as it is short and there is room; a long text with values is made anew each time."""
    texts = Texts.load()
    for count in range(MOST_KEPT + 10):
        texts.plain("en", "period-days", count=count)
    assert 0 < len(texts._kept) <= MOST_KEPT
    assert texts.plain("en", "period-days", count=1) != texts.plain("en", "period-days", count=2)

    before = len(texts._kept)
    texts.plain("en", "period-days", count="7" * LONGEST_KEPT)
    assert len(texts._kept) == before
