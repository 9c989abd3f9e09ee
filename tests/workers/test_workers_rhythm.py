"""The workers as they are declared: bounded, with a deadline, and in the rhythm that operators know."""

from __future__ import annotations

from typing import Any

import pytest

from vpnd.database.database import Database
from vpnd.payments.cryptopay import CryptoPay
from vpnd.workers import periodic


@pytest.fixture
def declared() -> dict[str, Any]:
    """Every worker by its name. Their parts are never touched: what is looked at is the declaration."""
    db: Database = object()  # type: ignore[assignment]  # a declaration keeps it and asks nothing
    client: CryptoPay = object()  # type: ignore[assignment]  # likewise
    specs = (
        periodic.expiry(db, wake=()),
        periodic.purchase_expiry(db),
        periodic.activation(db, wake=lambda: None),
        periodic.payment_watcher(db, client, on_commit=()),
    )
    return {spec.name: spec for spec in specs}


def test_every_worker_is_bounded(declared: dict[str, Any]) -> None:
    """An iteration ends before the next one is due, and never has more than a thousand rows in memory."""
    for name, spec in declared.items():
        assert 0 < spec.deadline < spec.interval, name
        assert 0 < spec.batch <= 1000, name


def test_the_intervals_are_those_operators_know(declared: dict[str, Any]) -> None:
    """Expiry every minute, activation every five, open invoices every half minute."""
    intervals = {name: spec.interval for name, spec in declared.items()}
    assert intervals == {"expiry": 60, "purchase_expiry": 60, "activation": 300, "payment_watcher": 30}
