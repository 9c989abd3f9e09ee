"""plans.toml: what is on sale, as an operator writes it. Every fault is told at once, each with its key and remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from attrs import Factory, frozen

from vpnd.shop.money import EXPONENTS, MoneyError, parse_decimal

__all__ = ["OfferDraft", "PlanDraft", "PlansFault", "PlansFileError", "load_plans_file", "parse_plans"]

PLAN_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}\Z")
DAYS: Final = range(1, 3661)  # ten years: what the database takes
MAX_PLANS: Final = 50  # a keyboard with more is no keyboard
MAX_OFFERS: Final = 20
#: Characters of a title, which has to fit on a button, and of what is said about a plan, beside its prices.
MAX_TITLE: Final = 32
MAX_DESCRIPTION: Final = 300


@frozen
class OfferDraft:
    """A period of a plan and its prices, in minor units by currency."""

    days: int
    prices: Mapping[str, int]
    on_sale: bool = True


@frozen
class PlanDraft:
    """A plan as the file has it."""

    id: str
    titles: Mapping[str, str]
    offers: tuple[OfferDraft, ...]
    on_sale: bool = True
    descriptions: Mapping[str, str] = Factory(dict)


@frozen
class PlansFault:
    """One fault: where it stands and what to write there."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class PlansFileError(ValueError):
    """The file cannot be used; `faults` has all that is wrong with it."""

    def __init__(self, where: str, faults: Sequence[PlansFault]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{where}: " + "; ".join(map(str, faults)))


def load_plans_file(path: Path | None, *, currency: str | None = None) -> tuple[PlanDraft, ...]:
    """Read a plans file; None reads the example that comes with the package.

    `currency` is the shop's, in which every offer must then have a price. Blocking: a small file, read at
    start and on SIGHUP. Raises PlansFileError, also when there is no such file.
    """
    try:
        source = resources.files("vpnd.shop").joinpath("plans.toml") if path is None else path
        text = source.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PlansFileError(str(path), [PlansFault("(file)", f"cannot be read: {reason}")]) from error
    return parse_plans(text, where=str(path or "plans.toml"), currency=currency)


def parse_plans(
    text: str, *, where: str = "plans.toml", currency: str | None = None
) -> tuple[PlanDraft, ...]:
    """Parse the text of a plans file. Raises PlansFileError with every fault."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlansFileError(where, [PlansFault("(file)", f"is not TOML: {error}")]) from error
    reader = _Reader(currency)
    plans = reader.plans(document)
    if reader.faults:
        raise PlansFileError(where, reader.faults)
    return plans


class _Reader:
    """Walks the document and collects faults instead of stopping at the first."""

    def __init__(self, currency: str | None) -> None:
        self._currency = currency
        self.faults: list[PlansFault] = []

    def _fault(self, key: str, message: str) -> None:
        self.faults.append(PlansFault(key, message))

    def _known(self, table: Mapping[str, Any], key: str, names: set[str]) -> None:
        for name in sorted(set(table) - names):
            self._fault(f"{key}{name}", f"is not known; there are {', '.join(sorted(names))}")

    def _flag(self, table: Mapping[str, Any], key: str) -> bool:
        value = table.get("on_sale", True)
        if not isinstance(value, bool):
            self._fault(f"{key}.on_sale", "must be true or false")
        return bool(value)

    def plans(self, document: Mapping[str, Any]) -> tuple[PlanDraft, ...]:
        self._known(document, "", {"plans"})
        tables = document.get("plans")
        if not isinstance(tables, list) or not tables or not all(isinstance(one, dict) for one in tables):
            self._fault("plans", "write at least one [[plans]] table")
            return ()
        if len(tables) > MAX_PLANS:
            self._fault("plans", f"has {len(tables)} plans; keep at most {MAX_PLANS}")
            return ()
        found = tuple(self._plan(table, f"plans[{index}]") for index, table in enumerate(tables))
        seen: set[str] = set()
        for index, plan in enumerate(found):
            if plan.id in seen:
                self._fault(f"plans[{index}].id", f"{plan.id!r} is there twice; give each plan its own id")
            seen.add(plan.id)
        return found

    def _plan(self, table: Mapping[str, Any], key: str) -> PlanDraft:
        self._known(table, f"{key}.", {"id", "titles", "descriptions", "on_sale", "offers"})
        plan_id = table.get("id")
        if not isinstance(plan_id, str) or not PLAN_ID.match(plan_id):
            self._fault(
                f"{key}.id", "must be 1 to 32 of a-z, 0-9 and _, beginning with a letter, like 'basic'"
            )
            plan_id = ""
        offers = table.get("offers")
        if not isinstance(offers, list) or not offers or not all(isinstance(one, dict) for one in offers):
            self._fault(f"{key}.offers", "write at least one [[plans.offers]] table")
            offers = []
        if len(offers) > MAX_OFFERS:
            self._fault(f"{key}.offers", f"has {len(offers)} offers; keep at most {MAX_OFFERS}")
        found = tuple(self._offer(one, f"{key}.offers[{index}]") for index, one in enumerate(offers))
        days = [one.days for one in found]
        for index, one in enumerate(days):
            if one in days[:index]:
                self._fault(f"{key}.offers[{index}].days", f"{one} is there twice; a period has one offer")
        titles = self._words(table.get("titles"), f"{key}.titles", MAX_TITLE)
        said = table.get("descriptions")
        descriptions = {} if said is None else self._words(said, f"{key}.descriptions", MAX_DESCRIPTION)
        return PlanDraft(plan_id, titles, found, self._flag(table, key), descriptions)

    def _words(self, value: object, key: str, most: int) -> Mapping[str, str]:
        if not isinstance(value, dict) or not value:
            what = key.rpartition(".")[2]
            self._fault(key, f'must be a table of {what} by language, like {{ en = "Basic" }}')
            return {}
        for language, text in value.items():
            if not _LANGUAGE.match(language):
                self._fault(f"{key}.{language}", "is no language code; write one like en or ru")
            if not isinstance(text, str) or not 1 <= len(text.strip()) <= most:
                self._fault(f"{key}.{language}", f"must be a text of 1 to {most} characters")
        return {language: str(text).strip() for language, text in value.items()}

    def _offer(self, table: Mapping[str, Any], key: str) -> OfferDraft:
        self._known(table, f"{key}.", {"days", "prices", "on_sale"})
        days = table.get("days")
        if not isinstance(days, int) or isinstance(days, bool) or days not in DAYS:
            self._fault(f"{key}.days", f"must be a whole number of days, {DAYS[0]} to {DAYS[-1]}")
            days = 0
        return OfferDraft(days, self._prices(table.get("prices"), f"{key}.prices"), self._flag(table, key))

    def _prices(self, value: object, key: str) -> Mapping[str, int]:
        if not isinstance(value, dict) or not value:
            self._fault(key, 'must be a table of prices by currency, like { RUB = "199.00" }')
            return {}
        if self._currency is not None and self._currency not in value:
            self._fault(key, f'has no price in the shop\'s currency; add {self._currency} = "…"')
        prices: dict[str, int] = {}
        for currency, written in value.items():
            prices[currency] = self._price(written, currency, f"{key}.{currency}")
        return prices

    def _price(self, written: object, currency: str, key: str) -> int:
        if currency not in EXPONENTS:
            self._fault(key, f"is no currency known here; there are {', '.join(EXPONENTS)}")
            return 0
        if not isinstance(written, (str, int)) or isinstance(written, bool):
            self._fault(key, 'write the price in quotes, like "199.00": a number with a point is rounded')
            return 0
        try:
            amount = parse_decimal(str(written), currency).amount
        except MoneyError as error:
            self._fault(key, f'{error}; write it like "199.00"')
            return 0
        if amount <= 0:
            self._fault(key, "must be more than zero")
        return amount
