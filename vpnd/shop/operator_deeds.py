"""What operators do to a customer: give and take days and money, change the plan, make links anew, block, write.

A deed is a plain value. It is put together by questions, may be rehearsed (done, and rolled back), so that the question
before it says what will happen, and is carried out once a request by `perform`, which asks for the permission and writes it
down. The same deeds come from the bot and from the shell.

Nobody gives himself anything. Money for himself is refused to every operator in Telegram, the owners of the shop too: money is
what a theft would be about, and an owner has the shell, where the log names the account of the server. Days for himself are an
owner's to give. What is worth the same afterwards (another plan, a new link) he may do like any customer, and taking from himself
harms nobody else.
"""

from __future__ import annotations

from collections.abc import Collection

from vpnd.database.database import Database
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Change
from vpnd.shop.deed import Deed, Doing, permission_of, refuse
from vpnd.shop.deeds_customer import block_customer, change_his_plan, renew_link, unblock_customer, write_to
from vpnd.shop.deeds_giving import give_or_take_days, give_or_take_money
from vpnd.shop.operators import Actor, authorise

__all__ = ["carry_out", "rehearse"]


async def carry_out(
    tx: Transaction,
    actor: Actor,
    deed: Deed,
    *,
    request_key: str,
    currency: str,
    owners: Collection[int] = (),
) -> Change:
    """Do it, inside `perform`. Locks the customer, then what is his, in the order of all money.

    Args:
        tx: the transaction that also writes the audit log.
        actor: who does it.
        deed: what.
        request_key: that `perform` was given; whatever is written is keyed by it, too.
        currency: the shop's.
        owners: Telegram ids of the configuration's owners, who cannot be blocked.

    Raises DeedRefused.
    """
    customer = await tx.fetchrow(
        "select id, telegram_id, language, reachable, blocked_at, erased_at from customers where id = $1 for no key update",
        deed.customer_id,
    )
    if customer is None:
        refuse("no_customer", "there is no such customer: look for him again")
    doing = Doing(tx, actor, deed, customer, request_key, currency, frozenset(owners))
    match deed.kind:
        case "days":
            return await give_or_take_days(doing)
        case "money":
            return await give_or_take_money(doing)
        case "plan":
            return await change_his_plan(doing)
        case "link":
            return await renew_link(doing)
        case "block":
            return await block_customer(doing)
        case "unblock":
            return await unblock_customer(doing)
        case "message":
            return await write_to(doing)


class _Rehearsed(Exception):
    """Rolls a rehearsal back and carries what it would have changed."""

    def __init__(self, change: Change) -> None:
        super().__init__("rolled back")
        self.change = change


async def rehearse(
    db: Database, actor: Actor, deed: Deed, *, currency: str, owners: Collection[int] = ()
) -> Change:
    """What the deed would change now: it is done and rolled back. Raises NotAllowed and DeedRefused."""

    async def body(tx: Transaction) -> None:
        await authorise(tx, actor, permission_of(deed))
        key = f"rehearsal:{deed.customer_id}"
        raise _Rehearsed(await carry_out(tx, actor, deed, request_key=key, currency=currency, owners=owners))

    try:
        await db.run("desk.rehearse", body)
    except _Rehearsed as rehearsed:
        return rehearsed.change
    raise RuntimeError("a rehearsal was not rolled back")
