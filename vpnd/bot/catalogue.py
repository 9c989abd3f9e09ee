"""The catalogue in the bot: which button leads where, what an operator needs for it, and who reads which words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from vpnd.bot import (
    catalogue_callbacks,
    catalogue_gifts,
    catalogue_plans,
    catalogue_prices,
    catalogue_texts,
)
from vpnd.bot.button_data import Action
from vpnd.bot.visit import Visit
from vpnd.shop.dialogs import Expected
from vpnd.shop.operators import Permission

__all__ = ["PRESSES", "READERS"]

_Handler = Callable[[Visit, Any], Awaitable[None]]

_LOOKS: Final[dict[type[Action], _Handler]] = {
    catalogue_callbacks.Catalogue: catalogue_plans.show_catalogue,
    catalogue_callbacks.PlanList: catalogue_plans.show_plans,
    catalogue_callbacks.OnePlan: catalogue_plans.show_plan,
    catalogue_callbacks.PlanWords: catalogue_plans.show_words,
    catalogue_callbacks.PlanHistory: catalogue_plans.show_history,
    catalogue_callbacks.OnePeriod: catalogue_prices.show_period,
    catalogue_callbacks.PromoList: catalogue_gifts.show_promos,
    catalogue_callbacks.OnePromo: catalogue_gifts.show_promo,
    catalogue_callbacks.DiscountList: catalogue_gifts.show_discounts,
    catalogue_callbacks.TextLanguages: catalogue_texts.show_languages,
    catalogue_callbacks.WrittenTexts: catalogue_texts.show_written,
    catalogue_callbacks.OneText: catalogue_texts.show_text,
    catalogue_callbacks.WaysToPay: catalogue_texts.show_ways,
}
_EDITS: Final[dict[type[Action], _Handler]] = {
    catalogue_callbacks.NewPlan: catalogue_plans.new_plan,
    catalogue_callbacks.WriteTitle: catalogue_plans.write_title,
    catalogue_callbacks.WriteDescription: catalogue_plans.write_description,
    catalogue_callbacks.PlanOff: catalogue_plans.ask_to_stop_selling,
    catalogue_callbacks.PlanSale: catalogue_plans.sell,
    catalogue_callbacks.MovePlan: catalogue_plans.shift,
    catalogue_callbacks.GiveBack: catalogue_plans.ask_to_give_back,
    catalogue_callbacks.GiveBackNow: catalogue_plans.give_plan_back,
    catalogue_callbacks.NewPeriod: catalogue_prices.new_period,
    catalogue_callbacks.PeriodOff: catalogue_prices.ask_to_stop_selling,
    catalogue_callbacks.PeriodSale: catalogue_prices.sell,
    catalogue_callbacks.NewPrice: catalogue_prices.new_price,
    catalogue_callbacks.WritePrice: catalogue_prices.write_price,
    catalogue_callbacks.PriceNow: catalogue_prices.change_price,
    catalogue_callbacks.DropPrice: catalogue_prices.ask_to_drop,
    catalogue_callbacks.DropPriceNow: catalogue_prices.drop,
    catalogue_callbacks.NewPromo: catalogue_gifts.choose_kind,
    catalogue_callbacks.WritePromo: catalogue_gifts.ask_about_code,
    catalogue_callbacks.WriteLimit: catalogue_gifts.write_limit,
    catalogue_callbacks.PromoOff: catalogue_gifts.ask_to_switch_off,
    catalogue_callbacks.PromoSwitch: catalogue_gifts.switch,
    catalogue_callbacks.OneDiscount: catalogue_gifts.ask_about_discount,
    catalogue_callbacks.NewDiscount: catalogue_gifts.new_discount,
    catalogue_callbacks.DiscountNow: catalogue_gifts.give_discount,
    catalogue_callbacks.WriteText: catalogue_texts.ask_for_text,
    catalogue_callbacks.ResetText: catalogue_texts.ask_to_reset,
    catalogue_callbacks.ResetTextNow: catalogue_texts.reset,
    catalogue_callbacks.WayOff: catalogue_texts.ask_to_switch_way_off,
    catalogue_callbacks.WaySwitch: catalogue_texts.switch_way,
}

#: The catalogue's buttons, with what an operator needs to press them.
PRESSES: Final[dict[type[Action], tuple[Permission, _Handler]]] = {
    **{kind: (Permission.CATALOGUE, handler) for kind, handler in _LOOKS.items()},
    **{kind: (Permission.EDIT_CATALOGUE, handler) for kind, handler in _EDITS.items()},
}

#: Who reads the words that an operator was asked for here.
READERS: Final[dict[Expected, Callable[[Visit, str], Awaitable[None]]]] = {
    "plan_new": catalogue_plans.read_new_plan,
    "plan_title": catalogue_plans.read_title,
    "plan_description": catalogue_plans.read_description,
    "period_new": catalogue_prices.read_new_period,
    "price_new": catalogue_prices.read_new_price,
    "price": catalogue_prices.read_price,
    "promo_new": catalogue_gifts.read_new_promo,
    "promo_limit": catalogue_gifts.read_limit,
    "discount_new": catalogue_gifts.read_discount_words,
    "text_search": catalogue_texts.read_search,
    "text_body": catalogue_texts.read_text,
}
