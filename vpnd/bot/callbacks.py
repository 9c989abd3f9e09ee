"""What a button means; how it is carried is said in `vpnd.bot.button_data`.

What a button says is a wish, never a proof: whoever handles it checks that the thing named belongs to the one who
pressed. Data of another version, or that cannot be read, decodes to None, and the customer is told kindly that the button
is an old one.
"""

from typing import Final

import attrs

from vpnd.bot import admin_callbacks as admins
from vpnd.bot import alert_callbacks, broadcast_callbacks, button_data, catalogue_callbacks, figures_callbacks
from vpnd.bot import customer_callbacks as customers
from vpnd.bot import desk_callbacks as desk
from vpnd.bot import own_callbacks as own
from vpnd.bot.button_data import MAX_BYTES, Action

__all__ = [
    "MAX_BYTES",
    "Action", "Balance", "ChangeNow", "ChangePlan", "ChangeTo", "Complete", "ForgetPromo", "Help", "HelpFor",
    "History", "Home", "Invite", "InvoiceAgain", "Languages", "Methods", "MoreMethods", "MorePay",
    "MorePeriods", "Notifications", "OneSubscription", "Paid", "Pay", "PayFromBalance", "Periods", "Plans",
    "Promo", "QrCode", "QuietFrom", "QuietTo", "Renewal", "SetLanguage", "SetQuiet", "SetTimeZone",
    "StartTrial", "StopStars", "StopStarsNow", "Subscriptions", "TimeZones", "TopUp", "TopUpAmount",
    "TopUpOther", "TopUpPay", "Trial", "decode", "encode",
]  # fmt: skip


@attrs.frozen
class Home(Action):
    """The first screen."""


@attrs.frozen
class Plans(Action):
    """The plans on sale."""


@attrs.frozen
class Periods(Action):
    """The periods of one plan; `renews` is the subscription to prolong, or 0."""

    plan: str
    renews: int = 0


@attrs.frozen
class Methods(Action):
    """The ways to pay for one offer."""

    offer: int
    renews: int = 0


@attrs.frozen
class Pay(Action):
    """Pay for an offer by a method."""

    method: str
    offer: int
    renews: int = 0


@attrs.frozen
class MorePeriods(Action):
    """The periods of one plan, for one more subscription beside those there are."""

    plan: str


@attrs.frozen
class MoreMethods(Action):
    """The ways to pay for one more subscription."""

    offer: int


@attrs.frozen
class MorePay(Action):
    """Pay for one more subscription by a method."""

    method: str
    offer: int


@attrs.frozen
class PayFromBalance(Action):
    """Yes: pay this purchase from the balance."""

    purchase: str


@attrs.frozen
class Complete(Action):
    """Pay what is still missing of a purchase."""

    purchase: str


@attrs.frozen
class Paid(Action):
    """ "I have paid": look whether the purchase is settled."""

    purchase: str


@attrs.frozen
class InvoiceAgain(Action):
    """Send the Stars invoice of a purchase once more."""

    purchase: str


@attrs.frozen
class Subscriptions(Action):
    """The customer's subscriptions."""


@attrs.frozen
class OneSubscription(Action):
    """One subscription with its link."""

    subscription: int


@attrs.frozen
class QrCode(Action):
    """The link of a subscription as a picture."""

    subscription: int


@attrs.frozen
class Help(Action):
    """The choice of a platform."""


@attrs.frozen
class HelpFor(Action):
    """How to connect on one platform."""

    platform: str


@attrs.frozen
class Languages(Action):
    """The choice of a language."""


@attrs.frozen
class SetLanguage(Action):
    """Speak this language from now on."""

    language: str


@attrs.frozen
class Invite(Action):
    """The customer's referral link."""


@attrs.frozen
class Balance(Action):
    """What lies on the balance."""


@attrs.frozen
class History(Action):
    """A page of what came to the balance and left it; `before` is the last entry of the page before, or 0."""

    before: int = 0


@attrs.frozen
class TopUp(Action):
    """The choice of an amount to fill the balance by."""


@attrs.frozen
class TopUpOther(Action):
    """An amount that the customer is going to write."""


@attrs.frozen
class TopUpAmount(Action):
    """The ways to fill the balance by an amount, in minor units of the shop's currency."""

    amount: int


@attrs.frozen
class TopUpPay(Action):
    """Fill the balance by an amount, paid by a method."""

    method: str
    amount: int


@attrs.frozen
class Promo(Action):
    """A promo code that the customer is going to write."""


@attrs.frozen
class ForgetPromo(Action):
    """Take the code back that waits for the next purchase."""


@attrs.frozen
class Renewal(Action):
    """Renew a subscription from the balance by itself (`on` is 1), or do not (0)."""

    subscription: int
    on: int


@attrs.frozen
class StopStars(Action):
    """The question whether Telegram is to charge a subscription no more."""

    subscription: int


@attrs.frozen
class StopStarsNow(Action):
    """Yes: Telegram is to charge it no more."""

    subscription: int


