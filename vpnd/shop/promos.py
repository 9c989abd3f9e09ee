"""Promo codes: percent off a purchase, days on top of one, or money for the balance.

    percent   entered, it waits for the customer's next purchase
    days      given at once to a subscription that is on; else it waits for the next purchase
    money     given at once, as bonus

A purchase reserves a use when it is opened, its settlement consumes it, and what closes it gives it back. Of a code
with one use left exactly one purchase gets it: the counter of the code decides, by a conditional update. A payment
that comes after its use was given back is honoured at its price all the same; it is counted as `late`, and the only
way beyond a cap. A customer who chooses anew takes his own reservation along.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, Literal

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop import ledger, subscriptions
from vpnd.shop.ledger import Entry
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction
from vpnd.shop.subscriptions import Granted

__all__ = [
    "Entered",
    "PromoCode",
    "PromoKind",
    "PromoUnavailable",
    "code_by_id",
    "code_name",
    "create_code",
    "enter_code",
    "forget_code",
    "list_codes",
    "retire_code",
]

PromoKind = Literal["percent", "days", "money"]

#: unknown: there is no such code, or it was switched off. early, over: outside of its window. used_up: its cap is
#: reached. already_used: this customer's cap is.
Reason = Literal["unknown", "early", "over", "used_up", "already_used"]

_CODE: Final = re.compile(r"[A-Z0-9_-]{3,32}\Z")


class PromoUnavailable(Exception):
    """The code cannot be used; `reason` says why, and nothing was changed."""

    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason
        super().__init__(f"the promo code cannot be used: {reason}")


class PromoExists(Exception):
    """There is an active code of this name."""


@frozen(kw_only=True)
class PromoCode:
    """A code. `value` is percent, days, or minor units of `currency`; `used` counts reserved and consumed uses."""

    id: int
    code: str
    kind: PromoKind
    value: int
    currency: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    total_cap: int | None
    customer_cap: int
    used: int
    late: int
    active: bool


@frozen
class Entered:
    """What a code did: `granted` is access it gave at once, `credited` minor units; neither: it waits for a purchase."""

    promo: PromoCode
    granted: Granted | None = None
    credited: int = 0


COLUMNS: Final = (
    "id, code, kind, value, currency, starts_at, ends_at, total_cap, customer_cap, used, late, active"
)

# Locks the customer, then the code, as everybody who changes both does.
_ENTER: Final = f"""
select {COLUMNS}, k.id as promo_id, k.active as promo_active,
       coalesce(k.starts_at > vpnd_now(), false) as promo_early, coalesce(k.ends_at <= vpnd_now(), false) as promo_over,
       coalesce(k.used >= k.total_cap, false) as promo_full,
       (select count(*) from promo_uses u
        where u.promo_id = k.id and u.customer_id = $2 and u.state = 'consumed') as promo_consumed,
       (select count(*) from promo_uses u
        where u.promo_id = k.id and u.customer_id = $2 and u.state = 'reserved') as promo_reserved
