"""For operators: the catalogue. Its rooms, plans with their words and history, periods with their prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vpnd.bot.button_data import Action
from vpnd.bot.callbacks import Home
from vpnd.bot.catalogue_callbacks import (
    Catalogue,
    DiscountList,
    DropPrice,
    GiveBack,
    MovePlan,
    NewPeriod,
    NewPlan,
    NewPrice,
    OnePeriod,
    OnePlan,
    PeriodOff,
    PeriodSale,
    PlanHistory,
    PlanList,
    PlanOff,
    PlanSale,
    PlanWords,
    PromoList,
    TextLanguages,
    WaysToPay,
    WriteDescription,
    WritePrice,
    WriteTitle,
)
from vpnd.bot.catalogue_words import currency_number
from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.screens.desk import PAGE, entry_lines
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.audit_log import Entry
from vpnd.shop.catalogue import CataloguePlan, Period, Refusal
from vpnd.shop.money import Money

#: Plans of one screen (a message has at most 100 pieces of formatting, and a plan two), and letters of what is said about one.
_MOST: Final = 48
_SHOWN: Final = 60
_DESCRIPTION: Final = 120
_TITLE: Final = 24
#: Letters of a shop's own words on a button.
LABEL: Final = 32

ROOMS: Final[tuple[tuple[str, Action], ...]] = (
    ("button-plans-edit", PlanList()),
    ("button-promos", PromoList()),
    ("button-discounts", DiscountList()),
    ("button-texts", TextLanguages()),
    ("button-ways", WaysToPay()),
)


def back(speech: Speech, to: Action) -> Row:
    """The way back, and home."""
    return (Button(speech.label("button-back"), to), Button(speech.label("button-home"), Home()))


def rooms(speech: Speech) -> Screen:
    """What there is to edit."""
    buttons = [Button(speech.label(key), action) for key, action in ROOMS]
    pairs = [tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2)]
    desk = (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home()))
    return Screen(speech.say("catalogue"), (*pairs, desk))


def refused(speech: Speech, reason: Refusal) -> str:
    """Why an edit is refused, and what to do about it."""
    return speech.say("catalogue-refused", reason=reason)


def confirm(speech: Speech, text: str, yes: Action, no: Action) -> Screen:
    """A question, with what will happen in `text`."""
    return Screen(text, ((Button(speech.label("button-catalogue-yes"), yes),), back(speech, no)))


def ask(speech: Speech, text: str, to: Action, *, preface: str | None = None) -> Screen:
    """The request to write something; `preface` is HTML said before: what was wrong with the last words."""
    return Screen(paragraphs(preface, text), (back(speech, to),))


# ------------------------------------------------------------------------------------------ plans


def plans(speech: Speech, found: Sequence[CataloguePlan], *, preface: str | None = None) -> Screen:
    """All plans in their order, with a button each."""
    lines = [
        speech.say(
            "catalogue-plan-line",
            title=plan.title(speech.language)[:_TITLE],
            id=plan.id,
            state="on" if plan.on_sale else "off",
            count=len([period for period in plan.periods if period.on_sale]),
        )
        for plan in found[:_MOST]
    ]
    buttons = [
        Button(speech.label("button-plan-edit", title=plan.title(speech.language)[:LABEL]), OnePlan(plan.id))
        for plan in found[:_MOST]
    ]
    rows: list[Row] = [tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2)]
    rows.append((Button(speech.label("button-plan-new"), NewPlan()),))
    text = paragraphs(
        preface, speech.say("catalogue-plans"), "\n".join(lines) or speech.say("catalogue-plans-none")
    )
    return Screen(text, (*rows, back(speech, Catalogue())))


def _prices(speech: Speech, period: Period) -> str:
    """As many of the prices as fit on a line."""
    said = ""
    for currency, amount in period.prices.items():
        longer = f"{said} · {speech.price(Money(amount, currency))}".removeprefix(" · ")
        if len(longer) > _SHOWN:
            return f"{said}, …"
        said = longer
    return said or "–"


def plan(speech: Speech, one: CataloguePlan, *, preface: str | None = None) -> Screen:
    """A plan, and what can be done with it."""
    lines = [
        speech.say(
            "catalogue-period-line",
            period=speech.period(period.days),
            prices=_prices(speech, period),
            state="on" if period.on_sale else "off",
        )
        for period in one.periods
    ]
    buttons = [
        Button(
            speech.label("button-period-edit", period=speech.period(period.days)), OnePeriod(period.offer_id)
        )
        for period in one.periods
    ]
    rows: list[Row] = [tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2)]
    sale = PlanOff(one.id) if one.on_sale else PlanSale(one.id, 1, 0)
    rows += [
        (
            Button(speech.label("button-period-new"), NewPeriod(one.id)),
            Button(speech.label("button-plan-words"), PlanWords(one.id)),
        ),
        (
            Button(speech.label("button-move-up"), MovePlan(one.id, 1)),
            Button(speech.label("button-move-down"), MovePlan(one.id, 0)),
        ),
        (
            Button(speech.label("button-off-sale" if one.on_sale else "button-on-sale"), sale),
            Button(speech.label("button-history-of"), PlanHistory(one.id)),
        ),
    ]
    if one.edited_at is not None or one.moved:
        rows.append((Button(speech.label("button-give-back"), GiveBack(one.id)),))
    text = speech.say(
        "catalogue-plan",
        title=one.title(speech.language),
        id=one.id,
        state="on" if one.on_sale else "off",
        edited="yes" if one.edited_at is not None else "no",
    )
    said = one.descriptions.get(speech.language) or one.descriptions.get("en")
    about = speech.say("catalogue-said", text=said) if said else None
    periods = "\n".join(lines) or speech.say("catalogue-no-period")
    return Screen(paragraphs(preface, text, about, periods), (*rows, back(speech, PlanList())))


def words(speech: Speech, one: CataloguePlan) -> Screen:
    """A plan's titles and descriptions, in every language that the bot speaks."""
    lines: list[str] = []
    rows: list[Row] = []
    for number, language in enumerate(speech.texts.languages):
        lines.append(
            speech.say(
                "catalogue-words-line",
                language=language,
                title=one.titles.get(language, "–"),
                text=one.descriptions.get(language, "–")[:_DESCRIPTION],
            )
        )
        rows.append(
            (
                Button(speech.label("button-title-in", language=language), WriteTitle(one.id, number)),
                Button(
                    speech.label("button-description-in", language=language), WriteDescription(one.id, number)
                ),
            )
        )
    text = paragraphs(speech.say("catalogue-words", id=one.id), "\n".join(lines))
    return Screen(text, (*rows, back(speech, OnePlan(one.id))))


