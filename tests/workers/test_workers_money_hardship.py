"""What a deadline, a poisoned row, a second instance, a lost database, a clock that jumps and a database in another time zone do
to the payment watchers and to the keeper of the books: every paid invoice is settled once, and every account is verified."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
from attrs import evolve
from database_kit import database_settings
from hardship import cut_connections, move_to_newfoundland
from money_world import books_agree
from shop_world import ShopWorld, hold, open_world

from vpnd.config import WorkerSettings
from vpnd.database.database import open_database
from vpnd.payments.base import ChargePage, InvoiceState
from vpnd.runtime.journal import capture
from vpnd.runtime.limits import Limits
from vpnd.runtime.worker import WorkerRunner, configured
from vpnd.shop import books
from vpnd.shop.charges import Charge
from vpnd.shop.settlement import SettlementResult
from vpnd.workers import money

by_provider = pytest.mark.parametrize("provider", ["cryptopay", "yookassa"])

OPEN = """
with bought as (
    insert into purchases (public_id, customer_id, offer_id, method, currency, amount, shop_currency, shop_amount, list_amount,
                           request_key, expires_at)
    select 'p' || translate(lpad(c.id::text, 16, '0'), '0189', 'abcd'), c.id,
           (select id from offers where plan_id = 'basic' and days = 30), $1, 'RUB', 19900, 'RUB', 19900, 19900,
           'update:' || c.id, vpnd_now() + interval '1 hour'
    from customers c returning id, customer_id, expires_at
)
insert into invoices (purchase_id, provider, external_id, url, currency, amount, expires_at)
select id, $1, 'i' || customer_id, 'https://pay', 'RUB', 19900, expires_at from bought
"""


class Desk:
    """A provider at which every invoice is paid but some."""

    def __init__(self, name: str, payloads: dict[str, str]) -> None:
        self.name = name
        self._payloads = payloads
        self.asked: list[list[str]] = []
        self.unpaid: set[str] = set()

    async def invoice_states(self, external_ids: Sequence[str]) -> list[InvoiceState]:
        """Answer as a provider does."""
        await trio.lowlevel.checkpoint()
        self.asked.append(list(external_ids))
        return [
            InvoiceState(one, "active", None)
            if one in self.unpaid
            else InvoiceState(one, "paid", self._charge(one))
            for one in external_ids
        ]

    async def charges_since(self, since: datetime, cursor: str | None = None) -> ChargePage:
        """List all that is paid, a hundred a page."""
        await trio.lowlevel.checkpoint()
        paid = [one for one in self._payloads if one not in self.unpaid]
        first = int(cursor or 0)
        return ChargePage(
            tuple(self._charge(one) for one in paid[first : first + 100]),
            0,
            str(first + 100) if first + 100 < len(paid) else None,
        )

    def _charge(self, external_id: str) -> Charge:
        return Charge(
            provider=self.name, charge_id=external_id, amount=19_900, currency="RUB", amount_text="199.00",
            payload=self._payloads[external_id], invoice_external_id=external_id,
        )  # fmt: skip


async def opened(shop: ShopWorld, provider: str, count: int) -> Any:
    """The provider's desk, with so many open invoices that are paid."""
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code) select n, 'en', 'c' || n from generate_series(1, $1) n",
        count,
    )
    await shop.execute(OPEN, provider)
    rows = await shop.db.fetch(
        "test", "select i.external_id, p.public_id from invoices i join purchases p on p.id = i.purchase_id"
    )
    return Desk(provider, {row["external_id"]: row["public_id"] for row in rows})


def watching(
    shop: ShopWorld, desk: Any, told: list[SettlementResult], *, batch: int = 20, **changes: Any
) -> WorkerRunner:
    """The watcher of a desk."""
    spec = configured(
        money.payment_watcher(shop.db, desk, on_commit=(told.append,)), WorkerSettings(batch=batch)
    )
    return WorkerRunner(evolve(spec, **changes))


async def settled_once(shop: ShopWorld, count: int, told: list[SettlementResult]) -> None:
    """So many purchases are paid, each once, and whoever waits was told once of each."""
    row = await shop.db.fetchrow(
        "test",
        """select (select count(*) from purchases where status = 'paid') as paid, (select count(*) from settlements) as settled,
                  (select count(*) from grants) as granted, (select count(*) from invoices where status = 'paid') as invoices""",
    )
    assert row is not None
    assert dict(row.items()) == dict.fromkeys(("paid", "settled", "granted", "invoices"), count)
    assert len({one.settlement_id for one in told}) == len(told)
    await books_agree(shop)


