"""What tests of money look at and ask for: balances, the books, promo codes, refunds, recurring charges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from shop_world import ShopWorld

from vpnd.shop import books, ledger
from vpnd.shop.charges import Charge
from vpnd.shop.customers import Customer
from vpnd.shop.discounts import set_discount
from vpnd.shop.ledger import Balance, Entry
from vpnd.shop.promos import Entered, PromoCode, PromoKind, create_code, enter_code, list_codes
from vpnd.shop.purchases import Purchase
from vpnd.shop.referrals import apply_levels
from vpnd.shop.refund_requests import RefundRequest, Requested, request_refund
from vpnd.shop.subscriptions import Subscription


async def booked(shop: ShopWorld, kind: str, currency: str = "RUB", owner: str | None = None) -> int:
    """What the ledger says of all accounts of a kind, or of one owner's."""
    return int(
        await shop.db.fetchval(
            "test",
            """
            select coalesce(sum(case when l.credit_id = a.id then l.amount else -l.amount end), 0)
            from accounts a join ledger l on a.id in (l.credit_id, l.debit_id)
            where a.kind = $1 and a.currency = $2 and ($3::text is null or a.owner = $3)
            """,
            kind,
            currency,
            owner,
        )
    )


async def balance(shop: ShopWorld, customer: Customer) -> Balance:
    """What a customer can spend, in kopecks."""
    return await ledger.balances_of(shop.db, customer.id, "RUB")


async def owed(shop: ShopWorld, customer: Customer) -> int:
    """What a customer owes, in kopecks."""
    return -await booked(shop, "receivable", owner=str(customer.id))


@asynccontextmanager
async def refusing(shop: ShopWorld, charge_id: str) -> AsyncIterator[None]:
    """The database cannot settle this one charge."""
    await shop.db.write(
        "test", f"alter table settlements add constraint sick check (charge_id <> '{charge_id}')"
    )
    try:
        yield
    finally:
        await shop.db.write("test", "alter table settlements drop constraint sick")


async def books_agree(shop: ShopWorld) -> None:
    """Every currency stands at zero, and every cached balance is what the ledger says."""
    assert set((await ledger.imbalance(shop.db)).values()) <= {0}
    assert await books.balance_drift(shop.db) == []


async def give_bonus(shop: ShopWorld, customer: Customer, amount: int) -> None:
    """The shop gives a customer so many kopecks to spend."""
    entry = Entry(
        ledger.promo("RUB"), ledger.bonus(customer.id, "RUB"), amount, "promo", f"test:{shop.number()}"
    )
    await shop.do(lambda tx: ledger.post(tx, [entry]))


async def make_promo(
    shop: ShopWorld, code: str, kind: PromoKind = "percent", value: int = 20, **options: Any
) -> PromoCode:
    """A code, as an admin makes it."""
    currency = "RUB" if kind == "money" else None
    return await create_code(shop.db, code=code, kind=kind, value=value, currency=currency, **options)


async def enter(shop: ShopWorld, customer: Customer, text: str, key: str | None = None) -> Entered:
    """A customer types a code."""
    request = key or f"update:{shop.number()}"
    return await shop.do(lambda tx: enter_code(tx, customer_id=customer.id, text=text, request_key=request))


async def promo(shop: ShopWorld, code: str) -> PromoCode:
    """The newest code of that name as it is now."""
    return next(one for one in await list_codes(shop.db) if one.code == code)


async def uses(shop: ShopWorld) -> list[tuple[str, bool]]:
    """All uses of codes, the oldest first: state, and whether it was late."""
    rows = await shop.db.fetch("test", "select state, late from promo_uses order by id")
    return [(row["state"], row["late"]) for row in rows]


async def discount(shop: ShopWorld, customer: Customer, percent: int, until: datetime | None = None) -> None:
    """A personal discount."""
    await shop.do(lambda tx: set_discount(tx, customer.id, percent, until=until))


async def guest_of(shop: ShopWorld, host: Customer) -> Customer:
    """A new customer who came by somebody's link."""
    return await shop.customer(code=host.referral_code)


async def levels(shop: ShopWorld, *given: tuple[int, int]) -> None:
    """Referral levels: paying guests, percent."""
    await apply_levels(shop.db, given)


async def refund(shop: ShopWorld, settlement_id: int | None, **changes: Any) -> Requested:
    """Ask for a refund of a charge."""
    assert settlement_id is not None
    values: dict[str, Any] = {
        "settlement_id": settlement_id, "request_key": f"admin:{shop.number()}", "requested_by": "admin:777",
    }  # fmt: skip
    request = RefundRequest(**(values | changes))
    return await shop.do(lambda tx: request_refund(tx, request))


async def only(shop: ShopWorld, customer: Customer) -> Subscription:
    """A customer's one subscription."""
    (mine,) = await shop.subscriptions(customer)
    return mine


async def now(shop: ShopWorld) -> datetime:
    """Business time."""
    moment: datetime = await shop.db.fetchval("test", "select vpnd_now()")
    return moment


def recurring(
    shop: ShopWorld, purchase: Purchase, runs_until: datetime | None = None, **changes: Any
) -> Charge:
    """A charge that Telegram takes by itself for a subscription in Stars."""
    return shop.charge(purchase, recurring=True, runs_until=runs_until, **changes)


def about(moment: datetime, expected: datetime, within: timedelta = timedelta(seconds=20)) -> bool:
    """Whether a moment is the expected one, but for the time a test takes."""
    return abs(moment - expected) < within
