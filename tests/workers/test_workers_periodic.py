"""What runs by the clock: each does its work once, wakes who waits for it, and is safe when run twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest
import trio
from shop_world import ShopWorld, hold

from vpnd.config import WorkerSettings
from vpnd.payments.base import InvoiceState, PaymentUnavailable
from vpnd.payments.cryptopay import parse_webhook
from vpnd.runtime.journal import capture
from vpnd.runtime.worker import WorkerRunner, configured
from vpnd.shop import access_log
from vpnd.shop.purchases import Purchase, attach_invoice
from vpnd.shop.settlement import Charge, Outcome, SettlementResult
from vpnd.shop.subscriptions import grant
from vpnd.workers import money, periodic


class Woken:
    """Counts wake-ups."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def test_the_expiry_wakes_nodes_and_messages(shop: ShopWorld) -> None:
    """What it switched off is numbered and told now and not at the next tick; a sweep without work wakes nobody."""
    numberer, relay = Woken(), Woken()
    runner = WorkerRunner(periodic.expiry(shop.db, wake=(numberer, relay)))
    customer = await shop.customer()
    await shop.grant(customer)

    assert await runner.run_once() == "ok"
    assert (numberer.count, relay.count) == (0, 0)
    await shop.advance(timedelta(days=31))
    assert await runner.run_once() == "ok"
    assert (numberer.count, relay.count) == (1, 1)
    assert [one.status for one in await shop.subscriptions(customer)] == ["expired"]
    assert len(await shop.outbox("expired:")) == 1
    assert await runner.run_once() == "ok"
    assert (numberer.count, relay.count) == (1, 1)


async def test_a_renewal_that_races_an_expiry_wins(shop: ShopWorld) -> None:
    """A row that a renewal holds is left alone by the sweep that found it due, and it is on when both are done."""
    customer = await shop.customer()
    mine = (await shop.grant(customer)).subscription
    await shop.advance(timedelta(days=31))
    runner = WorkerRunner(periodic.expiry(shop.db, wake=()))

    async with trio.open_nursery() as nursery:
        renewal = await hold(
            nursery, shop.db, lambda tx: grant(tx, customer_id=customer.id, plan_id="basic", days=30)
        )
        assert await runner.run_once() == "ok"
        await renewal.commit()
    assert await runner.run_once() == "ok"

    (found,) = await shop.subscriptions(customer)
    assert (found.status, found.version) == ("active", mine.version)
    assert await shop.outbox("expired:") == []


async def test_expiry_in_many_batches(shop: ShopWorld) -> None:
    """A backlog is worked off in pages of the configured size, all of it in one iteration."""
    for _ in range(7):
        await shop.grant(await shop.customer())
    await shop.advance(timedelta(days=31))
    spec = configured(periodic.expiry(shop.db, wake=()), WorkerSettings(batch=2))
    runner = WorkerRunner(spec)

    await runner.run_once()

    assert runner.statistics().items == 7
    assert await shop.db.fetchval("test", "select count(*) from subscriptions where status = 'active'") == 0


async def test_purchases_are_closed_when_their_price_is_over(shop: ShopWorld) -> None:
    """And not before."""
    purchase = await shop.buy(await shop.customer())
    runner = WorkerRunner(periodic.purchase_expiry(shop.db))

    await runner.run_once()
    assert (await shop.again(purchase)).status == "pending"
    await shop.advance(timedelta(days=2))
    await runner.run_once()
    assert (await shop.again(purchase)).status == "expired"


async def test_the_activation_never_gives_up(shop: ShopWorld) -> None:
    """Whoever paid and is on no node is sent again, and told in each round; then the admins are told, and it is tried on."""
    woken, alerted = Woken(), Woken()
    runner = WorkerRunner(periodic.activation(shop.db, wake=woken, alert=alerted))
    await shop.grant(await shop.customer())
    await _numbered_and_acknowledged(shop)
    await shop.execute("update subscriptions set activated_at = null")

    with capture() as lines:
        await runner.run_once()  # not due before a minute has passed
        assert (woken.count, await _log_rows(shop)) == (0, 1)
        await shop.advance(timedelta(minutes=2))
        for round_number in range(1, 8):
            await runner.run_once()
            assert (woken.count, await _log_rows(shop)) == (round_number, round_number + 1)
            await runner.run_once()  # once a round
            assert (woken.count, await _log_rows(shop)) == (round_number, round_number + 1)
            await _next_round(shop)
            assert alerted.count == (round_number >= 5)
            await _numbered_and_acknowledged(shop)
            await shop.execute("update subscriptions set activated_at = null")

    told = [line.fields["attempt"] for line in lines if line.event == "activation.late"]
    assert told == [1, 2, 3, 4, 5, 6, 7]
    (alert,) = await shop.outbox("activation_late:")
    assert alert["kind"] == "admin_alert"
    assert alert["payload"]["template"] == "activation_late"
    assert (alert["payload"]["args"]["attempts"], alert["payload"]["args"]["others"]) == (5, 0)


