"""Settlement and ledger against an oracle: any sequence of purchases, charges, repeats and reversals.

The machine is synchronous and runs in a thread; each of its steps is sent to the trio loop, where one real
database serves all examples. Every example has a customer of its own, so they do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from shop_world import ShopWorld

from vpnd.shop import ledger
from vpnd.shop.purchases import Purchase, expire_purchases
from vpnd.shop.settlement import Charge, Outcome
from vpnd.shop.subscriptions import expire_due


class Shop(RuleBasedStateMachine):
    """What may happen to one customer's money, and what must be true of it after every step."""

    world: ShopWorld
    call: Callable[..., Any]

    purchases = Bundle("purchases")
    charges = Bundle("charges")

    @initialize()
    def begin(self) -> None:
        """A customer, and a model of what he has."""
        self.customer = self.call(self.world.customer)
        self.balance = 0
        self.owed = 0
        self.paid: set[int] = set()
        self.received: dict[int, int] = {}
        self.settled: set[str] = set()
        self.days = 0
        self.refunds = 0

    @rule(target=purchases, method=st.sampled_from(["cryptopay", "stars"]), days=st.sampled_from([30, 90]))
    def buy(self, method: str, days: int) -> Purchase:
        """Open a purchase, or get the one that is open."""
        bought: Purchase = self.call(self.world.buy, self.customer, method, days=days)
        self.received.setdefault(bought.id, 0)
        return bought

    @rule()
    def time_passes(self) -> None:
        """Purchases run out; access does not: all examples together are shorter than 30 days."""
        self.call(self.world.advance, timedelta(minutes=61))
        self.call(expire_purchases, self.world.db, 100)

    @rule(target=charges, bought=purchases, percent=st.sampled_from([1, 33, 50, 67, 99, 100, 101, 250]))
    def pay(self, bought: Purchase, percent: int) -> Charge:
        """A new charge for a purchase, open or not, of some part of its price."""
        amount = max(bought.amount * percent // 100, 1)
        charge = self.world.charge(bought, amount)
        result = self.call(self.world.settle, charge)
        self.settled.add(charge.charge_id)
        assert result.outcome is self.expect(bought, amount)
        return charge

    def expect(self, bought: Purchase, amount: int) -> Outcome:
        """The oracle: what has to become of the charge, with the model moved on."""
        price, shop_price = bought.amount, bought.shop_amount
        if bought.id in self.paid:
            if bought.method == "stars":
                self.refunds += 1
            else:
                self.gain(amount)
            return Outcome.SECOND_CHARGE
        before = self.received[bought.id]
        worth = (before + amount) * shop_price // price - before * shop_price // price
        enough = amount >= price or (before + amount >= price and self.balance + worth >= shop_price)
        self.received[bought.id] += amount
        if not enough:
            self.balance += worth
            return Outcome.UNDERPAID
        self.paid.add(bought.id)
        rest = (before + amount) * shop_price // price - shop_price
        self.balance += worth - shop_price
        repaid = min(self.owed, max(rest, 0), self.balance)
        self.balance -= repaid
        self.owed -= repaid
        self.days += bought.days
        return Outcome.SETTLED

    def gain(self, amount: int) -> None:
        repaid = min(self.owed, amount)
        self.owed -= repaid
        self.balance += amount - repaid

    @rule(charge=charges)
    def report_again(self, charge: Charge) -> None:
        """A charge that was reported before changes nothing."""
        assert self.call(self.world.settle, charge).outcome is Outcome.ALREADY_SETTLED

    @rule(charge=charges)
    def take_back(self, charge: Charge) -> None:
        """A provider takes its money back: from the balance, and what is spent already is owed."""
        self.call(self._take_back, charge)

    async def _take_back(self, charge: Charge) -> None:
        row = await self.world.db.fetchrow(
            "test",
            "select l.id, l.amount from ledger l join accounts a on a.id = l.credit_id"
            " join settlements s on s.id = l.settlement_id"
            " where s.charge_id = $1 and a.kind = 'customer' and l.kind in ('payment', 'exchange')"
            " and not exists (select from ledger r where r.reverses_id = l.id)",
            charge.charge_id,
        )
        if row is None:
            return
        reference = f"chargeback:{charge.charge_id}"
        await self.world.do(lambda tx: ledger.reverse(tx, row["id"], reference=reference))
        self.owed += max(row["amount"] - self.balance, 0)
        self.balance = max(self.balance - row["amount"], 0)

    @rule()
    def sweep(self) -> None:
        """A sweep while nothing is due."""
        assert self.call(expire_due, self.world.db, 100) == 0

    @invariant()
    def books_are_right(self) -> None:
        """Balance, debt, access and refunds are the model's, and every currency sums to zero."""
        self.call(self._check)

    async def _check(self) -> None:
        db = self.world.db
        assert await ledger.balance_of(db, self.customer.id, "RUB") == self.balance
        lines = await ledger.statement(db, ledger.receivable(self.customer.id, "RUB"), 1000)
        assert -sum(line.amount for line in lines) == self.owed
        subscriptions = await self.world.subscriptions(self.customer)
        assert len(subscriptions) == (1 if self.paid else 0)
        assert sum((s.expires_at - s.starts_at for s in subscriptions), timedelta()) == timedelta(
            days=self.days
        )
        count = "select count(*) from {} where customer_id = $1"
        assert await db.fetchval("test", count.format("settlements"), self.customer.id) == len(self.settled)
        refunds = await db.fetchval(
            "test",
            "select count(*) from outbox where kind = 'stars_refund' and (payload->>'telegram_id')::bigint = $1",
            self.customer.telegram_id,
        )
        assert refunds == self.refunds
        assert set((await ledger.imbalance(db)).values()) <= {0}
        assert await ledger.balance_drift(db) == []


async def test_money_and_access_are_what_an_oracle_says(shop: ShopWorld) -> None:
    """Whatever the order of purchases, charges, repeats, charge-backs and time: the model and the books agree."""

    def call(function: Callable[..., Awaitable[Any]], *args: Any, **keywords: Any) -> Any:
        async def run() -> Any:
            return await function(*args, **keywords)

        return trio.from_thread.run(run)

    machine = type("ShopMachine", (Shop,), {"world": shop, "call": staticmethod(call)})
    bounded = settings(
        max_examples=25,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    await trio.to_thread.run_sync(lambda: run_state_machine_as_test(machine, settings=bounded))
    seen = await shop.db.fetch("test", "select outcome, count(*) as times from settlements group by 1")
    assert {row["outcome"] for row in seen} >= {"settled", "underpaid"}, "the machine plays what matters"
