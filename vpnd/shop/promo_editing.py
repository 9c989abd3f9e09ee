"""Promo codes as operators make and change them: every function joins the caller's transaction and says what it changed.

A code is made switched off, so that its limits can be set before anybody can enter it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal, get_args

from vpnd.database.errors import IntegrityError
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Change
from vpnd.shop.money import Money, format_decimal
from vpnd.shop.promos import PromoCode, PromoExists, PromoKind, code_by_id, create_code

__all__ = [
    "LIMITS",
    "MOST_DAYS",
    "MOST_USES",
    "Limit",
    "NoSuchCode",
    "limit_code",
    "make_code",
    "switch_code",
]

#: days: how long it can be entered from now on; uses: by how many in all; each: how often by one customer.
Limit = Literal["days", "uses", "each"]
LIMITS: Final[tuple[Limit, ...]] = get_args(Limit)
MOST_DAYS: Final = 36_500
MOST_USES: Final = 2_147_483_647


class NoSuchCode(Exception):
    """There is no such code."""


def _subject(promo: PromoCode) -> str:
    return f"promo:{promo.code}"


def _values(promo: PromoCode) -> dict[str, Any]:
    gives: Any = promo.value
    if promo.currency is not None:
        gives = f"{format_decimal(Money(promo.value, promo.currency))} {promo.currency}"
    return {
        "kind": promo.kind,
        "gives": gives,
        "until": None if promo.ends_at is None else promo.ends_at.isoformat(timespec="minutes"),
        "uses": promo.total_cap,
        "each": promo.customer_cap,
        "on": promo.active,
    }


async def make_code(
    tx: Transaction, code: str, kind: PromoKind, value: int, currency: str | None
) -> tuple[PromoCode, Change]:
    """Make a code, switched off. Raises ValueError for one that could not be typed, and PromoExists."""
    made = await create_code(tx, code=code, kind=kind, value=value, currency=currency)
    await tx.execute("update promo_codes set active = false where id = $1", made.id)
    promo = await _locked(tx, made.id)
    return promo, Change(subject=_subject(promo), after=_values(promo))


async def _locked(tx: Transaction, promo_id: int) -> PromoCode:
    await tx.execute("select from promo_codes where id = $1 for no key update", promo_id)
    promo = await code_by_id(tx, promo_id)
    if promo is None:
        raise NoSuchCode(str(promo_id))
    return promo


async def _change(tx: Transaction, promo_id: int, sql: str, value: object) -> Change:
    before = await _locked(tx, promo_id)
    await tx.execute(sql, promo_id, value)
    old, new = _values(before), _values(await _locked(tx, promo_id))
    names = [name for name in old if old[name] != new[name]]
    return Change(
        subject=_subject(before),
        before={name: old[name] for name in names},
        after={name: new[name] for name in names},
    )


_LIMIT: Final[dict[Limit, str]] = {
    "days": "update promo_codes set ends_at = vpnd_now() + $2::interval where id = $1",
    "uses": "update promo_codes set total_cap = $2 where id = $1",
    "each": "update promo_codes set customer_cap = $2 where id = $1",
}


async def limit_code(tx: Transaction, promo_id: int, limit: Limit, number: int) -> Change:
    """Set a limit of a code; 0 lifts it, but one customer can enter a code once at least. Uses that were made stay.

    Raises NoSuchCode.
    """
    value: object = number or (1 if limit == "each" else None)
    if limit == "days" and number:
        value = timedelta(days=number)
    return await _change(tx, promo_id, _LIMIT[limit], value)


async def switch_code(tx: Transaction, promo_id: int, on: bool) -> Change:
    """Let a code be entered, or no longer; purchases that have reserved a use keep their price.

    Raises NoSuchCode, and PromoExists where another one of the name is on.
    """
    if on:
        promo = await _locked(tx, promo_id)
        # Of two codes of one name at once the second waits here, and then sees the first.
        await tx.execute("select pg_advisory_xact_lock(hashtextextended('promo:' || $1, 0))", promo.code)
        if await tx.fetchval(
            "select exists (select from promo_codes where code = $1 and active and id <> $2)",
            promo.code,
            promo_id,
        ):
            raise PromoExists(f"there is an active promo code {promo.code} already")
    try:
        return await _change(tx, promo_id, "update promo_codes set active = $2 where id = $1", on)
    except IntegrityError as error:
        raise PromoExists("there is an active promo code of this name already") from error
