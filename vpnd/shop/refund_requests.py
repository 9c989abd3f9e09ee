"""Asking for a refund: what is taken back, what is booked, and the job that makes the provider pay.

A refund is of one charge. One transaction, with locks in the usual order (purchase, customer, subscription, accounts
by id), does all that the shop itself has to do:

- **the sale**: as much of it as the charge paid for is given back (`refunds` → customer, bonus to bonus);
- **access**: the share of the purchase's days that the money was, from what is left of them; what follows moves up, and
  a subscription whose time is over by that is switched off on the nodes; of a renewal, auto-renewal goes off;
- **the referral**: the same share of the reward is taken back, be it from what the referrer owes from then on;
- **the money**: leaves the balance for the provider's held account; the job that pays it out is keyed for ever.

A refund that a provider reports by itself (made by hand in its cabinet, a charge-back) goes the same way; since the
money is gone already, what the customer has spent of it is booked to his receivable.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop import ledger, notices, star_subscriptions
from vpnd.shop.access_removal import Removed, remove_access
from vpnd.shop.accounts import open_accounts
from vpnd.shop.identifiers import refund_key
from vpnd.shop.ledger import AccountRef, Entry
from vpnd.shop.notices import Notice
from vpnd.shop.refund_plan import SOLD, RefundImpossible, RefundPlan, RefundRequest, plan_refund
from vpnd.shop.refunds import job_kind, paid_out
from vpnd.shop.settlement_decision import Verdict
from vpnd.shop.subscriptions import set_renewal

__all__ = ["Requested", "refund_second_charge", "request_refund"]


@frozen
class Requested:
    """A refund that was asked for: whether it is new, what it took of the access, and whether a provider has to pay."""

    refund_id: int
    created: bool
    removed: Removed | None = None
    awaits_provider: bool = False


_CHARGE: Final = """
select s.id, s.provider, s.charge_id, s.purchase_id, s.customer_id, s.outcome, s.currency, s.amount, s.refunded, s.details,
       p.public_id, p.kind, p.origin, p.shop_amount, coalesce(p.shop_currency, s.currency) as shop_currency,
       coalesce(p.refunded, 0) as purchase_refunded, p.status as purchase_status, c.telegram_id, c.language,
       case when p.shop_currency = s.currency then s.amount
            else (select l.amount from ledger l where l.reference = 'exchange:' || s.provider || ':' || s.charge_id)
       end as worth,
       coalesce((select l.amount from ledger l where l.reference = 'sale_bonus:' || p.id), 0) as sold_for_bonus,
       g.subscription_id
from settlements s
left join purchases p on p.id = s.purchase_id
left join customers c on c.id = s.customer_id
left join grants g on g.purchase_id = p.id
where s.id = $1
for no key update of s
"""


async def request_refund(tx: Transaction, request: RefundRequest) -> Requested:
    """Ask for a refund; see the module's text. Raises RefundImpossible."""
    # In the order in which everybody locks them.
    await tx.execute(
        "select from purchases p join settlements s on s.purchase_id = p.id where s.id = $1 for no key update of p",
        request.settlement_id,
    )
    await tx.execute(
        "select from customers c join settlements s on s.customer_id = c.id where s.id = $1 for no key update of c",
        request.settlement_id,
    )
    row = await tx.fetchrow(_CHARGE, request.settlement_id)
    if row is None:
        raise RefundImpossible("unknown_charge", f"settlement {request.settlement_id} does not exist")
    # Looked for under the charge's lock: of one request that is played twice at once the second sees the first.
    before = await tx.fetchval("select id from refunds where request_key = $1", request.request_key)
    if before is not None:
        return Requested(before, created=False)
    plan = plan_refund(row, request)
    removed = None
    if plan.sale_part and row["kind"] == "access":
        removed = await remove_access(
            tx,
            purchase_id=row["purchase_id"],
            part=plan.sale_part,
            of=row["shop_amount"],
            last=plan.whole_sale,
        )
    await _post(tx, row, request, plan)
    refund_id = await _write(tx, row, request, plan, removed)
    if plan.whole_sale and row["subscription_id"] is not None:
        await star_subscriptions.cancel_for_refund(tx, row["subscription_id"])
        if row["origin"] == "renewal":  # else it is due again, and the shop takes what it has just given back
            await set_renewal(tx, row["subscription_id"], row["customer_id"], from_balance=False)
    await notices.put_all(tx, _told(row, request, plan, removed, refund_id))
    return Requested(refund_id, True, removed, awaits_provider=plan.awaits_provider)


