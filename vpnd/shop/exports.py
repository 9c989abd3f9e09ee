"""Exports: a table as CSV, in pages, each a read of its own, as of a moment that is fixed at the start.

What "as of" means: rows that were made after that moment are left out, however long the export takes. Of rows that are changed
while it runs (a subscription that is renewed, a balance) an export has what each was when its page was read. Nothing is ever
changed in the ledger and the audit log, so those are exact; a row whose transaction was open at the moment itself may be in
or not.

The file is written under another name beside its own and renamed when it is whole: under its own name there is never a part.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final

import trio
from attrs import define, frozen

from vpnd.database import Row
from vpnd.database.database import Database
from vpnd.runtime.whole_file import to_disk, whole_file
from vpnd.shop.export_cells import csv_text
from vpnd.shop.export_tables import TABLES, Export, Table
from vpnd.shop.money import EXPONENTS, Money, format_decimal

__all__ = ["PAGE", "Exported", "Plan", "Progress", "TooBig", "export_csv", "plan_export"]

#: Ids of one statement. A page is formatted in one step of the loop, which is some milliseconds.
PAGE: Final = 500
_DEADLINE: Final = 10.0  # seconds for one page
#: Rows are numbered before they are committed, so their times are in the order of their numbers only within this.
_SLACK_HOURS: Final = 1


class TooBig(Exception):
    """The file would be longer than whoever asked can take; nothing is left of it."""


@frozen
class Plan:
    """What an export will go through: ids after `after` until `through`, as of a moment."""

    export: Export
    as_of: datetime
    after: int
    through: int
    since: datetime | None = None


@frozen
class Progress:
    """How far it is: rows written, and ids gone through of all there are to go through."""

    rows: int
    passed: int
    total: int


@frozen
class Exported:
    """What was written."""

    rows: int
    size: int
    as_of: datetime


async def plan_export(db: Database, export: Export, *, since: datetime | None = None) -> Plan:
    """Fix the moment and what there is to go through; some reads by index."""
    table = TABLES[export]
    row = await db.fetchrow(
        "exports.plan",
        f"select vpnd_now() as now, coalesce((select max(id) from {table.source}), 0) as newest limit 1",  # noqa: S608
    )
    if row is None:
        raise RuntimeError("a select without a table returned no row")
    newest = int(row["newest"])
    after = 0 if since is None or table.made == "id" else await _first(db, table, since, newest)
    return Plan(export, row["now"], after, newest, since)


async def _first(db: Database, table: Table, since: datetime, newest: int) -> int:
    """An id before the first row that was made at `since`: found by halves, since rows are numbered as they are made."""
    sql = (
        f"select {table.made} >= $2::timestamptz - make_interval(hours => {_SLACK_HOURS}) as late"  # noqa: S608
        f" from {table.source} where id >= $1 order by id limit 1"
    )
    low, high = 0, newest + 1  # what is at or before `low` is early, what is at or after `high` is late
    while high - low > PAGE:
        middle = (low + high) // 2
        row = await db.fetchrow("exports.since", sql, middle, since)
        if row is None or row["late"]:
            high = middle
        else:
            low = middle
    return max(low - 1, 0)


async def export_csv(
    db: Database,
    plan: Plan,
    path: Path,
    *,
    with_secrets: bool = False,
    most: int | None = None,
    page: int = PAGE,
    told: Callable[[Progress], object] = lambda _progress: None,
) -> Exported:
    """Write an export to `path`, which appears when it is whole; readable by its owner alone.

    Args:
        with_secrets: also what opens something: uuids, tokens.
        most: bytes that the file may have.
        page: ids of one statement.
        told: called after each page.

    Raises TooBig, OSError, and what the database raises; then, as when it is cancelled, nothing is left behind.
    """
    with whole_file(path) as file:
        written = _Written(file, most)
        await _write(db, plan, written, with_secrets=with_secrets, page=page, told=told)
        await trio.to_thread.run_sync(to_disk, file)
    return Exported(written.rows, written.size, plan.as_of)


@define
class _Written:
    """A file that grows, and how far it has."""

    file: BinaryIO
    most: int | None
    rows: int = 0
    size: int = 0

    async def add(self, text: str, rows: int) -> None:
        """Write some rows; raises TooBig. A disk may be slow, so it is written to beside the loop."""
        data = text.encode()
        await trio.to_thread.run_sync(self.file.write, data)
        self.rows += rows
        self.size += len(data)
        if self.most is not None and self.size > self.most:
            raise TooBig(f"more than {self.most} bytes after {self.rows} rows")


async def _write(
    db: Database,
    plan: Plan,
    written: _Written,
    *,
    with_secrets: bool,
    page: int,
    told: Callable[[Progress], object],
) -> None:
    table = TABLES[plan.export]
    columns = [name for name in table.columns if with_secrets or name not in table.secrets]
    # A mark by which spreadsheets know that this is UTF-8.
    await written.add("\ufeff" + csv_text([columns]), 0)
    after = plan.after
    while after < plan.through:
        rows = await db.fetch(
            "exports.page", table.page, after, plan.through, plan.as_of, page, plan.since, deadline=_DEADLINE
        )
        if not rows:
            break
        wanted = [_values(row, columns) for row in rows if row["wanted"]]
        await written.add(csv_text(wanted), len(wanted))
        after = rows[-1]["id"]
        told(Progress(written.rows, after - plan.after, plan.through - plan.after))


def _values(row: Row, columns: list[str]) -> list[Any]:
    return [_amount(row, name) if name in _AMOUNTS else row[name] for name in columns]


_AMOUNTS: Final = frozenset({"amount", "refunded", "balance", "bonus", "price"})


def _amount(row: Row, name: str) -> Decimal | str | None:
    """Money as a decimal number of its currency; of a currency that is not known here, its minor units in words."""
    minor, currency = row[f"{name}_minor"], row["currency"]
    if minor is None or currency is None:
        return None
    if currency not in EXPONENTS:
        return f"{minor} units"
    return Decimal(format_decimal(Money(minor, currency)))
