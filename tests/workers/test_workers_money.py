"""The workers that keep the money right: each bounded, each alone with its failures, each safe when run twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.lowlevel
from money_sandbox import Town, open_town, ordered
from money_world import balance, booked, books_agree, now, only, refund
from shop_world import ShopWorld, hold

from vpnd.config import WorkerSettings
from vpnd.database.outbox_rows import BoundaryDown, Delivered, OutboxItem
from vpnd.payments.base import ChargePage, InvoiceState, PaymentRejected, PaymentUnavailable, RefundPage
from vpnd.payments.refunding import deliver_refund
from vpnd.payments.watcher import invoice_for
from vpnd.runtime.journal import capture
from vpnd.runtime.worker import Job, WorkerRunner, configured
from vpnd.shop import ledger
from vpnd.shop.charges import Outcome, SettlementResult
from vpnd.shop.purchases import expire_purchases
from vpnd.shop.refunds import refund_by_id
from vpnd.shop.renewals import WINDOW, Due
from vpnd.shop.subscriptions import set_renewal
from vpnd.workers import money

SOON = timedelta(days=30) - WINDOW + timedelta(minutes=5)


class Woken:
    """Counts wake-ups, and keeps what came with them."""

    def __init__(self) -> None:
        self.results: list[SettlementResult] = []
        self.count = 0

    def __call__(self, result: SettlementResult | None = None) -> None:
        self.count += 1
        if result is not None:
            self.results.append(result)


class Lists:
    """A provider's empty lists; `error` is what asking for them fails with."""

    def __init__(self, name: str = "cryptopay") -> None:
        self.name = name
        self.asked: list[datetime] = []
        self.error: Exception | None = None

    async def charges_since(self, since: datetime, cursor: str | None = None) -> ChargePage:
        await trio.lowlevel.checkpoint()
        self.asked.append(since)
        if self.error is not None:
            raise self.error
        return ChargePage((), 0, None)

    async def refunds_since(self, since: datetime, cursor: str | None = None) -> RefundPage:
        await trio.lowlevel.checkpoint()
        return RefundPage((), None)

    async def invoice_states(self, external_ids: Sequence[str]) -> list[InvoiceState]:
        raise PaymentUnavailable("away")


def provider(name: str = "cryptopay") -> Any:
    """The part of a provider that a comparison asks."""
    return Lists(name)


async def renewing(shop: ShopWorld, amount: int) -> int:
    """The id of a subscription that is due, with so much on its customer's balance."""
    one = await shop.customer()
    await shop.settle(shop.charge(await shop.buy(one)))
    mine = await only(shop, one)
    await shop.do(lambda tx: set_renewal(tx, mine.id, one.id, from_balance=True))
    if amount:
        await shop.fill(one, amount)
    return mine.id


async def poison(shop: ShopWorld, table: str, condition: str) -> None:
    """Rows of a table that the database refuses."""
    await shop.execute(
        f"create function poison() returns trigger language plpgsql as"
        f" $$ begin if {condition} then raise exception 'poisoned'; end if; return new; end $$"
    )
    await shop.execute(
        f"create trigger poison before insert on {table} for each row execute function poison()"
    )


# ---------------------------------------------------------------------- renewals


async def test_what_is_due_is_renewed_and_waked(shop: ShopWorld) -> None:
    """In pages, once; who has too little is left alone."""
    due = [await renewing(shop, 20_000) for _ in range(5)]
    await renewing(shop, 100)
    await shop.advance(SOON)
    woken = Woken()
    runner = WorkerRunner(
        configured(money.renewal(shop.db, "RUB", on_commit=(woken,)), WorkerSettings(batch=2))
    )

    assert [await runner.run_once() for _ in range(2)] == ["ok", "ok"]

    assert [result.granted.subscription_id for result in woken.results if result.granted] == due
    assert runner.statistics().items == 5
    assert await shop.db.fetchval("test", "select count(*) from purchases where origin = 'renewal'") == 5


