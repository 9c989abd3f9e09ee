"""Conversations of those who run the shop: a customer is found, served, and told of it."""

from __future__ import annotations

from person import Person
from scripts_buying import choose, shell

from vpnd.bot.callbacks import Action, OneSubscription
from vpnd.bot.customer_callbacks import CustomerCard, DaysOf, DeedNow, FindCustomer, GiveDays, Timeline
from vpnd.bot.desk_callbacks import Desk
from vpnd.sandbox.customer import text_of


def a_week(action: Action) -> bool:
    """The button that gives seven days."""
    return isinstance(action, DaysOf) and (action.days, action.take) == (7, 0)


async def find_and_give_days(person: Person) -> None:
    """Somebody who was made an operator finds a customer, gives a week for a reason, and reads what happened; the customer is
    told and has it."""
    customer = person.friend()
    await choose(customer, "yookassa")
    await customer.pay()
    await customer.told("receipt")
    await person.write("/start")
    assert not person.offers(Desk)
    await shell(person, "operator", "set", str(person.id), "support", "--reason", "a test", "--yes")
    await person.write("/start")
    await person.press(Desk)
    person.reads("desk")
    await person.press(FindCustomer)
    person.reads("find-ask")
    await person.write("nobody is called so")
    person.reads("find-nobody")
    await person.write(str(customer.id))
    person.reads("card")
    await person.press(GiveDays)
    person.reads("deed-ask-days")
    await person.press(a_week)
    person.reads("deed-ask-reason")
    await person.write("the node was down")
    person.reads("deed-confirm")
    await person.press(DeedNow)
    person.reads("deed-done")
    await customer.told("gift-days")
    await customer.press(OneSubscription)
    customer.reads("subscription-active", "subscription-starting")
    await person.press(Timeline)
    person.reads("timeline")
    assert "the node was down" in text_of(person.screen)
    await person.press(CustomerCard)
    person.reads("card")
    await person.go_home()
    await shell(person, "operator", "remove", str(person.id), "--reason", "a test", "--yes")
    await person.write("/find 1")
    person.reads("unknown-text")


SCRIPTS = (find_and_give_days,)
