"""Everything the bot says, in the languages of the people it says it to.

The texts are Fluent files in `locales/`, one a language, with the plural rules and number formats of that language. A
text can never break a handler: a language we don't have, a message a translation lacks or a value that was not given
fall back (the language asked for, then English, then the key itself) and are counted, and `check_locales` proves
beforehand that none of it should happen. An operator's own words come on top of these: see `vpnd.bot.texts_folder`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from datetime import date as calendar_day
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from itertools import product
from typing import Any, Final, TypeVar

import attrs
from fluent.runtime import FluentBundle, FluentResource
from fluent.runtime.types import FluentNumber, fluent_number
from fluent.syntax import FluentParser, ast

from vpnd.bot.counters import text_fallbacks_total
from vpnd.bot.direction import is_right_to_left, written_from_the_right
from vpnd.bot.markup import Markup, escape, has_value_in_tag, html_faults, visible_length
from vpnd.runtime.journal import get_journal
from vpnd.shop.money import EXPONENTS, Money

log = get_journal("bot")

Written = TypeVar("Written", Money, calendar_day)

FALLBACK: Final = "en"
LANGUAGES: Final = ("en", "ru")  # the languages there is a file for

# Telegram's limits, in characters, of what is shown elsewhere than in a message. Keys with these beginnings are plain
# text, not HTML.
PLAIN_LIMITS: Final = {
    "button-": 40,  # ours: a longer label is cut off on a phone
    "alert-": 200,
    "command-": 256,
    "bot-description": 512,
    "bot-short-description": 120,
    "page-": 200,
    "invoice-title": 32,
    "invoice-description": 255,
}
_MAX_TEXT: Final = 4096
_TOLD_LIMIT: Final = 500
_WRITTEN_LIMIT: Final = 5_000  # prices and days that are kept as they are written, half a megabyte
#: Texts that are kept as they were made, values and all, and the letters that one with values may have: labels, periods, prices,
#: two megabytes of them at most. Longer ones speak of one person and are not asked for again.
MOST_KEPT: Final = 4_000
LONGEST_KEPT: Final = 120
_VALUE: Final = "\ue000"  # a letter of nobody's, which stands for a value while a text is judged


def read_locale(language: str) -> str:
    """The Fluent source of one language that comes with the package."""
    return (files("vpnd.bot") / "locales" / f"{language}.ftl").read_text(encoding="utf-8")


@lru_cache(maxsize=4)
def parse(source: str) -> ast.Resource:
    """Parse the Fluent source of a language. It takes 0.1 s, so the latest are kept: change nothing in what you get.

    Nothing in it says where it stood in the source: that would be half of its memory.
    """
    return FluentParser(with_spans=False).parse(source)


@attrs.define
class Texts:
    """Texts of several languages. Reading is pure and quick; build it with `Texts.load`."""

    languages: tuple[str, ...]
    _bundles: dict[str, FluentBundle]
    _told: set[tuple[str, str]] = attrs.field(
        factory=set
    )  # a gap is counted each time and written to the journal once
    _written: dict[tuple[str, object], str] = attrs.field(factory=dict, init=False, repr=False)
    _misses: int = attrs.field(default=0, init=False)
    _kept: dict[Any, str] = attrs.field(factory=dict, init=False, repr=False)

    @classmethod
    def load(
        cls,
        languages: Sequence[str] = LANGUAGES,
        *,
        sources: Mapping[str, str] | None = None,
        overrides: Mapping[str, str] | None = None,
        brought: Mapping[str, str] | None = None,
    ) -> "Texts":
        """Read the files of `languages`; the first one is for those whose own language is not among them.

        Reads files: call it in a thread or at start.

        Args:
            languages: in the order in which they are offered.
            sources: replaces the package's files; language to Fluent text, as the others.
            overrides: texts that replace those of the same key.
            brought: whole languages that the package does not have; those that `languages` does not name are offered last.
        """
        bundles: dict[str, FluentBundle] = {}
        own, changed = dict(brought or {}), overrides or {}
        wanted = tuple(dict.fromkeys([*languages, *own]))
        for language in dict.fromkeys([*wanted, FALLBACK]):
            if sources is not None:
                source = sources.get(language, "")
            elif language in LANGUAGES:
                source = read_locale(language)
            elif language in own:
                source = own[language]
            else:
                continue
            # Isolation marks are for mixed writing directions; elsewhere they are invisible letters that get copied along.
            bundle = FluentBundle([language], use_isolating=is_right_to_left(language))
            bundle.add_resource(parse(source))
            if language in changed:
                bundle.add_resource(FluentResource(changed[language]), allow_overrides=True)
            bundles[language] = bundle
        kept = tuple(language for language in wanted if language in bundles) or (FALLBACK,)
        return cls(kept, bundles)

    @property
    def default(self) -> str:
        """The language for those who speak none of ours: the first of the shop's."""
        return self.languages[0]

    def pick(self, code: str | None) -> str:
        """Our language for Telegram's `language_code` ("ru", "pt-br", None)."""
        primary = (code or "").replace("_", "-").split("-")[0].lower()
        return primary if primary in self.languages else self.default

    def format(self, language: str, key: str, /, **values: Any) -> str:
        """The text `key` as Telegram HTML. Values are escaped, unless they are `Markup`.

        A `datetime` becomes a date, a `Money` a price, as the language writes them; an `int` chooses the plural form.
        Never raises: see the module's words on fallbacks.
        """
        return self._format(language, key, values, html=True)

    def plain(self, language: str, key: str, /, **values: Any) -> str:
        """The text `key` where Telegram knows no HTML: buttons, alerts, commands, invoices."""
        return self._format(language, key, values, html=False)

    def _format(self, language: str, key: str, values: Mapping[str, Any], *, html: bool) -> str:
        # Half of what a screen says takes no values, and most of the rest says a price, a plan or a number of days: it is what it
        # was.
        asked: Any = (language, key, html)
        if values:
            asked = (*asked, *((name, type(value), value) for name, value in values.items()))
        try:
            kept = self._kept.get(asked)
        except TypeError:  # a value that cannot be a key
            return self._format_anew(language, key, values, html=html)
        if kept is None:
            missed = self._misses
            kept = self._format_anew(language, key, values, html=html)
            # A gap is looked for, and counted, each time.
            if self._misses == missed and (not values or len(kept) <= LONGEST_KEPT):
                if len(self._kept) >= MOST_KEPT:
                    self._kept.clear()
                self._kept[asked] = kept
        return kept

    def _format_anew(self, language: str, key: str, values: Mapping[str, Any], *, html: bool) -> str:
        for candidate in dict.fromkeys([language, FALLBACK]):
            bundle = self._bundles.get(candidate)
            if bundle is None:
                self._missed("language", language, key)
                continue
            if not bundle.has_message(key):
                self._missed("message", candidate, key)
                continue
            pattern = bundle.get_message(key).value
            if pattern is None:
                self._missed("message", candidate, key)
                continue
            prepared = {name: self._prepare(candidate, value, html=html) for name, value in values.items()}
            text, errors = bundle.format_pattern(pattern, prepared)
            if errors:
                self._missed("placeholder", candidate, key)
                if candidate != FALLBACK:
                    continue
            if not isinstance(text, str):
                return key
            return written_from_the_right(text, html=html) if bundle.use_isolating else text
        return key

    def _prepare(self, language: str, value: Any, *, html: bool) -> Any:
        """A value as Fluent takes it: numbers and dates keep their type, all else is text."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int | FluentNumber):
            return value
        if isinstance(value, datetime):
            return self.date(language, value)
        if isinstance(value, Money):
            return self.money(language, value)
        if isinstance(value, Markup):
            return str(value)
        return escape(value) if html else str(value)

    def date(self, language: str, moment: datetime) -> str:
        """A day in UTC: `23 November 2026`."""
        return self._once(language, moment.astimezone(UTC).date(), self._date)

    def _date(self, language: str, day: calendar_day) -> str:
        # The day and the year are words here: as numbers they would get separators, 2,026.
        return self.plain(language, "date", day=str(day.day), month=day.month, year=str(day.year))

    def money(self, language: str, money: Money) -> str:
        """A price: `1,490 ₽` in English, `1 490 ₽` in Russian; whole amounts without cents."""
        return self._once(language, money, self._money)

    def _once(self, language: str, value: Written, write: Callable[[str, Written], str]) -> str:
        """Write a price or a day, or take it as it was written before: a shop has few prices, and balances come again."""
        known = self._written.get((language, value))
        if known is None:
            if len(self._written) >= _WRITTEN_LIMIT:
                self._written.clear()
            missed = self._misses
            known = write(language, value)
            if self._misses == missed:
                self._written[language, value] = known
        return known

    def _money(self, language: str, money: Money) -> str:
        exponent = EXPONENTS.get(money.currency, 2)
        amount = Decimal(money.amount).scaleb(-exponent)
        whole = amount == amount.to_integral_value()
        # Two places at least when there are any: 1.50 and not 1.5; more only where the currency has them.
        number = fluent_number(
            amount, minimumFractionDigits=0 if whole else min(2, exponent), maximumFractionDigits=exponent
        )
        key = f"money-{money.currency.lower()}"
        bundle = self._bundles.get(language) or self._bundles[FALLBACK]
        if not bundle.has_message(key):
            key = "money-other"
        return self._format(language, key, {"amount": number, "currency": money.currency}, html=False)

    def _missed(self, reason: str, language: str, key: str) -> None:
        self._misses += 1
        text_fallbacks_total.labels(reason).inc()
        if (language, key) in self._told or len(self._told) >= _TOLD_LIMIT:
            return
        self._told.add((language, key))
        log.warning(
            "text.missing",
            message=f"the text {key!r} fell back in {language!r}: {reason}",
            key=key,
            language=language,
            reason=reason,
        )


@attrs.define
class CurrentTexts:
    """The texts in force. They are exchanged as a whole; whoever has begun to speak keeps those that it began with."""

    texts: Texts


def as_current(texts: Texts | CurrentTexts) -> CurrentTexts:
    """Texts that are never exchanged, where nobody does."""
    return texts if isinstance(texts, CurrentTexts) else CurrentTexts(texts)


# ---------------------------------------------------------------------------------------------- the check of the files


def expand(element: Any, value: str = "x") -> Iterator[str]:
    """Every text a pattern can become, each placeholder shown as `value`: one for each way through its choices."""
    if isinstance(element, ast.Pattern):
        for parts in product(*(list(expand(part, value)) for part in element.elements)):
            yield "".join(parts)
    elif isinstance(element, ast.TextElement):
        yield element.value
    elif isinstance(element, ast.Placeable):
        yield from expand(element.expression, value)
    elif isinstance(element, ast.SelectExpression):
        for variant in element.variants:
            yield from expand(variant.value, value)
    elif isinstance(element, ast.StringLiteral):
        yield str(element.parse()["value"])
    else:
        yield value


def variables(node: Any) -> set[str]:
    """The names of the values a pattern takes."""
    found: set[str] = set()

    def walk(part: Any) -> None:
        if isinstance(part, ast.VariableReference):
            found.add(part.id.name)
        if isinstance(part, ast.BaseNode):
            for value in vars(part).values():
                walk(value)
        elif isinstance(part, list):
            for value in part:
                walk(value)

    walk(node)
    return found


def _limit_of(key: str) -> int | None:
    return next((limit for start, limit in PLAIN_LIMITS.items() if key.startswith(start)), None)


def faults_of(key: str, pattern: Any, most: int = _MAX_TEXT) -> Iterator[str]:
    """What is wrong with a text, as ends of sentences, for each way through its choices.

    `most` is how long it may be where it is HTML, as Telegram counts: in UTF-16 units, and not in letters.
    """
    limit = _limit_of(key)
    for text in expand(pattern, "x" if limit is not None else _VALUE):
        if limit is None:
            yield from html_faults(text)
            if visible_length(text) > most:
                yield f"is longer than {most} characters"
            if has_value_in_tag(text, _VALUE):
                yield "has a value inside of a tag: put it between double quotes there"
        else:
            if "<" in text or "&lt;" in text or "&amp;" in text:
                yield "is plain text, but contains HTML"
            if len(text.encode("utf-16-le")) // 2 > limit:
                yield f"is longer than {limit} characters: {text!r}"


def messages(language: str, source: str, faults: list[str]) -> dict[str, Any]:
    """The patterns of one file by key; what cannot be read is added to `faults`."""
    patterns: dict[str, Any] = {}
    for entry in parse(source).body:
        if isinstance(entry, ast.Junk):
            faults.append(f"{language}: cannot be read: {(entry.content or '').strip().splitlines()[0]!r}")
        elif isinstance(entry, ast.Message):
            if entry.id.name in patterns:
                faults.append(f"{language}: {entry.id.name} is there twice")
            patterns[entry.id.name] = entry.value
    return patterns


def check_locales(sources: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with the languages' files, one sentence each; empty when nothing.

    Every language has the same keys, each with the same placeholders; each way through the plurals is HTML that
    Telegram accepts, or plain text of a length it accepts where it knows no HTML. `sources` (language to Fluent text)
    replaces the package's files.
    """
    if sources is None:
        sources = {language: read_locale(language) for language in LANGUAGES}
    faults: list[str] = []
    read = {language: messages(language, source, faults) for language, source in sources.items()}
    every_key = sorted({key for patterns in read.values() for key in patterns})
    for key in every_key:
        names = {language: variables(patterns[key]) for language, patterns in read.items() if key in patterns}
        faults.extend(f"{language}: {key} is missing" for language in read if language not in names)
        every_name = set().union(*names.values())
        for language, own in names.items():
            faults.extend(f"{language}: {key} does not use ${name}" for name in sorted(every_name - own))
            faults.extend(
                f"{language}: {key} {fault}" for fault in dict.fromkeys(faults_of(key, read[language][key]))
            )
    return faults


def keys() -> set[str]:
    """The keys of the English file: what code may ask for."""
    return set(messages(FALLBACK, read_locale(FALLBACK), []))
