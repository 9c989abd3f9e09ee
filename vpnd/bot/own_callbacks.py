"""What the buttons of one's own affairs carry: a name, a new link. Each is checked when it is pressed."""

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
