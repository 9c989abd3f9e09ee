"""Who cannot be written to, over real sockets: stopped bots, lost accounts, groups; and how a person is there again."""

from __future__ import annotations

import pytest
from world_kit import a_world, books_of, eventually, first_screen

from vpnd.database.database import Database
from vpnd.database.outbox_rows import put
from vpnd.sandbox.customer import Customer
from vpnd.shop.notices import MESSAGE, message_payload, order_key

pytestmark = pytest.mark.world

STOPPED, LOST, GROUP = 1001, 1002, -100500


async def is_reachable(db: Database, person: int) -> bool:
    """What the shop knows."""
    return bool(await db.fetchval("test", "select reachable from customers where telegram_id = $1", person))


async def write_notice(db: Database, key: str, person: int) -> None:
    """Have something to say to a person."""
    payload = message_payload(person, "refund_to_balance", {"amount": 100, "currency": "RUB"}, "en")
    async with db.transaction("test") as tx:
        await put(tx, MESSAGE, key, payload, order_key=order_key(person))


async def became(db: Database, key: str) -> str:
    """What became of a notice, as soon as something did."""

    async def look() -> str | None:
        status = await db.fetchval("test", "select status from outbox where key = $1", key)
        return None if status == "ready" else str(status)

    return str(await eventually(f"the notice {key} has an end", look))


async def unreachable(db: Database, person: int, wanted: bool) -> None:
    """Wait until the shop knows it."""

    async def look() -> bool:
        return await is_reachable(db, person) is not wanted

    await eventually(f"{person} is {'un' if wanted else ''}reachable", look)


async def test_who_is_gone_and_who_is_back() -> None:
    """A stopped bot is told by Telegram, a lost account by the next refusal; what waits is dropped, and nothing is dead."""
    async with a_world(node=False) as (world, _lines), books_of(world) as db:
        await world.start_daemon()
        stopped, lost = Customer(world, STOPPED), Customer(world, LOST)
        for customer in (stopped, lost):
            await first_screen(customer)

        await world.telegram.post("/sim/block", chat_id=STOPPED, kind="blocked")
        await unreachable(db, STOPPED, True)
        await world.telegram.post("/sim/block", chat_id=LOST, kind="deactivated")
        assert await is_reachable(db, LOST)
        for person in (STOPPED, LOST):
            await write_notice(db, f"first {person}", person)
            assert await became(db, f"first {person}") == "dropped"
        await unreachable(db, LOST, True)

        await world.telegram.post("/sim/block", chat_id=STOPPED, kind="none")
        await unreachable(db, STOPPED, False)
        await first_screen(lost)
        await unreachable(db, LOST, False)
        for person in (STOPPED, LOST):
            await write_notice(db, f"second {person}", person)
            assert await became(db, f"second {person}") == "done"

        await world.telegram.post(
            "/sim/fault", method="sendMessage", kind="migrate", chat_id=LOST, migrate_to_chat_id=GROUP
        )
        await write_notice(db, "moved", LOST)
        assert await became(db, "moved") == "dropped"
        assert await is_reachable(db, LOST)


async def test_groups_and_channels_are_met_with_silence() -> None:
    """Words, commands, upgrades and presses there get no word; a press has its clock stopped; nobody becomes a customer."""
    async with a_world(node=False) as (world, _lines), books_of(world) as db:
        await world.start_daemon()
        anna = {"id": 1003, "first_name": "Anna", "language_code": "en"}
        person = {**anna, "is_bot": False}
        group = {"id": GROUP, "type": "supergroup", "title": "g"}
        shown = {"message_id": 5, "date": 1, "chat": group, "text": "a screen of ours"}
        for text in ("/start", "hello", "/buy@vpnd_demo_bot"):
            await world.telegram.post("/sim/message", chat_id=GROUP, text=text, **{"from": anna})
        for number, data in enumerate(("1h", "nonsense")):
            query = {"id": f"{number}", "from": person, "message": shown, "chat_instance": "1", "data": data}
            await world.telegram.post("/sim/update", kind="callback_query", payload=query, chat_id=GROUP)
        moved = {**shown, "from": person, "migrate_to_chat_id": -100501}
        del moved["text"]
        await world.telegram.post("/sim/update", kind="message", payload=moved, chat_id=GROUP)
        post = {
            "message_id": 6,
            "date": 1,
            "chat": {"id": -100502, "type": "channel", "title": "c"},
            "text": "/start",
        }
        await world.telegram.post("/sim/update", kind="channel_post", payload=post, chat_id=-100502)

        # What came before has been handled when a customer who writes after it was answered, and the inbox is empty.
        await first_screen(Customer(world, 1004))

        async def all_done() -> bool:
            return not await db.fetchval("test", "select exists (select from inbox where done_at is null)")

        await eventually("the inbox is empty", all_done)
        assert await world.telegram.get("/sim/sent") == {"1004": 1}
        assert await db.fetchval("test", "select count(*) from customers") == 1
