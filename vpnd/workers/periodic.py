"""The workers that run by the clock, as data. Each is bounded, has a hard deadline, and is safe when run twice.

The intervals are those of the audited system; an operator may set others in `[workers.<name>]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from vpnd.database.database import Database
from vpnd.payments.cryptopay import MAX_IDS, CryptoPay
from vpnd.payments.watcher import CHECK_LIMIT, check_invoices
from vpnd.runtime.journal import get_journal
from vpnd.runtime.worker import ItemWorker, Sweep, SweepContext
from vpnd.shop.access_log import log_again
from vpnd.shop.purchases import expire_purchases, overdue_purchases
from vpnd.shop.settlement import SettlementResult
from vpnd.shop.status import AwaitingActivation, awaiting_activation
from vpnd.shop.subscriptions import due_subscriptions, expire_due

journal = get_journal("workers")

#: A commit reaches a node within a tenth of a second; what is not on after this long needs a second look.
ACTIVATION_DUE: Final = timedelta(seconds=60)

#: (end, id): what the pages of overdue rows are ordered by.
Key = tuple[datetime, int]


def expiry(db: Database, *, wake: Sequence[Callable[[], None]]) -> Sweep:
    """Switch off subscriptions whose time is over: the database decides, nodes and messages follow.

    A renewal in between wins: the statement judges each row again under its lock.
    """

    async def keys(after: Key | None, limit: int) -> Sequence[Key]:
        return await due_subscriptions(db, limit, after)

    async def sweep(context: SweepContext, limit: int) -> int:
        done = await expire_due(db, limit, keys=[key for _end, key in context.keys or ()])
        if done:
            for wake_up in wake:
                wake_up()
        return done

    return Sweep("expiry", interval=60, deadline=50, batch=500, sweep=sweep, keys=keys)


def purchase_expiry(db: Database) -> Sweep:
    """Close purchases whose price is no longer promised. A late payment is honoured all the same."""

    async def keys(after: Key | None, limit: int) -> Sequence[Key]:
        return await overdue_purchases(db, limit, after)

    async def sweep(context: SweepContext, limit: int) -> int:
        return await expire_purchases(db, limit, keys=[key for _end, key in context.keys or ()])

    return Sweep("purchase_expiry", interval=60, deadline=50, batch=500, sweep=sweep, keys=keys)


def activation(db: Database, *, wake: Callable[[], None]) -> ItemWorker[AwaitingActivation]:
    """The safety net: what is paid and on, and still acknowledged by no node, is put into the log again, and told.

    It never gives up silently: each round tells again, for as long as the customer waits.
    """

    async def page(after: int | None, limit: int) -> Sequence[AwaitingActivation]:
        return await awaiting_activation(db, ACTIVATION_DUE, limit, after=after)

    async def handle(item: AwaitingActivation) -> None:
        again = await log_again(db, item.subscription_id)
        if again:
            wake()
        journal.warning(
            "activation.late",
            message=f"subscription {item.subscription_id} is paid and on, and no node has acknowledged it"
            f" since {item.since:%Y-%m-%d %H:%M:%S}; "
            + ("it is sent again" if again else "it is still under way"),
            subscription=item.subscription_id,
            again=again,
        )

    return ItemWorker(
        "activation",
        interval=300,
        deadline=60,
        batch=50,
        page=page,
        handle=handle,
        key=lambda item: item.subscription_id,
    )


def payment_watcher(
    db: Database, client: CryptoPay, *, on_commit: Sequence[Callable[[SettlementResult], None]]
) -> ItemWorker[int]:
    """Ask Crypto Pay about open invoices, the longest unchecked first, a whole batch in one call.

    One round is one item, the number of invoices to ask about: what fails is the provider's answer, not a row, and asking in
    halves would only ask more.
    """

    async def page(after: int | None, limit: int) -> Sequence[int]:
        return [min(limit, MAX_IDS)] if after is None else []

    async def handle(how_many: int) -> None:
        await check_invoices(db, client, how_many, on_commit=on_commit)

    return ItemWorker(
        "payment_watcher",
        interval=30,
        deadline=25,
        batch=CHECK_LIMIT,
        page=page,
        handle=handle,
        key=lambda how_many: how_many,
    )
