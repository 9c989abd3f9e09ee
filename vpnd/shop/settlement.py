"""Settlement: a provider's charge becomes access or balance, once, in one transaction.

The key is the charge (provider, charge id), never the purchase. A webhook, a poll and an update may report
one charge, in any order, any number of times, at once: the row `settlements` is unique by the key, and who
does not get to write it changes nothing. A purchase on the other hand may be paid twice, and a second charge
for it is real money that must go somewhere.

    what came                                          outcome         what becomes of it
    the price, or more                                 settled         access; the rest to the balance
    less than the price                                underpaid       the balance, until charges make the price up
    for a purchase that is paid already, Stars         second_charge   back to who paid
    for a purchase that is paid already, other money   second_charge   the balance
    no purchase of ours, another currency or method    held            the held account; an admin is told

An expired or cancelled purchase is settled like an open one: the customer has paid.

All money of a customer enters his balance and a sale leaves it, in the shop's currency. What came in another
(Stars) goes through the two exchange accounts at the purchase's own rate, which is stored.

Locks are taken in one order: purchase, subscription, accounts by id.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop import ledger, notices, subscriptions
from vpnd.shop.charges import Charge, Outcome, SettlementResult
from vpnd.shop.ledger import Entry
from vpnd.shop.notices import Notice

__all__ = ["Charge", "Outcome", "SettlementResult", "settle"]


# Our own note of the invoice goes before the payload it carries.
_FIND: Final = """
select s.id as settlement_id, s.customer_id, s.reason,
       coalesce(s.purchase_id, i.purchase_id, p.id) as purchase_id
from (select) one
left join settlements s on s.provider = $1 and s.charge_id = $2
left join invoices i on i.provider = $1 and i.external_id = $3
left join purchases p on p.public_id = $4
"""

_LOCK: Final = """
select p.id, p.public_id, p.customer_id, p.subscription_id, p.method, p.currency, p.amount, p.shop_currency,
       p.shop_amount, p.status, p.received, o.plan_id, o.days, c.telegram_id, c.language