# ---------------------------------------------------------------------- the entries


async def _post(tx: Transaction, row: Row, request: RefundRequest, plan: RefundPlan) -> None:
    common = {"settlement_id": row["id"], "purchase_id": row["purchase_id"], "note": request.reason}
    entries = await _reward_taken_back(tx, row, plan, common)
    held = ledger.held(row["provider"], row["currency"])
    if plan.source == "held":
        if plan.to == "balance":
            credit = ledger.customer(row["customer_id"], row["shop_currency"])
            name = f"refund_back:{plan.key}"
            entries.append(Entry(held, credit, plan.amount, "refund_back", name, **common))
    else:
        entries += _sale_undone(row, plan, common)
        if plan.to == "provider":
            entries += await _leaving(tx, row, plan, common, held)
    if plan.made:
        entries.append(paid_out(plan.key, row["provider"], row["currency"], plan.amount, **common))
    await ledger.post(tx, entries)
    if plan.to == "balance":
        credited = plan.amount if plan.source == "held" else plan.sale_part - plan.bonus_part
        who, name = row["customer_id"], f"refund_repayment:{plan.key}"
        await ledger.repay_receivable(tx, who, row["shop_currency"], up_to=credited, reference=name)


def _sale_undone(row: Row, plan: RefundPlan, common: dict[str, Any]) -> list[Entry]:
    """What was sold is given back: own money to the balance, bonus to the bonus."""
    currency = row["shop_currency"]
    parts = (
        (
            (ledger.customer(row["customer_id"], currency), plan.sale_part - plan.bonus_part, "refund"),
            (ledger.bonus(row["customer_id"], currency), plan.bonus_part, "refund_bonus"),
        )
        if plan.sale_part
        else ()
    )
    return [
        Entry(ledger.refunds(currency), account, part, kind, f"{kind}:{plan.key}", **common)
        for account, part, kind in parts
        if part
    ]


async def _leaving(
    tx: Transaction, row: Row, plan: RefundPlan, common: dict[str, Any], held: AccountRef
) -> list[Entry]:
    """What takes the money from the balance to the provider's held account; what is short of it is owed, if it is gone."""
    currency = row["shop_currency"]
    balance = ledger.customer(row["customer_id"], currency)
    short = plan.worth - (plan.sale_part - plan.bonus_part)
    entries: list[Entry] = []
    if short > 0:
        have = await ledger.lock_balance(tx, row["customer_id"], currency)
        if have < short:
            if not plan.made:
                raise RefundImpossible(
                    "spent", f"the customer has {have} of {short} minor units of {currency} left"
                )
            owes = ledger.receivable(row["customer_id"], currency)
            entries.append(
                Entry(owes, balance, short - have, "receivable", f"receivable:{plan.key}", **common)
            )
    if row["currency"] == currency:
        entries.append(Entry(balance, held, plan.amount, "refund_out", f"refund_out:{plan.key}", **common))
        return entries
    if plan.worth:
        out = ledger.exchange(currency)
        entries.append(Entry(balance, out, plan.worth, "exchange", f"refund_exchange:{plan.key}", **common))
    source = ledger.exchange(row["currency"])
    entries.append(Entry(source, held, plan.amount, "refund_out", f"refund_out:{plan.key}", **common))
    return entries


async def _reward_taken_back(
    tx: Transaction, row: Row, plan: RefundPlan, common: dict[str, Any]
) -> list[Entry]:
    """The refunded share of what the referrer got for this purchase."""
    if not plan.sale_part:
        return []
    reward = await tx.fetchrow(
        "select referrer_id, currency, amount, reversed from referral_rewards where purchase_id = $1 for no key update",
        row["purchase_id"],
    )
    if reward is None:
        return []
    so_far = row["purchase_refunded"] + plan.sale_part
    back = reward["amount"] * so_far // row["shop_amount"] - reward["reversed"]
    if back <= 0:
        return []
    await tx.execute(
        "update referral_rewards set reversed = reversed + $2 where purchase_id = $1",
        row["purchase_id"],
        back,
    )
    bonus = ledger.bonus(reward["referrer_id"], reward["currency"])
    # Both customers' accounts at once, in the order of their ids.
    wanted = [bonus, ledger.customer(row["customer_id"], row["shop_currency"])]
    have = (await open_accounts(tx, wanted))[bonus].balance or 0
    entries: list[Entry] = []
    if have < back:
        owes = ledger.receivable(reward["referrer_id"], reward["currency"])
        entries.append(
            Entry(owes, bonus, back - have, "receivable", f"receivable_referral:{plan.key}", **common)
        )
    cost = ledger.referral(reward["currency"])
    entries.append(Entry(bonus, cost, back, "referral_back", f"referral_back:{plan.key}", **common))
    return entries


