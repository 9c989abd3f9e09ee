"""What stands in the database of one example, in one statement: the other half of `Oracle.picture`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from vpnd.database.database import Database

__all__ = ["Marks", "marks", "read_picture"]

#: Business time stands still here, so that an end can be foretold to the second.
EPOCH: Final = 1_893_456_000  # 2030-01-01

STANDING_CLOCK: Final = f"""
create or replace function vpnd_now() returns timestamptz language sql stable parallel safe as
$$ select to_timestamp({EPOCH}) + make_interval(secs => coalesce((select offset_seconds from sandbox_clock), 0)) $$
"""  # noqa: S608 (only a constant is pasted in)


@frozen
class Marks:
    """Where an example begins: all rows above these ids are its own, since examples follow one another."""

    settlements: int
    ledger: int
    outbox: int
    refunds: int


async def marks(db: Database) -> Marks:
    """The newest ids now."""
    row = await db.fetchrow(
        "money.marks",
        "select coalesce((select max(id) from settlements), 0), coalesce((select max(id) from ledger), 0),"
        " coalesce((select max(id) from outbox), 0), coalesce((select max(id) from refunds), 0)",
    )
    assert row is not None
    return Marks(*row.values())


# $1 customers, $2 settlements, $3 ledger, $4 outbox, $5 refunds: from where on.
_PICTURE: Final = f"""
with mine as (
    select c.*, row_number() over (order by c.id) as number from customers c where c.id = any($1::bigint[])
), bought as (
    select p.*, p.request_key as key from purchases p
    where p.customer_id = any($1)
), owned as (
    select s.*, row_number() over (order by s.id) as number from subscriptions s where s.customer_id = any($1)
), posted as (
    select * from ledger where id > $3
), sums as (
    select account_id, sum(amount) as total
    from (select credit_id as account_id, amount from posted union all select debit_id, -amount from posted) sides
    group by account_id
), facts as (
    select l.settlement_id, count(*) filter (where l.kind = 'payment') as payments,
           count(*) filter (where l.kind in ('sale', 'sale_bonus')) as sales,
           coalesce(bool_or(a.kind = 'held') filter (where l.kind = 'payment'), false) as to_held
    from posted l join accounts a on a.id = l.credit_id group by l.settlement_id
), charged as (
    select s.*, case when s.provider = 'balance' then p.key else s.charge_id end as name
    from settlements s left join bought p on p.id = s.purchase_id where s.id > $2
)
select
    (select jsonb_object_agg(m.number, jsonb_build_array(m.first_paid_at is not null, k.code))
     from mine m left join promo_codes k on k.id = m.promo_id) as customers,
    (select jsonb_agg(jsonb_build_array(a.kind, a.owner, a.currency, m.number, a.balance, coalesce(sums.total, 0)))
     from accounts a left join sums on sums.account_id = a.id left join mine m on m.id = a.customer_id
     where sums.account_id is not null or a.customer_id = any($1)) as accounts,
    (select jsonb_object_agg(p.key, jsonb_build_array(
         m.number, p.status, p.amount, p.shop_amount, p.received, p.refunded, p.bonus_days,
         (select o.number from grants g join owned o on o.id = g.subscription_id where g.purchase_id = p.id)))
     from bought p join mine m on m.id = p.customer_id) as purchases,
    (select jsonb_object_agg(k.code, jsonb_build_array(k.used, k.late,
         (select count(*) from promo_uses u where u.promo_id = k.id and u.state = 'reserved'),
         (select count(*) from promo_uses u where u.promo_id = k.id and u.state = 'consumed'),
         (select count(*) from promo_uses u where u.promo_id = k.id and u.state = 'returned')))
     from promo_codes k where k.id = any($6::bigint[])) as codes,
    (select jsonb_object_agg(s.provider || ':' || s.name, jsonb_build_array(s.outcome, s.reason, s.amount, s.refunded,
         (select count(*) from grants g where g.settlement_id = s.id), coalesce(f.payments, 0), coalesce(f.sales, 0),
         coalesce(f.to_held, false), p.kind))
     from charged s left join facts f on f.settlement_id = s.id left join bought p on p.id = s.purchase_id) as charges,
    (select jsonb_object_agg(o.number, jsonb_build_array(
         m.number, o.plan_id, o.status = 'active', extract(epoch from o.expires_at)::bigint - {EPOCH}, o.renews,
         (select jsonb_agg(jsonb_build_array(extract(epoch from g.from_at)::bigint - {EPOCH},
                                             extract(epoch from g.until_at)::bigint - {EPOCH}, g.removed_seconds)
                           order by g.from_at, g.until_at, g.removed_seconds)
          from grants g where g.subscription_id = o.id), o.id))
     from owned o join mine m on m.id = o.customer_id) as accesses,
    (select jsonb_object_agg(
         case when starts_with(r.request_key, 'second_charge:') then 'second:' || s.charge_id else r.request_key end,
         jsonb_build_array(r.status, r.route, r.source, r.amount, r.shop_amount, r.external_id, r.id, r.key))
     from refunds r join settlements s on s.id = r.settlement_id where r.id > $5) as refunds,
    (select jsonb_object_agg(p.key, jsonb_build_array(m.number, w.base, w.percent, w.amount, w.reversed))
     from referral_rewards w join bought p on p.id = w.purchase_id join mine m on m.id = w.referrer_id) as rewards,
    (select jsonb_object_agg(p.key, jsonb_build_array(o.number, t.state))
     from star_subscriptions t join bought p on p.id = t.purchase_id join owned o on o.id = t.subscription_id) as runs,
    (select jsonb_object_agg(s.name, (select count(*) from outbox o where o.id > $4 and o.key = 'receipt:' || s.id))
     from charged s where exists (select from outbox o where o.key = 'receipt:' || s.id)) as receipts,
    (select count(*) from outbox o where o.id > $4 and starts_with(o.key, 'receipt:')) as all_receipts