async def test_one_poisoned_renewal_does_not_stop_the_others(shop: ShopWorld) -> None:
    """It is named and skipped, again in the next iteration; the others are renewed in this one."""
    due = [await renewing(shop, 20_000) for _ in range(5)]
    await poison(shop, "purchases", f"new.subscription_id = {due[1]}")
    await shop.advance(SOON)
    woken = Woken()
    runner = WorkerRunner(money.renewal(shop.db, "RUB", on_commit=(woken,)))

    with capture() as lines:
        assert await runner.run_once() == "ok"

    assert [line.fields["key"] for line in lines if line.event == "worker.item_failed"] == [due[1]]
    assert woken.count == 4
    assert await booked(shop, "customer") == 4 * 100 + 20_000
    await shop.execute("drop trigger poison on purchases")
    await runner.run_once()
    assert woken.count == 5


async def test_what_changed_since_the_page_is_no_failure(shop: ShopWorld) -> None:
    """The balance was spent in between: said as information, and found again when it is due."""
    subscription_id = await renewing(shop, 100)
    await shop.advance(SOON)
    spec = money.renewal(shop.db, "RUB", on_commit=())
    row = await shop.db.fetchrow("test", "select customer_id, offer_id from subscriptions")
    assert row is not None
    with capture() as lines:
        await spec.handle(Due(subscription_id, row["customer_id"], row["offer_id"]))
        await spec.handle(Due(subscription_id, row["customer_id"], row["offer_id"] + 1))

    assert [line.event for line in lines if line.event.startswith("renewal.")] == ["renewal.not_now"]
    assert await shop.db.fetchval("test", "select count(*) from purchases where origin = 'renewal'") == 0


async def test_a_top_up_renews_at_once(shop: ShopWorld) -> None:
    """Too little is told once; the credit says that it may be enough, and the next iteration renews."""
    subscription_id = await renewing(shop, 0)
    customer_id = await shop.db.fetchval(
        "test", "select customer_id from subscriptions where id = $1", subscription_id
    )
    one = await shop.customer(
        await shop.db.fetchval("test", "select telegram_id from customers where id = $1", customer_id)
    )
    await shop.advance(SOON)
    told, renewed = Woken(), Woken()
    notices = WorkerRunner(money.renewal_notices(shop.db, "RUB", wake=told))
    renewal = WorkerRunner(money.renewal(shop.db, "RUB", on_commit=(renewed,)))
    for _ in range(2):
        await renewal.run_once()
        await notices.run_once()
    assert (told.count, renewed.count) == (1, 0)

    result = await shop.fill(one, 20_000)
    assert result.credited
    await renewal.run_once()

    assert renewed.count == 1
    assert (await balance(shop, one)).own == 100


async def test_notices_step_over_one_that_cannot_be_written(shop: ShopWorld) -> None:
    """The statement is halved until it stands alone; the others are told."""
    due = [await renewing(shop, 0) for _ in range(5)]
    await poison(shop, "outbox", f"new.key like 'renewal:{due[1]}:%'")
    await shop.advance(SOON)
    woken = Woken()
    spec = configured(money.renewal_notices(shop.db, "RUB", wake=woken), WorkerSettings(batch=4))
    runner = WorkerRunner(spec)

    assert await runner.run_once() == "ok"

    assert len(await shop.outbox("renewal:")) == 4
    assert woken.count >= 1
    assert runner.statistics().item_failures == 1


# ---------------------------------------------------------------------- the books


async def test_books_that_agree_are_brought_forward(shop: ShopWorld) -> None:
    """Nothing is said; the sums stand at the newest transfer."""
    await renewing(shop, 20_000)
    runner = WorkerRunner(money.books_keeper(shop.db))
    with capture() as lines:
        assert await runner.run_once() == "ok"
    assert [line for line in lines if line.level in ("warning", "error")] == []
    newest = await shop.db.fetchval("test", "select max(id) from ledger")
    assert await shop.db.fetchval("test", "select through_id from ledger_checkpoint") == newest


