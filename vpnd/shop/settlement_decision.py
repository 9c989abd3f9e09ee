"""What becomes of a charge: a pure function from what is known to what is written.

    what came                                          outcome         what becomes of it
    the price, or more                                 settled         access; the rest to the balance
    less than the price                                underpaid       the balance, until charges make the price up
    any amount for a top-up                            settled         the balance
    the price, from the customer's balance             settled         access
    the next charge of a subscription at the provider  settled         a purchase of its own: the next period
    for a purchase that is paid already, Stars         second_charge   back to who paid
    for a purchase that is paid already, other money   second_charge   the balance
    no purchase of ours, another currency or method    held            the held account; an admin is told

An expired or cancelled purchase is settled like an open one: the customer has paid.

All money of a customer enters his balance and a sale leaves it, in the shop's currency. What came in another
(Stars, a coin) goes through the two exchange accounts at the purchase's own rate, which is stored. From a balance, a
customer's own money is spent before the bonus he was given; whoever referred him is rewarded for the own money only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from attrs import evolve, field, frozen

from vpnd.database import Row
from vpnd.shop import ledger, notices
from vpnd.shop.charges import Charge, Outcome
from vpnd.shop.identifiers import link_token, subscription_name
from vpnd.shop.ledger import Entry, InsufficientBalance
from vpnd.shop.notices import Notice
from vpnd.shop.settlement_booking import Booking, own_account, worth_of
from vpnd.shop.settlement_scene import Scene

__all__ = ["BALANCE", "Access", "PurchaseClosed", "Reward", "Verdict", "decide"]

#: The provider of charges that a customer's balance pays.
BALANCE: Final = "balance"

# A further charge for a purchase in one of these is money without a purchase.
_ORPHANED: Final = ("paid", "refunded")


class PurchaseClosed(Exception):
    """A purchase cannot be paid from the balance any more: its time is over, or it was cancelled."""


@frozen(kw_only=True)
class Access:
    """The access that is given. `created` makes the subscription, else it is renewed; `was_off`: nodes must be told."""

    subscription_id: int
    plan_id: str
    offer_id: int
    days: int
    from_at: datetime
    until_at: datetime
    created: bool
    was_off: bool
    old_version: int
    name: str = field(factory=subscription_name)
    credential: UUID = field(factory=uuid4)
    link_token: str = field(factory=link_token)


@frozen
class Reward:
    """What the referrer gets: `percent` of `base`, the own money in the sale."""

    referrer_id: int
    base: int
    percent: int
    amount: int


@frozen(kw_only=True)
class Verdict:
    """What is to be written for one charge, or not at all if another has written it.

    Attributes:
        purchase: the purchase's row; None for a charge that names none.
        child: the charge begins a purchase of its own, with the id `purchase_id`, made like `purchase`.
        paid: the purchase is paid with it; `received`: what it adds to what was received for it.
        earns: the customer has paid with own money: from now on he is a paying referral.
        refunds_to: the payer's Telegram id, when the charge goes straight back to him.
    """

    outcome: Outcome
    charge: Charge
    settlement_id: int
    purchase: Row | None = None
    purchase_id: int | None = None
    reason: str | None = None
    child: bool = False
    paid: bool = False
    received: int = 0
    access: Access | None = None
    reward: Reward | None = None
    earns: bool = False
    credited: bool = False
    refunds_to: int | None = None
    entries: tuple[Entry, ...] = ()
    told: tuple[Notice, ...] = ()

    @property
    def booking(self) -> Booking:
        """What makes its entries."""
        return Booking(self.charge, self.settlement_id, self.purchase_id)


def decide(scene: Scene, charge: Charge) -> Verdict:
    """Judge a charge that was not settled before.

    Raises InsufficientBalance and PurchaseClosed for a charge of the customer's balance, and for no other.
    """
    purchase = scene.purchase
    verdict = Verdict(
        outcome=Outcome.HELD,
        charge=charge,
        settlement_id=scene.new_settlement,
        purchase=purchase,
        purchase_id=None if purchase is None else scene.purchase_id,
    )
    if purchase is None:
        return _hold(verdict, "no_purchase")
    reason = _why_held(charge, purchase)
    if reason is not None:
        return _hold(verdict, reason)
    amount = charge.amount or 0
    if charge.provider == BALANCE:
        return _sell_from_balance(scene, verdict, purchase)
    if purchase["status"] in _ORPHANED:
        if charge.recurring and purchase["recurring"] and amount >= purchase["amount"]:
            child = evolve(verdict, child=True, purchase_id=scene.new_purchase)
            return _sell(scene, child, purchase, amount)
        return _second_charge(scene, verdict, purchase, amount)
    if purchase["kind"] == "topup":
        return _fill(scene, verdict, purchase, amount)
    if _covers(scene, purchase, amount):
        return _sell(scene, verdict, purchase, amount)
    return _credit_underpaid(scene, verdict, purchase, amount)


def _why_held(charge: Charge, purchase: Row) -> str | None:
    """Why this charge cannot be for this purchase, or None."""
    if charge.provider != purchase["method"]:
        return "other_method"
    if charge.currency != purchase["currency"]:
        return "other_currency"
    if charge.amount is None or charge.amount <= 0:
        return "unreadable_amount"
    return None


def _covers(scene: Scene, purchase: Row, amount: int) -> bool:
    """Whether this charge, with those that were too small, makes up the price.

    The earlier ones lie on the balance and have to be there still.
    """
    if amount >= purchase["amount"]:
        return True
    before = purchase["received"]
    if before + amount < purchase["amount"]:
        return False
    worth = worth_of(purchase, amount, before)
    return scene.balance(own_account(purchase)) + worth >= int(purchase["shop_amount"])


def _access(scene: Scene, purchase: Row, *, bonus_days: int) -> Access:
    """The access that the purchase buys, from the later of now and the present end."""
    days = purchase["days"] + bonus_days
    target = scene.target
    start = scene.now if target is None else max(scene.now, target.expires_at)
    subscription_id = scene.new_subscription if target is None else target.id
    if subscription_id is None:
        raise RuntimeError("a subscription that is to be made has no id")
    return Access(
        subscription_id=subscription_id,
        plan_id=purchase["plan_id"],
        offer_id=purchase["offer_id"],
        days=days,
        from_at=start,
        until_at=start + timedelta(days=days),
        created=target is None,
        was_off=target is not None and target.status != "active",
        old_version=0 if target is None else target.version,
    )


def _reward(
    scene: Scene, verdict: Verdict, purchase: Row, base: int
) -> tuple[Reward | None, list[Entry], list[Notice]]:
    """What the referrer gets for the own money in a sale, on the level that he is shown."""
    percent = scene.reward_percent
    if percent is None or purchase["referrer_id"] is None:
        return None, [], []
    amount = base * percent // 100
    if amount <= 0:
        return None, [], []
    currency, referrer = purchase["shop_currency"], purchase["referrer_id"]
    reward = Reward(referrer, base, percent, amount)
    reference = f"referral:{verdict.purchase_id}"
    entry = Entry(
        ledger.referral(currency),
        ledger.bonus(referrer, currency),
        amount,
        "referral",
        reference,
        **verdict.booking.common,
    )
    args = {"amount": amount, "currency": currency, "percent": percent}
    notice = notices.message(
        reference, purchase["referrer_telegram_id"], "referral_reward", args, purchase["referrer_language"]
    )
    return reward, [entry], [notice]


def _receipt(
    verdict: Verdict, purchase: Row, access: Access, amount: int, rest: int, *, automatic: bool
) -> Notice:
    args = {
        "subscription_id": access.subscription_id,
        "plan_id": access.plan_id,
        "days": access.days,
        "expires_at": access.until_at.isoformat(),
        "renewed": not access.created,
        "automatic": automatic,
        "amount": amount,
        "currency": verdict.charge.currency,
        "balance_added": rest,
        "balance_currency": purchase["shop_currency"],
    }
    return notices.receipt(verdict.settlement_id, purchase["telegram_id"], args, purchase["language"])


def _sell(scene: Scene, verdict: Verdict, purchase: Row, amount: int) -> Verdict:
    """Access for a provider's charge; what is over the price stays on the balance."""
    before = 0 if verdict.child else purchase["received"]
    worth = worth_of(purchase, amount, before)
    price = int(purchase["shop_amount"])
    # What lay on the balance for this purchase went into the sale too.
    rest = worth + worth_of(purchase, before, 0) - price
    balance = scene.balance(own_account(purchase)) + worth - price
    revenue = ledger.revenue(purchase["shop_currency"])
    reference = f"sale:{verdict.purchase_id}"
    sale = Entry(own_account(purchase), revenue, price, "sale", reference, **verdict.booking.common)
    access = _access(scene, purchase, bonus_days=0 if verdict.child else purchase["bonus_days"])
    reward, paid_out, told = _reward(scene, verdict, purchase, price)
    return evolve(
        verdict,
        outcome=Outcome.SETTLED,
        paid=True,
        received=amount,
        access=access,
        reward=reward,
        earns=True,
        credited=rest > 0,
        entries=(
            *verdict.booking.income(purchase, amount, worth),
            sale,
            *verdict.booking.repayment(purchase, scene.owed, rest, balance),
            *paid_out,
        ),
        told=(_receipt(verdict, purchase, access, amount, rest, automatic=verdict.child), *told),
    )


