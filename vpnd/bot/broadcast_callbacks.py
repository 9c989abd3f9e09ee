"""What the buttons about broadcasts carry. Each is checked when it is pressed: anybody can forge one."""

from typing import Final

import attrs

from vpnd.bot.button_data import Action


@attrs.frozen
class Broadcasts(Action):
    """A page of broadcasts, the newest first; `before` is the last of the page before, or 0."""

    before: int = 0


@attrs.frozen
class NewBroadcast(Action):
    """Begin a draft."""


@attrs.frozen
class OneBroadcast(Action):
    """A broadcast: a draft to work on, or how far it is."""

    broadcast: int


@attrs.frozen
class Compose(Action):
    """Give variant "a" or "b" a message, which is going to be sent to the bot."""

    broadcast: int
    variant: str


@attrs.frozen
class ComposeText(Action):
    """Give a variant its text in one language, which is going to be written."""

    broadcast: int
    variant: str
    language: str


@attrs.frozen
class ComposeButtons(Action):
    """Give a variant buttons, which are going to be written."""

    broadcast: int
    variant: str


@attrs.frozen
class DropB(Action):
    """There is to be no second variant."""

    broadcast: int


@attrs.frozen
class ShareOfB(Action):
    """So many per cent of the recipients get variant B."""

    broadcast: int
    percent: int


@attrs.frozen
class Preview(Action):
    """Send it to whoever pressed, as recipients will see it."""

    broadcast: int


@attrs.frozen
class ShowSegment(Action):
    """Who is meant."""

    broadcast: int


@attrs.frozen
class SegmentPart(Action):
    """The choices of one condition."""

    broadcast: int
    part: str


@attrs.frozen
class SetSegment(Action):
    """One of them; for languages and plans: on or off."""

    broadcast: int
    part: str
    value: str


@attrs.frozen
class WriteSegment(Action):
    """A number of days or an amount that is going to be written."""

    broadcast: int
    part: str


@attrs.frozen
class CountSegment(Action):
    """How many are meant now."""

    broadcast: int


@attrs.frozen
class ExportSegment(Action):
    """Who is meant, as a file."""

    broadcast: int


@attrs.frozen
class Schedule(Action):
    """A time for it, which is going to be written."""

    broadcast: int


@attrs.frozen
class ScheduleNow(Action):
    """Yes: at this minute since 1970 (UTC); `expected` were counted; `asked` is the update that asked."""

    broadcast: int
    minute: int
    expected: int
    asked: int


@attrs.frozen
class Unschedule(Action):
    """Make it a draft again."""

    broadcast: int


@attrs.frozen
class IfMissed(Action):
    """What becomes of it if its time is missed: "send" or "skip"."""

    broadcast: int
    choice: str


@attrs.frozen
class SendAsk(Action):
    """The question whether it is to be sent, with how many get it."""

    broadcast: int


@attrs.frozen
class SendNow(Action):
    """Yes; see `ScheduleNow`."""

    broadcast: int
    expected: int
    asked: int


@attrs.frozen
class PauseBroadcast(Action):
    """Send no more until it is resumed."""

    broadcast: int


@attrs.frozen
class ResumeBroadcast(Action):
    """Go on."""

    broadcast: int


@attrs.frozen
class EndAsk(Action):
    """The question whether it is to end for good: a draft is thrown away, what runs is stopped."""

    broadcast: int


@attrs.frozen
class EndNow(Action):
    """Yes; `asked` is the update that asked."""

    broadcast: int
    asked: int


@attrs.frozen
class UseAgain(Action):
    """A new draft with the same message and the same segment."""

    broadcast: int


#: The letters that stand for them in a button.
LETTERS: Final[dict[str, type[Action]]] = {
    "bl": Broadcasts,
    "bn": NewBroadcast,
    "bo": OneBroadcast,
    "bm": Compose,
    "bt": ComposeText,
    "bu": ComposeButtons,
    "bx": DropB,
    "bh": ShareOfB,
    "bv": Preview,
    "bg": ShowSegment,
    "bp": SegmentPart,
    "bs": SetSegment,
    "bw": WriteSegment,
    "bk": CountSegment,
    "be": ExportSegment,
    "bd": Schedule,
    "bb": ScheduleNow,
    "bj": Unschedule,
    "bi": IfMissed,
    "ba": SendAsk,
    "by": SendNow,
    "bf": PauseBroadcast,
    "br": ResumeBroadcast,
    "bq": EndAsk,
    "bz": EndNow,
    "bc": UseAgain,
}
