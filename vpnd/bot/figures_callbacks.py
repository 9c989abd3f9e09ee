"""What the buttons of figures and exports carry. A period is a word of `vpnd.shop.figures_overview.PERIODS`."""

from typing import Final

import attrs

from vpnd.bot.button_data import Action


@attrs.frozen
class Figures(Action):
    """Money and people of a period, beside the one before."""

    period: str


@attrs.frozen
class ByMethod(Action):
    """Where a period's revenue came from."""

    period: str


@attrs.frozen
class ByPlan(Action):
    """What a period's sales were of."""

    period: str


@attrs.frozen
class Referral(Action):
    """A period's guests, and what hosts were given for them."""

    period: str


@attrs.frozen
class Health(Action):
    """How the shop stands now."""


@attrs.frozen
class Chart(Action):
    """A picture: `what` is a word of `vpnd.bot.screens.figures.CHARTS`."""

    what: str
    period: str


@attrs.frozen
class Exports(Action):
    """What can be exported."""


@attrs.frozen
class ExportAsk(Action):
    """The question whether a table is to be exported; with secrets if that is 1."""

    what: str
    secrets: int


@attrs.frozen
class ExportNow(Action):
    """Yes. `asked` is the update that asked."""

    what: str
    secrets: int
    asked: int


#: The letters that stand for them in a button.
LETTERS: Final[dict[str, type[Action]]] = {
    "fg": Figures,
    "fm": ByMethod,
    "fp": ByPlan,
    "fr": Referral,
    "fh": Health,
    "fc": Chart,
    "fe": Exports,
    "fa": ExportAsk,
    "fn": ExportNow,
}