async def test_a_node_that_is_away_does_not_make_the_log_grow(shop: ShopWorld) -> None:
    """A row that a node has yet to acknowledge is enough, and so is a comparison to come where there is no node."""
    woken = Woken()
    runner = WorkerRunner(periodic.activation(shop.db, wake=woken))
    await shop.grant(await shop.customer())
    await access_log.number(shop.db)
    await shop.advance(timedelta(minutes=2))
    with capture() as lines:
        await runner.run_once()
        await shop.execute("insert into nodes (name) values ('oslo')")
        await _next_round(shop)
        await runner.run_once()

    assert (woken.count, await _log_rows(shop)) == (0, 1)
    assert [line.event for line in lines if line.level == "warning"] == ["activation.late"] * 2


async def test_it_slows_down_after_the_alarm_and_a_new_term_is_counted_anew(shop: ShopWorld) -> None:
    """10, 20, 30 minutes, and 30 for ever; a renewal after an expiry waits for its own first try."""
    runner = WorkerRunner(periodic.activation(shop.db, wake=lambda: None))
    customer = await shop.customer()
    await shop.grant(customer)
    await shop.advance(timedelta(minutes=2))
    waits: list[int] = []
    for _ in range(9):
        await runner.run_once()
        waits.append(
            await shop.db.fetchval(
                "test",
                "select round(extract(epoch from next_at - clock_timestamp()) / 60)::integer from late_activations",
            )
        )
        await _next_round(shop)
    assert waits == [4, 4, 4, 4, 10, 20, 30, 30, 30]
    await shop.execute("update subscriptions set status = 'expired', expires_at = vpnd_now()")
    await runner.run_once()
    await shop.grant(customer)
    await shop.advance(timedelta(minutes=2))
    await runner.run_once()

    row = await shop.db.fetchrow("test", "select attempts, alerted_at from late_activations")
    assert dict(row.items()) == {"attempts": 1, "alerted_at": None}


async def test_a_thousand_that_wait_are_one_alert_an_hour(shop: ShopWorld) -> None:
    """The admins hear of the outage and of its size, not of each customer; who comes later is in a later alert."""
    runner = WorkerRunner(periodic.activation(shop.db, wake=lambda: None))
    for _ in range(5):
        await shop.grant(await shop.customer())
    await shop.advance(timedelta(minutes=2))
    for _ in range(6):
        await runner.run_once()
        await _next_round(shop)
    (alert,) = await shop.outbox("activation_late:")
    assert alert["payload"]["args"]["others"] == 0  # the first that reached its fifth try
    await shop.execute("update outbox set key = 'activation_late:an hour ago'")
    await runner.run_once()

    _, later = await shop.outbox("activation_late:")
    assert later["payload"]["args"]["others"] == 3
    assert (
        await shop.db.fetchval("test", "select count(*) from late_activations where alerted_at is null") == 0
    )


async def _next_round(shop: ShopWorld) -> None:
    await shop.execute("update late_activations set next_at = clock_timestamp()")


class Desk:
    """Crypto Pay's side of the watcher: which invoices are paid, and what it was asked."""

    name = "cryptopay"

    def __init__(self, *paid: Charge, away: bool = False) -> None:
        self._paid = {charge.charge_id: charge for charge in paid}
        self._away = away
        self.asked: list[Sequence[str]] = []

    async def invoice_states(self, external_ids: Sequence[str]) -> list[InvoiceState]:
        await trio.lowlevel.checkpoint()
        self.asked.append(external_ids)
        if self._away:
            raise PaymentUnavailable("cryptopay getInvoices: no answer")
        return [
            InvoiceState(one, "paid" if one in self._paid else "active", self._paid.get(one))
            for one in external_ids
        ]


