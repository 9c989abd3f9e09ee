"""The whole shop while it has much to tell: whoever writes is answered before what waits in outbox and broadcasts."""

from __future__ import annotations

import pytest
from world_kit import a_world, books_of, eventually, first_screen

from vpnd.database.outbox_rows import NewItem, put_many
from vpnd.sandbox.customer import Customer
from vpnd.shop import broadcasts
from vpnd.shop.broadcasts import Segment
from vpnd.shop.notices import MESSAGE, message_payload

pytestmark = pytest.mark.world

#: At Telegram's 30 a second these take half a minute, and a broadcast comes after them.
PEOPLE = 900
FIRST = 50_000


async def test_a_customer_does_not_wait_behind_news() -> None:
    """With hundreds of notices and a broadcast to everybody under way, /start is answered at once, each time."""
    async with a_world(node=False) as (world, _lines), books_of(world) as db:
        await world.start_daemon()
        await world.telegram.post("/sim/chats", first=FIRST, count=PEOPLE)
        async with db.transaction("test") as tx:
            await tx.execute(
                "insert into customers (telegram_id, language, referral_code)"
                " select $1::bigint + n, 'en', 'c' || n from generate_series(0, $2::integer - 1) n",
                FIRST, PEOPLE,
            )  # fmt: skip
            args = {"amount": 100, "currency": "RUB"}
            await put_many(
                tx,
                [
                    NewItem(
                        kind=MESSAGE,
                        key=f"news:{number}",
                        payload=message_payload(FIRST + number, "refund_to_balance", args, "en"),
                    )
                    for number in range(PEOPLE)
                ],
            )
        made = await broadcasts.create(
            db, content={"text": {"en": "news"}}, segment=Segment(), created_by="x", title="news"
        )
        await broadcasts.start(db, made)

        async def told() -> int:
            return sum((await world.telegram.get("/sim/sent")).values())

        async def under_way() -> bool:
            return await told() > 40

        await eventually("notices leave", under_way)
        for number in range(5):
            before = await told()
            await first_screen(Customer(world, 1001 + number))
            # One of the next: two seconds of Telegram's rate are left to a machine that is busy with other tests.
            assert await told() - before <= 60

        assert await told() < PEOPLE
        progress = await broadcasts.progress(db, made)
        assert progress is not None
        assert progress.state == "running"
