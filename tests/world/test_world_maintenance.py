"""Work on a node, from the operator's shell to every customer's chat, over real sockets; and nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio
from world_kit import a_world, books_of, eventually, first_screen, vpnd

from vpnd.sandbox.customer import Customer
from vpnd.shop.subscriptions import grant

pytestmark = pytest.mark.world

NODE = """
[[nodes]]
name = "berlin"
url = "http://127.0.0.1:9"
token = "a-token-that-is-long-enough"
"""


async def test_everybody_with_access_is_told_once() -> None:
    """A customer reads it in his language and on his clock; who has no access hears nothing; a second command sends nothing."""
    start = datetime.now(UTC) + timedelta(days=2)
    words = ("maintenance", "berlin", "--from", f"{start:%Y-%m-%d} 22:00", "--for", "2h", "--yes")
    async with a_world(node=False, daemon_extra=NODE) as (world, lines), books_of(world) as db:
        await world.start_daemon()
        anna, boris, guest = (
            Customer(world, 1001), Customer(world, 1002, language="ru"), Customer(world, 1003),
        )  # fmt: skip
        for customer in (anna, guest):
            await first_screen(customer)
        await boris.say("/start")
        await boris.wait_for("the menu", lambda message: "Здравствуйте" in message.get("text", ""))
        async with db.transaction("test") as tx:
            rows = await tx.fetch("select id from customers where telegram_id in (1001, 1002) limit 2")
            for row in rows:
                await grant(tx, customer_id=row["id"], plan_id="basic", days=30)
            await tx.execute("update customers set time_zone = 'Asia/Kathmandu' where telegram_id = 1002")

        run = partial(vpnd, words[0], "--config", str(world.config_path), *words[1:])
        done = await trio.to_thread.run_sync(run)
        assert (done.returncode, done.stderr) == (0, "")
        assert "2 customers with an active subscription" in done.stdout
        english = await anna.wait_for(
            "the news", lambda message: "Maintenance is planned" in message.get("text", "")
        )
        russian = await boris.wait_for(
            "the news", lambda message: "Плановые работы" in message.get("text", "")
        )
        assert "22:00 (UTC)" in english["text"]
        assert "03:45 (UTC+5:45)" in russian["text"]

        async def finished() -> bool:
            return bool(await db.fetchval("test", "select state = 'done' from broadcasts"))

        await eventually("the broadcast is done", finished)
        again = await trio.to_thread.run_sync(run)
        assert "announced already" in again.stdout
        assert "2 were told" in again.stdout
        await first_screen(guest)
        sent = await world.telegram.get("/sim/sent")
        assert sent == {"1001": 2, "1002": 2, "1003": 2}
        assert not [line for line in lines if '"broadcast.send_failed"' in line]
