"""The catalogue as operators edit it: plans, their periods and prices. The database is the truth.

Whoever edits a plan takes it out of the file's hands: `plans.toml` no longer touches it, until he gives it back. What was bought
and what a pending purchase has promised stands in the purchase, so that no edit here can change it.

Every function joins the caller's transaction, locks the plan that it changes until the commit, and returns what it changed, as
the audit log keeps it: only the values that differ.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from attrs import frozen

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Change
from vpnd.shop.money import EXPONENTS, MAX_MINOR, Money, format_decimal
from vpnd.shop.plans_file import DAYS, MAX_DESCRIPTION, MAX_OFFERS, MAX_PLANS, MAX_TITLE, PLAN_ID
from vpnd.shop.source import Source, fetch, fetchrow, from_json

__all__ = [
    "CatalogueError",
    "CataloguePlan",
    "Period",
    "Refusal",
    "add_period",
    "add_plan",
    "flat",
    "give_back",
    "list_plans",
    "move_plan",
    "offer_of",
    "plan_named",
    "put_period_on_sale",
    "put_plan_on_sale",
    "remove_price",
    "set_description",
    "set_price",
    "set_title",
    "subject_of",
]

#: Why an edit is refused. gone: there is no such plan, period or price.
Refusal = Literal[
    "gone",
    "plan_id",
    "plan_exists",
    "plans_full",
    "title",
    "last_title",
    "description",
    "days",
    "period_exists",
    "periods_full",
    "amount",
    "currency",
    "no_shop_price",
    "shop_price_needed",
]


class CatalogueError(Exception):
    """The edit is refused, and nothing was changed; `reason` says why."""

    def __init__(self, reason: Refusal) -> None:
        self.reason: Refusal = reason
        super().__init__(f"the catalogue cannot be changed like that: {reason}")


@frozen
class Period:
    """A plan for some days; `prices` are minor units by currency."""

    offer_id: int
    days: int
    on_sale: bool
    prices: Mapping[str, int]


@frozen
class CataloguePlan:
    """A plan with everything that operators see of it.

    Attributes:
        edited_at: when it was edited in the shop; None: `plans.toml` still says what it is.
        moved: somebody has moved it, so the order of plans is the shop's.
        periods: the shortest first, those off sale among them.
    """

    id: str
    titles: Mapping[str, str]
    descriptions: Mapping[str, str]
    on_sale: bool
    edited_at: datetime | None
    moved: bool
    periods: tuple[Period, ...]

    def title(self, language: str) -> str:
        """Its title in the language, else in English, else in any."""
        return self.titles.get(language) or self.titles.get("en") or next(iter(self.titles.values()), self.id)

    def period(self, offer_id: int) -> Period | None:
        """One of its periods."""
        return next((one for one in self.periods if one.offer_id == offer_id), None)


_PLANS: Final = """
select p.id, p.titles, p.descriptions, p.on_sale, p.edited_at, p.moved_at is not null as moved,
       (select jsonb_agg(jsonb_build_object(
                   'id', o.id, 'days', o.days, 'on_sale', o.on_sale,
                   'prices', (select coalesce(jsonb_object_agg(c.currency, c.amount), '{}') from prices c where c.offer_id = o.id)
               ) order by o.days)
        from offers o where o.plan_id = p.id) as periods
