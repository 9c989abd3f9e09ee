"""The workers that run by the clock, as data. Each is bounded, has a hard deadline, and is safe when run twice.

The intervals are those of the audited system; an operator may set others in `[workers.<name>]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from vpnd.database.database import Database
from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.runtime.worker import ItemWorker, Sweep
from vpnd.shop.activations import AwaitingActivation, Tried, awaiting_activation, try_again
from vpnd.shop.purchases import expire_purchases, overdue_purchases
from vpnd.shop.subscriptions import due_subscriptions, expire_due

journal = get_journal("workers")

#: A commit reaches a node within a tenth of a second; what is not on after this long needs a second look.
ACTIVATION_DUE: Final = timedelta(seconds=60)

#: (end, id): what the pages of overdue rows are ordered by.
Key = tuple[datetime, int]


def expiry(db: Database, *, wake: Sequence[Callable[[], None]]) -> Sweep[Key]:
    """Switch off subscriptions whose time is over: the database decides, nodes and messages follow.

    A renewal in between wins: the statement judges each row again under its lock.
    """

    async def keys(after: Key | None, limit: int) -> Sequence[Key]:
        return await due_subscriptions(db, limit, after)

    async def sweep(due: Sequence[Key]) -> int:
        done = await expire_due(db, len(due), keys=[key for _end, key in due])
        if done:
            for wake_up in wake:
                wake_up()
        return done

    return Sweep("expiry", interval=60, deadline=50, batch=500, keys=keys, sweep=sweep)


def purchase_expiry(db: Database) -> Sweep[Key]:
    """Close purchases whose price is no longer promised. A late payment is honoured all the same."""

    async def keys(after: Key | None, limit: int) -> Sequence[Key]:
        return await overdue_purchases(db, limit, after)

    async def sweep(due: Sequence[Key]) -> int:
        return await expire_purchases(db, len(due), keys=[key for _end, key in due])

    return Sweep("purchase_expiry", interval=60, deadline=50, batch=500, keys=keys, sweep=sweep)


def activation(
    db: Database, *, wake: Callable[[], None], alert: Callable[[], None] = lambda: None
) -> ItemWorker[AwaitingActivation]:
    """The safety net: what is paid and on, and still acknowledged by no node, is put into the log again, and told.

    It never gives up: after some tries the admins are told (`alert` wakes what tells them), and it is tried on, slowly.
    """

    async def page(after: int | None, limit: int) -> Sequence[AwaitingActivation]:
        return await awaiting_activation(db, ACTIVATION_DUE, limit, after=after)

    async def body(tx: Transaction, item: AwaitingActivation) -> Tried | None:
        return await try_again(tx, item)

    async def handle(item: AwaitingActivation) -> None:
        tried = await db.run("activations.try", body, item)
        if tried is None:
            return
        if tried.again:
            wake()
        if tried.alerted:
            alert()
        journal.warning(
            "activation.late",
            message=f"subscription {item.subscription_id} is paid and on, and no node has acknowledged it"
            f" since {item.since:%Y-%m-%d %H:%M:%S}, try {tried.attempt}: "
            + ("it is sent again" if tried.again else "it is still under way"),
            subscription=item.subscription_id,
            attempt=tried.attempt,
            again=tried.again,
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
