"""Plans and offers: what is on sale and for how much. The database is the truth; plans.toml fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import Factory, frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.plans_file import (
    OfferDraft,
    PlanDraft,
    PlansFault,
    PlansFileError,
    load_plans_file,
    parse_plans,
)
from vpnd.shop.source import Source, fetch, in_transaction

__all__ = [
    "Offer",
    "OfferDraft",
    "PlanDraft",
    "PlansFault",
    "PlansFileError",
    "apply_plans",
    "load_plans_file",
    "offers_on_sale",
    "parse_plans",
]

OFFERS_LIMIT: Final = 200

# One statement. A plan edited in the shop stays as it is, offers and prices included. What a file no longer
# names is put off sale and not deleted: purchases and subscriptions point at it. Where somebody has moved plans in the
# shop, the order is the shop's, and what is new in the file comes last.
_APPLY: Final = """
with given as (
    select * from jsonb_to_recordset($1::jsonb)
        as g (id text, titles jsonb, descriptions jsonb, place integer, on_sale boolean, offers jsonb)
), moved as (
    select max(position) + 1 as next from plans where exists (select from plans where moved_at is not null)
), applied as (
    insert into plans (id, titles, descriptions, position, on_sale)
    select id, titles, descriptions, place + coalesce(moved.next, 0), on_sale from given cross join moved
    on conflict (id) do update
        set titles = excluded.titles, descriptions = excluded.descriptions, on_sale = excluded.on_sale,
            position = case when (select next from moved) is null then excluded.position else plans.position end
        where plans.edited_at is null
    returning id
), dropped_plans as (
    update plans set on_sale = false
    where edited_at is null and on_sale and id not in (select id from given)
    returning id
), wanted as (
    select a.id as plan_id, o.days, o.on_sale, o.prices
    from applied a
    join given g on g.id = a.id
    cross join lateral jsonb_to_recordset(g.offers) as o (days integer, on_sale boolean, prices jsonb)
), applied_offers as (
    insert into offers (plan_id, days, on_sale)
    select plan_id, days, on_sale from wanted
    on conflict (plan_id, days) do update set on_sale = excluded.on_sale
    returning id, plan_id, days
), dropped_offers as (
    update offers o set on_sale = false
    from applied a
    where o.plan_id = a.id and o.on_sale
      and not exists (select from wanted w where w.plan_id = o.plan_id and w.days = o.days)
    returning o.id
), wanted_prices as (
    select o.id as offer_id, p.key as currency, p.value::bigint as amount
    from applied_offers o
    join wanted w on w.plan_id = o.plan_id and w.days = o.days
    cross join lateral jsonb_each_text(w.prices) as p
), applied_prices as (
    insert into prices (offer_id, currency, amount)
    select offer_id, currency, amount from wanted_prices
    on conflict (offer_id, currency) do update set amount = excluded.amount
    returning offer_id
), dropped_prices as (
    delete from prices p
    using applied_offers o
    where p.offer_id = o.id
      and not exists (
          select from wanted_prices w where w.offer_id = p.offer_id and w.currency = p.currency)
    returning p.offer_id
)
select count(*) as applied from applied
"""

_ON_SALE: Final = """
select o.id as offer_id, o.plan_id, o.days, p.titles, p.descriptions,
       (select jsonb_object_agg(c.currency, c.amount) from prices c where c.offer_id = o.id) as prices
from offers o
join plans p on p.id = o.plan_id
where o.on_sale and p.on_sale and exists (select from prices c where c.offer_id = o.id)
order by p.position, p.id, o.days
limit $1
"""


@frozen
class Offer:
    """A plan for a period. `prices` are minor units by currency; `titles` and `descriptions` are the plan's, by language."""

    offer_id: int
    plan_id: str
    titles: Mapping[str, str]
    days: int
    prices: Mapping[str, int]
    descriptions: Mapping[str, str] = Factory(dict)

    def title(self, language: str) -> str:
        """The plan's title in the language, else in English, else in any."""
        return (
            self.titles.get(language)
            or self.titles.get("en")
            or next(iter(self.titles.values()), self.plan_id)
        )

    def description(self, language: str) -> str | None:
        """What is said about the plan in the language, else in English; None for nothing."""
        return self.descriptions.get(language) or self.descriptions.get("en")


async def apply_plans(source: Source, plans: Sequence[PlanDraft]) -> int:
    """Bring the shop to what the file says, except for plans edited since. Returns how many plans it governs."""
    document = [
        {
            "id": plan.id,
            "titles": dict(plan.titles),
            "descriptions": dict(plan.descriptions),
            "place": place,
            "on_sale": plan.on_sale,
            "offers": [
                {"days": offer.days, "on_sale": offer.on_sale, "prices": dict(offer.prices)}
                for offer in plan.offers
            ],
        }
        for place, plan in enumerate(plans)
    ]

    async def body(tx: Transaction) -> int:
        # Keeps out a second instance that starts now and an edit in the shop; readers go on.
        await tx.execute("lock table plans in share row exclusive mode")
        row = await tx.fetchrow(_APPLY, document)
        return int(row["applied"]) if row else 0

    return await in_transaction(source, "plans.apply", body)


async def offers_on_sale(source: Source, limit: int = OFFERS_LIMIT) -> list[Offer]:
    """What can be bought now, in the order of the file, shortest period first; at most `limit`."""
    rows = await fetch(source, "plans.on_sale", _ON_SALE, limit)
    return [offer_from_row(row) for row in rows]


def offer_from_row(row: Row) -> Offer:
    """An offer from a row of the on-sale query."""
    return Offer(
        offer_id=row["offer_id"],
        plan_id=row["plan_id"],
        titles=row["titles"],
        days=row["days"],
        prices={currency: int(amount) for currency, amount in row["prices"].items()},
        descriptions=row["descriptions"],
    )
