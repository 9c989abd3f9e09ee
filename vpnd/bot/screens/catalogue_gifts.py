"""For operators: promo codes and personal discounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from vpnd.bot.catalogue_callbacks import (
    Catalogue,
    DiscountList,
    DiscountNow,
    NewDiscount,
    NewPromo,
    OneDiscount,
    OnePromo,
    PromoList,
    PromoOff,
    PromoSwitch,
    WriteLimit,
    WritePromo,
)
from vpnd.bot.screens.catalogue import LABEL, back, confirm
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.discounts import CustomerDiscount
from vpnd.shop.money import Money
from vpnd.shop.promo_editing import LIMITS
from vpnd.shop.promos import PromoCode, PromoKind

#: Codes, or discounts, of one page.
PAGE: Final = 8
KINDS: Final[tuple[PromoKind, ...]] = ("percent", "days", "money")


def _at(moment: datetime | None) -> str:
    """A moment where there is one; else nothing, and the text says something else."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _gives(speech: Speech, promo: PromoCode) -> str:
    value = promo.value if promo.currency is None else speech.price(Money(promo.value, promo.currency))
    return speech.label("promo-gives", kind=promo.kind, value=str(value))


def _values(speech: Speech, promo: PromoCode) -> dict[str, str]:
    return {
        "code": promo.code,
        "gives": _gives(speech, promo),
        "until": _at(promo.ends_at),
        "ends": "no" if promo.ends_at is None else "yes",
        "used": str(promo.used),
        "most": str(promo.total_cap or 0),
        "capped": "no" if promo.total_cap is None else "yes",
        "each": str(promo.customer_cap),
        "state": "on" if promo.active else "off",
    }


def promos(speech: Speech, found: Sequence[PromoCode], *, preface: str | None = None) -> Screen:
    """A page of codes, the newest first; there is a next one if there are more than `PAGE`."""
    lines = [speech.say("promo-line", **_values(speech, promo)) for promo in found[:PAGE]]
    buttons = [
        Button(speech.label("button-promo-one", code=promo.code), OnePromo(promo.id))
        for promo in found[:PAGE]
    ]
    rows: list[Row] = [tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2)]
    if len(found) > PAGE:
        rows.append((Button(speech.label("button-older"), PromoList(found[PAGE - 1].id)),))
    rows.append((Button(speech.label("button-promo-new"), NewPromo()),))
    text = paragraphs(preface, speech.say("promos"), "\n".join(lines) or speech.say("promos-none"))
    return Screen(text, (*rows, back(speech, Catalogue())))


def promo(speech: Speech, one: PromoCode, *, preface: str | None = None) -> Screen:
    """A code, its limits, and its switch."""
    limits = [
        Button(speech.label("button-limit", limit=limit), WriteLimit(limit, one.id)) for limit in LIMITS
    ]
    switch = PromoOff(one.id) if one.active else PromoSwitch(one.id, 1, 0)
    rows: list[Row] = [
        tuple(limits),
        (Button(speech.label("button-promo-off" if one.active else "button-promo-on"), switch),),
    ]
    return Screen(
        paragraphs(preface, speech.say("promo-one", **_values(speech, one))),
        (*rows, back(speech, PromoList())),
    )


def kinds(speech: Speech) -> Screen:
    """The choice of what a new code gives."""
    rows: list[Row] = [
        (Button(speech.label("button-promo-kind", kind=kind), WritePromo(kind)),) for kind in KINDS
    ]
    return Screen(speech.say("promo-kinds"), (*rows, back(speech, PromoList())))


def promo_off(speech: Speech, one: PromoCode, asked: int) -> Screen:
    """The question whether a code is to be switched off."""
    text = speech.say("promo-off-confirm", code=one.code)
    return confirm(speech, text, PromoSwitch(one.id, 0, asked), OnePromo(one.id))


# ------------------------------------------------------------------------------------------ discounts


def _called(one: CustomerDiscount) -> str:
    name = one.first_name[:LABEL]
    return f"{name} @{one.username}" if one.username else name or str(one.telegram_id)


def discounts(speech: Speech, found: Sequence[CustomerDiscount], *, preface: str | None = None) -> Screen:
    """A page of customers with a discount of their own; there is a next one if there are more than `PAGE`."""
    lines = [
        speech.say(
            "discount-line",
            name=_called(one),
            id=str(one.telegram_id),
            percent=one.percent,
            until=_at(one.until),
            ends="no" if one.until is None else "yes",
            state="over" if one.over else "on",
        )
        for one in found[:PAGE]
    ]
    rows: list[Row] = [
        (
            Button(
                speech.label("button-discount-one", name=_called(one)[:LABEL], percent=one.percent),
                OneDiscount(one.customer_id),
            ),
        )
        for one in found[:PAGE]
    ]
    if len(found) > PAGE:
        rows.append((Button(speech.label("button-older"), DiscountList(found[PAGE - 1].customer_id)),))
    rows.append((Button(speech.label("button-discount-new"), NewDiscount()),))
    text = paragraphs(preface, speech.say("discounts"), "\n".join(lines) or speech.say("discounts-none"))
    return Screen(text, (*rows, back(speech, Catalogue())))


def discount(speech: Speech, one: CustomerDiscount, asked: int) -> Screen:
    """A customer's discount, and the question whether he is to lose it."""
    text = speech.say(
        "discount-off-confirm",
        name=_called(one),
        id=str(one.telegram_id),
        percent=one.percent,
        until=_at(one.until),
        ends="no" if one.until is None else "yes",
    )
    return confirm(speech, text, DiscountNow(one.customer_id, 0, 0, asked), DiscountList())


def discount_confirm(speech: Speech, name: str, telegram_id: int, yes: DiscountNow) -> Screen:
    """What a discount means."""
    text = speech.say(
        "discount-confirm",
        name=name,
        id=str(telegram_id),
        percent=yes.percent,
        days=yes.days,
        for_good="no" if yes.days else "yes",
    )
    return confirm(speech, text, yes, DiscountList())
