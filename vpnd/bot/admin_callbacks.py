"""What the buttons of those who run the shop carry. Each is checked when it is pressed: anybody can forge one."""

import attrs

from vpnd.bot.button_data import Action


@attrs.frozen
class RefundAsk(Action):
    """The question whether `amount` of a charge goes back (0: all that is left), to the payer or his balance."""

    settlement: int
    amount: int
    to_balance: int


@attrs.frozen
class RefundNow(Action):
    """Yes. `asked` is the update that asked the question: two presses on one answer are one refund."""

    settlement: int
    amount: int
    to_balance: int
    asked: int


@attrs.frozen
class RefundAllAsk(Action):
    """The question whether all charges of a purchase go back."""

    purchase: str
    to_balance: int


@attrs.frozen
class RefundAllNow(Action):
    """Yes; see `RefundNow`."""

    purchase: str
    to_balance: int
    asked: int


@attrs.frozen
class Status(Action):
    """How the daemon stands, looked at anew."""


@attrs.frozen
class Switches(Action):
    """What can be paused, and the incident's banner."""


@attrs.frozen
class PauseAsk(Action):
    """The question whether a worker, the shop or the trial is to pause."""

    name: str


@attrs.frozen
class PauseNow(Action):
    """Yes: pause it."""

    name: str


@attrs.frozen
class Resume(Action):
    """End a pause."""

    name: str


@attrs.frozen
class BannerOff(Action):
    """Take the incident's banner away."""
