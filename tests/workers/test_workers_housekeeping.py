"""Housekeeping clears what nobody needs any more, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from shop_world import ShopWorld

from vpnd.config import WorkerSettings
from vpnd.runtime.worker import WorkerRunner, configured
from vpnd.shop import access_log, broadcasts
from vpnd.shop.broadcasts import Segment
from vpnd.workers.housekeeping import housekeeping


def keeper(shop: ShopWorld, batch: int = 1000) -> WorkerRunner:
    """The worker."""
    return WorkerRunner(configured(housekeeping(shop.db), WorkerSettings(batch=batch)))


async def count(shop: ShopWorld, table: str, where: str = "true") -> int:
    """Rows of a table."""
    return int(await shop.db.fetchval("test", f"select count(*) from {table} where {where}"))  # noqa: S608


async def outbox_row(shop: ShopWorld, key: str, status: str, kind: str, days: int) -> None:
    """A row of the outbox that ended so many days ago."""
    await shop.execute(
        "insert into outbox (kind, key, payload, status, finished_at)"
        " values ($1, $2, '{}', $3, clock_timestamp() - make_interval(days => $4))",
        kind, key, status, days,
    )  # fmt: skip


async def test_old_rows_of_the_queues_go_and_others_stay(shop: ShopWorld) -> None:
    """Done and dropped after a week, dead messages after a month, dead jobs of money and what waits never."""
    for days in (6, 8):
        await shop.execute(
            "insert into inbox (update_id, queue_key, kind, payload, done_at, outcome)"
            " values ($1::integer, 1, 'message', '{}', clock_timestamp() - make_interval(days => $1::integer), 'done')",
            days,
        )
        await outbox_row(shop, f"done:{days}", "done", "message", days)
        await outbox_row(shop, f"dropped:{days}", "dropped", "message", days)
    await shop.execute(
        "insert into inbox (update_id, queue_key, kind, payload, received_at) values (1, 1, 'message', '{}', '2020-01-01')"
    )
    await shop.execute(
        "insert into outbox (kind, key, payload, created_at) values ('message', 'ready', '{}', '2020-01-01')"
    )
    for days in (20, 40):
        await outbox_row(shop, f"dead:{days}", "dead", "message", days)
        await outbox_row(shop, f"job:{days}", "dead", "refund_stars", days)

    assert await keeper(shop).run_once() == "ok"

    assert sorted(row["key"] for row in await shop.outbox()) == [
        "dead:20", "done:6", "dropped:6", "job:20", "job:40", "ready",
    ]  # fmt: skip
    assert await count(shop, "inbox") == 2
    assert await count(shop, "inbox", "update_id in (1, 6)") == 2


async def test_the_business_clock_clears_nothing_early(shop: ShopWorld) -> None:
    """Whatever a sandbox's clock says: rows are stamped by the real one."""
    await outbox_row(shop, "done", "done", "message", 0)
    await shop.advance(timedelta(days=400))
    await keeper(shop).run_once()

    assert len(await shop.outbox()) == 1


async def test_money_is_never_touched(shop: ShopWorld) -> None:
    """Years later every settlement, purchase, ledger row, grant and paid invoice is there."""
    customer = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(customer)))
    tables = ("ledger", "settlements", "purchases", "grants", "accounts", "subscriptions", "referral_rewards")
    before = {table: await count(shop, table) for table in tables}
    await shop.execute(
        "update outbox set status = 'done', finished_at = clock_timestamp() - interval '3 years'"
    )
    await shop.advance(timedelta(days=2000))
    await keeper(shop).run_once()

    assert {table: await count(shop, table) for table in tables} == before
    assert await count(shop, "outbox") == 0


async def test_a_receipt_that_was_cleared_cannot_come_again(shop: ShopWorld) -> None:
    """The key that guarded it is gone, the settlement is not: the provider may report the charge for ever."""
    charge = shop.charge(await shop.buy(await shop.customer()))
    await shop.settle(charge)
    await shop.execute(
        "update outbox set status = 'done', finished_at = clock_timestamp() - interval '8 days'"
    )
    await keeper(shop).run_once()
    assert await shop.outbox() == []
    await shop.settle(charge)

    assert await shop.outbox() == []