"""  # noqa: S608 (only constants are pasted in)


async def read_picture(
    db: Database, begin: Marks, customers: Sequence[int], codes: Sequence[int]
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The picture as the oracle draws it; and, of subscriptions and refunds, the real ids behind it.

    Asserts on the way what needs no oracle: zero for each currency, no cached balance below zero or other than the
    ledger's, and that every charge became exactly one thing.
    """
    row = await db.fetchrow(
        "money.picture", _PICTURE, list(customers), begin.settlements, begin.ledger, begin.outbox, begin.refunds,
        list(codes),
    )  # fmt: skip
    assert row is not None
    seen: dict[str, Any] = {
        name: row[name] or {}
        for name in ("purchases", "codes", "charges", "accesses", "refunds", "rewards", "runs", "receipts")
    }
    balances, house = _accounts(row["accounts"] or [])
    seen["customers"] = {
        int(number): [
            *(balances[int(number), kind] for kind in ("customer", "bonus")),
            -balances[int(number), "receivable"],
            *rest,
        ]
        for number, rest in row["customers"].items()
    }
    seen["house"] = house
    _one_thing(seen["charges"], seen["refunds"])
    seen["charges"] = {name: facts[:4] for name, facts in seen["charges"].items()}
    ids = {
        "accesses": {int(number): facts[6] for number, facts in seen["accesses"].items()},
        "refunds": {name: facts[6:] for name, facts in seen["refunds"].items()},
    }
    seen["accesses"] = {int(number): facts[:6] for number, facts in seen["accesses"].items()}
    seen["refunds"] = {name: facts[:6] for name, facts in seen["refunds"].items()}
    assert row["all_receipts"] == len(seen["receipts"]), "a receipt without a settlement"
    return seen, ids


def _accounts(rows: list[Any]) -> tuple[Counter[tuple[int, str]], dict[str, int]]:
    balances: Counter[tuple[int, str]] = Counter()
    house: dict[str, int] = {}
    zero: Counter[str] = Counter()
    for kind, owner, currency, number, cached, booked in rows:
        zero[currency] += booked
        if number is None:
            if booked:
                house[f"{kind}:{owner} {currency}"] = booked
            continue
        assert cached is None or cached == booked, f"{kind} of {number}: cached {cached}, booked {booked}"
        assert cached is None or cached >= 0, f"{kind} of {number} is {cached}"
        balances[number, kind] = booked
    assert not any(zero.values()), f"the ledger does not sum to zero: {dict(zero)}"
    return balances, house


def _one_thing(charges: dict[str, list[Any]], refunds: dict[str, list[Any]]) -> None:
    """Each charge is exactly one grant, one credit, or one entry of money that is held."""
    for name, (outcome, _, amount, _, grants, payments, sales, to_held, kind) in charges.items():
        from_balance = name.startswith("balance:")
        sold = outcome == "settled" and kind == "access"
        assert grants == sold, f"{name}: {outcome} with {grants} grants"
        assert payments == (amount > 0 and not from_balance), f"{name}: booked {payments} times"
        assert sales in ((1, 2) if from_balance else (1,)) if sold else sales == 0, (
            f"{name}: {outcome}, {sales} sales"
        )
        goes_back = outcome == "second_charge" and name.startswith("stars:")
        assert to_held == ((outcome == "held" and amount > 0) or goes_back), (
            f"{name}: {outcome}, held {to_held}"
        )
        if goes_back:
            assert f"second:{name.removeprefix('stars:')}" in refunds, f"{name} does not go back"
