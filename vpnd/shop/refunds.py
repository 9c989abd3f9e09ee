"""Refunds: what one is, how it is found, and how it ends.

    requested → done           the provider has given the money back
    requested → to_balance     the provider will not, so it went to the customer's balance
    requested → stuck          it can go neither way without a person; an admin is told

What a refund takes back (access, a referral's reward) it takes when it is requested (`vpnd.shop.refund_requests`);
the money leaves the customer's balance then too and stands in the provider's `held` account until the provider
confirms. So whatever happens in between, it is never in two places, and never in none.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop import ledger, notices
from vpnd.shop.ledger import Entry
from vpnd.shop.source import Source, fetch, fetchrow

__all__ = [
    "Refund",
    "RefundFact",
    "RefundableCharge",
    "charges_named",
    "finish_refund",
    "job_kind",
    "refund_by_id",
    "refund_fact",
    "refunds_of",
    "turn_to_balance",
]

RefundStatus = Literal["requested", "done", "to_balance", "stuck"]


def job_kind(provider: str) -> str:
    """The kind of the outbox rows that a provider's refunds are: a provider that is away pauses only its own."""
    return f"refund_{provider}"


@frozen(kw_only=True)
class Refund:
    """One refund. `amount` is of the charge's currency, `shop_amount` what that is worth on the balance."""

    id: int
    key: str
    settlement_id: int
    purchase_id: int | None
    customer_id: int | None
    provider: str
    source: str
    route: str
    amount: int
    currency: str
    shop_amount: int
    shop_currency: str | None
    status: str
    external_id: str | None
    reason: str | None
    requested_by: str
    removed_seconds: int
    created_at: datetime
    done_at: datetime | None


@frozen(kw_only=True)
class RefundFact:
    """What a provider has to be told to make a refund."""

    refund: Refund
    charge_id: str
    charge_amount: int
    details: dict[str, Any]
    payload: str | None
    telegram_id: int | None


@frozen(kw_only=True)
class RefundableCharge:
    """A charge as an operator sees it: what it was for, and how much of it went back. Amounts in its own minor units."""

    settlement_id: int
    provider: str
    charge_id: str
    outcome: str
    amount: int
    currency: str
    refunded: int
    purchase: str | None
    kind: str | None
    customer_id: int | None
    telegram_id: int | None
    paid_at: datetime

    @property
    def left(self) -> int:
        """What can still go back."""
        return self.amount - self.refunded


_COLUMNS: Final = """
    r.id, r.key, r.settlement_id, r.purchase_id, r.customer_id, r.provider, r.source, r.route, r.amount, r.currency,
    r.shop_amount, r.shop_currency, r.status, r.external_id, r.reason, r.requested_by, r.removed_seconds, r.created_at,
    r.done_at
"""
_FIELDS: Final = tuple(name.strip().removeprefix("r.") for name in _COLUMNS.split(","))

_FACT: Final = f"""
select {_COLUMNS}, s.charge_id, s.amount as charge_amount, s.details, c.telegram_id
from refunds r join settlements s on s.id = r.settlement_id left join customers c on c.id = r.customer_id
where r.id = $1
"""  # noqa: S608 (only a constant is pasted in)


def refund_from_row(row: Row) -> Refund:
    """A refund from a row with this module's columns."""
    return Refund(**{name: row[name] for name in _FIELDS})


async def refund_by_id(source: Source, refund_id: int) -> Refund | None:
    """The refund, or None."""
    sql = f"select {_COLUMNS} from refunds r where r.id = $1"  # noqa: S608 (only a constant is pasted in)
    row = await fetchrow(source, "refunds.by_id", sql, refund_id)
    return None if row is None else refund_from_row(row)


async def refunds_of(source: Source, settlement_id: int, limit: int = 50) -> list[Refund]:
    """The refunds of a charge, the newest first, at most `limit`."""
    sql = f"select {_COLUMNS} from refunds r where r.settlement_id = $1 order by r.id desc limit $2"  # noqa: S608
    return [refund_from_row(row) for row in await fetch(source, "refunds.of", sql, settlement_id, limit)]


async def refund_fact(source: Source, refund_id: int) -> RefundFact | None:
    """A refund with the charge it is of: what its provider is asked with."""
    row = await fetchrow(source, "refunds.fact", _FACT, refund_id)
    if row is None:
        return None
    details = dict(row["details"])
    payer = details.get("payer")
    return RefundFact(
        refund=refund_from_row(row),
        charge_id=row["charge_id"],
        charge_amount=row["charge_amount"],
        details=details,
        payload=details.get("payload"),
        telegram_id=payer if isinstance(payer, int) else row["telegram_id"],
    )


