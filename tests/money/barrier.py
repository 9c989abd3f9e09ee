"""Transactions that have begun and taken nothing are let go together; and the pairs of them that might meet head on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import trio
from shop_world import ShopWorld

from vpnd.database.database import Transaction
from vpnd.runtime import metrics
from vpnd.shop import books, ledger
from vpnd.shop.balance import charge_of
from vpnd.shop.customers import Customer
from vpnd.shop.opening import open_purchase
from vpnd.shop.promos import create_code, enter_code
from vpnd.shop.purchases import Purchase, cancel_purchase, expire_purchases
from vpnd.shop.refund_plan import RefundImpossible, RefundRequest
from vpnd.shop.refund_requests import request_refund
from vpnd.shop.renewals import due_renewals, renew
from vpnd.shop.settlement import Charge, settle
from vpnd.shop.star_subscriptions import ask_to_cancel, note_state
from vpnd.shop.subscriptions import expire_due, set_renewal

__all__ = ["MEETINGS", "deadlocks", "release", "sums_are_right"]

Body = Callable[[Transaction], Awaitable[Any]]
Meeting = Callable[[ShopWorld], Awaitable[list[Body]]]


async def release(shop: ShopWorld, bodies: Sequence[Body]) -> list[Any]:
    """Begin a transaction for each body, hold them all there, and let them go together; what each returned or raised."""
    arrived, gate = 0, trio.Event()
    results: list[Any] = [None] * len(bodies)

    async def one(number: int, body: Body) -> None:
        first = True

        async def held(tx: Transaction) -> Any:
            nonlocal arrived, first
            await tx.fetchval("select 1")  # begun, and nothing taken
            if first:
                first = False
                arrived += 1
                if arrived == len(bodies):
                    gate.set()
                await gate.wait()
            return await body(tx)

        try:
            results[number] = await shop.db.run("test.barrier", held, deadline=10)
        except Exception as error:  # told to the caller, who knows which are expected
            results[number] = error

    async with trio.open_nursery() as nursery:
        for number, body in enumerate(bodies):
            nursery.start_soon(one, number, body)
    return results


def deadlocks() -> float:
    """How many transactions the server has asked us to repeat so far."""
    return float(metrics.db_retries_total._value.get())


async def sums_are_right(shop: ShopWorld) -> None:
    """Zero for each currency, every cached balance the ledger's, and no charge granted other than once."""
    assert set((await ledger.imbalance(shop.db)).values()) <= {0}
    assert await books.balance_drift(shop.db) == []
    wrong = await shop.db.fetch(
        "test",
        """
        select s.id, s.outcome from settlements s left join purchases p on p.id = s.purchase_id
        left join grants g on g.settlement_id = s.id
        where (s.outcome = 'settled' and p.kind = 'access') <> (g.id is not null) limit 5
        """,
    )
    assert wrong == []
    counted = await shop.db.fetch(
        "test",
        """
        select k.code from promo_codes k where k.used <>
            (select count(*) from promo_uses u where u.promo_id = k.id and u.state <> 'returned') limit 5
        """,
    )
    assert counted == []


# ---------------------------------------------------------------------- what is let go together


async def _pair(shop: ShopWorld) -> tuple[Customer, Customer]:
    host = await shop.customer()
    return host, await shop.customer(code=host.referral_code)


def _settles(charge: Charge) -> Body:
    return lambda tx: settle(tx, charge)


async def _refunds(shop: ShopWorld, charge: Charge, **options: Any) -> Body:
    settlement_id = await shop.db.fetchval(
        "test",
        "select id from settlements where provider = $1 and charge_id = $2",
        charge.provider,
        charge.charge_id,
    )
    request = RefundRequest(
        settlement_id=settlement_id, request_key=f"refund:{shop.number()}", requested_by="admin:1", **options
    )

    async def body(tx: Transaction) -> Any:
        try:
            return await request_refund(tx, request)
        except RefundImpossible as error:
            return error.why

    return body


async def _paid(shop: ShopWorld, customer: Customer, method: Any = "yookassa", **options: Any) -> Charge:
    charge = shop.charge(await shop.buy(customer, method, **options))
    await shop.settle(charge)
    return charge


async def guest_and_host(shop: ShopWorld) -> list[Body]:
    """A guest pays (his host is rewarded), the host pays, from his balance too; both get money back."""
    host, guest = await _pair(shop)
    await shop.fill(host, 60_000)
    earlier, his = await _paid(shop, guest), await _paid(shop, host)
    from_balance = charge_of(await shop.buy(host, "balance"))
    return [
        _settles(shop.charge(await shop.buy(guest, days=90))),
        _settles(shop.charge(await shop.buy(host, days=90))),
        _settles(from_balance),
        await _refunds(shop, earlier),
        await _refunds(shop, his),
        await _refunds(shop, earlier, amount=100, to="balance"),
    ]


async def first_money(shop: ShopWorld) -> list[Body]:
    """Several guests of one host pay for the first time: nobody's account is open yet."""
    host = await shop.customer()
    bodies = [_settles(shop.charge(await shop.buy(host)))]
    for method in ("cryptopay", "stars", "yookassa"):
        guest = await shop.customer(code=host.referral_code)
        bodies.append(_settles(shop.charge(await shop.buy(guest, method))))
    return bodies


