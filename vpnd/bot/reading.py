"""What screens are made of, each in one read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import evolve, frozen

from vpnd.bot.callbacks import Action
from vpnd.bot.ways import Target
from vpnd.database import Row
from vpnd.database.coalesce import RowsLoader
from vpnd.database.database import Database
from vpnd.shop.money import Money
from vpnd.shop.promos import why_unusable
from vpnd.shop.source import from_json
from vpnd.shop.subscriptions import Subscription, subscription_from_row

_LIMIT: Final = 20  # subscriptions of one person on one screen
_AT_ONCE: Final = 100  # people in one joined read: 2 000 rows at most, which the loop reads in one step

# Of all who ask at this moment, each with a row at least.
_PORTFOLIOS: Final = """
select asked.id as asked, vpnd_now() as now, p.titles, s.*,
       coalesce((select sum(a.balance) from accounts a where a.customer_id = asked.id and a.currency = $3
                 and a.kind in ('customer', 'bonus')), 0)::bigint as can_spend,
       exists (select from plans other where other.on_sale and other.id <> s.plan_id) as can_change
from unnest($1::bigint[]) asked (id)
left join lateral (
    select * from subscriptions where customer_id = asked.id
    order by (status = 'active') desc, expires_at desc, id limit $2
) s on true
left join plans p on p.id = s.plan_id
order by asked.id, (s.status = 'active') desc, s.expires_at desc, s.id
"""
_HELD_BY_ID: Final = """
select p.titles, s.*, false as can_change, c.blocked_at is not null as blocked
from subscriptions s join plans p on p.id = s.plan_id join customers c on c.id = s.customer_id where s.id = $1
"""

# The promo code's columns are those by which the shop judges it when a purchase is opened.
_PURSE: Final = """
select coalesce((select sum(a.balance) from accounts a
                 where a.kind = 'customer' and a.owner = c.id::text and a.currency = $2), 0)::bigint as own,
       coalesce((select sum(a.balance) from accounts a
                 where a.kind = 'bonus' and a.owner = c.id::text and a.currency = $2), 0)::bigint as bonus,
       coalesce((select d.percent from personal_discounts d
                 where d.customer_id = c.id and (d.until is null or d.until > vpnd_now())), 0) as personal,
       k.code, k.kind as promo_kind, k.value as promo_value, k.active as promo_active,
       coalesce(k.starts_at > vpnd_now(), false) as promo_early, coalesce(k.ends_at <= vpnd_now(), false) as promo_over,
       coalesce(k.used >= k.total_cap, false) as promo_full, k.customer_cap,
       (select count(*) from promo_uses u
        where u.promo_id = k.id and u.customer_id = c.id and u.state = 'consumed') as promo_consumed,
       (select count(*) from promo_uses u
        where u.promo_id = k.id and u.customer_id = c.id and u.state = 'reserved') as promo_reserved
from customers c left join promo_codes k on k.id = c.promo_id
where c.id = $1
"""

_NEXT_STEP: Final = """
select s.id as subscription_id, s.plan_id, s.trial,
       p.offer_id, coalesce(p.subscription_id, 0) as renews, p.fresh, p.amount, p.currency
from customers c
left join lateral (
    select id, plan_id, trial from subscriptions where customer_id = c.id
    order by (status = 'active') desc, expires_at desc, id limit 1
) s on true
left join lateral (
    select offer_id, subscription_id, fresh, amount, currency from purchases
    where customer_id = c.id and method = 'balance' and kind = 'access' and origin = 'customer'
      and status = 'pending' and expires_at > vpnd_now()
    order by id desc limit 1
) p on true
where c.telegram_id = $1
"""


@frozen
class Held:
    """A subscription with the titles of its plan by language; `can_change`: there are other plans on sale.

    `blocked`: its owner is, as far as that was read.
    """

    subscription: Subscription
    titles: Mapping[str, str]
    can_change: bool = False
    blocked: bool = False

    def title(self, language: str) -> str:
        """The plan's title in the language, else in English, else in any."""
        return title_of(self.titles, language, self.subscription.plan_id)

    def called(self, language: str) -> str:
        """What its owner calls it, with the plan's title behind it; that alone for one without a name."""
        own, plan = self.subscription.title, self.title(language)
        return plan if own is None else f"{own} · {plan}"


@frozen
class Portfolio:
    """A customer's subscriptions, those that are on and last longest first, and the business time they were read at.

    `balance` is all that he can spend, gifts included.
    """

    now: datetime
    held: tuple[Held, ...]
    balance: Money

    @property
    def foremost(self) -> Subscription | None:
        """The one that is on and lasts longest, else the one that ended last."""
        return self.held[0].subscription if self.held else None

    def find(self, subscription_id: int) -> Held | None:
        """One of them; None for somebody else's, which does not exist for this customer."""
        return next((held for held in self.held if held.subscription.id == subscription_id), None)


