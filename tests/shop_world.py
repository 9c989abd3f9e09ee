"""A small shop for tests: customers, purchases and charges in a real database."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import trio
from attrs import define, field

from vpnd.database import Row
from vpnd.database.database import Database
from vpnd.database.scope import Transaction
from vpnd.payments.settle import settle_charge
from vpnd.shop.balance import charge_of
from vpnd.shop.customers import Customer, ensure_customer
from vpnd.shop.opening import open_purchase, open_topup
from vpnd.shop.plans import Offer, apply_plans, load_plans_file, offers_on_sale
from vpnd.shop.pricing import STARS_CURRENCY, Method, Terms
from vpnd.shop.purchases import Purchase, purchase_of
from vpnd.shop.settlement import Charge, SettlementResult
from vpnd.shop.subscriptions import Granted, Subscription, grant, of_customer

T = TypeVar("T")


@define
class ShopWorld:
    """A shop with the example plans on sale."""

    db: Database
    offers: list[Offer]
    numbers: itertools.count[int] = field(factory=lambda: itertools.count(1))

    def number(self) -> int:
        """A number nobody had yet."""
        return next(self.numbers)

    async def do(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run a body in a transaction of its own."""
        return await self.db.run("test", body)

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement in a transaction of its own."""
        return await self.do(lambda tx: tx.execute(sql, *args))

    async def customer(self, telegram_id: int | None = None, code: str | None = None) -> Customer:
        """A customer, new unless the id is known."""
        chosen = 1000 + self.number() if telegram_id is None else telegram_id
        made = await self.do(
            lambda tx: ensure_customer(
                tx, chosen, language="en", username="u", first_name="U", referral_code_used=code
            )
        )
        return made[0]

    def offer(self, plan: str = "basic", days: int = 30) -> Offer:
        """The offer of a plan for a period."""
        return next(one for one in self.offers if one.plan_id == plan and one.days == days)

    def terms(self, method: Method) -> Terms:
        """On which terms the shop sells by a method."""
        return Terms(method, STARS_CURRENCY if method == "stars" else "RUB")

    async def buy(
        self,
        customer: Customer,
        method: Method = "cryptopay",
        *,
        plan: str = "basic",
        key: str | None = None,
        days: int = 30,
        **options: Any,
    ) -> Purchase:
        """Open a purchase."""
        request = key or f"update:{self.number()}"
        return await self.do(
            lambda tx: open_purchase(
                tx, customer_id=customer.id, offer_id=self.offer(plan, days).offer_id, terms=self.terms(method),
                request_key=request, shop_currency="RUB", **options,
            )
        )  # fmt: skip

    async def topup(
        self, customer: Customer, amount: int, method: Method = "cryptopay", *, key: str | None = None
    ) -> Purchase:
        """Open a top-up of so many kopecks."""
        request = key or f"update:{self.number()}"
        return await self.do(
            lambda tx: open_topup(
                tx, customer_id=customer.id, terms=self.terms(method), amount=amount, shop_amount=amount,
                shop_currency="RUB", request_key=request,
            )
        )  # fmt: skip

    async def fill(self, customer: Customer, amount: int) -> SettlementResult:
        """Put so many kopecks of the customer's own money on his balance."""
        return await self.settle(self.charge(await self.topup(customer, amount)))

    async def spend(self, purchase: Purchase) -> SettlementResult:
        """Pay a purchase from the balance."""
        return await settle_charge(self.db, charge_of(purchase))

    def charge(self, purchase: Purchase, paid_amount: int | None = None, **changes: Any) -> Charge:
        """A charge for a purchase: its price by its method, unless told otherwise."""
        paid = purchase.amount if paid_amount is None else paid_amount
        values: dict[str, Any] = {
            "provider": purchase.method,
            "charge_id": f"charge-{self.number()}",
            "amount": paid,
            "currency": purchase.currency,
            "amount_text": str(paid),
            "payload": purchase.public_id,
        }
        return Charge(**(values | changes))

    async def settle(self, charge: Charge) -> SettlementResult:
        """Settle as every entry point does."""
        return await settle_charge(self.db, charge)

    async def again(self, purchase: Purchase) -> Purchase:
        """The purchase as it is now."""
        telegram_id = await self.db.fetchval(
            "test", "select telegram_id from customers where id = $1", purchase.customer_id
        )
        found = await purchase_of(self.db, purchase.public_id, telegram_id)
        assert found is not None
        return found

    async def grant(self, customer: Customer, days: int = 30, plan: str = "basic") -> Granted:
        """Give access without a purchase."""
        return await self.do(lambda tx: grant(tx, customer_id=customer.id, plan_id=plan, days=days))

    async def subscriptions(self, customer: Customer) -> list[Subscription]:
        """What a customer has."""
        return await of_customer(self.db, customer.id)

    async def advance(self, by: timedelta) -> None:
        """Move business time."""
        await self.execute(
            "insert into sandbox_clock (offset_seconds) values ($1)"
            " on conflict (only_row) do update set offset_seconds = sandbox_clock.offset_seconds + $1",
            int(by.total_seconds()),
        )

    async def outbox(self, prefix: str = "") -> list[Row]:
        """Outbox rows whose key begins so, in the order of their birth."""
        return await self.db.fetch(
            "test",
            "select kind, key, lane, order_key, payload, status, valid_until from outbox"
            " where starts_with(key, $1) order by id",
            prefix,
        )


async def open_world(db: Database) -> ShopWorld:
    """A shop with the example plans."""
    await apply_plans(db, load_plans_file(None))
    return ShopWorld(db, await offers_on_sale(db))


@define
class Held:
    """A transaction that another task keeps open until it is told to end."""

    release: trio.Event = field(factory=trio.Event)
    done: trio.Event = field(factory=trio.Event)

    async def commit(self) -> None:
        """Let it commit, and wait until it has."""
        self.release.set()
        await self.done.wait()


async def hold(nursery: trio.Nursery, db: Database, body: Callable[[Transaction], Awaitable[object]]) -> Held:
    """Run `body` in a transaction of its own task, and return with the transaction still open."""
    held = Held()

    async def keep(task_status: trio.TaskStatus[None]) -> None:
        async with db.transaction("test.held") as tx:
            await body(tx)
            task_status.started()
            await held.release.wait()
        held.done.set()

    await nursery.start(keep)
    return held


async def wait_for_lock(db: Database, waiters: int = 1) -> None:
    """Return when so many of this database's sessions wait for a lock."""
    with trio.fail_after(5):
        while True:
            waiting = await db.fetchval(
                "test",
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and wait_event_type = 'Lock'",
            )
            if waiting >= waiters:
                return
            await trio.sleep(0.005)