async def test_the_log_is_trimmed_as_far_as_every_node_has_it(shop: ShopWorld) -> None:
    """From its lowest number up; what one node has not got stays, and what is young."""
    for _ in range(6):
        await shop.grant(await shop.customer())
    await access_log.number(shop.db)
    head = await access_log.head(shop.db)
    for node, seq in (("oslo", 4), ("rome", 6)):
        await access_log.record_ack(shop.db, node, head.epoch, seq)
    await keeper(shop).run_once()
    assert await count(shop, "access_log") == 6  # a day is kept
    await shop.execute("update access_log set numbered_at = numbered_at - interval '2 days'")
    await keeper(shop, batch=2).run_once()

    assert await count(shop, "access_log") == 2
    found = await access_log.changes_after(shop.db, head.epoch, 4)
    assert isinstance(found, access_log.Page)
    assert len(found.changes) == 2


async def test_a_row_of_the_log_that_cannot_go_keeps_all_above_it(shop: ShopWorld) -> None:
    """A hole would be followed over: a restored node that stands in it would miss what is gone."""
    for _ in range(6):
        await shop.grant(await shop.customer())
    await access_log.number(shop.db)
    head = await access_log.head(shop.db)
    await access_log.record_ack(shop.db, "oslo", head.epoch, 6)
    await shop.execute("update access_log set numbered_at = numbered_at - interval '2 days'")
    async with shop.db.transaction("test") as tx:
        await tx.script(
            """
            create function poison() returns trigger language plpgsql as $$
            begin if old.seq = 3 then raise exception 'poisoned'; end if; return old; end $$;
            create trigger poison before delete on access_log for each row execute function poison();
            """
        )
    runner = keeper(shop)
    assert await runner.run_once() == "ok"

    rows = await shop.db.fetch("test", "select seq from access_log order by seq")
    assert [row["seq"] for row in rows] == [3, 4, 5, 6]
    assert runner.statistics().item_failures == 1


async def test_promo_uses_that_a_hand_left_reserved_are_returned(shop: ShopWorld) -> None:
    """A purchase closed by an operator's statement gives its use back, and the counter with it; an open one keeps it."""
    await shop.execute(
        "insert into promo_codes (code, kind, value, used, total_cap) values ('TEN', 'percent', 10, 2, 2)"
    )
    for status in ("expired", "pending"):
        purchase = await shop.buy(await shop.customer())
        await shop.execute("update purchases set status = $2 where id = $1", purchase.id, status)
        await shop.execute(
            "insert into promo_uses (promo_id, customer_id, purchase_id, state)"
            " select k.id, $1, $2, 'reserved' from promo_codes k",
            purchase.customer_id, purchase.id,
        )  # fmt: skip
    await keeper(shop).run_once()

    assert await count(shop, "promo_uses", "state = 'returned'") == 1
    assert await shop.db.fetchval("test", "select used from promo_codes") == 1


@pytest.mark.parametrize(("status", "left"), [("expired", 0), ("paid", 1)])
async def test_invoices_of_what_was_never_paid_go_after_half_a_year(
    shop: ShopWorld, status: str, left: int
) -> None:
    """A paid purchase keeps all of its invoices."""
    purchase = await shop.buy(await shop.customer())
    await shop.execute(
        "insert into invoices (purchase_id, provider, external_id, url, currency, amount, status, expires_at)"
        " values ($1, 'cryptopay', '1', 'u', 'RUB', 1, 'expired', vpnd_now())",
        purchase.id,
    )
    await shop.execute("update purchases set status = $2 where id = $1", purchase.id, status)
    await keeper(shop).run_once()
    assert await count(shop, "invoices") == 1
    await shop.advance(timedelta(days=181))
    await keeper(shop).run_once()

    assert await count(shop, "invoices") == left


