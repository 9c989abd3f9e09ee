"""All workers of the daemon, in the order in which they start: what runs by the clock, declared in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from vpnd.config import Settings
from vpnd.database.database import Database
from vpnd.nodes.client import NodeClient
from vpnd.payments.desk import PaymentDesk
from vpnd.runtime.worker import WorkerSpec, configured
from vpnd.shop.settlement import SettlementResult
from vpnd.workers import figures, money, periodic
from vpnd.workers.activity import activity
from vpnd.workers.alert_mutes import alert_mutes
from vpnd.workers.figures import Deliver
from vpnd.workers.housekeeping import housekeeping
from vpnd.workers.reconcile import reconcile
from vpnd.workers.telling import reminders, trial_notices

__all__ = ["Wakes", "worker_roster"]


@frozen(kw_only=True)
class Wakes:
    """Who is told of what workers have done.

    Attributes:
        nodes: of changes of access.
        messages: of what is to be sent.
        export: sends what became of an export.
    """

    nodes: Callable[[], None]
    messages: Callable[[], None]
    settled: Callable[[SettlementResult], None]
    export: Deliver


def worker_roster(
    settings: Settings, db: Database, desk: PaymentDesk, clients: Sequence[NodeClient], wakes: Wakes
) -> list[WorkerSpec]:
    """The workers that are enabled, with the rhythm that the operator has set for them."""
    shop = settings.shop
    zone, quiet, wake = shop.time_zone, shop.quiet_hours, wakes.messages
    specs: list[WorkerSpec] = [
        periodic.expiry(db, wake=(wakes.nodes, wakes.messages)),
        periodic.purchase_expiry(db),
        periodic.activation(db, wake=wakes.nodes, alert=wakes.messages),
        *_money(settings, db, desk, wakes),
        trial_notices(db, time_zone=zone, quiet_hours=quiet, wake=wake),
        reminders(db, shop.currency, time_zone=zone, quiet_hours=quiet, wake=wake),
        reconcile(db, clients, alert=wakes.messages),
        housekeeping(db),
        activity(db),
        alert_mutes(db, settings.alerts.chat, wake=wakes.messages),
        *_figures(settings, db, wakes),
    ]
    return [
        configured(spec, settings.worker(spec.name)) for spec in specs if settings.worker(spec.name).enabled
    ]


def _money(settings: Settings, db: Database, desk: PaymentDesk, wakes: Wakes) -> list[WorkerSpec]:
    currency, on_commit = settings.shop.currency, (wakes.settled,)
    specs: list[WorkerSpec] = [
        money.renewal(db, currency, on_commit=on_commit),
        money.renewal_notices(db, currency, wake=wakes.messages),
        money.books_keeper(db),
    ]
    for provider in desk.providers.values():
        specs.append(money.payment_watcher(db, provider, on_commit=on_commit))
        specs.append(money.reconciliation(db, provider, on_commit=on_commit))
    if desk.stars is not None and settings.stars.enabled:
        specs.append(money.stars_sweep(db, desk.stars, on_commit=on_commit))
    return specs


def _figures(settings: Settings, db: Database, wakes: Wakes) -> list[WorkerSpec]:
    owners = settings.telegram.admins
    return [
        figures.figures(
            db,
            time_zone=settings.shop.time_zone,
            reports=settings.reports,
            owners=owners,
            language=settings.shop.languages[0],
            wake=wakes.messages,
        ),
        figures.exports(
            db,
            settings.instance.state_dir / "exports",
            owners=owners,
            deliver=wakes.export,
            wake=wakes.messages,
        ),
    ]
