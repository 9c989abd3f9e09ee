"""The trial through the bot: offered to who may have it, given once, refused kindly; and what is told while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from bot_world import ANNA, BORIS, Call, World, open_world

from vpnd.bot import callbacks
from vpnd.config.shop_settings import NEVER_QUIET
from vpnd.database.database import Database
from vpnd.database.outbox_rows import Drop
from vpnd.shop.subscriptions import expire_due
from vpnd.shop.switches import set_switch
from vpnd.shop.trial import TrialTerms, due_trial_notices, tell_trial_notices

pytestmark = pytest.mark.postgres

HOUR = timedelta(hours=1)


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans, one node, and a trial of three days."""
    async with open_world(db, trial=TrialTerms(72)) as world:
        yield world


async def offered(world: World, user: int = ANNA) -> bool:
    """Whether the first screen offers a trial."""
    (call,) = await world.say(user, "/start")
    return call.has("Try it free: 3 days")


async def trials(world: World) -> int:
    """How many trials were given."""
    (row,) = await world.sql("select count(*) as trials from trials")
    return int(row["trials"])


async def buy(world: World, user: int = ANNA) -> None:
    """A month for money; the receipt is read away."""
    await world.press(user, callbacks.Pay("yookassa", await world.offer("basic", 30)))
    await world.settle(world.yookassa.charge(f"yoo-{len(world.yookassa.orders)}"))
    await world.change("update outbox set status = 'done' where key like 'receipt:%'")


async def notice(world: World) -> Call | None:
    """What the worker of the trial tells now, if anything."""
    customers = [customer for _, customer in await due_trial_notices(world.db, 10)]
    await tell_trial_notices(world.db, customers, "UTC", NEVER_QUIET)
    found = [calls[0] for _, calls in await world.deliver()]
    assert len(found) <= 1
    return found[0] if found else None


async def test_from_the_menu_to_a_link(world: World) -> None:
    """A newcomer is offered the trial, is told how long and what for, and gets link and picture like a buyer."""
    (menu,) = await world.say(ANNA, "/start")
    asked = await world.press(ANNA, menu.data("Try it free"))

    assert "<b>Basic</b> for <b>3 days</b>" in asked[1].text
    assert await trials(world) == 0
    world.woken.clear()
    begun = await world.press(ANNA, asked[1].data("Begin"))

    assert [call.method for call in begun] == ["answerCallbackQuery", "sendPhoto"]
    (row,) = await world.sql("select link_token, trial, expires_at - starts_at as length from subscriptions")
    assert (row["trial"], row["length"]) == (True, timedelta(hours=72))
    assert f"/sub/{row['link_token']}</code>" in begun[1].text
    assert "How to connect" in begun[1].text
    assert world.woken, "nodes and relay are told at once"
    assert not await offered(world)


async def test_two_taps_and_a_replay_give_one_trial(world: World) -> None:
    """Pressed again, or played again after a kill: one trial, and its link once more."""
    for update in (9001, 9001, 9002):
        calls = await world.press(ANNA, callbacks.StartTrial(), update_id=update)
        assert "Your trial has begun" in calls[1].text

    assert await trials(world) == 1
    assert len(await world.sql("select id from subscriptions")) == 1
    assert len(await world.sql("select id from grants")) == 1


async def test_an_old_button_does_not_begin_it_again(world: World) -> None:
    """After the trial the button says that it was used; after a purchase it shows what was bought."""
    await world.press(ANNA, callbacks.StartTrial())
    await world.advance(73 * HOUR)
    await expire_due(world.db, 10)

    ended = await world.press(ANNA, callbacks.StartTrial())
    await buy(world)
    bought = await world.press(ANNA, callbacks.StartTrial())

    assert "You have had your trial" in ended[1].text
    assert "Your trial has begun" not in bought[1].text
    assert "/sub/" in bought[1].text
    assert await trials(world) == 1


async def test_who_bought_is_refused_where_it_is_given(world: World) -> None:
    """The menu does not offer it, and a forged press is told why not."""
    await buy(world)
    await world.change("update subscriptions set status = 'expired'")

    assert not await offered(world)
    for wish in (callbacks.Trial(), callbacks.StartTrial()):
        assert "for newcomers" in (await world.press(ANNA, wish))[1].text
    assert await trials(world) == 0