async def part_and_refund(shop: ShopWorld) -> list[Body]:
    """The first part of a price goes back while the second comes in, twice, and the purchase is cancelled."""
    buyer = await shop.customer()
    bought = await shop.buy(buyer)
    first = shop.charge(bought, 10_000)
    await shop.settle(first)
    second = shop.charge(bought, bought.amount - 10_000)
    return [
        _settles(second),
        await _refunds(shop, first),
        _settles(second),
        _settles(shop.charge(bought)),
        lambda tx: cancel_purchase(tx, bought.public_id, buyer.telegram_id),
    ]


async def _with_code(shop: ShopWorld, customer: Customer, code: str, **options: Any) -> Purchase:
    await shop.do(
        lambda tx: enter_code(tx, customer_id=customer.id, text=code, request_key=f"code:{shop.number()}")
    )
    return await shop.buy(customer, **options)


async def sweeps_and_codes(shop: ShopWorld) -> list[Body]:
    """Two sweeps close purchases with the same codes in another order, while they are paid, cancelled and opened anew."""
    codes = [f"C{shop.number()}" for _ in range(6)]
    codes = [f"{code}-SALE" for code in codes]
    for code in codes:
        await create_code(shop.db, code=code, kind="percent", value=30, total_cap=10, customer_cap=2)
    bought = [
        await _with_code(shop, await shop.customer(), code, days=days)
        for code, days in zip((*codes, *codes[::-1]), (30,) * 6 + (90,) * 6, strict=True)
    ]
    await shop.advance(timedelta(minutes=61))
    chooser = await shop.customer()
    old = await _with_code(shop, chooser, codes[0])
    late = shop.charge(bought[5])
    first, second = [one.id for one in bought[:6]], [one.id for one in bought[6:]]
    return [
        lambda tx: expire_purchases(tx, 100, keys=first),
        lambda tx: expire_purchases(tx, 100, keys=second),
        _settles(late),
        _settles(shop.charge(old)),
        lambda tx: open_purchase(
            tx, customer_id=chooser.id, offer_id=shop.offer("basic", 90).offer_id, terms=shop.terms("cryptopay"),
            request_key=f"update:{shop.number()}", shop_currency="RUB",
        ),
        lambda tx: cancel_purchase(tx, old.public_id, chooser.telegram_id),
    ]  # fmt: skip


async def charged_and_ended(shop: ShopWorld) -> list[Body]:
    """Telegram charges for the next period while the subscription is ended from either side, and the first charge goes back."""
    buyer = await shop.customer()
    bought = await shop.buy(buyer, "stars", recurring=True)
    first = shop.charge(bought, recurring=True)
    await shop.settle(first)
    (mine,) = await shop.subscriptions(buyer)
    return [
        _settles(shop.charge(bought, recurring=True)),
        lambda tx: note_state(tx, bought.public_id, buyer.telegram_id, "canceled"),
        lambda tx: ask_to_cancel(tx, mine.id, buyer.id),
        await _refunds(shop, first),
        lambda tx: note_state(tx, bought.public_id, buyer.telegram_id, "active"),
    ]


async def renewal_and_all(shop: ShopWorld) -> list[Body]:
    """A renewal, a purchase from the same balance, a top-up, an expiry and the refund of what is renewed."""
    host, guest = await _pair(shop)
    await shop.fill(guest, 30_000)
    bought = await shop.buy(guest, "yookassa")
    paid = shop.charge(bought)
    await shop.settle(paid)
    (mine,) = await shop.subscriptions(guest)
    await shop.do(lambda tx: set_renewal(tx, mine.id, guest.id, from_balance=True))
    await shop.execute(
        "update subscriptions set expires_at = vpnd_now() + interval '1 hour' where id = $1", mine.id
    )
    due = next(one for one in await due_renewals(shop.db, "RUB", 1_000) if one.subscription_id == mine.id)
    await shop.execute("update subscriptions set expires_at = vpnd_now() where id = $1", mine.id)
    spend = charge_of(await shop.buy(guest, "balance", plan="plus"))

    async def body(tx: Transaction) -> Any:
        return await renew(tx, due, "RUB")

    return [
        body,
        body,
        _settles(spend),
        _settles(shop.charge(await shop.topup(guest, 5_000))),
        lambda tx: expire_due(tx, 10, keys=[mine.id]),
        await _refunds(shop, paid),
        _settles(shop.charge(await shop.buy(host))),
    ]


async def code_and_payment(shop: ShopWorld) -> list[Body]:
    """A code for days is typed by a customer with access while others pay late for what they had reserved with it."""
    code = f"D{shop.number()}-DAYS"
    await create_code(shop.db, code=code, kind="days", value=7, total_cap=5, customer_cap=3)
    buyer, other = await shop.customer(), await shop.customer()
    reserved, his = await _with_code(shop, other, code), await _with_code(shop, buyer, code)
    for one, customer in ((reserved, other), (his, buyer)):
        await shop.do(
            lambda tx, one=one, customer=customer: cancel_purchase(tx, one.public_id, customer.telegram_id)
        )
    await _paid(shop, buyer, days=90)

    def enters(customer: Customer) -> Body:
        key = f"code:{shop.number()}"
        return lambda tx: enter_code(tx, customer_id=customer.id, text=code, request_key=key)

    return [
        enters(buyer),
        _settles(shop.charge(reserved)),
        _settles(shop.charge(his)),
        enters(other),
    ]


#: All of them: name and how often a long run plays each, of a hundred.
MEETINGS: Final[Sequence[Meeting]] = (
    guest_and_host,
    first_money,
    part_and_refund,
    sweeps_and_codes,
    charged_and_ended,
    renewal_and_all,
    code_and_payment,
)