from plans p
where $1::text is null or p.id = $1
order by p.position, p.id
limit $2
"""
#: A bound, not a limit that anybody meets: those off sale count too.
_MOST: Final = 500


def _plan(row: Row) -> CataloguePlan:
    return CataloguePlan(
        row["id"],
        from_json(row["titles"]),
        from_json(row["descriptions"]),
        row["on_sale"],
        row["edited_at"],
        row["moved"],
        tuple(
            Period(
                int(one["id"]),
                int(one["days"]),
                bool(one["on_sale"]),
                {currency: int(amount) for currency, amount in sorted(one["prices"].items())},
            )
            for one in from_json(row["periods"]) or ()
        ),
    )


async def list_plans(source: Source) -> Sequence[CataloguePlan]:
    """All plans in the order in which they are shown, those off sale among them."""
    return [_plan(row) for row in await fetch(source, "catalogue.plans", _PLANS, None, _MOST)]


async def plan_named(source: Source, plan_id: str) -> CataloguePlan | None:
    """One plan; None if there is none of this id."""
    row = await fetchrow(source, "catalogue.plan", _PLANS, plan_id, 1)
    return None if row is None else _plan(row)


async def offer_of(source: Source, offer_id: int) -> tuple[CataloguePlan, Period] | None:
    """A period and its plan; None if there is none of this id."""
    row = await fetchrow(source, "catalogue.plan_of", "select plan_id from offers where id = $1", offer_id)
    plan = None if row is None else await plan_named(source, row["plan_id"])
    period = None if plan is None else plan.period(offer_id)
    return None if plan is None or period is None else (plan, period)


def subject_of(plan_id: str) -> str:
    """What the audit log calls a plan."""
    return f"plan:{plan_id}"


def flat(plan: CataloguePlan) -> dict[str, Any]:
    """All that a file could say of a plan, each value under a name of its own: "title.en", "30.RUB", "30.on_sale"."""
    values: dict[str, Any] = {"on_sale": plan.on_sale}
    values |= {f"title.{language}": text for language, text in plan.titles.items()}
    values |= {f"description.{language}": text for language, text in plan.descriptions.items()}
    for period in plan.periods:
        values[f"{period.days}.on_sale"] = period.on_sale
        for currency, amount in period.prices.items():
            values[f"{period.days}.{currency}"] = format_decimal(Money(amount, currency))
    return values


def _difference(plan_id: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return Change(
        subject=subject_of(plan_id),
        before={name: before[name] for name in names if name in before},
        after={name: after[name] for name in names if name in after},
    )


async def _edit(tx: Transaction, plan_id: str, work: Callable[[CataloguePlan], Awaitable[None]]) -> Change:
    """Take a plan out of the file's hands, change it, and say what was changed."""
    # The update locks the row before it is read, and keeps out a file that is being applied.
    await tx.execute("update plans set edited_at = vpnd_now() where id = $1", plan_id)
    plan = await plan_named(tx, plan_id)
    if plan is None:
        raise CatalogueError("gone")
    await work(plan)
    after = await plan_named(tx, plan_id)
    return _difference(plan_id, flat(plan), {} if after is None else flat(after))


# ---------------------------------------------------------------------- plans


async def add_plan(tx: Transaction, plan_id: str, titles: Mapping[str, str]) -> Change:
    """Make a plan, off sale and without a period yet, behind all others. Raises CatalogueError."""
    if not PLAN_ID.match(plan_id):
        raise CatalogueError("plan_id")
    kept = {language: _words(text, MAX_TITLE, "title") for language, text in titles.items()}
    if not kept:
        raise CatalogueError("title")
    # Of two at once, the second sees the first.
    await tx.execute("lock table plans in share row exclusive mode")
    row = await tx.fetchrow(
        "select count(*) as n, coalesce(max(position) + 1, 0) as next, bool_or(id = $1) as there from plans",
        plan_id,
    )
    if row is not None and row["there"]:
        raise CatalogueError("plan_exists")
    if row is not None and row["n"] >= MAX_PLANS:
        raise CatalogueError("plans_full")
    await tx.execute(
        "insert into plans (id, titles, position, on_sale, edited_at) values ($1, $2::jsonb, $3, false, vpnd_now())",
        plan_id,
        kept,
        0 if row is None else row["next"],
    )
    return Change(
        subject=subject_of(plan_id),
        after={"on_sale": False} | {f"title.{language}": text for language, text in kept.items()},
    )


def _words(text: str, most: int, reason: Refusal) -> str:
    words = text.replace("\x00", "").strip()
    if not 1 <= len(words) <= most:
        raise CatalogueError(reason)
    return words


async def set_title(tx: Transaction, plan_id: str, language: str, title: str | None) -> Change:
    """Call a plan otherwise in one language; None: by none of its own there. Raises CatalogueError."""
    words = None if title is None else _words(title, MAX_TITLE, "title")

    async def work(plan: CataloguePlan) -> None:
        if words is None and set(plan.titles) <= {language}:
            raise CatalogueError("last_title")
        await _say(tx, plan_id, "titles", language, words)

    return await _edit(tx, plan_id, work)


async def set_description(tx: Transaction, plan_id: str, language: str, text: str | None) -> Change:
    """Say something else about a plan in one language; None: nothing there. Raises CatalogueError."""
    words = None if text is None else _words(text, MAX_DESCRIPTION, "description")

    async def work(_plan: CataloguePlan) -> None:
        await _say(tx, plan_id, "descriptions", language, words)

    return await _edit(tx, plan_id, work)


_SAY: Final = {
    column: f"update plans set {column} = {column} - $2::text || case when $3::text is null then '{{}}'::jsonb"  # noqa: S608
    " else jsonb_build_object($2::text, $3::text) end where id = $1"
    for column in ("titles", "descriptions")
}  # only constants are pasted in


async def _say(tx: Transaction, plan_id: str, column: str, language: str, text: str | None) -> None:
    await tx.execute(_SAY[column], plan_id, language, text)


