"""Days and money that operators give and take."""

from __future__ import annotations

from typing import Any, Final

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop import ledger
from vpnd.shop.audit_log import Change
from vpnd.shop.deed import MOST_DAYS, MOST_MONEY, SUBSCRIPTION, Doing, access, refuse, state
from vpnd.shop.ledger import Balance, Entry
from vpnd.shop.operators import Actor, Permission, authorise
from vpnd.shop.subscriptions import grant

__all__ = ["give_or_take_days", "give_or_take_money", "guard_refund"]

# ------------------------------------------------------------------------------------------ days

# From the end, never below now: slices of time behind it shrink to nothing, as a refund has them do.
_TAKE: Final = """
with old as (
    select id, status, expires_at, greatest(expires_at - make_interval(days => $2), vpnd_now()) as ends,
           status = 'active' and expires_at - make_interval(days => $2) <= vpnd_now() as off
    from subscriptions where id = $1
), cut as (
    update grants g set
        from_at = least(g.from_at, old.ends), until_at = old.ends,
        removed_seconds = g.removed_seconds + extract(epoch from g.until_at - greatest(g.from_at, old.ends))::bigint
    from old where g.subscription_id = old.id and g.until_at > old.ends
), ended as (
    update subscriptions s set
        expires_at = greatest(old.ends, s.starts_at),
        status = case when old.off then 'expired' else s.status end,
        version = s.version + case when old.off then 1 else 0 end,
        renews = case when old.off and s.renews = 'balance' then 'off' else s.renews end
    from old where s.id = old.id
    returning s.id, s.plan_id, s.status, s.expires_at, old.off
), logged as (
    insert into access_log (subscription_id) select id from ended where off
)
select id, plan_id, status, expires_at from ended
"""


async def give_or_take_days(doing: Doing) -> Change:
    """Days for a subscription, or for a new one; taken from its end, never below now. Raises DeedRefused."""
    deed, tx = doing.deed, doing.tx
    if not 1 <= abs(deed.days) <= MOST_DAYS:
        refuse("too_much", f"days are a whole number from 1 to {MOST_DAYS}, with a minus to take them")
    if deed.days > 0 and doing.to_himself:
        present = await authorise(tx, doing.actor, Permission.GIVE_DAYS)
        if present.role != "owner":
            refuse("own_days", "nobody but an owner gives days to himself: ask another operator")
    before = await tx.fetchrow(SUBSCRIPTION, deed.customer_id, deed.subscription_id, deed.plan)
    if before is None and deed.subscription_id is not None:
        refuse("no_subscription", "this subscription is not his: open his card again")
    if deed.days < 0:
        return await _take_days(doing, before)
    plan = deed.plan if before is None else before["plan_id"]
    if plan is None or not await tx.fetchval("select exists (select from plans where id = $1)", plan):
        refuse("no_plan", f"there is no plan {plan!r}: name one of the shop's")
    given = await grant(
        tx,
        customer_id=deed.customer_id,
        plan_id=plan,
        days=deed.days,
        subscription_id=None if before is None else before["id"],
        kind="gift",
    )
    made = given.subscription
    args = {
        "subscription_id": made.id,
        "plan_id": made.plan_id,
        "days": deed.days,
        "expires_at": made.expires_at.isoformat(),
    }
    await doing.tell("gift_days", args)
    return Change(
        subject=doing.subject,
        before=None if before is None else access(before),
        after={**state(made.id, made.plan_id, made.status, made.expires_at), "days": deed.days},
        detail="given",
    )


async def _take_days(doing: Doing, before: Row | None) -> Change:
    if before is None or before["expires_at"] <= before["now"]:
        refuse("nothing_left", "nothing of this subscription is left to be taken")
    after = await doing.tx.fetchrow(_TAKE, before["id"], -doing.deed.days)
    if after is None:
        raise RuntimeError("a locked subscription vanished while days were taken")
    return Change(
        subject=doing.subject,
        before=access(before),
        after={**access(after), "days": doing.deed.days},
        detail="taken",
    )


# ------------------------------------------------------------------------------------------ money


async def give_or_take_money(doing: Doing) -> Change:
    """To the bonus: what the shop gives is no money of his own. From the bonus first, then from his own."""
    deed = doing.deed
    if not 1 <= abs(deed.amount) <= MOST_MONEY:
        refuse("too_much", "an amount is above zero and below what any balance holds")
    if deed.amount > 0 and doing.to_himself:
        refuse(
            "own_money", "nobody gives money to himself: another operator does it, or an owner at the shell"
        )
    own = ledger.customer(deed.customer_id, doing.currency)
    bonus = ledger.bonus(deed.customer_id, doing.currency)
    accounts = await ledger.open_accounts(doing.tx, [own, bonus])
    before = Balance(accounts[own].balance or 0, accounts[bonus].balance or 0)
    house = ledger.adjustments(doing.currency)
    if deed.amount > 0:
        entries = [Entry(house, bonus, deed.amount, "adjustment", f"adjustment:{doing.key}:given")]
    else:
        if -deed.amount > before.total:
            refuse(
                "too_little",
                f"the balance holds {before.total} minor units of {doing.currency}, which is less than {-deed.amount}:"
                " take that much at most",
            )
        from_bonus = min(-deed.amount, before.bonus)
        parts = ((bonus, from_bonus, "bonus"), (own, -deed.amount - from_bonus, "own"))
        entries = [
            Entry(account, house, part, "adjustment", f"adjustment:{doing.key}:{name}")
            for account, part, name in parts
            if part
        ]
    await ledger.post(doing.tx, entries)
    after = await ledger.balances_of(doing.tx, deed.customer_id, doing.currency)
    if deed.amount > 0:
        await doing.tell("gift_money", {"amount": deed.amount, "currency": doing.currency})
    return Change(
        subject=doing.subject,
        before=_purse(before, doing.currency),
        after={**_purse(after, doing.currency), "amount": deed.amount},
        detail="given" if deed.amount > 0 else "taken",
    )


def _purse(balance: Balance, currency: str) -> dict[str, Any]:
    return {"own": balance.own, "bonus": balance.bonus, "currency": currency}


async def guard_refund(tx: Transaction, actor: Actor, customer_id: int | None) -> None:
    """Make sure that nobody but an owner gives his own payment back to himself. Raises DeedRefused."""
    if actor.telegram_id is None or customer_id is None:
        return
    telegram_id = await tx.fetchval("select telegram_id from customers where id = $1", customer_id)
    if telegram_id != actor.telegram_id:
        return
    if (await authorise(tx, actor, Permission.REFUND)).role != "owner":
        refuse("own_refund", "nobody but an owner gives his own payment back: ask another operator")
