"""Two figures that an audit skipped as too hard, and one statement that only looks as if it locked."""

from __future__ import annotations

import time

import pytest

from vpnd.database.database import Database
from vpnd.database.sites import ACQUIRE_SLOW, HOLD_LONG, site_named
from vpnd.runtime import journal


def test_a_long_wait_and_a_long_hold_are_told_with_their_tags() -> None:
    """Who waits long for a connection, and who keeps one long, stands in the journal by name; others do not."""
    site = site_named("test.tags")
    with journal.capture() as entries:
        site.waited(ACQUIRE_SLOW / 2)
        site.held(time.perf_counter())
        site.waited(ACQUIRE_SLOW + 1)
        site.held(time.perf_counter() - HOLD_LONG - 1)

    assert [entry.tag for entry in entries] == ["[DB_ACQUIRE_SLOW]", "[DB_HOLD_LONG]"]
    assert all("test.tags" in entry.message for entry in entries)


@pytest.mark.parametrize(
    "sql",
    [
        "select id from customers limit 1 for update skip locked",
        "select id from customers limit 1 FOR NO KEY UPDATE",
        "select id from customers limit 1 for share",
        "select id from customers limit 1 for key share",
    ],
)
async def test_a_lock_is_taken_in_a_scope_or_not_at_all(db: Database, sql: str) -> None:
    """Outside of a scope a row lock ends with its statement and guards nothing, so asking for one is refused."""
    with pytest.raises(ValueError, match="reads only"):
        await db.fetch("test.lock", sql)
