"""Work on a node, as each customer reads it: in his language, on his clock, in the lane behind all others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bot_world import ANNA, BORIS, World, open_world

from vpnd.bot.broadcasting import deliver_broadcast
from vpnd.database.database import Database
from vpnd.database.outbox_rows import Dead, Delivered, Drop
from vpnd.shop.maintenance import Maintenance
from vpnd.telegram import sender as sender_module
from vpnd.telegram.sender import Lane

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with a customer in Kathmandu who reads English and one without a clock of his own who reads Russian."""
    async with open_world(db, time_zone="Europe/Moscow") as world:
        await world.say(ANNA, "/start")
        await world.say(BORIS, "/start", language="ru")
        await world.change("update customers set time_zone = 'Asia/Kathmandu' where telegram_id = $1", ANNA)
        yield world


def content(*, others: bool = True, start: datetime | None = None) -> Any:
    """What is announced."""
    begins = start or datetime(2099, 12, 1, 2, tzinfo=UTC)
    return Maintenance("berlin <1>", begins, begins + timedelta(hours=2), others).content()


async def test_each_reads_it_in_his_language_and_on_his_clock(world: World) -> None:
    """The clock that he chose, or the shop's; what others there are, only if there are."""
    done = [
        await deliver_broadcast(world.deps, content(), ANNA, "en"),
        await deliver_broadcast(world.deps, content(others=False), BORIS, "ru"),
    ]

    english, russian = world.telegram.taken()
    assert done == [Delivered(), Delivered()]
    assert "<b>berlin &lt;1&gt;</b>" in english.text
    assert (
        "<b>1 December 2099, 07:45 (UTC+5:45)</b> until <b>1 December 2099, 09:45 (UTC+5:45)</b>"
        in english.text
    )
    assert "other servers" in english.text
    assert "с <b>1 декабря 2099, 05:00 (UTC+3)</b> до <b>1 декабря 2099, 07:00 (UTC+3)</b>" in russian.text
    assert "другие серверы" not in russian.text
    assert english.has("Menu")


async def test_it_goes_behind_all_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane of broadcasts."""
    lanes: list[Lane] = []
    usual = sender_module.Sender.post

    async def post(self: Any, lane: Lane, *words: Any, **arguments: Any) -> Any:
        lanes.append(lane)
        return await usual(self, lane, *words, **arguments)

    monkeypatch.setattr(sender_module.Sender, "post", post)

    await deliver_broadcast(world.deps, content(), ANNA, "en")

    assert lanes == [Lane.BROADCAST]


async def test_what_is_over_or_cannot_be_read_is_not_sent(world: World) -> None:
    """Work that has ended, a notice of a newer version, a customer who is gone: nothing is said, and nobody is to blame."""
    over = await deliver_broadcast(world.deps, content(start=datetime(2020, 1, 1, tzinfo=UTC)), ANNA, "en")
    newer = await deliver_broadcast(world.deps, {"notice": {"template": "party"}}, ANNA, "en")
    broken = await deliver_broadcast(world.deps, {"notice": {"template": "maintenance"}}, ANNA, "en")
    nobody = await deliver_broadcast(world.deps, content(), 5, "en")

    assert world.telegram.taken() == []
    assert all(isinstance(one, Dead) for one in (over, newer, broken, nobody))


async def test_who_has_gone_is_dropped(world: World) -> None:
    """A block is an outcome of his own, and the others go on."""
    world.telegram.fail("sendMessage", "Forbidden: bot was blocked by the user", 403)

    assert isinstance(await deliver_broadcast(world.deps, content(), ANNA, "en"), Drop)
