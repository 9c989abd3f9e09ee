"""Screens of the catalogue, with values that try to break them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

from vpnd.bot.catalogue_callbacks import DiscountNow, OnePlan, PlanSale, PriceNow
from vpnd.bot.screens import catalogue, catalogue_gifts, catalogue_texts
from vpnd.bot.screens.desk import PAGE
from vpnd.bot.screens.screen import Screen
from vpnd.bot.speech import Speech
from vpnd.bot.text_editing import EditedText
from vpnd.shop.audit_log import Entry
from vpnd.shop.catalogue import CataloguePlan, Period, Refusal
from vpnd.shop.discounts import CustomerDiscount
from vpnd.shop.money import EXPONENTS
from vpnd.shop.promo_editing import LIMITS
from vpnd.shop.promos import PromoCode
from vpnd.shop.text_overrides import TextOverride

HUGE = 2**63 - 1
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TITLES = {"en": "A<b>& \"x\" 'y' " + "z" * 17, "ru": "Я<b>&"}
SAID = {"en": "<i>&" * 75, "ru": "<и>&" * 75}
MANY = Period(HUGE, 3660, True, dict.fromkeys(set(EXPONENTS) - {"USD"}, HUGE))
PERIODS = tuple(Period(HUGE - days, days, days % 2 == 0, {"RUB": HUGE, "XTR": 1}) for days in range(1, 20))
PLAN = CataloguePlan("p" + "x" * 31, TITLES, SAID, True, NOW, True, (*PERIODS, MANY))
NEW = CataloguePlan("p", {"en": "P"}, {}, False, None, False, ())
BARE = Period(1, 30, False, {})
ENTRIES = [
    Entry(HUGE - number, NOW, f"admin:{HUGE}", "owner", "catalogue.edit", f"plan:{PLAN.id}",
          {"title.en": "<1>" * 100}, {"30.RUB": "&"}, None)
    for number in range(PAGE + 1)
]  # fmt: skip
PROMO = PromoCode(
    id=HUGE, code="W" * 32, kind="money", value=HUGE, currency="RUB", starts_at=None, ends_at=NOW, total_cap=2**31 - 1,
    customer_cap=2**31 - 1, used=2**31 - 1, late=0, active=True,
)  # fmt: skip
OFF = PromoCode(
    id=1, code="ABC", kind="percent", value=99, currency=None, starts_at=None, ends_at=None, total_cap=None,
    customer_cap=1, used=0, late=0, active=False,
)  # fmt: skip
DISCOUNT = CustomerDiscount(HUGE, HUGE, "A<b>&" * 30, "u" * 32, 99, NOW, False)
OVER = CustomerDiscount(1, 1, "", None, 1, None, True)
WRITTEN = TextOverride("en", "catalogue-price-confirm", "{ $title } <b>&</b> " * 150, f"admin:{HUGE}", NOW)
TEXT = EditedText(
    language="en", key="catalogue-price-confirm", original="{ $old } <b>" * 180, folder=None, written=WRITTEN,
    values=("new", "old", "period", "title"),
)  # fmt: skip
PLAIN = EditedText(
    language="ru", key="button-home", original="« Меню", folder="« <b>", written=None, values=()
)


def screens(speech: Speech) -> dict[str, Screen]:
    """Every screen of the catalogue."""
    return {
        "catalogue": catalogue.rooms(speech),
        **{
            f"catalogue refused {reason}": catalogue.ask(
                speech, catalogue.refused(speech, reason), OnePlan("basic")
            )
            for reason in get_args(Refusal)
        },
        "catalogue plans": catalogue.plans(speech, [PLAN] * 50, preface=speech.say("catalogue-done")),
        "catalogue plans none": catalogue.plans(speech, []),
        "catalogue plan": catalogue.plan(speech, PLAN, preface=speech.say("catalogue-plan-made")),
        "catalogue plan new": catalogue.plan(speech, NEW, preface=speech.say("catalogue-moved", place="1")),
        "catalogue words": catalogue.words(speech, PLAN),
        "catalogue history": catalogue.history(speech, PLAN.id, ENTRIES),
        "catalogue history none": catalogue.history(speech, PLAN.id, []),
        "catalogue period": catalogue.period(speech, PLAN, MANY, shop_currency="RUB"),
        "catalogue period bare": catalogue.period(
            speech, NEW, BARE, shop_currency="RUB", preface=speech.say("catalogue-period-made")
        ),
        "catalogue price": catalogue.price_confirm(
            speech, PLAN, MANY, "RUB", HUGE, PriceNow(HUGE, HUGE, HUGE, HUGE)
        ),
        "catalogue price first": catalogue.price_confirm(speech, NEW, BARE, "XTR", 1, PriceNow(1, 1, 1, 1)),
        "catalogue off": catalogue.confirm(
            speech,
            speech.say("catalogue-off-confirm", title="A<b>"),
            PlanSale(PLAN.id, 0, HUGE),
            OnePlan(PLAN.id),
        ),
        "catalogue back": catalogue.confirm(
            speech,
            speech.say("catalogue-back-confirm", title="A<b>", id="basic"),
            PlanSale("b", 0, 1),
            OnePlan("b"),
        ),
        "catalogue drop": catalogue.confirm(
            speech,
            speech.say("catalogue-drop-confirm", title="A<b>", period="1", currency="RUB"),
            PlanSale("b", 0, 1),
            OnePlan("b"),
        ),
        "catalogue ask plan": catalogue.ask(
            speech,
            speech.say("catalogue-plan-ask", language="en"),
            OnePlan("b"),
            preface=speech.say("catalogue-done"),
        ),
        "catalogue ask title": catalogue.ask(
            speech, speech.say("catalogue-title-ask", title="<b>", language="en"), OnePlan("b")
        ),
        "catalogue ask description": catalogue.ask(
            speech, speech.say("catalogue-description-ask", title="<b>", language="en"), OnePlan("b")
        ),
        "catalogue ask period": catalogue.ask(
            speech, speech.say("catalogue-period-ask", title="<b>"), OnePlan("b")
        ),
        **{
            f"catalogue {key}": catalogue.ask(
                speech,
                speech.say(key, title="<b>", period="1", currency="RUB"),
                OnePlan("b"),
                preface=speech.say("catalogue-number-unreadable"),
            )
            for key in ("catalogue-price-ask", "catalogue-price-new-ask")
        },
        "codes": catalogue_gifts.promos(speech, [PROMO] * (catalogue_gifts.PAGE + 1)),
        "codes none": catalogue_gifts.promos(speech, []),
        "code": catalogue_gifts.promo(speech, PROMO, preface=speech.say("promo-made")),
        "code off": catalogue_gifts.promo(speech, OFF, preface=speech.say("promo-exists-on")),
        "code kinds": catalogue_gifts.kinds(speech),
        "code off confirm": catalogue_gifts.promo_off(speech, PROMO, HUGE),
        **{
            f"code ask {kind}": catalogue.ask(
                speech,
                speech.say("promo-ask", kind=kind, currency="RUB"),
                OnePlan("b"),
                preface=speech.say("promo-unreadable"),
            )
            for kind in catalogue_gifts.KINDS
        },
        **{
            f"code limit {limit}": catalogue.ask(
                speech,
                speech.say("promo-limit-ask", limit=limit, code="ABC"),
                OnePlan("b"),
                preface=speech.say("promo-exists", code="ABC"),
            )
            for limit in LIMITS
        },
        "discounts": catalogue_gifts.discounts(speech, [DISCOUNT] * (catalogue_gifts.PAGE + 1)),
        "discounts none": catalogue_gifts.discounts(speech, []),
        "discounts over": catalogue_gifts.discounts(speech, [OVER]),
        "discount": catalogue_gifts.discount(speech, DISCOUNT, HUGE),
        "discount ask": catalogue.ask(
            speech, speech.say("discount-ask"), OnePlan("b"), preface=speech.say("catalogue-done")
        ),
        "discount unreadable": catalogue.ask(speech, speech.say("discount-unreadable"), OnePlan("b")),
        "discount unknown": catalogue.ask(speech, speech.say("discount-unknown"), OnePlan("b")),
        **{
            f"discount confirm {days}": catalogue_gifts.discount_confirm(
                speech, "A<b>&" * 12, HUGE, DiscountNow(HUGE, 99, days, HUGE)
            )
            for days in (0, 1, 36_500)
        },
        "texts": catalogue_texts.languages(speech),
        "texts written": catalogue_texts.written(speech, 0, "en", 0, [WRITTEN] * 9),
        "texts written none": catalogue_texts.written(speech, 1, "ru", 0, []),
        "texts found": catalogue_texts.found_texts(speech, 0, [TEXT] * catalogue_texts.PAGE),
        "texts not found": catalogue_texts.found_texts(speech, 0, []),
        "text": catalogue_texts.text(speech, 0, TEXT, preface=speech.say("catalogue-done")),
        "text plain": catalogue_texts.text(speech, 1, PLAIN),
        "text write": catalogue_texts.write(speech, 0, TEXT),
        "text refused": catalogue_texts.write(speech, 0, TEXT, ["uses $x <b>, which is {not}" * 30] * 10),
        "text reset": catalogue_texts.reset(speech, 0, TEXT, HUGE),
        "ways": catalogue_texts.ways(
            speech,
            ["stars", "yookassa", "cryptopay", "balance", "other"],
            ["stars", "other"],
            preface=speech.say("catalogue-done"),
        ),
        **{
            f"way off {method}": catalogue_texts.way_off(speech, method, last=method == "stars", asked=HUGE)
            for method in ("stars", "yookassa", "cryptopay", "balance")
        },
    }