def title_of(titles: Mapping[str, str], language: str, plan_id: str) -> str:
    """The title in the language, else in English, else in any, else the name."""
    return titles.get(language) or titles.get("en") or next(iter(titles.values()), plan_id)


def _held(row: Row) -> Held:
    return Held(subscription_from_row(row), from_json(row["titles"]), row["can_change"])


def portfolio_loader(db: Database, currency: str) -> RowsLoader:
    """The joined read of `portfolio`: by customer id, with balances in the shop's currency."""
    return RowsLoader(db, "bot.portfolio", _PORTFOLIOS, "asked", _LIMIT, currency, max_batch=_AT_ONCE)


async def portfolio(loader: RowsLoader, customer_id: int, currency: str) -> Portfolio:
    """All subscriptions of a customer that fit on a screen, his balance, and the time; one read, joined with others'."""
    rows = await loader.rows(customer_id)
    return Portfolio(
        rows[0]["now"],
        tuple(_held(row) for row in rows if row["id"] is not None),
        Money(rows[0]["can_spend"], currency),
    )


async def held_by_id(db: Database, subscription_id: int) -> Held | None:
    """A subscription for a notice of the shop's own; never for a person's input."""
    row = await db.fetchrow("bot.subscription", _HELD_BY_ID, subscription_id)
    return None if row is None else evolve(_held(row), blocked=row["blocked"])


async def plan_title(db: Database, plan_id: str, language: str) -> str:
    """A plan's title, also of one that is no longer on sale."""
    titles = await db.fetchval("bot.plan_title", "select titles from plans where id = $1", plan_id)
    return title_of(from_json(titles) if titles else {}, language, plan_id)


async def first_plan_title(db: Database, language: str) -> str | None:
    """The title of the first plan on sale; None if there is none."""
    sql = "select id, titles from plans where on_sale order by position, id limit 1"
    row = await db.fetchrow("bot.first_plan", sql)
    return None if row is None else title_of(from_json(row["titles"]), language, row["id"])


async def business_now(db: Database) -> datetime:
    """The business time of the database."""
    now: datetime = await db.fetchval("bot.now", "select vpnd_now()")
    return now


@frozen(kw_only=True)
class Purse:
    """What a customer can spend and what brings his prices down, in minor units and percent.

    Attributes:
        own, bonus: his money, and what the shop gave him.
        personal: his personal discount.
        code: the promo code that waits for his next purchase; `usable`: the shop would take it now.
        promo_percent, promo_days: what it gives, as far as it is usable.
    """

    own: int = 0
    bonus: int = 0
    personal: int = 0
    code: str | None = None
    usable: bool = False
    promo_percent: int = 0
    promo_days: int = 0

    @property
    def total(self) -> int:
        """All that he can spend."""
        return self.own + self.bonus

    @property
    def percent(self) -> int:
        """The discount that counts: the larger of the two."""
        return max(self.personal, self.promo_percent)

    @property
    def code_counts(self) -> bool:
        """Whether it is the promo code that his next purchase takes its price or its days from."""
        return self.promo_days > 0 or self.promo_percent > self.personal


async def purse_of(db: Database, customer_id: int, currency: str) -> Purse:
    """A customer's balance, his best discount and his promo code; one read."""
    row = await db.fetchrow("bot.purse", _PURSE, customer_id, currency)
    if row is None:
        return Purse()
    usable = row["code"] is not None and why_unusable(row) is None
    kind, value = (row["promo_kind"], row["promo_value"]) if usable else (None, 0)
    return Purse(
        own=row["own"],
        bonus=row["bonus"],
        personal=row["personal"],
        code=row["code"],
        usable=usable,
        promo_percent=value if kind == "percent" else 0,
        promo_days=value if kind == "days" else 0,
    )


@frozen(kw_only=True)
class NextStep:
    """What somebody whose balance was filled goes on with: what waits to be paid from it, else a renewal, else the plans."""

    waiting: Action | None = None
    price: Money | None = None
    renewal: Action | None = None


async def next_step(db: Database, telegram_id: int) -> NextStep:
    """The way on for a customer with money on his balance; one read."""
    row = await db.fetchrow("bot.next_step", _NEXT_STEP, telegram_id)
    if row is None:
        return NextStep()
    # A trial goes on in any plan.
    renews = None if row["trial"] else row["subscription_id"]
    renewal = None if renews is None else Target(renews).periods(row["plan_id"])
    if row["offer_id"] is None:
        return NextStep(renewal=renewal)
    waiting = Target(row["renews"], row["fresh"]).pay("balance", row["offer_id"])
    return NextStep(waiting=waiting, price=Money(row["amount"], row["currency"]), renewal=renewal)


async def charge_name(db: Database, settlement_id: int) -> str | None:
    """What a charge is called by people who run the shop: "provider:charge"."""
    sql = "select provider || ':' || charge_id from settlements where id = $1"
    name: str | None = await db.fetchval("bot.charge_name", sql, settlement_id)
    return name
