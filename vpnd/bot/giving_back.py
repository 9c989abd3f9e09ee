"""For operators: `/refund` and its buttons.

The question before a refund is answered by the shop itself: the refund is asked for in a transaction that is then rolled
back, so what an admin is told is what will happen, and what cannot be is found before he says yes. His yes carries the
update that asked, so that two presses on one answer give back once.
"""

from __future__ import annotations

from vpnd.bot.admin_callbacks import RefundAllAsk, RefundAllNow, RefundAsk, RefundNow
from vpnd.bot.amounts import read_amount
from vpnd.bot.answers import not_theirs
from vpnd.bot.reading import charge_name
from vpnd.bot.screens import deeds, refund
from vpnd.bot.screens.refund import Giving
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.shop.access_removal import Removed
from vpnd.shop.audit_log import Change
from vpnd.shop.deed import DeedRefused
from vpnd.shop.deeds_giving import guard_refund
from vpnd.shop.money import MoneyError
from vpnd.shop.operators import Permission
from vpnd.shop.refund_plan import RefundImpossible, RefundRequest
from vpnd.shop.refund_requests import Requested, request_refund
from vpnd.shop.refunds import charges_named

log = get_journal("bot")


async def show_charges(visit: Visit, words: str) -> None:
    """`/refund <purchase, or provider:charge> [amount]`: what was paid, and where it can go."""
    if not words:
        await visit.show(refund.usage(visit.speech))
        return
    name, *behind = words.split()
    rest = " ".join(behind)
    charges = await charges_named(visit.deps.db, name.replace("\x00", ""))
    if not charges:
        await visit.show(refund.usage(visit.speech, "refund-unknown"))
        return
    amount = None
    if rest:
        amount = _amount(rest, charges[0].currency)
        if amount is None:
            await visit.show(refund.usage(visit.speech, "refund-bad-amount"))
            return
    await visit.show(refund.found(visit.speech, charges, amount))


def _amount(text: str, currency: str) -> int | None:
    try:
        return read_amount(text, currency)
    except MoneyError:  # a currency without known places
        return None


# ------------------------------------------------------------------------------------------ buttons


async def ask(visit: Visit, action: RefundAsk) -> None:
    """Ask whether a charge goes back."""
    giving = await _one(visit, action)
    if giving is not None:
        yes = RefundNow(action.settlement, action.amount, action.to_balance, visit.update_id)
        await _ask(visit, giving, yes)


async def give_back(visit: Visit, action: RefundNow) -> None:
    """Give a charge back."""
    giving = await _one(visit, action)
    if giving is not None:
        await _give_back(visit, giving, action.asked)


async def ask_for_all(visit: Visit, action: RefundAllAsk) -> None:
    """Ask whether all charges of a purchase go back."""
    giving = await _all(visit, action)
    if giving is not None:
        yes = RefundAllNow(action.purchase, action.to_balance, visit.update_id)
        await _ask(visit, giving, yes)


async def give_all_back(visit: Visit, action: RefundAllNow) -> None:
    """Give all charges of a purchase back."""
    giving = await _all(visit, action)
    if giving is not None:
        await _give_back(visit, giving, action.asked)


async def _one(visit: Visit, action: RefundAsk | RefundNow) -> Giving | None:
    """What a button about one charge is about; None if there is no such charge, which was answered here."""
    name = await charge_name(visit.deps.db, action.settlement)
    charges = [] if name is None else await charges_named(visit.deps.db, name)
    if not charges:
        await not_theirs(visit)
        return None
    return Giving(
        charges=tuple(charges[:1]), amount=action.amount or None, to_balance=bool(action.to_balance)
    )


async def _all(visit: Visit, action: RefundAllAsk | RefundAllNow) -> Giving | None:
    charges = await charges_named(visit.deps.db, action.purchase)
    if not charges:
        await not_theirs(visit)
        return None
    return Giving(charges=tuple(charges), to_balance=bool(action.to_balance))


# ------------------------------------------------------------------------------------------ what they do


async def _request(tx: Transaction, visit: Visit, giving: Giving, asked: int) -> list[Requested]:
    """Ask the shop for each refund; all of them or none. Raises RefundImpossible."""
    several = len(giving.charges) > 1
    return [
        await request_refund(
            tx,
            RefundRequest(
                settlement_id=charge.settlement_id,
                request_key=f"admin:{asked}:{charge.settlement_id}",
                requested_by=visit.actor.name,
                amount=giving.amount,
                to="balance" if giving.to_balance else "provider",
            ),
        )
        for charge in giving.charges
        if charge.left > 0 or not several
    ]


class _Rehearsed(Exception):
    """Rolls a rehearsal back and carries what it would take of the access."""

    def __init__(self, removed: Removed | None) -> None:
        super().__init__("rolled back")
        self.removed = removed


async def _ask(visit: Visit, giving: Giving, yes: RefundNow | RefundAllNow) -> None:
    async def rehearse(tx: Transaction) -> None:
        done = await _request(tx, visit, giving, visit.update_id)
        if not done:
            raise RefundImpossible("nothing_left", "all charges of this purchase went back already")
        raise _Rehearsed(next((one.removed for one in reversed(done) if one.removed is not None), None))

    try:
        await visit.deps.db.run("bot.rehearse_refund", rehearse)
    except RefundImpossible as error:
        await visit.show(refund.impossible(visit.speech, error.why))
    except _Rehearsed as rehearsed:
        await visit.show(refund.confirm(visit.speech, giving, rehearsed.removed, yes))


async def _give_back(visit: Visit, giving: Giving, asked: int) -> None:
    done: list[Requested] = []

    async def deed(tx: Transaction) -> Change:
        await guard_refund(tx, visit.actor, giving.charges[0].customer_id)
        done[:] = await _request(tx, visit, giving, asked)
        names = [f"{charge.provider}:{charge.charge_id}" for charge in giving.charges]
        to = "balance" if giving.to_balance else "provider"
        owner = giving.charges[0].customer_id
        subject = f"charge:{names[0]}" if owner is None else f"customer:{owner}"
        return Change(subject=subject, after={"charges": names, "amount": giving.amount or "all", "to": to})

    try:
        await visit.perform("bot.refund", Permission.REFUND, deed, asked=asked)
    except RefundImpossible as error:
        await visit.show(refund.impossible(visit.speech, error.why))
        return
    except DeedRefused as error:
        await visit.show(deeds.refused(visit.speech, giving.charges[0].customer_id or 0, error.why))
        return
    log.info(
        "refund.requested",
        message=f"{visit.actor.name} gives {len(done)} charges back",
        refunds=[one.refund_id for one in done],
        purchase=giving.purchase,
        to="balance" if giving.to_balance else "provider",
    )
    awaits = not giving.to_balance
    await visit.show(refund.asked_for(visit.speech, giving, awaits_provider=awaits))