async def test_who_has_access_needs_no_trial(world: World) -> None:
    """Access that is on is no time to try."""
    await buy(world)

    assert not await offered(world)
    assert "on already" in (await world.press(ANNA, callbacks.StartTrial()))[1].text


async def test_a_paused_trial_is_not_given(world: World) -> None:
    """Paused by an operator: not offered once the snapshot knows, never given from the moment of the pause on."""
    await set_switch(world.db, "trial", paused=True, by="shell:root")
    assert "paused just now" in (await world.press(ANNA, callbacks.StartTrial()))[1].text
    assert not await offered(world)

    await world.deps.switches.refresh()
    assert not await offered(world)
    await set_switch(world.db, "trial", paused=False, by="shell:root")
    await world.deps.switches.refresh()

    assert await offered(world)
    assert await trials(world) == 0


async def test_a_shop_without_a_trial_speaks_of_none(db: Database) -> None:
    """Zero hours: no button, no read for it, and a forged press is refused."""
    async with open_world(db) as world:
        (menu,) = await world.say(ANNA, "/start")

        assert "free" not in str(menu.buttons)
        assert "no trial at the moment" in (await world.press(ANNA, callbacks.StartTrial()))[1].text
        assert await trials(world) == 0


async def test_a_named_plan_that_is_not_sold_is_tried_and_left_for_any(db: Database) -> None:
    """A trial of a plan of its own goes on in whatever is bought: its buttons lead to the plans, not to itself."""
    async with open_world(db, trial=TrialTerms(12, "plus")) as world:
        await world.change("update plans set on_sale = false where id = 'plus'")
        asked = await world.press(ANNA, callbacks.Trial())
        await world.press(ANNA, asked[1].data("Begin"))
        (menu,) = await world.say(ANNA, "/start")
        own = await world.press(ANNA, callbacks.Subscriptions())

        assert "12 hours" in asked[1].text
        for call in (menu, own[1]):
            assert callbacks.decode(call.data("Choose a plan")) == callbacks.Plans()
            assert not call.has("Renew")
        assert not own[1].has("Change the plan")
        await buy(world)
        (row,) = await world.sql("select plan_id, trial from subscriptions")
        assert (row["plan_id"], row["trial"]) == ("basic", False)


async def test_a_trial_is_told_of_until_its_end(world: World) -> None:
    """Each notice at its time, with what is left by then, the way on, and nothing that is not so."""
    await world.press(ANNA, callbacks.StartTrial())
    assert await notice(world) is None

    said: list[Call] = []
    for wait in (7, 42, 18):
        await world.advance(wait * HOUR)
        call = await notice(world)
        assert call is not None
        said.append(call)
    await world.advance(6 * HOUR)
    await expire_due(world.db, 10)
    ((_, (last,)),) = await world.deliver()

    assert "Is everything working?" in said[0].text
    assert said[0].has("How to connect")
    assert "How do you like it?" in said[1].text
    assert "ends soon" in said[2].text
    assert "4 hours" in said[2].text or "5 hours" in said[2].text
    assert "(UTC)" in said[2].text
    assert "Your trial has ended" in last.text
    for call in (*said[1:], last):
        assert callbacks.decode(call.data("Choose a plan")) == callbacks.Plans()


async def test_who_buys_meanwhile_is_not_told_of_its_end(world: World) -> None:
    """A notice in hand of the relay while he pays is dropped instead of sent."""
    await world.press(ANNA, callbacks.StartTrial())
    await world.advance(67 * HOUR)
    customers = [customer for _, customer in await due_trial_notices(world.db, 10)]
    await tell_trial_notices(world.db, customers, "UTC", NEVER_QUIET)
    await world.change("update outbox set lease_until = now() + interval '1 minute' where key like 'trial:%'")
    await buy(world)
    await world.change("update outbox set status = 'ready' where key like 'trial:%'")

    ((outcome, calls),) = await world.deliver()

    assert isinstance(outcome, Drop)
    assert calls == []


async def test_nobody_takes_the_trial_of_another(world: World) -> None:
    """Each has his own: what one has used leaves the other's as it is."""
    await world.press(ANNA, callbacks.StartTrial())

    assert await offered(world, BORIS)
    await world.press(BORIS, callbacks.StartTrial())
    assert await trials(world) == 2
