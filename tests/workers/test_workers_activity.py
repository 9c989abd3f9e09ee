"""When customers were last there is learnt from the inbox, off the way of their updates."""

from __future__ import annotations

import pytest
from shop_world import ShopWorld

from vpnd.runtime.worker import WorkerRunner
from vpnd.workers.activity import activity

pytestmark = pytest.mark.postgres

_UPDATE = (
    "insert into inbox (update_id, queue_key, kind, payload, received_at, done_at, outcome)"
    " values ($1, $2, $3, '{}', clock_timestamp() - make_interval(hours => $4), clock_timestamp() - interval '1 minute', 'done')"
)


class Mine:
    """A lease that is held."""

    async def hold(self) -> bool:
        """It is ours."""
        return True


async def seen(shop: ShopWorld) -> dict[int, int | None]:
    """How many hours ago each was seen."""
    rows = await shop.db.fetch(
        "test",
        "select telegram_id, round(extract(epoch from vpnd_now() - seen_at) / 3600)::integer as ago from customers limit 9",
    )
    return {row["telegram_id"]: row["ago"] for row in rows}


async def test_each_sender_is_noted_once_an_hour_at_most(shop: ShopWorld) -> None:
    """The newest update counts; comings and goings of the bot do not; what was gone through is not read again."""
    for number in (1, 2, 3, 4):
        await shop.customer(number)
    for update, who, kind, ago in (
        (1, 1, "message", 30), (2, 1, "callback_query", 20), (3, 2, "pre_checkout_query", 3), (4, 3, "my_chat_member", 1),
        (5, -4, "message", 1), (6, 99, "message", 1),
    ):  # fmt: skip
        await shop.execute(_UPDATE, update, who, kind, ago)
    await shop.execute(
        "update customers set seen_at = vpnd_now() - interval '210 minutes' where telegram_id = 2"
    )
    runner = WorkerRunner(activity(shop.db), lease=Mine())

    assert await runner.run_once() == "ok"

    assert await seen(shop) == {1: 20, 2: 4, 3: None, 4: None}
    await shop.execute("update customers set seen_at = null")
    assert await runner.run_once() == "ok"
    assert set((await seen(shop)).values()) == {None}
    await shop.execute(_UPDATE.replace("1 minute", "40 seconds"), 7, 1, "message", 0)
    assert await runner.run_once() == "ok"
    assert (await seen(shop))[1] == 0


async def test_what_has_just_ended_waits(shop: ShopWorld) -> None:
    """An update that ended at the same moment may be committed later: nobody is passed over."""
    await shop.customer(1)
    await shop.execute(_UPDATE.replace("1 minute", "2 seconds"), 1, 1, "message", 0)

    assert await WorkerRunner(activity(shop.db), lease=Mine()).run_once() == "ok"

    assert await seen(shop) == {1: None}


async def test_a_batch_at_a_time(shop: ShopWorld) -> None:
    """Many updates are gone through in pages, and all senders are noted."""
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code)"
        " select n, 'en', 'c' || n from generate_series(1, 2500) n"
    )
    await shop.execute(
        "insert into inbox (update_id, queue_key, kind, payload, done_at, outcome)"
        " select n, n, 'message', '{}', clock_timestamp() - interval '1 minute', 'done' from generate_series(1, 2500) n"
    )

    assert await WorkerRunner(activity(shop.db), lease=Mine()).run_once() == "ok"

    assert await shop.db.fetchval("test", "select count(*) from customers where seen_at is null") == 0