from purchases p
join offers o on o.id = p.offer_id
join customers c on c.id = p.customer_id
where p.id = $1
for no key update of p
"""

# Claims the charge, and only with it changes the purchase and the invoice: who loses the claim changes nothing.
_CLAIM: Final = """
with claimed as (
    insert into settlements (provider, charge_id, purchase_id, customer_id, outcome, reason,
                             currency, amount, amount_text, details, paid_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    on conflict (provider, charge_id) do nothing
    returning id
), purchase as (
    update purchases
    set status = case when $5 = 'settled' then 'paid' else status end,
        paid_at = case when $5 = 'settled' then vpnd_now() else paid_at end,
        received = received + case when $5 in ('settled', 'underpaid') then $8 else 0 end
    where id = $3 and $5 in ('settled', 'underpaid') and exists (select from claimed)
), invoice as (
    update invoices set status = 'paid'
    where provider = $1 and external_id = $12 and exists (select from claimed)
)
select id from claimed
"""

_ORPHANED: Final = frozenset({"paid", "refunded"})  # a charge for these is a second one


async def settle(tx: Transaction, charge: Charge) -> SettlementResult:
    """Settle a charge: access, balance, ledger, receipt and alerts, all in the caller's transaction.

    Returns what became of it; ALREADY_SETTLED, with nothing changed, for a charge that was settled before or
    is being settled by another transaction that commits first. Raises DatabaseError; then nothing was done
    and the provider must be asked to report the charge again.
    """
    found = await tx.fetchrow(
        _FIND, charge.provider, charge.charge_id, charge.invoice_external_id, _clean(charge.payload)
    )
    if found is None:
        raise RuntimeError("a select without conditions found no row")
    if found["settlement_id"] is not None:
        return _already(found["settlement_id"], found["purchase_id"], found["customer_id"])
    purchase = None if found["purchase_id"] is None else await tx.fetchrow(_LOCK, found["purchase_id"])
    if purchase is None:
        return await _hold(tx, charge, None, "no_purchase")
    reason = _why_held(charge, purchase)
    if reason is not None:
        return await _hold(tx, charge, purchase, reason)
    amount = charge.amount or 0
    if purchase["status"] in _ORPHANED:
        return await _second_charge(tx, charge, purchase, amount)
    if await _covers(tx, purchase, amount):
        return await _sell(tx, charge, purchase, amount)
    return await _credit_underpaid(tx, charge, purchase, amount)


def _clean(text: str | None) -> str | None:
    """A stranger's text as the database can take it: no NUL, and no longer than any payload of ours."""
    return None if text is None or "\x00" in text else text[:128]


def _why_held(charge: Charge, purchase: Row) -> str | None:
    """Why this charge cannot be for this purchase, or None."""
    if charge.provider != purchase["method"]:
        return "other_method"
    if charge.currency != purchase["currency"]:
        return "other_currency"
    if charge.amount is None or charge.amount <= 0:
        return "unreadable_amount"
    return None


def _worth(purchase: Row, amount: int) -> int:
    """What `amount` of the asked currency is worth in the shop's, when it comes on top of what was received.

    By the difference of two floors: parts that make up the price are worth exactly the price together.
    """
    before: int = purchase["received"]
    price, shop_price = purchase["amount"], purchase["shop_amount"]
    return int((before + amount) * shop_price // price - before * shop_price // price)


async def _covers(tx: Transaction, purchase: Row, amount: int) -> bool:
    """Whether this charge, with those that were too small, makes up the price.

    The earlier ones lie on the balance and have to be there still. The subscription is locked before the
    balance, as everywhere.
    """
    if amount >= purchase["amount"]:
        return True
    if purchase["received"] + amount < purchase["amount"]:
        return False
    await subscriptions.lock_target(
        tx,
        customer_id=purchase["customer_id"],
        plan_id=purchase["plan_id"],
        subscription_id=purchase["subscription_id"],
    )
    balance = await ledger.lock_balance(tx, purchase["customer_id"], purchase["shop_currency"])
    return balance + _worth(purchase, amount) >= int(purchase["shop_amount"])


async def _claim(
    tx: Transaction, charge: Charge, purchase: Row | None, outcome: Outcome, reason: str | None = None
) -> int | None:
    """Write the settlement; None if another transaction has."""
    settlement_id: int | None = await tx.fetchval(
        _CLAIM,
        charge.provider,
        charge.charge_id,
        None if purchase is None else purchase["id"],
        None if purchase is None else purchase["customer_id"],
        outcome.value,
        reason,
        charge.currency,
        charge.amount or 0,
        charge.amount_text,
        dict(charge.details) | ({} if charge.payload is None else {"payload": _clean(charge.payload)}),
        charge.paid_at,
        charge.invoice_external_id,
    )
    return settlement_id


def _already(settlement_id: int | None, purchase_id: int | None, customer_id: int | None) -> SettlementResult:
    return SettlementResult(Outcome.ALREADY_SETTLED, settlement_id, purchase_id, customer_id)


def _lost(purchase: Row | None) -> SettlementResult:
    """Another transaction settled this charge while we waited for its lock."""
    if purchase is None:
        return _already(None, None, None)
    return _already(None, purchase["id"], purchase["customer_id"])


def _income(charge: Charge, purchase: Row, settlement_id: int, amount: int, worth: int) -> list[Entry]:
    """What brings the money to the customer's balance, in the shop's currency."""
    currency, shop_currency = purchase["currency"], purchase["shop_currency"]
    balance = ledger.customer(purchase["customer_id"], shop_currency)
    source = ledger.clearing(charge.provider, currency)
    name = f"{charge.provider}:{charge.charge_id}"
    common: dict[str, Any] = {"settlement_id": settlement_id, "purchase_id": purchase["id"]}
    if currency == shop_currency:
        return [Entry(source, balance, amount, "payment", f"payment:{name}", **common)]
    rate = Decimal(purchase["shop_amount"]) / Decimal(purchase["amount"])
    entries = [
        Entry(source, ledger.exchange(currency), amount, "payment", f"payment:{name}", rate=rate, **common)
    ]
    if worth > 0:
        out = Entry(
            ledger.exchange(shop_currency),
            balance,
            worth,
            "exchange",
            f"exchange:{name}",
            rate=1 / rate,
            **common,
        )
        entries.append(out)
    return entries


async def _sell(tx: Transaction, charge: Charge, purchase: Row, amount: int) -> SettlementResult:
    settlement_id = await _claim(tx, charge, purchase, Outcome.SETTLED)
    if settlement_id is None:
        return _lost(purchase)
    granted = await subscriptions.grant(
        tx,
        customer_id=purchase["customer_id"],
        plan_id=purchase["plan_id"],
        days=purchase["days"],
        settlement_id=settlement_id,
        purchase_id=purchase["id"],
        subscription_id=purchase["subscription_id"],
    )
    worth = _worth(purchase, amount)
    shop_currency = purchase["shop_currency"]
    sale = Entry(
        ledger.customer(purchase["customer_id"], shop_currency),
        ledger.revenue(shop_currency),
        purchase["shop_amount"],
        "sale",
        f"sale:{purchase['id']}",
        settlement_id=settlement_id,
        purchase_id=purchase["id"],
    )
    await ledger.post(tx, [*_income(charge, purchase, settlement_id, amount, worth), sale])
    # What lay on the balance for this purchase went into the sale too.
    rest = worth + _worth_received(purchase) - purchase["shop_amount"]
    await _repay(tx, purchase, settlement_id, rest)
    args = {
        "subscription_id": granted.subscription.id,
        "plan_id": purchase["plan_id"],
        "days": purchase["days"],
        "expires_at": granted.until_at.isoformat(),
        "renewed": granted.renewed,
        "amount": amount,
        "currency": charge.currency,
        "balance_added": rest,
        "balance_currency": shop_currency,
    }
    receipt = notices.receipt(settlement_id, purchase["telegram_id"], args, purchase["language"])
    await notices.put_all(tx, [receipt])
    return SettlementResult(
        Outcome.SETTLED, settlement_id, purchase["id"], purchase["customer_id"], granted=granted
    )


def _worth_received(purchase: Row) -> int:
    """What the charges that were too small had been worth."""
    return int(purchase["received"] * purchase["shop_amount"] // purchase["amount"])


async def _credit_underpaid(tx: Transaction, charge: Charge, purchase: Row, amount: int) -> SettlementResult:
    settlement_id = await _claim(tx, charge, purchase, Outcome.UNDERPAID)
    if settlement_id is None:
        return _lost(purchase)
    worth = _worth(purchase, amount)
    await ledger.post(tx, _income(charge, purchase, settlement_id, amount, worth))
    received = purchase["received"] + amount
    args = {
        "purchase": purchase["public_id"],
        "received": received,
        "missing": max(purchase["amount"] - received, 0),
        "currency": charge.currency,
        "balance_added": worth,
        "balance_currency": purchase["shop_currency"],
    }
    key = f"underpaid:{settlement_id}"
    told = notices.message(
        key, purchase["telegram_id"], "underpaid", args, purchase["language"], lane="receipt"
    )
    await notices.put_all(tx, [told])
    return SettlementResult(Outcome.UNDERPAID, settlement_id, purchase["id"], purchase["customer_id"])


async def _second_charge(tx: Transaction, charge: Charge, purchase: Row, amount: int) -> SettlementResult:
    settlement_id = await _claim(tx, charge, purchase, Outcome.SECOND_CHARGE)
    if settlement_id is None:
        return _lost(purchase)
    args = {"purchase": purchase["public_id"], "amount": amount, "currency": charge.currency}
    told: list[Notice] = []
    if charge.provider == "stars":
        name = f"stars:{charge.charge_id}"
        payment = Entry(
            ledger.clearing("stars", charge.currency),
            ledger.held("stars", charge.currency),
            amount,
            "payment",
            f"payment:{name}",
            settlement_id=settlement_id,
            purchase_id=purchase["id"],
        )
        (booked,) = await ledger.post(tx, [payment])
        await ledger.reverse(tx, booked, reference=f"refund:{name}", note="second charge for a paid purchase")
        payer = charge.payer_telegram_id or purchase["telegram_id"]
        told.append(notices.stars_refund(charge.charge_id, payer))
        template: notices.Template = "second_charge_refund"
    else:
        # A new payment, so its worth does not lean on what was received for the sale.
        worth = amount * int(purchase["shop_amount"]) // int(purchase["amount"])
        await ledger.post(tx, _income(charge, purchase, settlement_id, amount, worth))
        await _repay(tx, purchase, settlement_id, worth)
        template = "second_charge_balance"
    key = f"second_charge:{settlement_id}"
    told.append(
        notices.message(key, purchase["telegram_id"], template, args, purchase["language"], lane="receipt")
    )
    await notices.put_all(tx, told)
    return SettlementResult(Outcome.SECOND_CHARGE, settlement_id, purchase["id"], purchase["customer_id"])


async def _repay(tx: Transaction, purchase: Row, settlement_id: int, credited: int) -> None:
    """Let what remains on the balance repay what the customer owes."""
    if credited > 0:
        await ledger.repay_receivable(
            tx,
            purchase["customer_id"],
            purchase["shop_currency"],
            up_to=credited,
            reference=f"repayment:{settlement_id}",
        )


async def _hold(tx: Transaction, charge: Charge, purchase: Row | None, reason: str) -> SettlementResult:
    settlement_id = await _claim(tx, charge, purchase, Outcome.HELD, reason)
    if settlement_id is None:
        return _lost(purchase)
    if charge.amount is not None and charge.amount > 0:
        entry = Entry(
            ledger.clearing(charge.provider, charge.currency),
            ledger.held(charge.provider, charge.currency),
            charge.amount,
            "payment",
            f"payment:{charge.provider}:{charge.charge_id}",
            settlement_id=settlement_id,
            purchase_id=None if purchase is None else purchase["id"],
        )
        await ledger.post(tx, [entry])
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
        key = f"payment_held:{settlement_id}"
        told.append(
            notices.message(key, purchase["telegram_id"], "payment_held", shown, purchase["language"])
        )
    await notices.put_all(tx, told)
    return SettlementResult(
        Outcome.HELD,
        settlement_id,
        None if purchase is None else purchase["id"],
        None if purchase is None else purchase["customer_id"],
        reason,
    )
