"""`vpnd export`: a table as CSV, streamed, with its progress on a terminal; the plans as the file that they are applied from."""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Final

import trio
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from vpnd.config import Settings
from vpnd.database.scope import Transaction
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.runtime.whole_file import to_disk, whole_file
from vpnd.shell.shop import CommandFailed, OpenShop, run_command
from vpnd.shop.audit_log import Change, perform
from vpnd.shop.catalogue import list_plans
from vpnd.shop.export_tables import Export
from vpnd.shop.exports import Exported, Plan, Progress, export_csv, plan_export
from vpnd.shop.maintenance import moment_in_zone
from vpnd.shop.operators import Permission, shell_actor
from vpnd.shop.plans_toml import render_plans

__all__ = ["export"]

#: Ids of one statement: a shell has no buttons to answer beside it.
PAGE: Final = 2000
_REFRESH: Final = 0.1  # seconds between two pictures of the bar


def export(
    settings: Settings,
    *,
    what: Export,
    out: Path | None,
    with_secrets: bool,
    since: datetime | None,
    toml: bool = False,
) -> int:
    """Run the command; return its exit code.

    Args:
        toml: of plans: a plans.toml that says what the shop sells.
        out: the file; None: a name with the time, in the present folder.
        with_secrets: also what opens something.
        since: rows made since, as a clock in the shop's time zone shows it; None: all.
    """

    async def body(shop: OpenShop) -> int:
        start = None
        if since is not None:
            start, _ = await moment_in_zone(shop.db, since, settings.shop.time_zone)
        with as_class(LimitClass.ADMIN):
            plan = await plan_export(shop.db, what, since=start)
            path = out or Path(f"vpnd-{what}-{plan.as_of:%Y%m%d-%H%M%S}.{'toml' if toml else 'csv'}")
            await _write_down(shop, plan, path, with_secrets=with_secrets)
            if toml:
                return await _plans_file(shop, path)
            done = await _run(shop, plan, path, with_secrets=with_secrets)
        sys.stdout.write(
            f"{path}: {done.rows:,} rows, {done.size / 1e6:.1f} MB, as of {done.as_of:%Y-%m-%d %H:%M:%S} UTC\n"
        )
        return 0

    return run_command(settings, body)


async def _write_down(shop: OpenShop, plan: Plan, path: Path, *, with_secrets: bool) -> None:
    """The line in the audit log, before anything leaves."""
    permission = Permission.EXPORT_SECRETS if with_secrets else Permission.EXPORT

    async def deed(_tx: Transaction) -> Change:
        since = None if plan.since is None else plan.since.isoformat()
        after = {"as_of": plan.as_of.isoformat(), "since": since, "file": path.name}
        return Change(subject=f"export:{plan.export}", after=after)

    async def body(tx: Transaction) -> None:
        key = f"shell:{secrets.token_hex(12)}"
        await perform(tx, shell_actor(getpass.getuser()), permission, deed, request_key=key)

    await shop.db.run("shell.export", body)


async def _plans_file(shop: OpenShop, path: Path) -> int:
    plans = await list_plans(shop.db)
    text = render_plans(plans, currency=shop.settings.shop.currency)

    def write() -> None:
        with whole_file(path) as file:
            file.write(text.encode())
            to_disk(file)

    try:
        await trio.to_thread.run_sync(write)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error
    sys.stdout.write(f"{path}: {len(plans)} plans\n")
    return 0


async def _run(shop: OpenShop, plan: Plan, path: Path, *, with_secrets: bool) -> Exported:
    try:
        with _bar(plan.export) as told:
            return await export_csv(shop.db, plan, path, with_secrets=with_secrets, page=PAGE, told=told)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def _bar(what: str) -> Iterator[Callable[[Progress], object]]:
    """A bar with rows, rate and time left, where there is a terminal to show it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _progress: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[rows]:,} rows  {task.fields[rate]:,.0f}/s "),
        TimeRemainingColumn(),
    )
    # It is drawn by whoever tells of progress, and not by a thread of its own.
    with Bar(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(what, total=None, rows=0, rate=0.0)
        yield _Teller(bar, task)


class _Teller:
    """Draws the bar, but not more often than eyes can follow."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._began = monotonic()
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = monotonic()
        if now < self._next:
            return
        self._next = now + _REFRESH
        rate = progress.rows / max(now - self._began, 0.001)
        self._bar.update(
            self._task,
            completed=progress.passed,
            total=progress.total,
            rows=progress.rows,
            rate=rate,
            refresh=True,
        )
