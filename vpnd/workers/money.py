"""The workers that keep the money right: what was paid is found, what renews is renewed, the books are verified.

Each is bounded, has a hard deadline, and is safe when run twice: whatever it finds ends in the one function that settles,
and that settles a charge once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import trio

from vpnd.database.database import Database
from vpnd.database.scope import Transaction
from vpnd.payments.base import Provider
from vpnd.payments.reconcile import reconcile
from vpnd.payments.settle import settle_charge
from vpnd.payments.stars_account import StarsAccount
from vpnd.payments.stars_sweep import sweep_stars
from vpnd.payments.watcher import CHECK_LIMIT, LatelyPaid, ask_about_invoices, ask_and_read
from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal
from vpnd.runtime.worker import ItemWorker, Job, Sweep
from vpnd.shop import books, notices
from vpnd.shop.charges import Charge
from vpnd.shop.provider_lists import last_reconciled
from vpnd.shop.renewals import NOT_NOW, Due, due_renewals, renew, tell_about_renewals, untold_renewals
from vpnd.shop.settlement import SettlementResult

journal = get_journal("workers")

OnCommit = Sequence[Callable[[SettlementResult], None]]

#: How far back a daily comparison looks: a provider's webhook gives up after three days.
RECONCILED: Final = timedelta(days=3)
#: A comparison that ended so lately is not repeated by a restart.
RECONCILED_ENOUGH: Final = timedelta(hours=20)
#: Seconds for which the books wait for older transactions to end before the sums move on.
HORIZON_PATIENCE: Final = 20.0
#: Cached balances that one iteration verifies; the next goes on behind them.
BALANCES_AT_ONCE: Final = 20_000
_BALANCE_PAGE: Final = 1000


def payment_watcher(db: Database, provider: Provider, *, on_commit: OnCommit) -> ItemWorker[Charge]:
    """Ask a provider about open invoices, the longest unchecked first, as many at once as it can be asked.

    A page is what is paid of those, and each is settled by itself. Whatever was asked about last comes last. Where each
    invoice is a call of its own, the provider's list of charges is read besides.
    """
    by_one_call = provider.name == "cryptopay"
    lately = LatelyPaid(db, provider)

    async def page(_after: str | None, limit: int) -> Sequence[Charge]:
        if by_one_call:
            return (await ask_about_invoices(db, provider, limit)).paid
        return await ask_and_read(db, provider, lately, limit)

    async def handle(charge: Charge) -> None:
        await settle_charge(db, charge, on_commit=on_commit)

    return ItemWorker(
        "payment_watcher" if by_one_call else f"{provider.name}_watcher",
        interval=30,
        deadline=25,
        batch=CHECK_LIMIT,
        page=page,
        handle=handle,
        key=lambda charge: charge.charge_id,
        one_page=True,
    )


def stars_sweep(db: Database, account: StarsAccount, *, on_commit: OnCommit) -> Job:
    """Read the statement of Stars from where it was left: what came while we were away is settled."""

    async def work() -> int:
        return (await sweep_stars(db, account, on_commit=on_commit)).read

    return Job("stars_sweep", interval=3600, deadline=600, work=work)


def reconciliation(db: Database, provider: Provider, *, on_commit: OnCommit) -> Job:
    """Compare a provider's lists of three days with the books, once a day, and mend what can be mended."""

    async def work() -> int:
        last = await last_reconciled(db, provider.name)
        now = datetime.now(UTC)
        if last is not None and now - last < RECONCILED_ENOUGH:
            return 0
        return (await reconcile(db, provider, since=now - RECONCILED, on_commit=on_commit)).charges

    return Job(f"reconciliation_{provider.name}", interval=86_400, deadline=1800, work=work)


