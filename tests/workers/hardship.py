"""Workers with a backlog, as data: how to make it, what doing it leaves behind, and how to poison one row of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import trio
from attrs import frozen
from clock_kit import OFF
from shop_world import ShopWorld

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.runtime.worker import WorkerSpec
from vpnd.workers import housekeeping, money, periodic, telling

_SUBSCRIPTIONS = """
insert into subscriptions (customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at, trial)
select c.id, 'basic', 's' || translate(lpad(c.id::text, 16, '0'), '0189', 'abcd'), gen_random_uuid(), 't' || c.id,
       'active', {start}, {end}, {trial}
from customers c
"""


def _subscriptions(start: str, end: str, trial: bool = False) -> str:
    return _SUBSCRIPTIONS.format(start=start, end=end, trial=str(trial).lower())


@frozen
class Case:
    """One worker.

    Attributes:
        backlog: statements that make one due row for each customer.
        effects: how many effects there were, by rows that each effect leaves behind exactly one of.
        left: how many rows are still due.
        poison: table, when, and condition of a trigger that fails for the row of customer $ID.
    """

    name: str
    spec: Callable[[Database], WorkerSpec]
    backlog: tuple[str, ...]
    effects: str
    left: str
    poison: tuple[str, str, str]

    async def prepare(self, shop: ShopWorld, count: int) -> None:
        """Make a backlog of so many rows."""
        async with shop.db.transaction("test", deadline=60) as tx:
            await tx.execute(
                "insert into customers (telegram_id, language, referral_code)"
                " select n, 'en', 'c' || n from generate_series(1, $1) n",
                count,
            )
            for statement in self.backlog:
                await tx.execute(statement)

    async def poisoned(self, shop: ShopWorld, customer: int) -> None:
        """Make one row fail, alone."""
        table, event, condition = self.poison
        async with shop.db.transaction("test") as tx:
            await tx.script(
                f"""
                create function poison() returns trigger language plpgsql as $$
                begin
                    if {condition.replace("$ID", str(customer))} then raise exception 'poisoned'; end if;
                    return case when tg_op = 'DELETE' then old else new end;
                end $$;
                create trigger poison before {event} on {table} for each row execute function poison();
                """
            )

    async def counts(self, shop: ShopWorld) -> tuple[int, int]:
        """Effects, and rows left."""
        row = await shop.db.fetchrow("test", f"select ({self.effects}) as effects, ({self.left}) as left")
        assert row is not None
        return row["effects"], row["left"]


def _outbox(prefix: str) -> str:
    return f"select count(*) from outbox where starts_with(key, '{prefix}')"  # noqa: S608


_TOLD = ("outbox", "insert", "(new.payload->>'chat_id')::bigint = $ID")

CASES = [
    Case(
        "expiry",
        lambda db: periodic.expiry(db, wake=()),
        (_subscriptions("vpnd_now() - interval '30 days'", "vpnd_now() - interval '1 hour'"),),
        _outbox("expired:"),
        "select count(*) from subscriptions where status = 'active'",
        _TOLD,
    ),
    Case(
        "purchase_expiry",
        lambda db: periodic.purchase_expiry(db),
        (
            """
            insert into purchases (public_id, customer_id, offer_id, method, currency, amount, shop_currency, shop_amount,
                                   request_key, expires_at)
            select 'p' || translate(lpad(c.id::text, 16, '0'), '0189', 'abcd'), c.id, (select min(id) from offers), 'cryptopay',
                   'RUB', 19900, 'RUB', 19900, 'update:' || c.id, vpnd_now() - interval '1 hour'
            from customers c
            """,
        ),
        "select count(*) from purchases where status = 'expired'",
        "select count(*) from purchases where status = 'pending'",
        ("purchases", "update", "new.customer_id = $ID"),
    ),
    Case(
        "activation",
        lambda db: periodic.activation(db, wake=lambda: None),
        (_subscriptions("vpnd_now() - interval '1 hour'", "vpnd_now() + interval '20 days'"),),
        "select coalesce(sum(attempts), 0)::bigint from late_activations",
        "select count(*) from subscriptions s where not exists (select from late_activations l where l.subscription_id = s.id)",
        (
            "late_activations",
            "insert",
            "(select customer_id from subscriptions where id = new.subscription_id) = $ID",
        ),
    ),
    Case(
        "renewal",
        lambda db: money.renewal(db, "RUB", on_commit=()),
        (
            _subscriptions("vpnd_now() - interval '20 days'", "vpnd_now() + interval '3 hours'"),
            """
            update subscriptions set renews = 'balance',
                offer_id = (select id from offers where plan_id = 'basic' and days = 30)
            """,
            """
            insert into accounts (kind, owner, currency, customer_id, balance)
            select 'customer', id::text, 'RUB', id, 20000 from customers
            """,
        ),
        "select count(*) from purchases where origin = 'renewal' and status = 'paid'",
        "select count(*) from accounts where balance = 20000",
        ("purchases", "insert", "new.customer_id = $ID"),
    ),
    Case(
        "renewal_notices",
        lambda db: money.renewal_notices(db, "RUB", wake=lambda: None),
        (
            _subscriptions("vpnd_now() - interval '20 days'", "vpnd_now() + interval '3 hours'"),
            """
            update subscriptions set renews = 'balance',
                offer_id = (select id from offers where plan_id = 'basic' and days = 30)
            """,
        ),
        _outbox("renewal:"),
        "select count(*) from subscriptions s"
        " where not exists (select from outbox o where starts_with(o.key, 'renewal:' || s.id || ':'))",
        _TOLD,
    ),
    Case(
        "trial_notices",
        lambda db: telling.trial_notices(db, time_zone="UTC", quiet_hours=OFF, wake=lambda: None),
        (
            _subscriptions("vpnd_now() - interval '10 hours'", "vpnd_now() + interval '62 hours'", True),
            """
            insert into trials (customer_id, subscription_id, request_key, starts_at, ends_at, notice_at)
            select customer_id, id, 'update:' || id, starts_at, expires_at, starts_at + interval '6 hours' from subscriptions
            """,
        ),
        _outbox("trial:"),
        "select count(*) from trials where notice_at <= vpnd_now()",
        _TOLD,
    ),
    Case(
        "reminders",
        lambda db: telling.reminders(db, "RUB", time_zone="UTC", quiet_hours=OFF, wake=lambda: None),
        (
            _subscriptions("vpnd_now() - interval '20 days'", "vpnd_now() + interval '150 hours'"),
            "update subscriptions set reminded = 0, remind_at = vpnd_now() - interval '1 hour'",
        ),
        _outbox("reminder:"),
        "select count(*) from subscriptions where remind_at <= vpnd_now()",
        _TOLD,
    ),
    Case(
        "housekeeping",
        housekeeping.housekeeping,
        (
            """
            insert into inbox (update_id, queue_key, kind, payload, received_at, done_at, outcome)
            select id, id, 'message', '{}', clock_timestamp() - interval '9 days', clock_timestamp() - interval '8 days', 'done'
            from customers
            """,
        ),
        "(select count(*) from customers) - (select count(*) from inbox)",
        "select count(*) from inbox",
        ("inbox", "delete", "old.update_id = $ID"),
    ),
]


def watched(spec: Any, seen: list[Any]) -> Any:
    """The same worker, noting behind which key each of its pages begins."""
    from attrs import evolve

    name = "page" if hasattr(spec, "page") else "keys"
    look = getattr(spec, name)

    async def noted(after: Any, limit: int) -> Any:
        seen.append(after)
        return await look(after, limit)

    return evolve(spec, **{name: noted})


async def cut_connections(db: Database, times: int) -> None:
    """Let connections to the database die under whoever uses them, again and again."""
    for _ in range(times):
        await trio.sleep(0.05)
        try:
            await db.fetch(
                "test",
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()",
            )
        except DatabaseError:
            pass


async def move_to_newfoundland(shop: ShopWorld, database_url: str) -> None:
    """Give the database a zone of half hours and a calendar day of its own, and dates as nobody writes them."""
    name = urlsplit(database_url).path.removeprefix("/")
    await shop.execute(f"alter database {name} set timezone to 'America/St_Johns'")
    await shop.execute(f"alter database {name} set datestyle to 'SQL, DMY'")