async def test_comparisons_and_recipients_go_with_what_they_are_of(shop: ShopWorld) -> None:
    """Comparisons after 90 days, differences first; recipients 30 days after the broadcast ended, and its counts stay."""
    for days in (80, 100):
        run = await shop.do(
            lambda tx, days=days: tx.fetchval(
                "insert into reconciliations (provider, since, finished_at)"
                " values ('stars', now(), clock_timestamp() - make_interval(days => $1)) returning id",
                days,
            )
        )
        for number in range(5):
            await shop.execute(
                "insert into reconciliation_differences (reconciliation_id, kind, name) values ($1, 'x', $2)",
                run, str(number),
            )  # fmt: skip
    ids = [
        await broadcasts.create(shop.db, content={"text": {"en": "hi"}}, segment=Segment(), created_by="x")
        for _ in range(3)
    ]
    for _ in range(4):
        customer = await shop.customer()
        for one in ids:
            await shop.execute("insert into broadcast_recipients values ($1, $2)", one, customer.id)
    for one, days in zip(ids[:2], (20, 40), strict=True):
        await shop.execute(
            "update broadcasts set state = 'done', finished_at = clock_timestamp() - make_interval(days => $2) where id = $1",
            one, days,
        )  # fmt: skip

    assert await keeper(shop, batch=3).run_once() == "ok"
    assert await keeper(shop, batch=3).run_once() == "ok"

    assert (await count(shop, "reconciliations"), await count(shop, "reconciliation_differences")) == (1, 5)
    rows = await shop.db.fetch(
        "test", "select broadcast_id, count(*) as n from broadcast_recipients group by 1"
    )
    assert {row["broadcast_id"]: row["n"] for row in rows} == {ids[0]: 4, ids[2]: 4}
    assert await count(shop, "broadcasts") == 3


async def test_counts_of_activations_that_ended_go(shop: ShopWorld) -> None:
    """What is still waited for is counted on."""
    for activated in (True, False):
        mine = (await shop.grant(await shop.customer())).subscription
        await shop.execute(
            "update subscriptions set activated_at = case when $2 then now() end where id = $1",
            mine.id,
            activated,
        )
        await shop.execute("insert into late_activations values ($1, now(), 3, now())", mine.id)
    await keeper(shop).run_once()

    assert await count(shop, "late_activations") == 1


async def test_what_operators_asked_for_goes(shop: ShopWorld) -> None:
    """Questions after two days, exports 90 days after their end and never before it, summaries after 90 days."""
    for days in (0, 1, 3, 100):
        await shop.execute(
            "insert into asked_deeds (asked, telegram_id, deed, reason, created_at)"
            " values ($1::integer, 1, '{}', '', vpnd_now() - make_interval(days => $1::integer))",
            days,
        )
    for days, state in ((400, "asked"), (400, "sent"), (95, "failed"), (91, "refused"), (89, "sent")):
        await shop.execute(
            "insert into export_requests (what, telegram_id, language, request_key, state, asked_at, finished_at)"
            " select 'plans', 1, 'en', $1::integer || $2::text, $2::text, at, case when $2::text <> 'asked' then at end"
            " from (select vpnd_now() - make_interval(days => $1::integer) as at) t",
            days, state,
        )  # fmt: skip
    await shop.execute(
        "insert into figure_summaries (kind, first)"
        " select kind, vpnd_now()::date - days from unnest(array['day', 'week']) kind, unnest(array[1, 80, 100, 200]) days"
    )

    assert await keeper(shop, batch=2).run_once() == "ok"

    asked = await shop.db.fetch("test", "select asked from asked_deeds order by asked")
    assert [row["asked"] for row in asked] == [0, 1]
    exports = await shop.db.fetch("test", "select request_key from export_requests order by id")
    assert [row["request_key"] for row in exports] == ["400asked", "89sent"]
    told = await shop.db.fetch(
        "test", "select kind, vpnd_now()::date - first as days from figure_summaries order by 1, 2"
    )
    assert [tuple(row.values()) for row in told] == [("day", 1), ("day", 80), ("week", 1), ("week", 80)]