@attrs.frozen
class ChangePlan(Action):
    """The other plans that a subscription can be changed to."""

    subscription: int


@attrs.frozen
class ChangeTo(Action):
    """What changing to a plan would come to."""

    subscription: int
    plan: str


@attrs.frozen
class ChangeNow(Action):
    """Yes: change to this plan, at the rate that was shown (new seconds for a million old ones)."""

    subscription: int
    plan: str
    rate: int


@attrs.frozen
class Trial(Action):
    """What the trial is, and whether to begin it."""


@attrs.frozen
class StartTrial(Action):
    """Yes: begin it."""


@attrs.frozen
class Notifications(Action):
    """When reminders may come."""


@attrs.frozen
class TimeZones(Action):
    """A page of the clocks to choose from, counted from 1; 0 is the one with the customer's own."""

    page: int = 0


@attrs.frozen
class SetTimeZone(Action):
    """His clock is so many minutes ahead of UTC−12."""

    minutes: int


@attrs.frozen
class QuietFrom(Action):
    """The choice of the hour that the quiet ones begin at."""


@attrs.frozen
class QuietTo(Action):
    """The choice of the hour that they end at."""


@attrs.frozen
class SetQuiet(Action):
    """Send no reminders from one minute of the day to another; equal: at any time."""

    start: int
    end: int


_LETTERS: Final[dict[str, type[Action]]] = {
    "h": Home,
    "b": Plans,
    "p": Periods,
    "m": Methods,
    "y": Pay,
    "d": Paid,
    "i": InvoiceAgain,
    "s": Subscriptions,
    "o": OneSubscription,
    "q": QrCode,
    "w": Help,
    "f": HelpFor,
    "l": Languages,
    "g": SetLanguage,
    "r": Invite,
    "np": MorePeriods,
    "nm": MoreMethods,
    "ny": MorePay,
    "v": PayFromBalance,
    "n": Complete,
    "a": Balance,
    "t": History,
    "u": TopUp,
    "e": TopUpOther,
    "k": TopUpAmount,
    "x": TopUpPay,
    "c": Promo,
    "cf": ForgetPromo,
    "j": Renewal,
    "js": StopStars,
    "jn": StopStarsNow,
    "cp": ChangePlan,
    "ct": ChangeTo,
    "cn": ChangeNow,
    "zt": Trial,
    "zs": StartTrial,
    "nt": Notifications,
    "tz": TimeZones,
    "ts": SetTimeZone,
    "qf": QuietFrom,
    "qt": QuietTo,
    "qs": SetQuiet,
    "ra": admins.RefundAsk,
    "rn": admins.RefundNow,
    "rb": admins.RefundAllAsk,
    "rd": admins.RefundAllNow,
    "as": admins.Status,
    "aw": admins.Switches,
    "ap": admins.PauseAsk,
    "an": admins.PauseNow,
    "ar": admins.Resume,
    "ab": admins.BannerOff,
    "xd": desk.Desk,
    "xo": desk.Operators,
    "xn": desk.AddOperator,
    "xi": desk.OneOperator,
    "xr": desk.RoleAsk,
    "xs": desk.RoleNow,
    "xa": desk.AuditLog,
    "ka": customers.FindCustomer,
    "kb": customers.CustomerCard,
    "kc": customers.GiveDays,
    "kd": customers.NewAccess,
    "ke": customers.DaysOf,
    "kf": customers.OtherPlan,
    "kg": customers.PlanOf,
    "kh": customers.GiveMoney,
    "ki": customers.Reissue,
    "kj": customers.Block,
    "kk": customers.WriteTo,
    "kl": customers.Payments,
    "km": customers.OnePayment,
    "kn": customers.Timeline,
    "ko": customers.DeedNow,
    "kp": customers.DeadLetters,
    "kq": customers.OneLetter,
    "kr": customers.LetterAgain,
    "ks": customers.LetterDropAsk,
    "kt": customers.LetterDropNow,
    "on": own.Rename,
    "ou": own.Unname,
    "or": own.Rotate,
    "ox": own.RotateNow,
    "oc": own.Connect,
    "oa": own.ConnectBy,
    "oy": own.Works,
    "oz": own.DoesNotWork,
    "oi": own.InviteQr,
    "od": own.MyData,
    "of": own.ForgetMe,
    "og": own.ForgetMeNow,
    **catalogue_callbacks.LETTERS,
    **broadcast_callbacks.LETTERS,
    **figures_callbacks.LETTERS,
    **alert_callbacks.LETTERS,
}
_LETTER_OF: Final = {kind: letter for letter, kind in _LETTERS.items()}


def encode(action: Action) -> str:
    """The button data of an action.

    Raises:
        ValueError: an argument that cannot be carried (a negative number, a word with strange letters).
    """
    return button_data.write(_LETTER_OF[type(action)], action)


def decode(data: str | None) -> Action | None:
    """The action of a button's data; None for an older format or anything else that cannot be read."""
    return button_data.read(data, _LETTERS)
