"""Conversations of those who run the shop."""

from __future__ import annotations

from person import Person

from vpnd.bot.broadcast_callbacks import (
    Broadcasts,
    ComposeButtons,
    CountSegment,
    EndAsk,
    EndNow,
    NewBroadcast,
    OneBroadcast,
    SegmentPart,
    SendAsk,
    SendNow,
    SetSegment,
    ShowSegment,
)
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.runtime.limits import Limits
from vpnd.sandbox.customer import Message, buttons_of, text_of
from vpnd.shop.operators import set_operator


async def becomes_a_manager(person: Person) -> str:
    """Make him one, as an owner would; returns his referral code."""
    settings = DatabaseSettings(url=Secret(person.world.database_url), pool_min=0)
    async with open_database(settings, Limits(2, 2), instance_name="test") as db:
        async with db.transaction("test") as tx:
            await set_operator(tx, person.id, "manager", name="M", by="test")
        code: str = await db.fetchval(
            "test", "select referral_code from customers where telegram_id = $1", person.id
        )
    return code


async def broadcast(person: Person) -> None:
    """A manager composes a broadcast for those who brought somebody, counts, sends, and gets it himself; a draft is dropped."""
    words = "News of the shop" if person.language == "en" else "Новости магазина"
    await person.write("/start")
    code = await becomes_a_manager(person)
    await person.friend().write(f"/start ref_{code}")

    await person.write("/admin")
    person.reads("desk")
    await person.press(Broadcasts)
    person.reads("broadcasts", "broadcasts-none")
    await person.press(NewBroadcast)
    person.reads("broadcast-compose")
    await person.write(words)
    person.reads("broadcast-copied")
    await person.press(ComposeButtons)
    person.reads("broadcast-ask-buttons")
    await person.write("Site example.org" if person.language == "en" else "Сайт example.org")
    person.reads("broadcast-buttons-fault")
    await person.write(
        "Site - https://example.org" if person.language == "en" else "Сайт - https://example.org"
    )
    person.reads("broadcast-copied")

    await person.press(ShowSegment)
    person.reads("segment-all")
    await person.press(lambda action: isinstance(action, SegmentPart) and action.part == "brought")
    await person.press(lambda action: isinstance(action, SetSegment) and action.value == "yes")
    person.reads("segment-brought")
    await person.press(CountSegment)
    person.reads("segment-counted")
    await person.press(OneBroadcast)
    await person.press(SendAsk)
    person.reads("broadcast-confirm")
    await person.press(SendNow)

    def is_it(message: Message) -> bool:
        sites = [button.get("url") for button in buttons_of(message)]
        return bool(message["from_bot"]) and text_of(message) == words and sites == ["https://example.org"]

    await person.customer.wait_for("the broadcast", is_it)
    await person.write("/admin")
    await person.press(Broadcasts)
    await person.press(NewBroadcast)
    await person.press(OneBroadcast)
    await person.press(EndAsk)
    person.reads("broadcast-confirm-end")
    await person.press(EndNow)
    person.reads("broadcasts")
    await person.go_home()


SCRIPTS = (broadcast,)
