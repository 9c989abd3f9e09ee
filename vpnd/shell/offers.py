"""`vpnd promo` and `vpnd discount`: codes and personal discounts from the shell."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Final, Literal

from vpnd.config import Settings
from vpnd.database.scope import Transaction
from vpnd.shell.acting import act
from vpnd.shell.shop import CommandFailed, OpenShop, run_command
from vpnd.shop.audit_log import Change
from vpnd.shop.customers import customer_by_telegram_id
from vpnd.shop.discounts import discount_of, remove_discount, set_discount
from vpnd.shop.money import Money, format_decimal, parse_decimal
from vpnd.shop.operators import Permission
from vpnd.shop.promos import PromoCode, PromoExists, code_name, create_code, list_codes, retire_code

__all__ = ["add_promo", "give_discount", "list_promos", "retire_promo"]

MOST_DAYS: Final = 36_500
MOST_USES: Final = 2_147_483_647
MOST_ID: Final = 2**62


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def add_promo(
    settings: Settings,
    *,
    code: str,
    kind: Literal["percent", "days", "money"],
    value: str,
    days_valid: int | None,
    uses: int | None,
    per_customer: int,
) -> int:
    """Make a promo code. `value` is percent, days, or an amount of the shop's currency."""
    currency = settings.shop.currency if kind == "money" else None
    try:
        name = code_name(code)
        number = _value(kind, value, currency)
        _whole("--valid", days_valid, MOST_DAYS)
        _whole("--uses", uses, MOST_USES)
        _whole("--per-customer", per_customer, MOST_USES)
    except ValueError as error:
        return _wrong(str(error))

    async def body(shop: OpenShop) -> int:
        now = await _now(shop)
        made: list[PromoCode] = []

        async def deed(tx: Transaction) -> Change:
            made[:] = [
                await create_code(
                    tx,
                    code=name,
                    kind=kind,
                    value=number,
                    currency=currency,
                    ends_at=None if days_valid is None else now + timedelta(days=days_valid),
                    total_cap=uses,
                    customer_cap=per_customer,
                )
            ]
            after = {
                "kind": kind,
                "value": number,
                "currency": currency,
                "uses": uses,
                "days_valid": days_valid,
            }
            return Change(subject=f"promo:{name}", after=after, detail="promo")

        try:
            await act(shop, "shell.promo", Permission.EDIT_CATALOGUE, deed)
        except PromoExists as error:
            raise CommandFailed(str(error)) from None
        _say(_words(made[0]))
        return 0

    return run_command(settings, body)


def _value(kind: Literal["percent", "days", "money"], text: str, currency: str | None) -> int:
    """What a code gives, as a number. Raises ValueError."""
    if currency is not None:
        amount = parse_decimal(text, currency).amount
        if amount <= 0:
            raise ValueError("an amount of money is above 0")
        return amount
    most = 99 if kind == "percent" else 3660
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= most):
        what = "a percentage is" if kind == "percent" else "days are"
        raise ValueError(f"{what} a whole number from 1 to {most}")
    return int(text)


def _whole(option: str, number: int | None, most: int) -> None:
    if number is not None and not 1 <= number <= most:
        raise ValueError(f"{option} is a whole number from 1 to {most}")


def _wrong(sentence: str) -> int:
    """Say what is wrong with the command line; its exit code."""
    sys.stderr.write(f"vpnd: {sentence}\n")
    return 2


async def _now(shop: OpenShop) -> datetime:
    """Business time, which windows are judged by."""
    now: datetime = await shop.db.fetchval("shell.now", "select vpnd_now()")
    return now


def _words(promo: PromoCode) -> str:
    if promo.kind == "money" and promo.currency is not None:
        gives = f"{format_decimal(Money(promo.value, promo.currency))} {promo.currency} to the balance"
    else:
        gives = f"{promo.value} % off" if promo.kind == "percent" else f"{promo.value} days"
    cap = "no cap" if promo.total_cap is None else f"{promo.total_cap} uses at most"
    until = "for good" if promo.ends_at is None else f"until {promo.ends_at:%Y-%m-%d %H:%M} UTC"
    late = f", {promo.late} of them by late payments" if promo.late else ""
    state = "" if promo.active else "  (off)"
    return f"{promo.code:<20} {gives}; {until}; {cap}, {promo.customer_cap} a customer; {promo.used} used{late}{state}"


def list_promos(settings: Settings) -> int:
    """List the newest promo codes."""

    async def body(shop: OpenShop) -> int:
        for promo in await list_codes(shop.db, 100):
            _say(_words(promo))
        return 0

    return run_command(settings, body)


def retire_promo(settings: Settings, *, code: str) -> int:
    """Switch a promo code off."""

    async def body(shop: OpenShop) -> int:
        async def deed(tx: Transaction) -> Change:
            if not await retire_code(tx, code):
                raise CommandFailed(f"there is no active promo code {code.upper()}")
            return Change(
                subject=f"promo:{code.upper()}",
                before={"active": True},
                after={"active": False},
                detail="promo",
            )

        await act(shop, "shell.promo", Permission.EDIT_CATALOGUE, deed)
        _say(f"{code.upper()} is off; purchases that have reserved a use keep their price")
        return 0

    return run_command(settings, body)


def give_discount(settings: Settings, *, telegram_id: int, percent: int, days: int | None) -> int:
    """Give a customer a personal discount; 0 percent takes it away."""
    try:
        _whole("TELEGRAM_ID", telegram_id, MOST_ID)
        _whole("--valid", days, MOST_DAYS)
    except ValueError as error:
        return _wrong(str(error))

    async def body(shop: OpenShop) -> int:
        customer = await customer_by_telegram_id(shop.db, telegram_id)
        if customer is None:
            raise CommandFailed(f"no customer has the Telegram id {telegram_id}")
        until = None if days is None else await _now(shop) + timedelta(days=days)

        async def deed(tx: Transaction) -> Change:
            before = await discount_of(tx, customer.id)
            if percent:
                await set_discount(tx, customer.id, percent, until=until, note="from the shell")
            else:
                await remove_discount(tx, customer.id)
            return Change(
                subject=f"customer:{customer.id}",
                before={"discount": 0 if before is None else before.percent},
                after={"discount": percent, "until": None if until is None else until.isoformat()},
                detail="discount",
            )

        await act(shop, "shell.discount", Permission.EDIT_CATALOGUE, deed)
        _say(f"{telegram_id}: {f'{percent} % off' if percent else 'no discount'}")
        return 0

    return run_command(settings, body)
