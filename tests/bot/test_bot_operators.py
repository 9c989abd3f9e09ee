"""The desk of those who run the shop: who may enter which room, and who says who they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from bot_world import ANNA, BORIS, World, open_world

from vpnd.bot import desk_callbacks, presses
from vpnd.bot.callbacks import Action
from vpnd.database.database import Database
from vpnd.shop.operators import ROLES, Role, may, set_operator

pytestmark = pytest.mark.postgres

OWNER = BORIS


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with an owner in its configuration."""
    async with open_world(db, admins=(OWNER,)) as world:
        yield world


async def give(world: World, telegram_id: int, role: Role) -> None:
    """Make somebody an operator."""
    async with world.db.transaction("test") as tx:
        await set_operator(tx, telegram_id, role, name="N", by="test")


async def roles(world: World) -> list[tuple[int, str]]:
    """Who is what in the database."""
    rows = await world.sql("select telegram_id, role from operators order by telegram_id")
    return [(row["telegram_id"], row["role"]) for row in rows]


def one_of(kind: type[Action]) -> Action:
    """A button of this kind, whatever is in it."""
    values = {"int": 1, "str": "basic"}
    types = kind.__annotations__
    return kind(
        *(values[types[name] if isinstance(types[name], str) else types[name].__name__] for name in types)
    )


async def test_the_desk_shows_what_a_role_may_enter(world: World) -> None:
    """An owner sees all rooms, a reader those where he can look; a customer is told of no desk and enters none."""
    (owners,) = await world.say(OWNER, "/admin")
    await give(world, ANNA, "reader")
    (home,) = await world.say(ANNA, "/start")
    read = await world.press(ANNA, home.data("Desk"))

    assert owners.has("Operators")
    assert owners.has("Audit log")
    assert "read-only" in read[-1].text
    assert read[-1].has("Audit log")
    assert not read[-1].has("Operators")
    assert not read[-1].has("Pause")


async def test_for_customers_there_is_no_desk(world: World) -> None:
    """Neither the command nor the button."""
    (home,) = await world.say(ANNA, "/start")
    (said,) = await world.say(ANNA, "/admin")

    assert not home.has("Desk")
    assert "buttons below" in said.text


@pytest.mark.parametrize("role", [None, *ROLES])
async def test_every_button_asks_for_its_permission(world: World, role: Role | None) -> None:
    """A forged press of each button by each role: refused to whom it is not allowed, who is told why; nothing is written."""
    for kind, (permission, _) in presses.OPERATORS.items():
        if role is not None:
            await give(world, ANNA, role)  # a button may have taken it
        before = await world.sql("select count(*) from audit_log")

        calls = await world.press(ANNA, one_of(kind))

        said = "\n".join(call.text for call in calls)
        allowed = role is not None and may(role, permission)
        if role is None:
            assert "can’t show this" in said, kind
        else:
            assert ("does not allow this" in said) == (not allowed), kind
        if not allowed:
            assert await world.sql("select count(*) from audit_log") == before, kind


async def test_an_owner_makes_an_operator(world: World) -> None:
    """By a name or an id, with what the role allows said before; written down, and effective with the next press."""
    await world.say(ANNA, "/start")
    await world.press(OWNER, desk_callbacks.AddOperator())
    (unknown,) = await world.say(OWNER, "@nobody_of_that_name")
    (found,) = await world.say(OWNER, str(ANNA))
    asked = await world.press(OWNER, found.data("Manager"))
    done = await world.press(OWNER, asked[-1].data("Yes"))

    assert "Nobody of that name" in unknown.text
    assert "change plans and prices" in asked[-1].text
    assert "a manager now" in done[-1].text
    assert await roles(world) == [(ANNA, "manager")]
    log = await world.press(OWNER, desk_callbacks.AuditLog())
    assert f"operators.edit · operator:{ANNA}" in log[-1].text
    assert "role: manager" in log[-1].text
    (menu,) = await world.say(ANNA, "/admin")
    assert menu.has("Pause")


async def test_two_presses_on_one_question_are_one_deed(world: World) -> None:
    """A second yes is answered and changes nothing, also when the role was changed in between."""
    await give(world, ANNA, "support")
    asked = await world.press(OWNER, desk_callbacks.RoleAsk(ANNA, "reader"))
    yes = asked[-1].data("Yes")
    await world.press(OWNER, yes)
    await give(world, ANNA, "manager")

    again = await world.press(OWNER, yes)

    assert "done already" in again[-1].text
    assert await roles(world) == [(ANNA, "manager")]
    assert len(await world.sql("select id from audit_log")) == 1


async def test_a_role_is_taken_away(world: World) -> None:
    """He is a customer like all others with his next press."""
    await give(world, ANNA, "manager")
    shown = await world.press(OWNER, desk_callbacks.OneOperator(ANNA))
    asked = await world.press(OWNER, shown[-1].data("Take the role away"))
    await world.press(OWNER, asked[-1].data("Yes"))

    assert await roles(world) == []
    (menu,) = await world.say(ANNA, "/admin")
    assert "buttons below" in menu.text


async def test_the_audit_log_is_read_in_pages(world: World) -> None:
    """More lines than one page has are reached by a button."""
    for number in range(12):
        await world.say(OWNER, f"/banner number {number}")

    first = await world.press(OWNER, desk_callbacks.AuditLog())
    second = await world.press(OWNER, first[-1].data("Older"))

    assert "number 11" in first[-1].text
    assert "number 0" not in first[-1].text
    assert "number 0" in second[-1].text