@by_provider
async def test_a_deadline_in_the_middle_of_a_round(shop: ShopWorld, provider: str) -> None:
    """One charge hangs in a lock until the round is cut; the next round asks about what is open and settles the rest."""
    desk, told = await opened(shop, provider, 30), list[SettlementResult]()
    runner = watching(shop, desk, told, batch=30, deadline=1.5)
    async with trio.open_nursery() as nursery:
        held = await hold(
            nursery,
            shop.db,
            lambda tx: tx.execute("select from customers where telegram_id = 17 for update"),
        )
        assert await runner.run_once() == "timeout"
        assert 0 < len(told) < 30
        await held.commit()
    assert await runner.run_once() == "ok"

    await settled_once(shop, 30, told)
    assert len(told) == 30


@by_provider
async def test_one_poisoned_among_a_hundred(shop: ShopWorld, provider: str) -> None:
    """A charge that the database refuses is reported and asked about again; the other 99 are settled in the same round."""
    desk, told = await opened(shop, provider, 100), list[SettlementResult]()
    async with shop.db.transaction("test") as tx:
        await tx.script(
            """
            create function poison() returns trigger language plpgsql as
                $$ begin if new.charge_id = 'i42' then raise exception 'poisoned'; end if; return new; end $$;
            create trigger poison before insert on settlements for each row execute function poison();
            """
        )
    runner = watching(shop, desk, told, batch=100)
    with capture() as lines:
        assert await runner.run_once() == "ok"

    assert len(told) == 99
    assert [line.fields["key"] for line in lines if line.event == "worker.item_failed"] == ["i42"]
    await shop.execute("drop trigger poison on settlements")
    assert await runner.run_once() == "ok"
    assert desk.asked[-1] == ["i42"]
    await settled_once(shop, 100, told)


@by_provider
async def test_two_watchers_at_once(shop: ShopWorld, provider: str) -> None:
    """Two instances without a lease: each charge is settled once, and each customer's wake-up comes once."""
    desk, told = await opened(shop, provider, 60), list[SettlementResult]()
    for _ in range(3):  # 20 invoices a round
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(watching(shop, desk, told).run_once)

    await settled_once(shop, 60, told)
    assert len(told) == 60


@by_provider
async def test_a_database_that_is_lost_in_the_middle(shop: ShopWorld, provider: str) -> None:
    """Connections die under it again and again: rounds fail, no invoice is given up, and each charge is settled once."""
    desk, told = await opened(shop, provider, 60), list[SettlementResult]()
    runner = watching(shop, desk, told)
    await _losing(shop, runner)

    assert await runner.run_once() == "ok"
    await settled_once(shop, 60, told)


@by_provider
async def test_a_clock_that_jumps(shop: ShopWorld, provider: str) -> None:
    """Back and forth by most of a day: what was settled stays, and what is paid by then is honoured, however late."""
    desk, told = await opened(shop, provider, 40), list[SettlementResult]()
    runner = watching(shop, desk, told)
    desk.unpaid = {f"i{number}" for number in range(21, 41)}
    assert await runner.run_once() == "ok"
    await settled_once(shop, 20, told)
    desk.unpaid.clear()
    await shop.advance(timedelta(hours=-20))
    await shop.advance(timedelta(hours=40))
    for _ in range(3):
        assert await runner.run_once() == "ok"

    await settled_once(shop, 40, told)


@by_provider
async def test_a_database_in_another_time_zone(shop: ShopWorld, database_url: str, provider: str) -> None:
    """A zone of half hours changes nothing of what is open and what is settled."""
    await move_to_newfoundland(shop, database_url)
    async with open_database(database_settings(database_url), Limits(5, 5), instance_name="far") as db:
        far = await open_world(db)
        desk, told = await opened(far, provider, 20), list[SettlementResult]()
        assert await watching(far, desk, told).run_once() == "ok"

        await settled_once(far, 20, told)
        assert await db.fetchval("test", "select count(*) from subscriptions where expires_at < now()") == 0


# ---------------------------------------------------------------------- the books