def renewal(db: Database, currency: str, *, on_commit: OnCommit) -> ItemWorker[Due]:
    """Renew what is due within the window and can be paid from its customer's balance, each by itself.

    A credit to a balance wakes it: a top-up renews at once.
    """

    async def page(after: int | None, limit: int) -> Sequence[Due]:
        return await due_renewals(db, currency, limit, after=after)

    async def body(tx: Transaction, due: Due) -> SettlementResult | None:
        result = await renew(tx, due, currency)
        if result is not None:
            for wake in on_commit:
                tx.after_commit(partial(wake, result))
        return result

    async def handle(due: Due) -> None:
        try:
            result = await db.run("renewals.renew", body, due)
        except NOT_NOW as error:
            metrics.renewals_total.labels("not_now").inc()
            journal.info(
                "renewal.not_now",
                message=f"subscription {due.subscription_id} is not renewed now: {error}",
                subscription=due.subscription_id,
            )
        else:
            metrics.renewals_total.labels("done" if result is not None else "not_due").inc()

    return ItemWorker(
        "renewal",
        interval=600,
        deadline=300,
        batch=100,
        page=page,
        handle=handle,
        key=lambda due: due.subscription_id,
    )


def renewal_notices(db: Database, currency: str, *, wake: Callable[[], None]) -> Sweep[int]:
    """Tell whoever has too little for his renewal, once a period."""

    async def keys(after: int | None, limit: int) -> Sequence[int]:
        return await untold_renewals(db, currency, limit, after=after)

    async def sweep(due: Sequence[int]) -> int:
        told = await tell_about_renewals(db, currency, due)
        if told:
            wake()
        return told

    return Sweep("renewal_notices", interval=600, deadline=60, batch=200, keys=keys, sweep=sweep)


def books_keeper(db: Database) -> Job:
    """Bring the sums forward, see that every currency is at zero, and verify cached balances, some at a time."""
    keeper = _Keeper(db)

    async def work() -> int:
        await keeper.bring_forward()
        await keeper.see_zero()
        return await keeper.verify_balances()

    return Job("books", interval=600, deadline=300, work=work)


class _Keeper:
    """Verifies the books; remembers which balance comes next."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._next_account = 0
        self._wrong = 0

    async def bring_forward(self) -> None:
        """Add what is sure to be complete to the sums."""
        mark = await books.horizon(self._db)
        with trio.move_on_after(HORIZON_PATIENCE):
            while not await books.passed(self._db, mark):  # noqa: ASYNC110 (nobody tells us when they end)
                await trio.sleep(0.2)
        if not await books.passed(self._db, mark):
            journal.warning(
                "books.waiting",
                message="A transaction has been open for long, so the sums of the ledger stay where they are",
            )
            return
        while await books.advance(self._db, mark) == books.PAGE:
            pass

    async def see_zero(self) -> None:
        """Every currency must be at zero over all accounts."""
        for currency, total in (await books.sums_by_currency(self._db)).items():
            metrics.ledger_imbalance_minor.labels(currency).set(total)
            if total:
                await self._alarm("imbalance", currency, total)

    async def verify_balances(self) -> int:
        """Hold cached balances against the ledger, all of them in turn; returns how many now."""
        verified = 0
        for _ in range(0, BALANCES_AT_ONCE, _BALANCE_PAGE):
            page = await books.cached_accounts(self._db, self._next_account, _BALANCE_PAGE)
            for drift in await books.balance_drift(self._db, page) if page else ():
                self._wrong += 1
                await self._alarm(
                    f"account {drift.ref.kind} {drift.ref.owner}",
                    drift.ref.currency,
                    drift.cached - drift.booked,
                )
            verified += len(page)
            if len(page) < _BALANCE_PAGE:
                metrics.balance_drift_accounts.set(self._wrong)
                self._next_account = self._wrong = 0
                break
            self._next_account = page[-1]
        return verified

    async def _alarm(self, what: str, currency: str, amount: int) -> None:
        """Say it in the journal each time, and to the admins once a day."""
        journal.error(
            "books.wrong",
            message=f"The books do not agree: {what} is off by {amount} minor units of {currency}",
            what=what,
            currency=currency,
            amount=amount,
        )
        key = f"books:{what}:{currency}:{datetime.now(UTC):%Y-%m-%d}"
        args = {"what": what, "currency": currency, "amount": amount}
        async with self._db.transaction("books.alarm") as tx:
            await notices.put_all(tx, [notices.admin_alert(key, "books_wrong", args)])
