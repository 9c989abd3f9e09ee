"""Many customers by one statement each: what `sweep.py`, `freeze.py` and the load soak fill a database with.

Everything here stands in the database before any clock runs, as rows that the shop itself could have written. Telegram ids
begin above `FIRST`; a customer's number is his Telegram id less that.
"""

from __future__ import annotations

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.database.migrate import migrate
from vpnd.runtime.limits import Limits
from vpnd.shop.plans import apply_plans
from vpnd.shop.plans_file import load_plans_file

FIRST = 1_000_000_000

#: A name of a credential, from a number.
NAME = "'s' || translate(lpad(({number})::text, 15, '0'), '0189', 'abcd')"

CUSTOMERS = f"""
insert into customers (telegram_id, first_name, language, referral_code, reachable, created_at)
select {FIRST} + n, 'C', %(language)s, 'CODE' || n, %(reachable)s, %(created)s from generate_series(1, %(count)s) n
"""  # noqa: S608 (only a constant is pasted in)

#: `%(ends)s` says when the subscription of customer number `n` ends.
SUBSCRIPTIONS = f"""
insert into subscriptions (customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at, activated_at,
                           renews, offer_id, trial)
select c.id, plan.id, {NAME.format(number="c.id")}, gen_random_uuid(), 'link' || c.id, 'active',
       vpnd_now() - interval '29 days', e.ends, vpnd_now(), %(renews)s, offer.id, %(trial)s
from (select id, telegram_id - {FIRST} as n from customers where telegram_id > {FIRST}) c
cross join lateral (select %(ends)s as ends) e
cross join (select id from plans order by position, id limit 1) plan
cross join lateral (select id from offers where plan_id = plan.id and days = 30 limit 1) offer
"""  # noqa: S608 (only constants are pasted in)


async def make_shop(url: str, *, sandbox: bool) -> None:
    """Bring an empty database up to date: schema, plans, and a clock that can be moved."""
    async with open_database(DatabaseSettings(url=Secret(url)), Limits(5, 4), instance_name="bench") as db:
        await migrate(db)
        await apply_plans(db, load_plans_file(None))
        if sandbox:
            async with db.transaction("bench.mark") as tx:
                await tx.execute("insert into sandbox_clock default values on conflict do nothing")


def people(
    count: int,
    *,
    ends: str,
    renews: str = "'off'",
    trial: str = "false",
    reachable: str = "true",
    language: str = "'en'",
    created: str = "vpnd_now()",
) -> list[str]:
    """Statements that make so many customers with a subscription each; the arguments are SQL about customer number `n`."""
    return [
        CUSTOMERS % {"count": count, "reachable": reachable, "language": language, "created": created},
        SUBSCRIPTIONS % {"ends": ends, "renews": renews, "trial": trial},
        "vacuum (analyze) customers",
        "vacuum (analyze) subscriptions",
        "checkpoint",
    ]


#: Has each trial's notices due by its length, as the shop would have when it was granted: 72 hours, the first after six.
TRIALS = """
insert into trials (customer_id, subscription_id, request_key, starts_at, ends_at, notice_at)
select customer_id, id, 'bench:' || id, expires_at - interval '72 hours', expires_at, expires_at - interval '66 hours'
from subscriptions where trial
"""

#: Books the price of a month on each balance of these: SQL that selects `id` (of a customer) and `amount`.
FUNDED = """
with rich as (%s), opened as (
    insert into accounts (kind, owner, currency, customer_id, balance)
    select 'customer', id::text, 'RUB', id, amount from rich returning id, customer_id, balance
), ours as (
    insert into accounts (kind, currency) values ('adjustments', 'RUB')
    on conflict (kind, owner, currency) do update set kind = excluded.kind returning id
)
insert into ledger (debit_id, credit_id, currency, amount, kind, reference)
select ours.id, opened.id, 'RUB', opened.balance, 'adjustment', 'adjustment:bench:' || opened.customer_id from opened, ours
"""

#: Whose subscription renews from the balance, with what it costs.
RENEWING = """
select s.customer_id as id, p.amount from subscriptions s join prices p on p.offer_id = s.offer_id and p.currency = 'RUB'
where s.renews = 'balance'
"""