TRANSFERS = """
with people as (
    insert into accounts (kind, owner, currency, customer_id, balance)
    select 'customer', id::text, 'RUB', id, 100 from customers returning id, owner
), house as (
    insert into accounts (kind, owner, currency) values ('clearing', 'cryptopay', 'RUB') returning id
)
insert into ledger (debit_id, credit_id, amount, currency, kind, reference)
select house.id, people.id, 100, 'RUB', 'test', 'test:' || people.owner from people, house
"""
SUMS = "select count(*) from account_sums where balance in (100, -100 * (select count(*) from customers))"


async def booked(shop: ShopWorld, count: int) -> None:
    """So many customers with 100 kopecks each, from one account of the house."""
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code) select n, 'en', 'c' || n from generate_series(1, $1) n",
        count,
    )
    await shop.execute(TRANSFERS)


async def spoiled(shop: ShopWorld, *owners: int) -> None:
    """Cached balances that the ledger does not say."""
    await shop.execute(
        "update accounts set balance = balance + 7 where kind = 'customer' and owner = any($1)",
        [str(one) for one in owners],
    )


def wrong(lines: Sequence[Any]) -> list[str]:
    """Which accounts were said to be off."""
    return [line.fields["what"] for line in lines if line.event == "books.wrong"]


async def test_books_cut_by_their_deadline_go_on_where_they_stopped(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third page of balances hangs; the next iteration begins at it and not at the first."""
    monkeypatch.setattr(money, "_BALANCE_PAGE", 10)
    await booked(shop, 50)
    await spoiled(shop, 5, 45)
    honest, pages = books.balance_drift, list[int]()

    async def hanging(source: Any, account_ids: Sequence[int], limit: int = 100) -> list[books.Drift]:
        pages.append(account_ids[0])
        if len(pages) == 3:
            await trio.sleep_forever()
        return await honest(source, account_ids, limit)

    monkeypatch.setattr(books, "balance_drift", hanging)
    runner = WorkerRunner(evolve(money.books_keeper(shop.db), deadline=2.0))
    with capture() as lines:
        assert await runner.run_once() == "timeout"
        assert await runner.run_once() == "ok"

    assert pages[3] == pages[2]
    assert wrong(lines) == ["account customer 5", "account customer 45"]


async def test_one_account_that_is_off_among_a_thousand(shop: ShopWorld) -> None:
    """It is named, to the journal and the admins; the other 999 are verified in the same iteration."""
    await booked(shop, 1000)
    await spoiled(shop, 617)
    with capture() as lines:
        assert await WorkerRunner(money.books_keeper(shop.db)).run_once() == "ok"

    assert wrong(lines) == ["account customer 617"]
    assert len(await shop.outbox("books:")) == 1


async def test_two_keepers_at_once(shop: ShopWorld) -> None:
    """Two instances without a lease add no transfer twice, and tell the admins once."""
    await booked(shop, 300)
    await spoiled(shop, 7)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(WorkerRunner(money.books_keeper(shop.db)).run_once)

    assert await shop.db.fetchval("test", SUMS) == 301
    assert len(await shop.outbox("books:")) == 1


async def test_books_whose_database_is_lost(shop: ShopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections die under them: iterations fail, and in the end the sums are those of all transfers."""
    monkeypatch.setattr(books, "PAGE", 50)
    await booked(shop, 400)
    runner = WorkerRunner(money.books_keeper(shop.db))
    await _losing(shop, runner)

    assert await runner.run_once() == "ok"
    assert await shop.db.fetchval("test", SUMS) == 401
    assert await shop.outbox("books:") == []


async def test_books_do_not_mind_the_clock(shop: ShopWorld, database_url: str) -> None:
    """Business time that jumps, and a database in a zone of half hours, move no sum."""
    await move_to_newfoundland(shop, database_url)
    async with open_database(database_settings(database_url), Limits(5, 5), instance_name="far") as db:
        far = await open_world(db)
        await booked(far, 50)
        runner = WorkerRunner(money.books_keeper(db))
        for jump in (timedelta(), timedelta(hours=-20), timedelta(hours=40)):
            await far.advance(jump)
            assert await runner.run_once() == "ok"

        assert await db.fetchval("test", SUMS) == 51
        assert await far.outbox("books:") == []


async def _losing(shop: ShopWorld, runner: WorkerRunner) -> None:
    """Iterate while the database's connections are cut again and again."""

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut_connections, shop.db, 6)
        for _ in range(20):
            assert await runner.run_once() in ("ok", "failed")