from promo_codes k where k.code = $1 and k.active
for no key update of k
"""  # noqa: S608 (only a constant is pasted in)


def why_unusable(row: Row) -> Reason | None:
    """Why a customer cannot use a code now, from a row that says how both stand; None if he can.

    What he has reserved himself does not stand in his way: he may choose anew.
    """
    if not row["promo_active"]:
        return "unknown"
    if row["promo_early"]:
        return "early"
    if row["promo_over"]:
        return "over"
    if row["promo_consumed"] >= row["customer_cap"]:
        return "already_used"
    if row["promo_full"] and not row["promo_reserved"]:
        return "used_up"
    return None


async def enter_code(tx: Transaction, *, customer_id: int, text: str, request_key: str) -> Entered:
    """Take a code that a customer has typed.

    `request_key` is the update that asked: replayed, it gives nothing twice. Locks the customer and the code until the
    transaction ends. Raises PromoUnavailable.
    """
    code = text.strip().upper()
    await tx.execute("select from customers where id = $1 for no key update", customer_id)
    row = await tx.fetchrow(_ENTER, code, customer_id) if _CODE.match(code) else None
    if row is None:
        raise PromoUnavailable("unknown")
    replayed = await tx.fetchval("select 1 from promo_uses where request_key = $1", request_key)
    reason = None if replayed else why_unusable(row)
    if reason is not None:
        raise PromoUnavailable(reason)
    promo = PromoCode(**{name: row[name] for name in COLUMNS.split(", ")})
    if promo.kind == "money" and promo.currency is not None:
        if not replayed:
            use = await _consume(tx, promo, customer_id, request_key)
            given = ledger.bonus(customer_id, promo.currency)
            entry = Entry(
                ledger.promo(promo.currency), given, promo.value, "promo", f"promo:{use}", note=code
            )
            await ledger.post(tx, [entry])
        return Entered(promo, credited=promo.value)
    if promo.kind == "days":
        running = await tx.fetchrow(_RUNNING, customer_id)
        if running is not None and not replayed:
            await _consume(tx, promo, customer_id, request_key)
            granted = await subscriptions.grant(
                tx,
                customer_id=customer_id,
                plan_id=running["plan_id"],
                days=promo.value,
                subscription_id=running["id"],
                kind="promo",
            )
            return Entered(promo, granted=granted)
        if replayed:
            return Entered(promo)
    await tx.execute("update customers set promo_id = $2 where id = $1", customer_id, promo.id)
    return Entered(promo)


_RUNNING: Final = """
select id, plan_id from subscriptions where customer_id = $1 and status = 'active'
order by expires_at desc, id limit 1
"""


async def _consume(tx: Transaction, promo: PromoCode, customer_id: int, request_key: str) -> int:
    """Use a code at once; its row and the customer's are locked.

    Where that would go beyond a cap, the use that an open purchase of his holds is taken along, and it waits for no
    purchase any more.
    """
    use: int = await tx.fetchval(
        """
        with mine as (
            select count(*) as n, min(id) filter (where state = 'reserved') as reserved
            from promo_uses where promo_id = $1 and customer_id = $2 and state <> 'returned'
        ), moved as (
            update promo_uses u set state = 'returned' from mine, promo_codes k
            where u.id = mine.reserved and u.state = 'reserved' and k.id = $1
              and (mine.n >= k.customer_cap or k.used >= k.total_cap)
            returning u.id
        ), counted as (
            update promo_codes set used = used + 1 - (select count(*)::integer from moved) where id = $1
        ), forgotten as (
            update customers set promo_id = null where id = $2 and promo_id = $1
        )
        insert into promo_uses (promo_id, customer_id, state, request_key) values ($1, $2, 'consumed', $3) returning id
        """,
        promo.id,
        customer_id,
        request_key,
    )
    return use


async def forget_code(tx: Transaction, customer_id: int) -> bool:
    """Take back the code that waits for the customer's next purchase. False if none did."""
    changed = await tx.execute(
        "update customers set promo_id = null where id = $1 and promo_id is not null", customer_id
    )
    return changed > 0


def code_name(text: str) -> str:
    """A code as it is kept, from what an admin has typed. Raises ValueError for one that nobody could enter."""
    name = text.strip().upper()
    if not _CODE.match(name):
        raise ValueError("a promo code is 3 to 32 letters A-Z, digits, - or _")
    return name


async def create_code(
    source: Source,
    *,
    code: str,
    kind: PromoKind,
    value: int,
    currency: str | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    total_cap: int | None = None,
    customer_cap: int = 1,
) -> PromoCode:
    """Make a code. Raises ValueError for one that could not be typed, PromoExists, and IntegrityError for other faults."""
    name = code_name(code)

    async def body(tx: Transaction) -> PromoCode:
        row = await tx.fetchrow(
            f"""
            insert into promo_codes (code, kind, value, currency, starts_at, ends_at, total_cap, customer_cap)
            values ($1, $2, $3, $4, $5, $6, $7, $8)
            on conflict (code) where active do nothing
            returning {COLUMNS}
            """,  # noqa: S608 (only a constant is pasted in)
            name,
            kind,
            value,
            currency,
            starts_at,
            ends_at,
            total_cap,
            customer_cap,
        )
        if row is None:
            raise PromoExists(f"there is an active promo code {name} already: retire it first")
        return PromoCode(**dict(row.items()))

    return await in_transaction(source, "promos.create", body)


async def retire_code(source: Source, code: str) -> bool:
    """Switch a code off; purchases that have reserved a use keep their price. False if no active one has the name."""

    async def body(tx: Transaction) -> bool:
        sql = "update promo_codes set active = false where code = $1 and active"
        return await tx.execute(sql, code.strip().upper()) > 0

    return await in_transaction(source, "promos.retire", body)


async def code_by_id(source: Source, promo_id: int) -> PromoCode | None:
    """A code, whether it is on or not."""
    sql = f"select {COLUMNS} from promo_codes where id = $1"  # noqa: S608 (only a constant is pasted in)
    row = await fetchrow(source, "promos.one", sql, promo_id)
    return None if row is None else PromoCode(**dict(row.items()))


async def list_codes(source: Source, limit: int = 50, *, before: int | None = None) -> list[PromoCode]:
    """Codes, the newest first, at most `limit`; `before` is the last id of the page before."""
    rows = await fetch(
        source,
        "promos.list",
        f"select {COLUMNS} from promo_codes where $2::bigint is null or id < $2 order by id desc limit $1",  # noqa: S608
        limit,
        before,
    )
    return [PromoCode(**dict(row.items())) for row in rows]