def _sell_from_balance(scene: Scene, verdict: Verdict, purchase: Row) -> Verdict:
    """Access for money on the balance: the customer's own first, then his bonus."""
    if purchase["status"] != "pending" or purchase["kind"] != "access":
        raise PurchaseClosed("the purchase cannot be paid from the balance any more")
    price, currency = int(purchase["shop_amount"]), purchase["shop_currency"]
    own, bonus = own_account(purchase), ledger.bonus(purchase["customer_id"], currency)
    from_own = min(price, scene.balance(own))
    from_bonus = price - from_own
    if from_bonus > scene.balance(bonus):
        have = scene.balance(own) + scene.balance(bonus)
        raise InsufficientBalance(f"the balance holds {have} of {price} minor units of {currency}")
    entries: list[Entry] = []
    for source, part, kind in ((own, from_own, "sale"), (bonus, from_bonus, "sale_bonus")):
        if part:
            reference = f"{kind}:{verdict.purchase_id}"
            entries.append(
                Entry(source, ledger.revenue(currency), part, kind, reference, **verdict.booking.common)
            )
    access = _access(scene, purchase, bonus_days=purchase["bonus_days"])
    reward, paid_out, told = _reward(scene, verdict, purchase, from_own)
    automatic = purchase["origin"] == "renewal"
    return evolve(
        verdict,
        outcome=Outcome.SETTLED,
        paid=True,
        received=price,
        access=access,
        reward=reward,
        earns=from_own > 0,
        entries=(*entries, *paid_out),
        told=(_receipt(verdict, purchase, access, price, 0, automatic=automatic), *told),
    )


