"""The first screen says at a glance how it stands: what is on, how long, and what lies on the balance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from attrs import evolve
from bot_world import ANNA, World, open_world

from vpnd.bot import callbacks
from vpnd.database.database import Database
from vpnd.shop.dialogs import CUSTOMER_WITH_EXPECTATION_OF_SENDER
from vpnd.shop.subscriptions import expire_due, grant
from vpnd.telegram.database_inbox import DatabaseInbox
from vpnd.telegram.update import StoredUpdate, handling, parse_update

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node."""
    async with open_world(db) as world:
        yield world


async def home(world: World, language: str = "en") -> str:
    """What the first screen says."""
    return (await world.press(ANNA, callbacks.Home(), language=language))[-1].text


async def test_home_tells_state_days_and_balance(world: World) -> None:
    """Each state has its words; the balance counts gifts, and an empty one is no news to a newcomer."""
    assert "balance" not in await home(world)
    await world.fill(ANNA, 25000)
    assert "On your balance: <b>250 ₽</b>" in await home(world)
    (row,) = await world.sql("select id from customers")
    async with world.db.transaction("test") as tx:
        await grant(tx, customer_id=row["id"], plan_id="basic", days=30)

    starting = await home(world)
    await world.change("update subscriptions set activated_at = vpnd_now()")
    active = await home(world)
    await world.change(
        "insert into accounts (kind, owner, customer_id, currency, balance) values ('bonus', $1::text, $2, 'RUB', 1050)",
        str(row["id"]),
        row["id"],
    )
    with_gift = await home(world)
    await world.advance(timedelta(days=31))
    await expire_due(world.db, 10)
    over = await home(world)

    assert "being switched on" in starting
    assert "30 days left" in active
    assert "On your balance: <b>250 ₽</b>" in active
    assert "On your balance: <b>260.50 ₽</b>" in with_gift
    assert "has been off since" in over


async def test_home_reads_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has access costs one read of all that the screen shows; and one of the customer, unless the inbox has just read him."""
    await world.say(ANNA, "/start")
    (row,) = await world.sql("select id from customers")
    async with world.db.transaction("test") as tx:
        await grant(tx, customer_id=row["id"], plan_id="basic", days=30)
    asked: list[str] = []
    fetch = Database.fetch

    async def counted(self: Database, name: str, *args: object, **more: object) -> object:
        asked.append(name)
        return await fetch(self, name, *args, **more)  # type: ignore[arg-type]  # handed on as they came

    customer = await world.deps.customers.get(ANNA)
    monkeypatch.setattr(Database, "fetch", counted)
    await home(world)
    by_itself = asked.copy()
    asked.clear()
    with handling(evolve(parse_update({"update_id": 1}), sender=customer)):
        await home(world)

    assert by_itself == ["bot.customers", "bot.portfolio"]
    assert asked == ["bot.portfolio"]


async def test_the_inbox_reads_who_it_stores_an_update_of(world: World) -> None:
    """Storing a press brings its sender's row along: as the bot reads it, nothing for a stranger, and nothing with money."""
    await world.say(ANNA, "/start")
    inbox = DatabaseInbox(world.db, sender=CUSTOMER_WITH_EXPECTATION_OF_SENDER)

    def update(update_id: int, telegram_id: int, kind: str = "text") -> StoredUpdate:
        person = {"id": telegram_id, "type": "private"}
        return parse_update({"update_id": update_id, "message": {"chat": person, "from": person, kind: {}}})

    stored = await inbox.store([update(1, ANNA), update(2, ANNA + 1)])
    paid = await inbox.store([update(3, ANNA, "successful_payment")])
    read = await world.deps.customers.get(ANNA)
    assert read is not None
    assert stored[1] is not None
    assert dict(stored[1].items()) == {"update_id": 1, **dict(read.items())}
    assert (stored[2], paid) == (None, {3: None})
