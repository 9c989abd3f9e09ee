"""Texts and plans that were edited in the bot, as the daemon finds them: read anew when another daemon wrote one, and told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from vpnd.config import Settings, ShopSettings
from vpnd.daemon import wording
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseUnavailable
from vpnd.runtime.journal import capture
from vpnd.shop import catalogue
from vpnd.shop.text_overrides import put_override, remove_override
from vpnd.workers.preparation import Preparation

pytestmark = pytest.mark.postgres

PLANS = """
[[plans]]
id = "basic"
titles = { en = "Basic" }
[[plans.offers]]
days = 30
prices = { RUB = "199.00" }
"""


async def write(db: Database, body: str | None) -> None:
    """Another daemon of the shop says a text otherwise, or as before."""
    async with db.transaction("test") as tx:
        if body is None:
            await remove_override(tx, "en", "button-home")
        else:
            await put_override(tx, "en", "button-home", body, by="test")


async def test_a_text_that_another_daemon_wrote_is_said_here(db: Database) -> None:
    """Each change leads to a reading, a removal among them, without a reload."""
    send, receive = trio.open_memory_channel[str](10)

    async def reload() -> None:
        texts = await wording.read(Settings(), db)
        await send.send(texts.plain("en", "button-home"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: wording.watch(db, reload, every=0.01))
        for body, said in (("Away", "Away"), ("Far away", "Far away"), (None, "« Menu")):
            await write(db, body)
            with trio.fail_after(20):
                # A text that was read while it was written is read once more.
                while await receive.receive() != said:
                    pass
        nursery.cancel_scope.cancel()


class AwayDatabase:
    """A database that cannot be asked: it is waited for, and told of once."""

    def __init__(self) -> None:
        self.rested = 0

    async def fetchrow(self, *_: Any, **__: Any) -> Any:
        raise DatabaseUnavailable("away")

    async def rest(self, _seconds: float) -> None:
        self.rested += 1
        if self.rested == 3:
            await trio.sleep_forever()


async def test_a_database_that_is_away_leaves_the_texts(autojump_clock: trio.testing.MockClock) -> None:
    """The last known texts stay, the journal hears of it once, and it is tried on."""
    away = AwayDatabase()

    async def reload() -> None:
        raise AssertionError("nothing was read")

    with capture() as lines, trio.move_on_after(60):
        await wording.watch(away, reload)  # type: ignore[arg-type]  # a fake of the two methods used

    assert [line.event for line in lines] == ["texts.not_read"]
    assert away.rested == 3


async def test_a_text_with_a_fault_is_named(db: Database) -> None:
    """What was written before an update and fits no longer is told with its remedy, and the bot's own is said."""
    await write(db, "{ $gone }")

    with capture() as lines:
        texts = await wording.read(Settings(), db)

    assert texts.plain("en", "button-home") == "« Menu"
    assert [(line.event, line.fields["key"]) for line in lines] == [("texts.refused", "button-home")]


async def test_each_difference_of_the_plans_file_is_named(db: Database, tmp_path: Path) -> None:
    """A plan that was edited in the bot is left alone by the file, and the journal names what differs."""
    path = tmp_path / "plans.toml"
    path.write_text(PLANS, "utf-8")
    preparation = Preparation(db, Settings(shop=ShopSettings(plans=path)), sandbox=True)
    with capture() as first:
        await preparation.apply_plans()
    offer = await db.fetchval("test", "select id from offers limit 1")
    async with db.transaction("test") as tx:
        await catalogue.set_price(tx, offer, "RUB", 24_900)

    with capture() as lines:
        await preparation.apply_plans()

    assert [line.event for line in first] == ["plans.applied"]
    assert [line.fields.get("difference") for line in lines if line.event == "plans.differ"] == [
        'basic: 30.RUB is "249.00" in the shop and "199.00" in the file'
    ]
    assert await db.fetchval("test", "select amount from prices limit 1") == 24_900
