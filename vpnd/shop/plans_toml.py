"""plans.toml written from the database, and how the two differ.

What is written here is read back by `vpnd.shop.plans_file` with no difference. A file cannot say everything that a catalogue in
the making can hold: a plan without a period, a period without a price in the shop's currency. Those are not on sale, and are
named in a comment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from vpnd.shop.catalogue import CataloguePlan, Period, flat
from vpnd.shop.money import Money, format_decimal
from vpnd.shop.plans_file import PlanDraft

__all__ = ["differences", "draft_values", "render_plans"]

_HEAD = """\
# What is on sale, written by `vpnd export plans`. Prices are texts, so that none is rounded.
# It is applied at start and on a reload, to plans that nobody has edited in the bot since.
"""


def render_plans(plans: Sequence[CataloguePlan], *, currency: str) -> str:
    """The text of a plans.toml that says what these plans are, in their order. `currency` is the shop's.

    An empty catalogue gives comments only, which is no plans file: a shop without plans has none to write.
    """
    return "".join([_HEAD, *(part for plan in plans for part in _plan(plan, currency))])


def _plan(plan: CataloguePlan, currency: str) -> Iterator[str]:
    whole = [period for period in plan.periods if currency in period.prices]
    if not whole:
        yield f"\n# The plan {plan.id} has no period with a price in {currency}, so a file cannot hold it.\n"
        return
    yield f"\n[[plans]]\nid = {_text(plan.id)}\ntitles = {_table(plan.titles)}\n"
    if plan.descriptions:
        yield f"descriptions = {_table(plan.descriptions)}\n"
    if not plan.on_sale:
        yield "on_sale = false\n"
    for period in plan.periods:
        if period in whole:
            yield _period(period)
        else:
            yield f"\n# {period.days} days of {plan.id} have no price in {currency}, so a file cannot hold them.\n"


def _period(period: Period) -> str:
    prices = {one: format_decimal(Money(amount, one)) for one, amount in period.prices.items()}
    off = "" if period.on_sale else "on_sale = false\n"
    return f"\n[[plans.offers]]\ndays = {period.days}\nprices = {_table(prices)}\n{off}"


def _table(values: Any) -> str:
    inside = ", ".join(f"{key} = {_text(value)}" for key, value in values.items())
    return f"{{ {inside} }}"


def _text(value: str) -> str:
    """A basic string of TOML: JSON's escapes are among its own, and it has one more letter that may not stand bare."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# ---------------------------------------------------------------------- how the file and the database differ


def draft_values(plan: PlanDraft) -> dict[str, Any]:
    """What a file says of a plan, under the names of `vpnd.shop.catalogue.flat`."""
    periods = tuple(Period(0, one.days, one.on_sale, one.prices) for one in plan.offers)
    return flat(CataloguePlan(plan.id, plan.titles, plan.descriptions, plan.on_sale, None, False, periods))


def differences(file: Sequence[PlanDraft], shop: Sequence[CataloguePlan]) -> list[str]:
    """Each difference between a plans file and the database, a sentence each; in the order of the file.

    A plan or period that is off sale in the shop and that the file does not name is none: the file cannot take away.
    """
    known = {plan.id: plan for plan in shop}
    found: list[str] = []
    for draft in file:
        plan = known.pop(draft.id, None)
        if plan is None:
            found.append(f"{draft.id}: only the file has it")
        else:
            found += _of_plan(draft, plan)
    found += [f"{plan.id}: only the shop has it" for plan in known.values() if plan.on_sale]
    named = [draft.id for draft in file]
    order = [plan.id for plan in shop if plan.id in named]
    if order != [name for name in named if name in order]:
        found.append(f"the order of plans: {', '.join(order)} in the shop")
    return found


def _of_plan(draft: PlanDraft, plan: CataloguePlan) -> Iterator[str]:
    said, real = draft_values(draft), flat(plan)
    hidden = {
        str(period.days)
        for period in plan.periods
        if not period.on_sale and f"{period.days}.on_sale" not in said
    }
    for name in {**said, **real}:
        if name.partition(".")[0] not in hidden and said.get(name) != real.get(name):
            yield f"{plan.id}: {name} is {_shown(real.get(name))} in the shop and {_shown(said.get(name))} in the file"


def _shown(value: Any) -> str:
    return "missing" if value is None else json.dumps(value, ensure_ascii=False)
