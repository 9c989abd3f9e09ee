"""`vpnd refund`: give a charge back, to who paid it or to the customer's balance."""

from __future__ import annotations

import sys

import trio

from vpnd.config import Settings
from vpnd.database.scope import Transaction
from vpnd.shell.acting import act, new_key, who
from vpnd.shell.shop import CommandFailed, OpenShop, run_command
from vpnd.shop.audit_log import Change
from vpnd.shop.money import EXPONENTS, Money, MoneyError, format_decimal, parse_decimal
from vpnd.shop.operators import Permission
from vpnd.shop.refund_plan import RefundImpossible, RefundRequest
from vpnd.shop.refund_requests import Requested, request_refund
from vpnd.shop.refunds import RefundableCharge, charges_named, refund_by_id

__all__ = ["refund"]

#: Seconds for which the command waits to see a provider's answer.
PATIENCE = 30.0


def refund(
    settings: Settings, *, name: str, amount: str | None, to_balance: bool, reason: str | None, yes: bool
) -> int:
    """Run the command; return its exit code.

    Args:
        name: a purchase's public id, or `provider:charge_id`.
        amount: a decimal amount of the charge's currency; None: all that is left.
        yes: do it; otherwise only say what would be done.
    """

    async def body(shop: OpenShop) -> int:
        charges = await charges_named(shop.db, name)
        open_charges = [charge for charge in charges if charge.left > 0]
        if not charges:
            raise CommandFailed(f"there is no charge of {name!r}: give a purchase (p…) or provider:charge")
        for charge in charges:
            _say(f"{_words(charge)}")
        if not open_charges:
            raise CommandFailed("nothing is left of it that could go back")
        if amount is not None and len(open_charges) > 1:
            raise CommandFailed(
                "several charges paid for it: name one as provider:charge to give a part back"
            )
        part = _minor(open_charges[0], amount)
        if not yes:
            _say(
                "Nothing was done. Say --yes to give back what is left"
                + (f", {amount}" if amount else "")
                + "."
            )
            return 0
        for charge in open_charges:
            await _refund_one(shop, charge, part, to_balance=to_balance, reason=reason)
        return 0

    return run_command(settings, body)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _words(charge: RefundableCharge) -> str:
    money, back = _decimal(charge.amount, charge.currency), _decimal(charge.refunded, charge.currency)
    what = {"topup": "a top-up", "access": "access"}.get(charge.kind or "", "nothing of ours")
    who = f"Telegram id {charge.telegram_id}" if charge.telegram_id else "nobody known"
    return (
        f"{charge.provider}:{charge.charge_id}  {money} {charge.currency} of {charge.paid_at:%Y-%m-%d %H:%M} UTC for {what}"
        f" ({charge.purchase or '-'}), by {who}; {charge.outcome}, given back: {back}"
    )


def _decimal(amount: int, currency: str) -> str:
    """An amount as text; what is held may be in a currency that is not known here, and then nothing of it was booked."""
    return format_decimal(Money(amount, currency)) if currency in EXPONENTS else f"{amount} units"


def _minor(charge: RefundableCharge, amount: str | None) -> int | None:
    if amount is None:
        return None
    try:
        return parse_decimal(amount, charge.currency).amount
    except MoneyError as error:
        raise CommandFailed(f"--amount: {error}") from None


async def _refund_one(
    shop: OpenShop, charge: RefundableCharge, amount: int | None, *, to_balance: bool, reason: str | None
) -> None:
    key = new_key()
    request = RefundRequest(
        settlement_id=charge.settlement_id,
        request_key=key,
        requested_by=who().name,
        amount=amount,
        to="balance" if to_balance or charge.provider == "balance" else "provider",
        reason=reason,
    )

    done: list[Requested] = []

    async def deed(tx: Transaction) -> Change:
        done[:] = [await request_refund(tx, request)]
        name = f"{charge.provider}:{charge.charge_id}"
        subject = f"charge:{name}" if charge.customer_id is None else f"customer:{charge.customer_id}"
        return Change(subject=subject, after={"charges": [name], "amount": amount or "all", "to": request.to})

    try:
        await act(shop, "shell.refund", Permission.REFUND, deed, key=key, reason=reason)
    except RefundImpossible as error:
        raise CommandFailed(str(error)) from None
    asked = done[0]
    if asked.removed is not None:
        until = "is off now" if asked.removed.off else f"ends {asked.removed.expires_at:%Y-%m-%d %H:%M} UTC"
        _say(f"  access: {asked.removed.length} taken back, the subscription {until}")
    if not asked.awaits_provider:
        _say("  done: it is on the customer's balance")
        return
    _say(f"  asked: {charge.provider} gives it back; waiting for its answer (the daemon has to run)")
    _say(f"  {await _outcome(shop, asked.refund_id)}")


async def _outcome(shop: OpenShop, refund_id: int) -> str:
    with trio.move_on_after(PATIENCE):
        while True:
            refund = await refund_by_id(shop.db, refund_id)
            if refund is not None and refund.status != "requested":
                return {
                    "done": "done: the money went back",
                    "to_balance": f"the provider would not ({refund.reason}): it is on the customer's balance",
                }.get(refund.status, f"stuck: {refund.reason}")
            await trio.sleep(0.2)
    return "no answer yet; it goes on by itself, and an admin is told if it cannot be done"