def history(speech: Speech, plan_id: str, found: Sequence[Entry]) -> Screen:
    """A page of what was changed of a plan, the newest first."""
    rows: list[Row] = []
    if len(found) > PAGE:
        rows.append((Button(speech.label("button-older"), PlanHistory(plan_id, found[PAGE - 1].id)),))
    lines = entry_lines(speech, found[:PAGE]) or [speech.say("catalogue-history-none")]
    return Screen(
        paragraphs(speech.say("catalogue-history", id=plan_id), *lines),
        (*rows, back(speech, OnePlan(plan_id))),
    )


# ------------------------------------------------------------------------------------------ periods and prices


def period(
    speech: Speech, of: CataloguePlan, one: Period, *, shop_currency: str, preface: str | None = None
) -> Screen:
    """A period of a plan and its prices, with two buttons each."""
    rows: list[Row] = [
        (
            Button(
                speech.label("button-price-edit", price=Money(amount, currency)),
                WritePrice(one.offer_id, currency_number(currency)),
            ),
            Button(
                speech.label("button-price-drop", currency=currency),
                DropPrice(one.offer_id, currency_number(currency)),
            ),
        )
        for currency, amount in one.prices.items()
    ]
    if shop_currency not in one.prices:
        ask_first = WritePrice(one.offer_id, currency_number(shop_currency))
        rows.append((Button(speech.label("button-price-first", currency=shop_currency), ask_first),))
    sale = PeriodOff(one.offer_id) if one.on_sale else PeriodSale(one.offer_id, 1, 0)
    rows.append(
        (
            Button(speech.label("button-price-new"), NewPrice(one.offer_id)),
            Button(speech.label("button-off-sale" if one.on_sale else "button-on-sale"), sale),
        )
    )
    text = speech.say(
        "catalogue-period",
        title=of.title(speech.language),
        period=speech.period(one.days),
        prices=_prices(speech, one),
        state="on" if one.on_sale else "off",
        whole="yes" if of.on_sale else "no",
    )
    return Screen(paragraphs(preface, text), (*rows, back(speech, OnePlan(of.id))))


def price_confirm(
    speech: Speech, of: CataloguePlan, one: Period, currency: str, amount: int, yes: Action
) -> Screen:
    """What a new price means."""
    old = one.prices.get(currency)
    text = speech.say(
        "catalogue-price-confirm",
        title=of.title(speech.language),
        period=speech.period(one.days),
        old="–" if old is None else Money(old, currency),
        new=Money(amount, currency),
    )
    return confirm(speech, text, yes, OnePeriod(one.offer_id))