async def invoiced(shop: ShopWorld, number: int) -> Purchase:
    """A purchase with an open invoice of that number."""
    purchase = await shop.buy(await shop.customer())
    await shop.do(
        lambda tx: attach_invoice(
            tx, purchase, provider="cryptopay", external_id=str(number), url="https://t.me/x", amount=purchase.amount,
            currency=purchase.currency, expires_at=purchase.expires_at,
        )
    )  # fmt: skip
    return purchase


def payment_of(number: int, purchase: Purchase) -> Charge:
    """The charge that a paid invoice is."""
    payload = {
        "invoice_id": number, "status": "paid", "currency_type": "fiat", "fiat": "RUB", "amount": "199.00",
        "payload": purchase.public_id,
    }  # fmt: skip
    charge = parse_webhook(json.dumps({"update_type": "invoice_paid", "payload": payload}).encode())
    assert isinstance(charge, Charge)
    return charge


async def test_the_payment_watcher_asks_once_a_round(shop: ShopWorld) -> None:
    """All open invoices in one call; what is paid is settled and told, and not asked about again."""
    purchases = [await invoiced(shop, number) for number in (1, 2, 3)]
    desk = Desk(payment_of(2, purchases[1]))
    told: list[SettlementResult] = []
    runner = WorkerRunner(money.payment_watcher(shop.db, desk, on_commit=(told.append,)))  # type: ignore[arg-type]  # stands for a client

    assert await runner.run_once() == "ok"
    assert [sorted(asked) for asked in desk.asked] == [["1", "2", "3"]]
    assert [result.outcome for result in told] == [Outcome.SETTLED]
    assert (await shop.again(purchases[1])).status == "paid"
    await runner.run_once()
    assert [sorted(asked) for asked in desk.asked[1:]] == [["1", "3"]]


async def test_the_watchers_batch_is_the_operators(shop: ShopWorld) -> None:
    """A round asks about so many invoices, the longest unchecked first, so that each has its turn."""
    for number in (1, 2, 3):
        await invoiced(shop, number)
    desk = Desk()
    spec = configured(money.payment_watcher(shop.db, desk, on_commit=()), WorkerSettings(batch=2))  # type: ignore[arg-type]  # stands for a client
    runner = WorkerRunner(spec)
    for _ in range(3):
        await runner.run_once()

    assert [len(asked) for asked in desk.asked] == [2, 2, 2]
    assert {one for asked in desk.asked[:2] for one in asked} == {"1", "2", "3"}


async def test_a_provider_that_is_away_is_no_item_at_fault(shop: ShopWorld) -> None:
    """The iteration has failed, comes again after a back-off, and no invoice is given up."""
    await invoiced(shop, 1)
    desk = Desk(away=True)
    runner = WorkerRunner(money.payment_watcher(shop.db, desk, on_commit=()))  # type: ignore[arg-type]  # stands for a client
    with capture() as lines:
        assert await runner.run_once() == "failed"

    assert [line.event for line in lines if line.level == "error"] == ["worker.failed"]
    assert await shop.db.fetchval("test", "select status from invoices") == "active"


@pytest.mark.parametrize("name", ["expiry", "purchase_expiry", "activation", "payment_watcher"])
async def test_every_worker_is_bounded(shop: ShopWorld, name: str) -> None:
    """Each has a batch, and a deadline that ends an iteration before the next is due."""
    specs = {
        spec.name: spec
        for spec in (
            periodic.expiry(shop.db, wake=()),
            periodic.purchase_expiry(shop.db),
            periodic.activation(shop.db, wake=lambda: None),
            money.payment_watcher(shop.db, Desk(), on_commit=()),  # type: ignore[arg-type]  # stands for a client
        )
    }

    assert 0 < specs[name].batch <= 1000
    assert 0 < specs[name].deadline < specs[name].interval


async def _numbered_and_acknowledged(shop: ShopWorld) -> None:
    await access_log.number(shop.db)
    head = await access_log.head(shop.db)
    await access_log.record_ack(shop.db, "oslo", head.epoch, head.last_seq)


async def _log_rows(shop: ShopWorld) -> int:
    return int(await shop.db.fetchval("test", "select count(*) from access_log"))
