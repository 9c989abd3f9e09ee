"""The books, checked: sums of all accounts from a checkpoint, zero for each currency, cached balances verified.

The house's accounts carry no balance: everybody's payments would queue for one row. Their sums are kept beside
the ledger instead, and brought forward from a checkpoint by a worker, so that a check costs what has happened
since and not all that ever did.

The hard part is where the checkpoint may stand. Transfers get their id when they are written and become visible
when they are committed, in any order: below the newest id that can be seen there may be one that cannot yet. So
a checkpoint is chosen in two steps. First the newest id is noted together with the next transaction id. Once no
transaction older than that is left (`Horizon`), every transfer up to the noted id is there or never will be: a
transaction has an id of its own before it writes to the ledger, which a trigger sees to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.accounts import AccountRef
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction

__all__ = [
    "Drift",
    "Horizon",
    "advance",
    "balance_drift",
    "cached_accounts",
    "horizon",
    "house_balances",
    "passed",
    "sums_by_currency",
]

_DEADLINE: Final = 30.0  # seconds; a page of the ledger, or a pass over the sums
PAGE: Final = 20_000  # transfers that one statement adds up
DRIFT_AT_ONCE: Final = 10_000  # accounts that are verified where nobody says which


@frozen
class Horizon:
    """A transfer's id, and the transaction id that was next when it was the newest one."""

    through_id: int
    next_transaction: str


@frozen
class Drift:
    """A cached balance that is not what the ledger says, in minor units."""

    account_id: int
    ref: AccountRef
    cached: int
    booked: int


async def horizon(source: Source) -> Horizon:
    """The newest transfer there is, and what has to pass before the sums may be advanced to it."""
    row = await fetchrow(
        source,
        "books.horizon",
        "select coalesce((select max(id) from ledger), 0) as newest,"
        " pg_snapshot_xmax(pg_current_snapshot())::text as next",
    )
    if row is None:
        raise RuntimeError("a select without a table returned no row")
    return Horizon(row["newest"], row["next"])


async def passed(source: Source, mark: Horizon) -> bool:
    """Whether no transaction that could still bring a transfer below the mark is left."""
    row = await fetchrow(
        source,
        "books.passed",
        "select pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8 as passed",
        mark.next_transaction,
    )
    return bool(row is not None and row["passed"])


# One statement under the checkpoint's lock: two instances add nothing twice.
_ADVANCE: Final = """
with head as (
    select through_id from ledger_checkpoint for update
), page as (
    select l.id, l.debit_id, l.credit_id, l.amount from ledger l, head
    where l.id > head.through_id and l.id <= $1 order by l.id limit $2
), net as (
    select account_id, sum(amount)::bigint as delta
    from (select credit_id as account_id, amount from page union all select debit_id, -amount from page) sides
    group by account_id
), summed as (
    insert into account_sums (account_id, balance) select account_id, delta from net order by account_id
    on conflict (account_id) do update set balance = account_sums.balance + excluded.balance
), moved as (
    update ledger_checkpoint set through_id = (select max(id) from page), moved_at = clock_timestamp()
    where exists (select from page)
)
select count(*) from page
"""


async def advance(source: Source, mark: Horizon, limit: int = PAGE) -> int:
    """Add up to `limit` transfers behind the checkpoint to the sums and move it; returns how many.

    The caller has seen that the mark has `passed`, and repeats until fewer than `limit` come.
    """

    async def body(tx: Transaction) -> int:
        return int(await tx.fetchval(_ADVANCE, mark.through_id, limit))

    return await in_transaction(source, "books.advance", body, deadline=_DEADLINE)


async def sums_by_currency(source: Source) -> dict[str, int]:
    """The sum over all accounts at the checkpoint, by the accounts' currency: zero for each, or the books are broken."""
    rows = await fetch(
        source,
        "books.sums",
        "select a.currency, sum(s.balance)::bigint as total from account_sums s join accounts a on a.id = s.account_id"
        " group by a.currency order by a.currency limit 1000",
        deadline=_DEADLINE,
    )
    return {row["currency"]: row["total"] for row in rows}


async def house_balances(source: Source) -> dict[AccountRef, int]:
    """The balances of the house's accounts now: the sums, and what has come since. Minor units; at most 1000 accounts."""
    rows = await fetch(source, "books.house", _HOUSE, deadline=_DEADLINE)
    return {AccountRef(row["kind"], row["owner"], row["currency"]): int(row["booked"]) for row in rows}


_SINCE: Final = """
    coalesce(s.balance, 0)
    + coalesce((select sum(l.amount) from ledger l where l.credit_id = a.id and l.id > c.through_id), 0)
    - coalesce((select sum(l.amount) from ledger l where l.debit_id = a.id and l.id > c.through_id), 0)
"""

_HOUSE: Final = f"""
select a.kind, a.owner, a.currency, {_SINCE} as booked
from (select * from accounts where customer_id is null order by id limit 1000) a
cross join ledger_checkpoint c
left join account_sums s on s.account_id = a.id
order by a.id
"""  # noqa: S608 (only a constant is pasted in)


async def cached_accounts(source: Source, after: int, limit: int) -> list[int]:
    """Ids of the accounts with a cached balance beyond `after`, at most `limit`."""
    rows = await fetch(
        source,
        "books.cached",
        "select id from accounts where balance is not null and id > $1 order by id limit $2",
        after,
        limit,
    )
    return [row["id"] for row in rows]


_DRIFT: Final = f"""
select * from (
    select a.id, a.kind, a.owner, a.currency, a.customer_id, a.balance, {_SINCE} as booked
    from (select * from accounts where id = any($2::bigint[]) and balance is not null order by id) a
    cross join ledger_checkpoint c
    left join account_sums s on s.account_id = a.id
) judged
where booked <> balance order by id limit $1
"""  # noqa: S608 (only a constant is pasted in)


async def balance_drift(
    source: Source, account_ids: Sequence[int] | None = None, limit: int = 100
) -> list[Drift]:
    """Those of the accounts whose cached balance is not what the ledger says; without ids, of the first 10 000.

    One snapshot: what is posted meanwhile is in both or in neither.
    """
    ids = await cached_accounts(source, 0, DRIFT_AT_ONCE) if account_ids is None else account_ids
    rows = await fetch(source, "books.drift", _DRIFT, limit, list(ids), deadline=_DEADLINE)
    return [
        Drift(
            row["id"],
            AccountRef(row["kind"], row["owner"], row["currency"], row["customer_id"]),
            row["balance"],
            int(row["booked"]),
        )
        for row in rows
    ]
