"""Conversations of an operator: a plan is made and priced in the bot, and a customer buys it at the price of his moment."""

from __future__ import annotations

from person import Person
from scripts_buying import by

from vpnd.bot.callbacks import Methods, Paid, Periods
from vpnd.bot.catalogue_callbacks import (
    Catalogue,
    NewPeriod,
    NewPlan,
    OnePeriod,
    OnePlan,
    PeriodSale,
    PlanHistory,
    PlanList,
    PlanOff,
    PlanSale,
    PriceNow,
    WritePrice,
)
from vpnd.bot.desk_callbacks import AddOperator, Operators, RoleAsk, RoleNow
from vpnd.sandbox.customer import text_of
from vpnd.sandbox.world import ADMIN


async def manager_of(person: Person) -> Person:
    """The owner makes somebody a manager, who speaks the person's language."""
    manager = person.friend()
    owner = Person(person.world, ADMIN, "en", person.ways)
    await manager.write("/start")
    await owner.write("/admin")
    await owner.press(Operators)
    await owner.press(AddOperator)
    await owner.write(str(manager.id))
    await owner.press(lambda action: isinstance(action, RoleAsk) and action.role == "manager")
    await owner.press(RoleNow)
    return manager


async def a_price_is_edited_and_bought_at(person: Person) -> None:
    """From nothing to a sale in the bot; the price is changed while one customer pays: he pays the old, the next the new."""
    manager, plan = await manager_of(person), f"conv_{person.language}"
    await manager.write("/admin")
    await manager.press(Catalogue)
    manager.reads("catalogue")
    await manager.press(PlanList)
    await manager.press(NewPlan)
    manager.reads("catalogue-plan-ask")
    await manager.write(f"{plan} {'Family' if person.language == 'en' else 'Семейный'}")
    manager.reads("catalogue-plan-made")
    await manager.press(NewPeriod)
    await manager.write("45")
    manager.reads("catalogue-period-made")
    await manager.press(WritePrice)
    await manager.write("300")
    manager.reads("catalogue-price-confirm")
    await manager.press(PriceNow)
    await manager.press(PeriodSale)
    await manager.press(OnePlan)
    await manager.press(PlanSale)
    manager.reads("catalogue-done")

    late = Person(person.world, person.id + 250_000, person.language, person.ways)
    for customer in (person, late):
        await customer.write(f"/start plan_{plan}")
        assert "300" in text_of(customer.screen)
    await person.press(Methods)
    await person.press(by("yookassa"))
    await manager.press(OnePeriod)
    await manager.press(WritePrice)
    await manager.write("450.50")
    await manager.press(PriceNow)
    assert "450" in text_of(manager.screen)

    assert await person.pay()
    await person.told("receipt")
    await late.press(Methods)
    assert "450" in text_of(late.screen)
    await late.press(by("yookassa"))
    await late.press(Paid)
    late.reads("pay-pending")
    await late.pay()
    await late.told("receipt")

    await manager.press(OnePlan)
    await manager.press(PlanHistory)
    assert "300.00" in text_of(manager.screen)
    assert "450.50" in text_of(manager.screen)
    await manager.press(OnePlan)
    await manager.press(PlanOff)
    await manager.press(PlanSale)
    await person.write("/buy")
    assert not person.offers(lambda action: isinstance(action, Periods) and action.plan == plan)


SCRIPTS = (a_price_is_edited_and_bought_at,)
