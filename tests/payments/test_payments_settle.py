"""One charge, three ways it may be reported: whatever the order, number and overlap, it settles once."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from payments_kit import check_invoices
from shop_world import ShopWorld

from vpnd.payments import cryptopay, stars
from vpnd.payments.base import InvoiceState
from vpnd.payments.settle import settle_charge
from vpnd.shop import ledger
from vpnd.shop.purchases import Purchase, attach_invoice, expire_purchases
from vpnd.shop.settlement import Charge, Outcome, SettlementResult


class PaidDesk:
    """Crypto Pay's answer to the watcher: this invoice is paid."""

    name = "cryptopay"

    def __init__(self, charge: Charge) -> None:
        self._charge = charge

    async def invoice_states(self, external_ids: list[str]) -> list[InvoiceState]:
        return [InvoiceState(one, "paid", self._charge) for one in external_ids]


class Reports:
    """A paid Crypto Pay purchase and a paid Stars purchase of one customer, and the ways of reporting them."""

    def __init__(self, shop: ShopWorld, crypto: Purchase, by_stars: Purchase, number: int) -> None:
        self.shop, self.crypto, self.by_stars, self.number = shop, crypto, by_stars, number
        self.woken: list[SettlementResult] = []

    def charge(self) -> Charge:
        body = {"update_id": 1, "update_type": "invoice_paid", "payload": {
            "invoice_id": self.number, "status": "paid", "currency_type": "fiat", "fiat": "RUB", "amount": "199.00",
            "payload": self.crypto.public_id}}  # fmt: skip
        charge = cryptopay.parse_webhook(json.dumps(body).encode())
        assert isinstance(charge, Charge)
        return charge

    async def webhook(self) -> None:
        await settle_charge(self.shop.db, self.charge(), on_commit=[self.woken.append])

    async def poll(self) -> None:
        desk: object = PaidDesk(self.charge())
        await check_invoices(self.shop.db, desk, on_commit=[self.woken.append])

    async def update(self) -> None:
        charge = stars.charge_from_successful_payment(
            telegram_payment_charge_id=f"tg{self.number}", provider_payment_charge_id="", currency="XTR",
            total_amount=150, payload=self.by_stars.public_id, payer_telegram_id=1,
        )  # fmt: skip
        await settle_charge(self.shop.db, charge, on_commit=[self.woken.append])

    async def expiry(self) -> None:
        await expire_purchases(self.shop.db, 100)

    async def check(self, ways: set[str]) -> None:
        """Each purchase that was reported at all is paid once; all else is as if nobody had reported it."""
        paid = {self.crypto.id} if ways & {"webhook", "poll"} else set()
        paid |= {self.by_stars.id} if "update" in ways else set()
        assert sorted(result.purchase_id or 0 for result in self.woken) == sorted(paid)
        assert {result.outcome for result in self.woken} <= {Outcome.SETTLED}
        for purchase in (self.crypto, self.by_stars):
            assert ((await self.shop.again(purchase)).status == "paid") == (purchase.id in paid)
        rows = await self.shop.db.fetch(
            "test", "select id, expires_at - starts_at as term from subscriptions where customer_id = $1",
            self.crypto.customer_id,
        )  # fmt: skip
        assert [row["term"] for row in rows] == ([timedelta(days=30 * len(paid))] if paid else [])
        receipts = await self.shop.db.fetchval(
            "test", "select count(*) from settlements s join outbox o on o.key = 'receipt:' || s.id"
            " where s.customer_id = $1", self.crypto.customer_id,
        )  # fmt: skip
        assert receipts == len(paid)
        assert await ledger.balance_of(self.shop.db, self.crypto.customer_id, "RUB") == 0
        assert set((await ledger.imbalance(self.shop.db)).values()) <= {0}


async def reported(shop: ShopWorld) -> Reports:
    one = await shop.customer()
    crypto, by_stars = await shop.buy(one), await shop.buy(one, "stars")
    number = shop.number()
    await shop.do(
        lambda tx: attach_invoice(tx, crypto, provider="cryptopay", external_id=str(number), url="u", amount=19900,
                                  currency="RUB", expires_at=crypto.expires_at)
    )  # fmt: skip
    return Reports(shop, crypto, by_stars, number)


WAYS = ["webhook", "poll", "update", "expiry"]


async def test_any_order_and_number_of_reports_settles_once(shop: ShopWorld) -> None:
    """Sequences of reports, with repeats, and with the purchases running out at any moment between."""

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(WAYS), max_size=7))
    def examples(sequence: list[str]) -> None:
        async def play() -> None:
            reports = await reported(shop)
            for way in sequence:
                if way == "expiry":
                    await shop.advance(timedelta(minutes=61))
                await getattr(reports, way)()
            await reports.check(set(sequence))
            await shop.execute("update invoices set status = 'expired'")

        trio.from_thread.run(play)

    await trio.to_thread.run_sync(examples)


@pytest.mark.parametrize("rounds", range(5))
async def test_reports_at_once_settle_once(shop: ShopWorld, rounds: int) -> None:
    """Nine reports of two charges by three ways, all at the same time."""
    reports = await reported(shop)
    async with trio.open_nursery() as nursery:
        for way in ["webhook", "poll", "update"] * 3:
            nursery.start_soon(getattr(reports, way))

    await reports.check({"webhook", "update"})


async def test_wake_ups_come_after_the_commit(shop: ShopWorld) -> None:
    """Whoever is woken sees what was committed; a charge that was settled before wakes nobody."""
    bought = await shop.buy(await shop.customer())
    charge = shop.charge(bought)
    woken: list[SettlementResult] = []

    first = await settle_charge(shop.db, charge, on_commit=[woken.append])
    await settle_charge(shop.db, charge, on_commit=[woken.append])

    assert woken == [first]
