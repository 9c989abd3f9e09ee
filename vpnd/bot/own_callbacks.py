"""What the buttons of one's own affairs carry: a name, a new link, a device to connect. Each is checked when it is pressed."""

import attrs

from vpnd.bot.button_data import Action


@attrs.frozen
class Rename(Action):
    """A name of his own for a subscription, which the customer is going to write."""

    subscription: int


@attrs.frozen
class Unname(Action):
    """Call a subscription by its plan again."""

    subscription: int


@attrs.frozen
class Rotate(Action):
    """The question whether a subscription gets a new link."""

    subscription: int


@attrs.frozen
class RotateNow(Action):
    """Yes: the old link and whoever is connected by it end now."""

    subscription: int


@attrs.frozen
class Connect(Action):
    """The choice of a platform to connect by a subscription; 0: the one that is on and lasts longest."""

    subscription: int


@attrs.frozen
class ConnectBy(Action):
    """How to connect by an app, or by the recommended one of a platform; 0: by whatever is on and lasts longest."""

    app: str
    subscription: int


@attrs.frozen
class Works(Action):
    """It works."""


@attrs.frozen
class DoesNotWork(Action):
    """It does not: what the shop can see of the reasons; 0: of the subscription that is on and lasts longest."""

    subscription: int


@attrs.frozen
class InviteQr(Action):
    """The customer's referral link as a picture."""


@attrs.frozen
class MyData(Action):
    """What the shop knows of the customer."""


@attrs.frozen
class ForgetMe(Action):
    """The question whether it is to be deleted."""


@attrs.frozen
class ForgetMeNow(Action):
    """Yes. `asked` is when the question was asked, Unix seconds of business time: an old answer is none."""

    asked: int