_CHARGES: Final = """
select s.id as settlement_id, s.provider, s.charge_id, s.outcome, s.amount, s.currency, s.refunded,
       p.public_id as purchase, p.kind, s.customer_id, c.telegram_id, coalesce(s.paid_at, s.created_at) as paid_at
from settlements s
left join purchases p on p.id = s.purchase_id
left join customers c on c.id = s.customer_id
where s.purchase_id = (select id from purchases where public_id = $1)
   or (s.provider = split_part($1, ':', 1) and s.charge_id = substr($1, strpos($1, ':') + 1))
order by s.id limit 50
"""


async def charges_named(source: Source, name: str) -> list[RefundableCharge]:
    """The charges of a purchase (by its public id) or the one charge `provider:charge_id`, oldest first, at most 50."""
    rows = await fetch(source, "refunds.charges", _CHARGES, name.strip())
    return [RefundableCharge(**dict(row.items())) for row in rows]


async def _lock_open(tx: Transaction, refund_id: int) -> Row | None:
    """Lock a refund that has not ended, with its customer; accounts come after it."""
    return await tx.fetchrow(
        f"""
        select {_COLUMNS}, c.telegram_id, c.language, s.charge_id
        from refunds r join settlements s on s.id = r.settlement_id left join customers c on c.id = r.customer_id
        where r.id = $1 and r.status in ('requested', 'stuck') for no key update of r
        """,  # noqa: S608 (only a constant is pasted in)
        refund_id,
    )


async def finish_refund(tx: Transaction, refund_id: int, external_id: str | None) -> bool:
    """Write down that the provider has given the money back. False if the refund had ended before."""
    row = await _lock_open(tx, refund_id)
    if row is None:
        return False
    common = {"settlement_id": row["settlement_id"], "purchase_id": row["purchase_id"]}
    await ledger.post(tx, [paid_out(row["key"], row["provider"], row["currency"], row["amount"], **common)])
    await tx.execute(
        "update refunds set status = 'done', external_id = $2, done_at = vpnd_now() where id = $1",
        refund_id,
        external_id,
    )
    return True


def paid_out(key: str, provider: str, currency: str, amount: int, **common: Any) -> Entry:
    """The entry by which the money of a refund has left the house."""
    held, clearing = ledger.held(provider, currency), ledger.clearing(provider, currency)
    return Entry(held, clearing, amount, "refund_paid", f"refund_paid:{key}", **common)


async def turn_to_balance(tx: Transaction, refund_id: int, reason: str) -> RefundStatus | None:
    """The provider will not give the money back: it goes to the customer's balance, and he is told.

    Money that belongs to no customer of ours, or whose worth is not known, waits for a person instead ("stuck"), who is
    told. None if the refund had ended before.
    """
    row = await _lock_open(tx, refund_id)
    if row is None:
        return None
    worth, shop_currency = row["shop_amount"], row["shop_currency"]
    args: dict[str, Any] = {
        "provider": row["provider"],
        "charge_id": row["charge_id"],
        "reason": reason[:200],
        "amount": row["amount"],
        "currency": row["currency"],
        "telegram_id": row["telegram_id"],
    }
    told = [notices.admin_alert(f"refund_refused:{row['key']}", "refund_refused", args)]
    if row["customer_id"] is None or not worth or shop_currency is None:
        status: RefundStatus = "stuck"
    else:
        status = "to_balance"
        await ledger.post(tx, back_to_balance(row))
        reference = f"refund_repayment:{row['key']}"
        await ledger.repay_receivable(tx, row["customer_id"], shop_currency, up_to=worth, reference=reference)
        shown = {"amount": worth, "currency": shop_currency}
        told.append(
            notices.message(
                f"refund_to_balance:{row['key']}",
                row["telegram_id"],
                "refund_to_balance",
                shown,
                row["language"],
                lane="receipt",
            )
        )
    await tx.execute(
        "update refunds set status = $2, reason = coalesce(reason || '; ', '') || $3,"
        " done_at = case when $2 = 'to_balance' then vpnd_now() end where id = $1",
        refund_id,
        status,
        reason[:200],
    )
    await notices.put_all(tx, told)
    return status


def back_to_balance(row: Row) -> list[Entry]:
    """The entries by which the money of a refund comes back to the customer's balance."""
    common = {"settlement_id": row["settlement_id"], "purchase_id": row["purchase_id"]}
    held = ledger.held(row["provider"], row["currency"])
    balance = ledger.customer(row["customer_id"], row["shop_currency"])
    key = row["key"]
    if row["currency"] == row["shop_currency"]:
        return [Entry(held, balance, row["amount"], "refund_back", f"refund_back:{key}", **common)]
    into, out = ledger.exchange(row["currency"]), ledger.exchange(row["shop_currency"])
    return [
        Entry(held, into, row["amount"], "refund_back", f"refund_back:{key}", **common),
        Entry(out, balance, row["shop_amount"], "exchange", f"refund_back_exchange:{key}", **common),
    ]
