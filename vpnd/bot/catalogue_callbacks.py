"""What the buttons of the catalogue carry: plans, periods and prices, promo codes, personal discounts, texts, ways to pay.

`asked` is the update that asked a question: two presses on its answer are one deed. A currency is carried as a number, by
`vpnd.bot.catalogue_words`; a language as its place among those that the bot speaks.
"""

from typing import Final

import attrs

from vpnd.bot.button_data import Action


@attrs.frozen
class Catalogue(Action):
    """What there is to edit."""


# ------------------------------------------------------------------------------------------ plans


@attrs.frozen
class PlanList(Action):
    """All plans."""


@attrs.frozen
class OnePlan(Action):
    """One plan, with its periods."""

    plan: str


@attrs.frozen
class NewPlan(Action):
    """A plan is to be made; its id and title will be written."""


@attrs.frozen
class PlanWords(Action):
    """Titles and descriptions of a plan, by language."""

    plan: str


@attrs.frozen
class WriteTitle(Action):
    """A title is to be written."""

    plan: str
    language: int


@attrs.frozen
class WriteDescription(Action):
    """A description is to be written."""

    plan: str
    language: int


@attrs.frozen
class PlanOff(Action):
    """The question whether a plan is to be taken off sale."""

    plan: str


@attrs.frozen
class PlanSale(Action):
    """Put a plan on sale (1) or off (0)."""

    plan: str
    on: int
    asked: int


@attrs.frozen
class MovePlan(Action):
    """Show a plan one place earlier (1) or later (0)."""

    plan: str
    up: int


@attrs.frozen
class GiveBack(Action):
    """The question whether plans.toml is to say again what a plan is."""

    plan: str


@attrs.frozen
class GiveBackNow(Action):
    """Yes."""

    plan: str
    asked: int


@attrs.frozen
class PlanHistory(Action):
    """What was changed of a plan; `before` is the last line of the page before, or 0."""

    plan: str
    before: int = 0


# ------------------------------------------------------------------------------------------ periods and prices


@attrs.frozen
class NewPeriod(Action):
    """A period is to be made; its days will be written."""

    plan: str


@attrs.frozen
class OnePeriod(Action):
    """A period and its prices."""

    offer: int


@attrs.frozen
class PeriodOff(Action):
    """The question whether a period is to be taken off sale."""

    offer: int


@attrs.frozen
class PeriodSale(Action):
    """Put a period on sale (1) or off (0)."""

    offer: int
    on: int
    asked: int


@attrs.frozen
class NewPrice(Action):
    """A price in a currency that the period has none in is to be written: currency and amount."""

    offer: int


@attrs.frozen
class WritePrice(Action):
    """A price is to be written."""

    offer: int
    currency: int


@attrs.frozen
class PriceNow(Action):
    """Yes: ask this price, in minor units."""

    offer: int
    currency: int
    amount: int
    asked: int


@attrs.frozen
class DropPrice(Action):
    """The question whether a period is to be sold in a currency no longer."""

    offer: int
    currency: int


@attrs.frozen
class DropPriceNow(Action):
    """Yes."""

    offer: int
    currency: int
    asked: int


# ------------------------------------------------------------------------------------------ promo codes, discounts


@attrs.frozen
class PromoList(Action):
    """Promo codes, the newest first; `before` is the last one of the page before, or 0."""

    before: int = 0


@attrs.frozen
class OnePromo(Action):
    """A promo code."""

    promo: int


@attrs.frozen
class NewPromo(Action):
    """The choice of what a new code gives."""


@attrs.frozen
class WritePromo(Action):
    """A code of this kind is to be made; its name and what it gives will be written."""

    kind: str


@attrs.frozen
class WriteLimit(Action):
    """A limit of a code is to be written: "days", "uses" or "each"."""

    limit: str
    promo: int


@attrs.frozen
class PromoOff(Action):
    """The question whether a code is to be switched off."""

    promo: int


@attrs.frozen
class PromoSwitch(Action):
    """Switch a code on (1) or off (0)."""

    promo: int
    on: int
    asked: int


@attrs.frozen
class DiscountList(Action):
    """Customers with a personal discount; `before` is the last one of the page before, or 0."""

    before: int = 0


@attrs.frozen
class OneDiscount(Action):
    """A customer's discount, and the question whether he is to lose it."""

    customer: int


@attrs.frozen
class NewDiscount(Action):
    """A discount is to be given; to whom and how much will be written."""


@attrs.frozen
class DiscountNow(Action):
    """Yes: so many percent off for a customer, for so many days (0: for good). 0 percent takes the discount away."""

    customer: int
    percent: int
    days: int
    asked: int


# ------------------------------------------------------------------------------------------ texts, ways to pay


@attrs.frozen
class TextLanguages(Action):
    """The languages whose texts can be edited."""


@attrs.frozen
class WrittenTexts(Action):
    """The texts of a language that were written in the bot, a page of them from 0; and the question for one to look for."""

    language: int
    page: int = 0


@attrs.frozen
class OneText(Action):
    """A text; `key` is its number."""

    language: int
    key: int


@attrs.frozen
class WriteText(Action):
    """A text is to be written."""

    language: int
    key: int


@attrs.frozen
class ResetText(Action):
    """The question whether a text is to be said as before it was written in the bot."""

    language: int
    key: int


@attrs.frozen
class ResetTextNow(Action):
    """Yes."""

    language: int
    key: int
    asked: int


@attrs.frozen
class WaysToPay(Action):
    """Which ways to pay are offered."""


@attrs.frozen
class WayOff(Action):
    """The question whether a way to pay is to be offered no longer."""

    method: str


@attrs.frozen
class WaySwitch(Action):
    """Offer a way to pay (1) or not (0)."""

    method: str
    on: int
    asked: int


#: What stands for each of them in a button.
LETTERS: Final[dict[str, type[Action]]] = {
    "ga": Catalogue,
    "gb": PlanList,
    "gc": OnePlan,
    "gd": NewPlan,
    "ge": PlanWords,
    "gf": WriteTitle,
    "gg": WriteDescription,
    "gh": PlanOff,
    "gi": PlanSale,
    "gj": MovePlan,
    "gk": GiveBack,
    "gl": GiveBackNow,
    "gm": PlanHistory,
    "gn": NewPeriod,
    "go": OnePeriod,
    "gp": PeriodOff,
    "gq": PeriodSale,
    "gr": NewPrice,
    "gs": WritePrice,
    "gt": PriceNow,
    "gu": DropPrice,
    "gv": DropPriceNow,
    "gw": PromoList,
    "gx": OnePromo,
    "gy": NewPromo,
    "gz": WritePromo,
    "gA": WriteLimit,
    "gB": PromoOff,
    "gC": PromoSwitch,
    "gD": DiscountList,
    "gE": OneDiscount,
    "gF": NewDiscount,
    "gG": DiscountNow,
    "gH": TextLanguages,
    "gI": WrittenTexts,
    "gJ": OneText,
    "gK": WriteText,
    "gL": ResetText,
    "gM": ResetTextNow,
    "gN": WaysToPay,
    "gO": WayOff,
    "gP": WaySwitch,
}
