"""What must hold in a world after anything was played in it: the books, the inbox, the journal."""

from __future__ import annotations

import json
from collections.abc import Iterable

from vpnd.database.database import Database
from vpnd.shop.ledger import imbalance

#: Each charge became exactly one thing: a grant, a credit, or an entry of money that is held. Rows are those that did not.
_NOT_ONE_THING = """
select s.provider, s.charge_id, s.outcome, p.kind,
       (select count(*) from grants g where g.settlement_id = s.id) as grants,
       (select count(*) from ledger l where l.settlement_id = s.id and l.kind = 'payment') as payments
from settlements s left join purchases p on p.id = s.purchase_id
where (select count(*) from grants g where g.settlement_id = s.id)
          <> (case when s.outcome = 'settled' and p.kind = 'access' then 1 else 0 end)
   or (select count(*) from ledger l where l.settlement_id = s.id and l.kind = 'payment')
          <> (case when s.amount > 0 and s.provider <> 'balance' then 1 else 0 end)
order by s.id limit 10
"""
_WRONG_BALANCES = """
with sides as (select credit_id as account, amount from ledger union all select debit_id, -amount from ledger),
     sums as (select account, sum(amount) as total from sides group by account)
select a.kind, a.owner, a.currency, a.balance, coalesce(s.total, 0) as booked
from accounts a left join sums s on s.account = a.id
where a.balance is not null and (a.balance <> coalesce(s.total, 0) or a.balance < 0) order by a.id limit 10
"""
_PAID_WITHOUT = """
select p.public_id from purchases p
where p.status = 'paid' and p.kind = 'access' and not exists (select from grants g where g.purchase_id = p.id) limit 10
"""
_LEFT = """
select (select count(*) from inbox where done_at is null)
     + (select count(*) from outbox where status = 'ready' and available_at <= clock_timestamp())
"""


async def money_faults(db: Database) -> list[str]:
    """What is wrong with the books; empty when nothing."""
    faults = [
        f"the ledger sums to {total} {currency}" for currency, total in (await imbalance(db)).items() if total
    ]
    for what, sql in (
        ("a charge that is not one thing", _NOT_ONE_THING),
        ("a cached balance that is not the ledger's", _WRONG_BALANCES),
        ("paid, and no grant", _PAID_WITHOUT),
    ):
        faults += [f"{what}: {dict(row.items())}" for row in await db.fetch("test.money", sql, deadline=60.0)]
    return faults


async def inbox_faults(db: Database) -> list[str]:
    """The updates that failed."""
    rows = await db.fetch(
        "test.inbox",
        "select update_id, kind, payload from inbox where outcome = 'failed' order by update_id limit 5",
    )
    return [f"update {row['update_id']} failed: {row['kind']} {str(row['payload'])[:300]}" for row in rows]


async def nothing_left(db: Database) -> bool:
    """Whether every update is done and everything that is due has left the outbox."""
    return not await db.fetchval("test.left", _LEFT)


def journal_faults(lines: Iterable[str]) -> list[str]:
    """The daemon's lines that tell of an error, and those that are none of its journal: an interpreter's last words."""
    faults = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            if line.strip():
                faults.append(f"not a line of the journal: {line[:300]}")
        elif entry.get("level") in ("error", "critical") or "Traceback" in line:
            faults.append(
                f"{entry.get('event')}: {entry.get('message')} {str(entry.get('exception', ''))[-600:]}"
            )
    return faults