def _fill(scene: Scene, verdict: Verdict, purchase: Row, amount: int) -> Verdict:
    """A top-up: what came is credited, be it more or less than was asked for."""
    worth = worth_of(purchase, amount, 0)
    balance = scene.balance(own_account(purchase)) + worth
    args = {"amount": worth, "currency": purchase["shop_currency"]}
    key = f"topup:{verdict.settlement_id}"
    told = notices.message(
        key, purchase["telegram_id"], "topped_up", args, purchase["language"], lane="receipt"
    )
    return evolve(
        verdict,
        outcome=Outcome.SETTLED,
        paid=True,
        received=amount,
        credited=worth > 0,
        entries=(
            *verdict.booking.income(purchase, amount, worth),
            *verdict.booking.repayment(purchase, scene.owed, worth, balance),
        ),
        told=(told,),
    )


def _credit_underpaid(scene: Scene, verdict: Verdict, purchase: Row, amount: int) -> Verdict:
    before = purchase["received"]
    worth = worth_of(purchase, amount, before)
    args = {
        "purchase": purchase["public_id"],
        "received": before + amount,
        "missing": max(purchase["amount"] - before - amount, 0),
        "currency": verdict.charge.currency,
        "balance_added": worth,
        "balance_currency": purchase["shop_currency"],
    }
    key = f"underpaid:{verdict.settlement_id}"
    told = notices.message(
        key, purchase["telegram_id"], "underpaid", args, purchase["language"], lane="receipt"
    )
    return evolve(
        verdict,
        outcome=Outcome.UNDERPAID,
        received=amount,
        credited=worth > 0,
        entries=tuple(verdict.booking.income(purchase, amount, worth)),
        told=(told,),
    )


def _second_charge(scene: Scene, verdict: Verdict, purchase: Row, amount: int) -> Verdict:
    charge = verdict.charge
    args = {"purchase": purchase["public_id"], "amount": amount, "currency": charge.currency}
    refunds_to = None
    if charge.provider == "stars":
        entries = [verdict.booking.to_held(amount)]
        refunds_to = charge.payer_telegram_id or purchase["telegram_id"]
        template: notices.Template = "second_charge_refund"
        worth = 0
    else:
        # A new payment, so its worth does not lean on what was received for the sale.
        worth = worth_of(purchase, amount, 0)
        balance = scene.balance(own_account(purchase)) + worth
        entries = [
            *verdict.booking.income(purchase, amount, worth),
            *verdict.booking.repayment(purchase, scene.owed, worth, balance),
        ]
        template = "second_charge_balance"
    key = f"second_charge:{verdict.settlement_id}"
    told = notices.message(key, purchase["telegram_id"], template, args, purchase["language"], lane="receipt")
    return evolve(
        verdict,
        outcome=Outcome.SECOND_CHARGE,
        credited=worth > 0,
        refunds_to=refunds_to,
        entries=tuple(entries),
        told=(told,),
    )


def _hold(verdict: Verdict, reason: str) -> Verdict:
    charge, purchase = verdict.charge, verdict.purchase
    args = {
        "provider": charge.provider,
        "charge_id": charge.charge_id,
        "reason": reason,
        "amount": charge.amount_text,
        "currency": charge.currency,
        "purchase": None if purchase is None else purchase["public_id"],
        "telegram_id": charge.payer_telegram_id if purchase is None else purchase["telegram_id"],
    }
    told = [notices.admin_alert(f"held:{charge.provider}:{charge.charge_id}", "held_charge", args)]
    if purchase is not None:
        shown = {"amount": charge.amount_text, "currency": charge.currency}
        key = f"payment_held:{verdict.settlement_id}"
        told.append(
            notices.message(key, purchase["telegram_id"], "payment_held", shown, purchase["language"])
        )
    booked = charge.amount is not None and charge.amount > 0
    entries = (verdict.booking.to_held(charge.amount or 0),) if booked else ()
    return evolve(verdict, outcome=Outcome.HELD, reason=reason, entries=entries, told=tuple(told))
