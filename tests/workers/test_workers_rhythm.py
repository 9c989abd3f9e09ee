"""The rhythm of the workers that operators know."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from vpnd.database.database import Database
from vpnd.workers import money, periodic


def test_the_intervals_are_those_operators_know() -> None:
    """Expiry every minute, activation every five, open invoices every half minute, unless somebody sets others."""
    db: Database = object()  # type: ignore[assignment]  # a declaration keeps it and asks nothing
    client: Any = SimpleNamespace(name="cryptopay")
    intervals = {
        periodic.expiry(db, wake=()).interval: "expiry",
        periodic.activation(db, wake=lambda: None).interval: "activation",
        money.payment_watcher(db, client, on_commit=()).interval: "payment_watcher",
    }

    assert intervals == {60: "expiry", 300: "activation", 30: "payment_watcher"}
    assert periodic.purchase_expiry(db).interval == 60