async def put_plan_on_sale(tx: Transaction, plan_id: str, on_sale: bool) -> Change:
    """Offer a plan, or no longer. Who has it keeps it, and what was opened can be paid. Raises CatalogueError."""

    async def work(_plan: CataloguePlan) -> None:
        await tx.execute("update plans set on_sale = $2 where id = $1", plan_id, on_sale)

    return await _edit(tx, plan_id, work)


async def move_plan(tx: Transaction, plan_id: str, *, up: bool) -> Change:
    """Show a plan one place earlier or later. The order is the shop's from then on; the file still says what the plan is.

    Raises CatalogueError.
    """
    await tx.execute("lock table plans in share row exclusive mode")
    order = [
        row["id"] for row in await tx.fetch("select id from plans order by position, id limit $1", _MOST)
    ]
    if plan_id not in order:
        raise CatalogueError("gone")
    place = order.index(plan_id)
    other = max(0, place - 1) if up else min(len(order) - 1, place + 1)
    order[place], order[other] = order[other], order[place]
    await tx.execute(
        """
        update plans p set position = n.place - 1, moved_at = case when p.id = $2 then vpnd_now() else p.moved_at end
        from unnest($1::text[]) with ordinality as n (id, place)
        where p.id = n.id and (p.position <> n.place - 1 or p.id = $2)
        """,
        order,
        plan_id,
    )
    return Change(subject=subject_of(plan_id), before={"place": place + 1}, after={"place": other + 1})


async def give_back(tx: Transaction, plan_id: str) -> Change:
    """Let `plans.toml` say again what a plan is; it is applied at the next start or reload. The order is the file's again
    when the last plan that was moved is given back.

    Raises CatalogueError.
    """
    row = await tx.fetchrow(
        "select edited_at is not null as edited from plans where id = $1 for update", plan_id
    )
    if row is None:
        raise CatalogueError("gone")
    await tx.execute("update plans set edited_at = null, moved_at = null where id = $1", plan_id)
    return Change(subject=subject_of(plan_id), before={"edited": row["edited"]}, after={"edited": False})


# ---------------------------------------------------------------------- periods and prices


async def add_period(tx: Transaction, plan_id: str, days: int) -> Change:
    """Make a period of a plan, off sale and without a price yet. Raises CatalogueError."""
    if days not in DAYS:
        raise CatalogueError("days")

    async def work(plan: CataloguePlan) -> None:
        if any(one.days == days for one in plan.periods):
            raise CatalogueError("period_exists")
        if len(plan.periods) >= MAX_OFFERS:
            raise CatalogueError("periods_full")
        await tx.execute("insert into offers (plan_id, days, on_sale) values ($1, $2, false)", plan_id, days)

    return await _edit(tx, plan_id, work)


async def _edit_period(tx: Transaction, offer_id: int, work: Callable[[Period], Awaitable[None]]) -> Change:
    plan_id = await tx.fetchval("select plan_id from offers where id = $1", offer_id)
    if plan_id is None:
        raise CatalogueError("gone")

    async def of_plan(plan: CataloguePlan) -> None:
        period = plan.period(offer_id)
        if period is None:
            raise CatalogueError("gone")
        await work(period)

    return await _edit(tx, plan_id, of_plan)


async def put_period_on_sale(tx: Transaction, offer_id: int, on_sale: bool, *, shop_currency: str) -> Change:
    """Offer a period, or no longer. Raises CatalogueError for one without a price in the shop's currency."""

    async def work(period: Period) -> None:
        if on_sale and shop_currency not in period.prices:
            raise CatalogueError("no_shop_price")
        await tx.execute("update offers set on_sale = $2 where id = $1", offer_id, on_sale)

    return await _edit_period(tx, offer_id, work)


async def set_price(tx: Transaction, offer_id: int, currency: str, amount: int) -> Change:
    """Ask another price for a period in one currency, in its minor units. Raises CatalogueError."""
    if currency not in EXPONENTS:
        raise CatalogueError("currency")
    if not 0 < amount <= MAX_MINOR:
        raise CatalogueError("amount")

    async def work(_period: Period) -> None:
        await tx.execute(
            "insert into prices (offer_id, currency, amount) values ($1, $2, $3)"
            " on conflict (offer_id, currency) do update set amount = excluded.amount",
            offer_id,
            currency,
            amount,
        )

    return await _edit_period(tx, offer_id, work)


async def remove_price(tx: Transaction, offer_id: int, currency: str, *, shop_currency: str) -> Change:
    """Sell a period in this currency no longer. Raises CatalogueError: what is on sale needs a price in the shop's."""

    async def work(period: Period) -> None:
        if currency not in period.prices:
            raise CatalogueError("gone")
        if currency == shop_currency and period.on_sale:
            raise CatalogueError("shop_price_needed")
        await tx.execute("delete from prices where offer_id = $1 and currency = $2", offer_id, currency)

    return await _edit_period(tx, offer_id, work)
