"""For operators: what is done to a customer, asked about step by step: how much, why, and whether.

The steps only put a deed together; the last but one rehearses it, so that the question says what will happen. The yes names the
question, whose deed and reason the database keeps: two presses are one deed.
"""

from __future__ import annotations

import re
from typing import Final

from vpnd.bot import customers
from vpnd.bot.amounts import read_amount
from vpnd.bot.answers import stale
from vpnd.bot.customer_callbacks import (
    Block,
    DaysOf,
    DeedNow,
    GiveDays,
    GiveMoney,
    NewAccess,
    OtherPlan,
    PlanOf,
    Reissue,
    WriteTo,
)
from vpnd.bot.screens import deeds
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.asked_deeds import ask, asked_deed
from vpnd.shop.audit_log import Change
from vpnd.shop.customer_card import Card
from vpnd.shop.deed import MOST_DAYS, Deed, DeedRefused, permission_of
from vpnd.shop.dialogs import expected_about
from vpnd.shop.operator_deeds import carry_out, rehearse
from vpnd.shop.operators import NotAllowed
from vpnd.shop.plans import offers_on_sale

_DAYS: Final = re.compile(r"([+\-−–]?)\s*([0-9]{1,5})", re.ASCII)
_MINUS: Final = ("-", "−", "–")

# ------------------------------------------------------------------------------------------ how much


async def give_days(visit: Visit, action: GiveDays) -> None:
    """Days: for which subscription, and how many."""
    who = await customers.known(visit, action.customer)
    if who is None:
        return
    chosen = _chosen(who, action.subscription)
    if chosen is not None:
        await _ask_value(visit, who, Deed(kind="days", customer_id=who.id, subscription_id=chosen))
    elif who.subscriptions:
        await visit.show(deeds.choose(visit.speech, who, GiveDays))
    else:
        await visit.show(deeds.choose_plan(visit.speech, who, await _plans(visit)))


async def new_access(visit: Visit, action: NewAccess) -> None:
    """Days for somebody who has no subscription: how many."""
    who = await customers.known(visit, action.customer)
    if who is not None:
        await _ask_value(visit, who, Deed(kind="days", customer_id=who.id, plan=action.plan))


async def days_of(visit: Visit, action: DaysOf) -> None:
    """So many days: why."""
    days = -action.days if action.take else action.days
    deed = Deed(kind="days", customer_id=action.customer, subscription_id=action.subscription, days=days)
    await _ask_reason(visit, deed)


async def give_money(visit: Visit, action: GiveMoney) -> None:
    """Money: how much."""
    who = await customers.known(visit, action.customer)
    if who is not None:
        await _ask_value(visit, who, Deed(kind="money", customer_id=who.id))


async def other_plan(visit: Visit, action: OtherPlan) -> None:
    """Another plan: for which subscription, and which."""
    who = await customers.known(visit, action.customer)
    if who is None:
        return
    chosen = _chosen(who, action.subscription)
    one = None if chosen is None else who.subscription(chosen)
    if one is None:
        await visit.show(deeds.choose(visit.speech, who, OtherPlan))
        return
    others = {plan: title for plan, title in (await _plans(visit)).items() if plan != one.plan_id}
    await visit.show(deeds.choose_plan(visit.speech, who, others, one.id))


async def plan_of(visit: Visit, action: PlanOf) -> None:
    """This plan: why."""
    deed = Deed(
        kind="plan", customer_id=action.customer, subscription_id=action.subscription, plan=action.plan
    )
    await _ask_reason(visit, deed)


async def reissue(visit: Visit, action: Reissue) -> None:
    """A new link: for which subscription, and why."""
    who = await customers.known(visit, action.customer)
    if who is None:
        return
    chosen = _chosen(who, action.subscription)
    if chosen is None:
        await visit.show(deeds.choose(visit.speech, who, Reissue))
    else:
        await _ask_reason(visit, Deed(kind="link", customer_id=who.id, subscription_id=chosen))


async def block(visit: Visit, action: Block) -> None:
    """A block, or its end: why."""
    await _ask_reason(visit, Deed(kind="unblock" if action.lift else "block", customer_id=action.customer))


async def write_to(visit: Visit, action: WriteTo) -> None:
    """A message: its words."""
    who = await customers.known(visit, action.customer)
    if who is not None:
        await _ask_value(visit, who, Deed(kind="message", customer_id=who.id))


def _chosen(who: Card, subscription_id: int) -> int | None:
    """The subscription that is meant: the named one, or the only one; None if it is to be chosen, or is not his."""
    if subscription_id:
        return None if who.subscription(subscription_id) is None else subscription_id
    return who.subscriptions[0].id if len(who.subscriptions) == 1 else None


