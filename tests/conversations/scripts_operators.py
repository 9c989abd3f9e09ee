"""Conversations of those who run the shop."""

from __future__ import annotations

from typing import Any

from person import Person
from scripts_buying import choose

from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.figures_callbacks import (
    ByMethod,
    ByPlan,
    Chart,
    ExportAsk,
    ExportNow,
    Exports,
    Figures,
    Health,
    Referral,
)
from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.runtime.limits import Limits
from vpnd.sandbox.customer import text_of
from vpnd.shop.operators import Role, set_operator


async def become(person: Person, role: Role) -> None:
    """An owner has made him an operator."""
    settings = DatabaseSettings(url=Secret(person.world.database_url), pool_min=0)
    async with (
        open_database(settings, Limits(2, 2), instance_name="test") as db,
        db.transaction("test") as tx,
    ):
        await set_operator(tx, person.id, role, name="A", by="test")


async def figures(person: Person) -> None:
    """Each screen of the figures, their pictures, and the way back from each; what he has paid himself is in them."""
    await choose(person, "yookassa")
    await person.pay()
    await person.told("receipt")
    await become(person, "manager")
    await person.write("/admin")
    person.reads("desk")
    await person.press(Figures)
    person.reads("figures-head")
    await person.press(ByMethod)
    assert "yookassa" in text_of(person.screen)
    await person.press(ByPlan)
    await person.press(Referral)
    await person.press(Health)
    person.reads("figures-health")
    await person.press(lambda action: action == Figures("month"))
    person.reads("figures-head")
    await person.press(lambda action: action == Figures("today"))
    for what in ("revenue", "people"):
        drawn = await person.press(lambda action, what=what: action == Chart(what, "today"))
        assert "photo" in drawn
        await person.press(Figures)
    await person.press(Desk)
    await person.go_home()


async def exporting(person: Person) -> None:
    """A table is chosen, asked about, and comes as a file; a second press is one export; a reader has no such button."""
    await become(person, "manager")
    await person.write("/admin")
    await person.press(Exports)
    person.reads("exports")
    asked = await person.press(lambda action: action == ExportAsk("plans", 0))
    person.reads("export-confirm")
    assert not person.offers(lambda action: action == ExportAsk("plans", 1))
    await person.press(ExportNow)
    await person.comes_to_read("export-asked")
    sent: dict[str, Any] = await person.told("export-file")
    assert sent["document"]["file_name"].endswith(".csv")
    await person.press_on(asked, Desk)
    await become(person, "reader")
    await person.write("/admin")
    assert not person.offers(Exports)
    await person.go_home()


SCRIPTS = (figures, exporting)
