"""What the buttons of the customers' desk carry: who is meant, and what is to be done to him."""

import attrs

from vpnd.bot.button_data import Action


@attrs.frozen
class FindCustomer(Action):
    """Somebody is looked for; by what will be written."""


@attrs.frozen
class CustomerCard(Action):
    """All about one customer."""

    customer: int


@attrs.frozen
class GiveDays(Action):
    """Days for a subscription of his; 0: it is to be chosen."""

    customer: int
    subscription: int


@attrs.frozen
class NewAccess(Action):
    """Days for somebody who has no subscription of this plan."""

    plan: str
    customer: int


@attrs.frozen
class DaysOf(Action):
    """So many days, given or taken (`take` is 1)."""

    customer: int
    subscription: int
    days: int
    take: int


@attrs.frozen
class OtherPlan(Action):
    """The plans that a subscription of his can be changed to; 0: it is to be chosen."""

    customer: int
    subscription: int


@attrs.frozen
class PlanOf(Action):
    """This plan for that subscription."""

    plan: str
    subscription: int
    customer: int


@attrs.frozen
class GiveMoney(Action):
    """An amount for his balance, or from it, that will be written."""

    customer: int


@attrs.frozen
class Reissue(Action):
    """A new link for a subscription of his; 0: it is to be chosen."""

    customer: int
    subscription: int


@attrs.frozen
class Block(Action):
    """Shut him out (`lift` is 0), or let him in again (1)."""

    customer: int
    lift: int


@attrs.frozen
class WriteTo(Action):
    """A message to him that will be written."""

    customer: int


@attrs.frozen
class Payments(Action):
    """His charges."""

    customer: int


@attrs.frozen
class OnePayment(Action):
    """A charge, and where it can go back."""

    settlement: int


@attrs.frozen
class Timeline(Action):
    """A page of what happened to him, behind this moment (microseconds; 0: now), source and id."""

    customer: int
    moment: int
    source: int
    id: int


@attrs.frozen
class DeedNow(Action):
    """Yes: do what the question `asked` was about."""

    asked: int


@attrs.frozen
class DeadLetters(Action):
    """A page of what could not leave; `before` is the last of the page before, or 0."""

    before: int = 0


@attrs.frozen
class OneLetter(Action):
    """One of them."""

    letter: int


@attrs.frozen
class LetterAgain(Action):
    """Try it again."""

    letter: int


@attrs.frozen
class LetterDropAsk(Action):
    """The question whether it is given up for good."""

    letter: int


@attrs.frozen
class LetterDropNow(Action):
    """Yes; `asked` is the update that asked."""

    letter: int
    asked: int