async def _plans(visit: Visit) -> dict[str, str]:
    """The plans on sale and their titles."""
    return {one.plan_id: one.title(visit.speech.language) for one in await offers_on_sale(visit.deps.db)}


async def _ask_value(visit: Visit, who: Card, deed: Deed, *, wrong: bool = False) -> None:
    await visit.expect("deed_value", about=who.id, data=deed.to_json())
    match deed.kind:
        case "days":
            screen = deeds.ask_days(visit.speech, who, deed.subscription_id, wrong=wrong)
        case "money":
            screen = deeds.ask_money(visit.speech, who, wrong=wrong)
        case _:
            screen = deeds.ask_text(visit.speech, who)
    await visit.show(screen)


async def read_value(visit: Visit, text: str) -> None:
    """Take what was written for how much is given or taken, or for a message."""
    found = await expected_about(visit.deps.db, visit.customer.id, "deed_value")
    if found is None:
        await stale(visit, "unreadable")
        return
    deed = Deed.from_json(found[1])
    if not visit.may(permission_of(deed)):
        raise NotAllowed(permission_of(deed), visit.actor.role)
    told = _with_value(visit, deed, text)
    if told is not None:
        await _ask_reason(visit, told)
        return
    who = await customers.known(visit, deed.customer_id)
    if who is not None:
        await _ask_value(visit, who, deed, wrong=True)


def _with_value(visit: Visit, deed: Deed, text: str) -> Deed | None:
    """The deed with what was written in it; None if it makes no sense."""
    words = text.strip()
    values = deed.to_json()
    match deed.kind:
        case "days":
            found = _DAYS.fullmatch(words)
            if found is None or not 1 <= int(found[2]) <= MOST_DAYS:
                return None
            values["days"] = -int(found[2]) if found[1] in _MINUS else int(found[2])
        case "money":
            takes = words.startswith(_MINUS)
            amount = read_amount(words.lstrip("+-−–"), visit.deps.currency)
            if amount is None:
                return None
            values["amount"] = -amount if takes else amount
        case _:
            values["text"] = words
    return Deed.from_json(values)


# ------------------------------------------------------------------------------------------ why, and whether


async def _ask_reason(visit: Visit, deed: Deed) -> None:
    """Ask why, unless it cannot be done anyway: an operator hears that before he writes."""
    who = await customers.known(visit, deed.customer_id)
    if who is None or await _rehearsed(visit, deed) is None:
        return
    await visit.expect("deed_reason", about=who.id, data=deed.to_json())
    await visit.show(deeds.ask_reason(visit.speech, who, deed))


async def _rehearsed(visit: Visit, deed: Deed) -> Change | None:
    """What it would change; None if it is refused, which was answered here."""
    deps = visit.deps
    try:
        return await rehearse(deps.db, visit.actor, deed, currency=deps.currency, owners=deps.admins)
    except DeedRefused as error:
        await visit.expect_nothing()
        await visit.show(deeds.refused(visit.speech, deed.customer_id, error.why))
        return None


async def read_reason(visit: Visit, text: str) -> None:
    """Take what was written for the reason, and ask whether it shall be done."""
    found = await expected_about(visit.deps.db, visit.customer.id, "deed_reason")
    if found is None:
        await stale(visit, "unreadable")
        return
    deed = Deed.from_json(found[1])
    who = await customers.known(visit, deed.customer_id)
    change = None if who is None else await _rehearsed(visit, deed)
    if who is None or change is None:
        return

    async def body(tx: Transaction) -> None:
        await ask(tx, asked=visit.update_id, telegram_id=visit.customer.telegram_id, deed=deed, reason=text)

    await visit.deps.db.run("bot.ask_deed", body)
    await visit.show(deeds.confirm(visit.speech, who, deed, change, text, visit.update_id))
    await visit.expect_nothing()


async def do(visit: Visit, action: DeedNow) -> None:
    """Yes: do it. It asks for the permission that this very deed needs."""
    deps = visit.deps
    question = await asked_deed(deps.db, action.asked, visit.customer.telegram_id)
    if question is None:
        await visit.show(deeds.gone(visit.speech))
        return
    deed = question.deed
    if not visit.may(permission_of(deed)):
        raise NotAllowed(permission_of(deed), visit.actor.role)

    async def body(tx: Transaction) -> Change:
        key = f"asked:{action.asked}"
        return await carry_out(
            tx, visit.actor, deed, request_key=key, currency=deps.currency, owners=deps.admins
        )

    try:
        change = await visit.perform(
            f"bot.{deed.kind}", permission_of(deed), body, asked=action.asked, reason=question.reason
        )
    except DeedRefused as error:
        await visit.show(deeds.refused(visit.speech, deed.customer_id, error.why))
        return
    await customers.show_one(visit, deed.customer_id, deeds.done(visit.speech, deed, change))