# ---------------------------------------------------------------------- the rows


async def _write(
    tx: Transaction, row: Row, request: RefundRequest, plan: RefundPlan, removed: Removed | None
) -> int:
    refund_id: int = await tx.fetchval(
        """
        with counted as (
            update settlements set refunded = refunded + $9 where id = $3
        ), undone as (
            update purchases set refunded = refunded + $16, received = greatest(received - $19, 0),
                status = case when refunded + $16 >= shop_amount and kind = 'access' then 'refunded' else status end
            where id = $4 and ($16 > 0 or $19 > 0)
        )
        insert into refunds (key, request_key, settlement_id, purchase_id, customer_id, provider, source, route, amount,
                             currency, shop_amount, shop_currency, status, external_id, reason, requested_by,
                             removed_seconds, done_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text, $14, $15, $17, $18,
                case when $13::text = 'done' then vpnd_now() end)
        returning id
        """,
        plan.key,
        request.request_key,
        row["id"],
        row["purchase_id"],
        row["customer_id"],
        row["provider"],
        plan.source,
        plan.to,
        plan.amount,
        row["currency"],
        plan.worth,
        row["shop_currency"],
        "requested" if plan.awaits_provider else "done",
        request.external_id,
        request.reason,
        plan.sale_part,
        request.requested_by,
        0 if removed is None else int(removed.length.total_seconds()),
        # A part of a price that nothing was sold for yet is missing again.
        plan.amount if row["outcome"] == "underpaid" and row["purchase_status"] not in SOLD else 0,
    )
    return refund_id


def _told(
    row: Row, request: RefundRequest, plan: RefundPlan, removed: Removed | None, refund_id: int
) -> list[Notice]:
    told: list[Notice] = []
    if plan.awaits_provider:
        told.append(_job(row["provider"], plan.key, refund_id))
    if row["telegram_id"] is None:
        return told
    to_balance = plan.to == "balance"
    args = {
        "amount": plan.worth if to_balance else plan.amount,
        "currency": row["shop_currency"] if to_balance else row["currency"],
        "to_balance": to_balance,
        "made": plan.made,
        "expires_at": None if removed is None else removed.expires_at.isoformat(),
        "off": removed is not None and removed.off,
    }
    told.append(
        notices.message(
            f"refund:{plan.key}", row["telegram_id"], "refund", args, row["language"], lane="receipt"
        )
    )
    return told


def _job(provider: str, key: str, refund_id: int) -> Notice:
    """The outbox row by which the provider is asked, until it has answered for good."""
    return Notice(job_kind(provider), f"refund_job:{key}", {"refund": refund_id})


async def refund_second_charge(tx: Transaction, verdict: Verdict) -> int:
    """Send a charge for a purchase that was paid already straight back; its money stands in the held account."""
    charge, purchase = verdict.charge, verdict.purchase
    key = refund_key()
    refund_id: int = await tx.fetchval(
        """
        insert into refunds (key, request_key, settlement_id, purchase_id, customer_id, provider, source, route, amount,
                             currency, status, reason, requested_by)
        values ($1, $2, $3, $4, $5, $6, 'held', 'provider', $7, $8, 'requested', 'second charge for a paid purchase', 'shop')
        returning id
        """,
        key,
        f"second_charge:{verdict.settlement_id}",
        verdict.settlement_id,
        verdict.purchase_id,
        None if purchase is None else purchase["customer_id"],
        charge.provider,
        charge.amount or 0,
        charge.currency,
    )
    await tx.execute(
        "update settlements set refunded = amount, details = details || $2 where id = $1",
        verdict.settlement_id,
        {"payer": verdict.refunds_to},
    )
    await notices.put_all(tx, [_job(charge.provider, key, refund_id)])
    return refund_id