async def test_the_books_alarm_comes_once_a_day(shop: ShopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the journal each time; to the admins once, also after a restart, and again the next day."""

    class Day(datetime):
        day = 1

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 11, cls.day, 12, tzinfo=tz)

    monkeypatch.setattr(money, "datetime", Day)
    await renewing(shop, 20_000)
    await shop.execute("update accounts set balance = balance + 7 where kind = 'customer'")
    with capture() as lines:
        for _ in range(2):
            runner = WorkerRunner(money.books_keeper(shop.db))
            await runner.run_once()
            await runner.run_once()
        Day.day = 2
        await runner.run_once()

    said = [line.fields for line in lines if line.event == "books.wrong"]
    assert [(each["what"], each["currency"], each["amount"]) for each in said] == [
        ("account customer 1", "RUB", 7)
    ] * 5
    alerts = await shop.outbox("books:")
    assert [alert["key"] for alert in alerts] == [
        f"books:account customer 1:RUB:2026-11-0{day}" for day in (1, 2)
    ]
    assert {(alert["kind"], alert["payload"]["template"]) for alert in alerts} == {
        ("admin_alert", "books_wrong")
    }


async def test_sums_that_are_off_are_told(shop: ShopWorld) -> None:
    """A currency that is not at zero."""
    await renewing(shop, 20_000)
    runner = WorkerRunner(money.books_keeper(shop.db))
    await runner.run_once()
    await shop.execute(
        "update account_sums s set balance = s.balance - 3 from accounts a where a.id = s.account_id and a.kind = 'revenue'"
    )
    await runner.run_once()
    (alert,) = await shop.outbox("books:")
    assert alert["payload"]["args"] == {"what": "imbalance", "currency": "RUB", "amount": -3}


async def test_an_old_transaction_keeps_the_sums_back_and_nothing_else(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once an iteration; balances are verified all the same."""
    monkeypatch.setattr(money, "HORIZON_PATIENCE", 0.01)
    await renewing(shop, 20_000)
    runner = WorkerRunner(money.books_keeper(shop.db))
    async with trio.open_nursery() as nursery:
        entry = ledger.Entry(ledger.promo("RUB"), ledger.revenue("RUB"), 5, "test", "slow")
        held = await hold(nursery, shop.db, lambda tx: ledger.post(tx, [entry]))
        await shop.fill(await shop.customer(), 5_000)
        with capture() as lines:
            assert await runner.run_once() == "ok"
        assert [line.event for line in lines if line.level == "warning"] == ["books.waiting"]
        assert await shop.db.fetchval("test", "select through_id from ledger_checkpoint") == 0
        await held.commit()
    await runner.run_once()
    assert await shop.db.fetchval("test", "select through_id from ledger_checkpoint") > 0
    assert await shop.outbox("books:") == []


async def test_balances_are_verified_in_turn(shop: ShopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some at a time, the next iteration behind them, and then from the beginning."""
    monkeypatch.setattr(money, "BALANCES_AT_ONCE", 2)
    monkeypatch.setattr(money, "_BALANCE_PAGE", 2)
    people = [await shop.customer() for _ in range(5)]
    for one in people:
        await shop.fill(one, 1_000)
    await shop.execute(
        "update accounts set balance = balance + 1 where kind = 'customer' and owner = $1", str(people[4].id)
    )
    runner = WorkerRunner(money.books_keeper(shop.db))
    said: list[int] = []
    for _ in range(6):
        with capture() as lines:
            await runner.run_once()
        said.append(sum(line.event == "books.wrong" for line in lines))
    assert sum(said) == 2
    assert said[:3] == said[3:]


# ---------------------------------------------------------------------- the comparison


async def test_a_comparison_is_not_repeated_by_a_restart(shop: ShopWorld) -> None:
    """Not within twenty hours of the last that ended; of each provider by itself."""
    lists, other = provider(), provider("yookassa")
    for _ in range(2):
        assert await WorkerRunner(money.reconciliation(shop.db, lists, on_commit=())).run_once() == "ok"
    await WorkerRunner(money.reconciliation(shop.db, other, on_commit=())).run_once()
    assert (len(lists.asked), len(other.asked)) == (1, 1)
    assert abs(datetime.now(UTC) - money.RECONCILED - lists.asked[0]) < timedelta(minutes=1)

    await shop.execute(
        "update reconciliations set finished_at = clock_timestamp() - interval '20 hours 1 minute'"
    )
    await WorkerRunner(money.reconciliation(shop.db, lists, on_commit=())).run_once()
    assert len(lists.asked) == 2


async def test_a_comparison_that_failed_is_repeated(shop: ShopWorld) -> None:
    """A provider that is away fails the iteration, which comes again; one that refuses is said by name."""
    lists = provider()
    runner = WorkerRunner(money.reconciliation(shop.db, lists, on_commit=()))
    lists.error = PaymentUnavailable("away")
    assert await runner.run_once() == "failed"
    lists.error = PaymentRejected("no", code=400, name="X")
    with capture() as lines:
        await runner.run_once()
    assert "worker.failed" in [line.event for line in lines]
    lists.error = None
    assert await runner.run_once() == "ok"
    assert len(lists.asked) == 3


# ---------------------------------------------------------------------- against the sandboxed providers


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with open_town(refunds_by_transfer=True) as opened:
        with trio.fail_after(60):
            yield opened


async def test_watchers_of_two_providers_do_not_wait_for_each_other(shop: ShopWorld, town: Town) -> None:
    """One provider answers 500 to everything, the other's payments are settled; and the other way round."""
    bought = {one.name: await ordered(shop, one) for one in (town.cryptopay, town.yookassa)}
    woken = Woken()
    watchers = {
        one.name: WorkerRunner(money.payment_watcher(shop.db, one, on_commit=(woken,)))
        for one in (town.cryptopay, town.yookassa)
    }
    assert [runner.spec.name for runner in watchers.values()] == ["payment_watcher", "yookassa_watcher"]
    await town.pay(town.cryptopay, bought["cryptopay"][1])
    await town.pay(town.yookassa, bought["yookassa"][1])
    await town.crypto("fault", method="*", kind="5xx", count=1)

    assert [await runner.run_once() for runner in watchers.values()] == ["failed", "ok"]
    assert [result.purchase_id for result in woken.results] == [bought["yookassa"][0].id]
    assert [await runner.run_once() for runner in watchers.values()] == ["ok", "ok"]
    assert [result.purchase_id for result in woken.results] == [
        bought[name][0].id for name in ("yookassa", "cryptopay")
    ]


async def test_who_has_paid_does_not_wait_for_his_turn(shop: ShopWorld, town: Town) -> None:
    """YooKassa is asked about twenty invoices a round, one by one; what its list tells is settled in the very same round."""
    waiting = [await ordered(shop, town.yookassa) for _ in range(45)]
    last = [await ordered(shop, town.yookassa) for _ in range(3)]
    for _, external_id in last:
        await town.pay(town.yookassa, external_id)
    woken = Woken()
    watcher = WorkerRunner(money.payment_watcher(shop.db, town.yookassa, on_commit=(woken,)))
    before = await shop.db.fetchval("test", "select max(checked_at) from invoices")

    assert await watcher.run_once() == "ok"

    assert {result.purchase_id for result in woken.results} == {purchase.id for purchase, _ in last}
    asked = "select count(*) from invoices where checked_at > $1"
    assert await shop.db.fetchval("test", asked, before) == 20
    assert len(waiting) > 2 * 20


async def test_a_list_that_is_refused_keeps_nothing_back(shop: ShopWorld, town: Town) -> None:
    """What asking one by one has found is settled first; a round that has found nothing tells that the list is not to be had."""
    purchase, external_id = await ordered(shop, town.yookassa)
    await ordered(shop, town.yookassa)
    await town.pay(town.yookassa, external_id)
    await town.asked(town.yookassa)("fault", method="list_payments", kind="5xx", count=2)
    watcher = WorkerRunner(money.payment_watcher(shop.db, town.yookassa, on_commit=()))

    assert await watcher.run_once() == "ok"
    assert (await shop.again(purchase)).status == "paid"
    assert [await watcher.run_once() for _ in range(2)] == ["failed", "ok"]


async def test_the_stars_sweep_settles_and_wakes(shop: ShopWorld, town: Town) -> None:
    """What Telegram took while we were away; a Telegram that is away is a failed iteration and no loss."""
    one = await shop.customer()
    purchase = await shop.buy(one, "stars")
    await town.pay_stars(purchase, one.telegram_id)
    woken = Woken()
    runner = WorkerRunner(money.stars_sweep(shop.db, town.stars, on_commit=(woken,)))
    await town.telegram("fault", method="getStarTransactions", kind="5xx", count=1)

    assert [await runner.run_once() for _ in range(3)] == ["failed", "ok", "ok"]

    assert [result.purchase_id for result in woken.results] == [purchase.id]
    assert (await only(shop, one)).status == "active"


@pytest.mark.parametrize("name", ["cryptopay", "yookassa"])
async def test_an_hour_without_a_provider_needs_no_operator(shop: ShopWorld, town: Town, name: str) -> None:
    """Webhooks lost, every call a 5xx, and back: invoices, payments, refunds and by-hand refunds all come right by themselves."""
    desk = town.cryptopay if name == "cryptopay" else town.yookassa
    sim = town.asked(desk)
    if name == "cryptopay":
        await town.crypto("balance", asset="USDT", amount="1000")
    paid = [await ordered(shop, desk) for _ in range(3)]
    before = await ordered(shop, desk)
    await town.pay(desk, before[1])
    watcher = WorkerRunner(money.payment_watcher(shop.db, desk, on_commit=()))
    await watcher.run_once()
    settled = await shop.db.fetchval("test", "select id from settlements")
    asked = await refund(shop, settled)
    job = OutboxItem(
        1, f"refund_{name}", "k", "notice", None, {"refund": asked.refund_id}, 1, 0, False, False
    )
    wanting = await shop.buy(await shop.customer(), desk.name)  # type: ignore[arg-type]  # a provider's name is a method

    # An hour of nothing but errors; customers pay, and nobody tells us.
    await sim("fault", method="*", kind="5xx", count=1000)
    for _, external_id in paid:
        await town.pay(desk, external_id)
    comparison = WorkerRunner(money.reconciliation(shop.db, desk, on_commit=()))
    for _ in range(10):
        assert await watcher.run_once() == "failed"
        assert await comparison.run_once() == "failed"
        assert isinstance(await deliver_refund(shop.db, {name: desk}, job), BoundaryDown)
        with pytest.raises(PaymentUnavailable):
            await invoice_for(shop.db, desk, wanting, description="A month")
    await shop.advance(timedelta(hours=1, minutes=5))
    await expire_purchases(shop.db, 10)
    assert {(await shop.again(purchase)).status for purchase, _ in paid} == {"expired"}
    assert await shop.db.fetchval("test", "select count(*) from settlements") == 1

    # It is back.
    await sim("reset")
    assert await watcher.run_once() == "ok"
    assert await comparison.run_once() == "ok"
    assert isinstance(await deliver_refund(shop.db, {name: desk}, job), Delivered)
    made = await invoice_for(shop.db, desk, wanting, description="A month")

    assert {(await shop.again(purchase)).status for purchase, _ in paid} == {"paid"}
    outcomes = await shop.db.fetch("test", "select outcome from settlements")
    assert {row["outcome"] for row in outcomes} == {Outcome.SETTLED.value}
    done = await refund_by_id(shop.db, asked.refund_id)
    assert done is not None
    assert done.status == "done"
    assert made.provider == name
    assert (
        await shop.db.fetchval(
            "test", "select differences from reconciliations where finished_at is not null"
        )
        == 0
    )
    assert await booked(shop, "held") == 0
    await books_agree(shop)


@pytest.mark.parametrize("name", ["cryptopay", "yookassa"])
async def test_what_no_invoice_leads_to_is_found_by_the_comparison(
    shop: ShopWorld, town: Town, name: str
) -> None:
    """An invoice whose answer was lost is in no table of ours; its payment is found in the provider's list all the same."""
    desk = town.cryptopay if name == "cryptopay" else town.yookassa
    purchase, external_id = await ordered(shop, desk)
    await shop.execute("delete from invoices")
    await town.pay(desk, external_id)
    assert await WorkerRunner(money.payment_watcher(shop.db, desk, on_commit=())).run_once() == "ok"
    assert (await shop.again(purchase)).status == "pending"

    woken = Woken()
    await WorkerRunner(money.reconciliation(shop.db, desk, on_commit=(woken,))).run_once()

    assert (await shop.again(purchase)).status == "paid"
    assert [result.outcome for result in woken.results] == [Outcome.SETTLED]


async def test_every_worker_is_bounded(shop: ShopWorld) -> None:
    """Each has a batch unless it is one piece of work, a deadline before the next is due, and a name of its own."""
    account: Any = None
    specs = [
        money.payment_watcher(shop.db, provider(), on_commit=()),
        money.payment_watcher(shop.db, provider("yookassa"), on_commit=()),
        money.stars_sweep(shop.db, account, on_commit=()),
        money.reconciliation(shop.db, provider(), on_commit=()),
        money.reconciliation(shop.db, provider("yookassa"), on_commit=()),
        money.renewal(shop.db, "RUB", on_commit=()),
        money.renewal_notices(shop.db, "RUB", wake=Woken()),
        money.books_keeper(shop.db),
    ]
    for spec in specs:
        assert isinstance(spec, Job) or 0 < spec.batch <= 1000
        assert 0 < spec.deadline < spec.interval
    assert len({spec.name for spec in specs}) == len(specs)
    assert await now(shop) is not None
