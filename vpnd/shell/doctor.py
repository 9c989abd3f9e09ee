"""`vpnd doctor`: everything an expert would check, each finding with its remedy; with --repair, differences mended one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import trio

from vpnd.config import Settings
from vpnd.database.errors import DatabaseError
from vpnd.database.migrate import pending
from vpnd.database.scope import Transaction
from vpnd.payments.base import PaymentError
from vpnd.payments.reconcile import HasLists, reconcile
from vpnd.payments.stars import NAME
from vpnd.payments.stars_account import StarsAccount
from vpnd.payments.stars_sweep import sweep_stars
from vpnd.shell.acting import act
from vpnd.shell.doctor_boundaries import boundary_checks
from vpnd.shell.doctor_database import database_checks, queue_checks
from vpnd.shell.doctor_machine import config_checks, machine_checks
from vpnd.shell.doctor_nodes import accept_nodes, clients_of, look_at_nodes
from vpnd.shell.doctor_report import PARTS, Check, Part, Report, described, kept_lines, run_checks, say
from vpnd.shell.shop import OpenShop, run_command
from vpnd.shop import books, ledger
from vpnd.shop.audit_log import Change
from vpnd.shop.operators import Permission
from vpnd.shop.provider_lists import Difference

__all__ = ["doctor"]

_PAGE = 1000


#: Seconds for what is compared row by row: books, a provider's lists, a node.
LONG_CHECK: Final = 1800.0

_REPAIR: Final = (
    "vpnd doctor --repair mends one by one what can be mended, and names what a person has to decide"
)
_BOOKS: Final = "keep a dump (pg_dump), write into no row by hand, stop refunds, and report what is named"


def doctor(
    settings: Settings,
    *,
    repair: bool,
    days: int,
    accept: Sequence[str] = (),
    only: Sequence[Part] | None = None,
    as_json: bool = False,
) -> int:
    """Run the command; exit code 1 if anything was found and is left, or something could not be looked at.

    Args:
        repair: mend what can be mended; otherwise only name it.
        days: how far back providers' lists are read.
        accept: nodes about which the database is right, by a person's word; nothing else is done then.
        only: the parts to look at; all by default.
        as_json: one document instead of lines.
    """
    parts = tuple(part for part in PARTS if only is None or part in only)

    async def accepting(shop: OpenShop) -> int:
        return await accept_nodes(shop, accept)

    async def looking(shop: OpenShop) -> int:
        with kept_lines(keep=as_json) as lines:
            report = Report()
            await _look(shop, report, parts, repair=repair, days=days)
            return report.end(lines, as_json=as_json)

    if accept:
        return run_command(settings, accepting)
    return run_command(settings, looking, any_schema=True)


async def _look(shop: OpenShop, report: Report, parts: Sequence[Part], *, repair: bool, days: int) -> None:
    """Look at the parts: what is quick all at once, then what is compared row by row."""
    settings = shop.settings
    clients = clients_of(shop)
    checks: dict[Part, Callable[[], list[Check]]] = {
        "machine": partial(machine_checks, settings),
        "config": partial(config_checks, settings),
        "database": partial(database_checks, shop.db, settings),
        "queues": partial(queue_checks, shop.db, settings),
        "boundaries": partial(boundary_checks, shop, clients),
    }
    await run_checks(report, [check for part in parts if part in checks for check in checks[part]()])
    compared = [part for part in parts if part not in checks]
    if compared and (fault := await _unusable(shop)):
        report.find(
            "not compared",
            "critical",
            f"{', '.join(compared)}: {fault}",
            "mend the database first: vpnd doctor --only database",
        )
        return
    if compared and repair:  # written before: nothing is mended unwritten, whatever becomes of the command
        await _write_down(shop, "begun", {"days": days})
    if "books" in compared:
        await _bounded(report, "books", partial(_books, shop), "differences in the books", _BOOKS)
    if "providers" in compared:
        since = datetime.now(UTC) - timedelta(days=days)
        for provider in shop.desk.providers.values():
            look = partial(_provider, shop, provider, since, repair=repair)
            await _bounded(report, provider.name, look, "differences with the provider's lists", _REPAIR)
        if shop.desk.stars is not None and settings.stars.enabled:
            look = partial(_stars, shop, shop.desk.stars, repair=repair)
            await _bounded(report, NAME, look, "differences with the statement of Stars", _REPAIR)
    if "nodes" in compared:
        for client in clients:
            look = partial(look_at_nodes, shop, [client], repair=repair)
            await _bounded(report, f"node {client.name}", look, "differences with the node", _REPAIR)
    if compared and repair:
        await _write_down(shop, "ended", {"left": len(report.findings)})


async def _unusable(shop: OpenShop) -> str | None:
    """Say why nothing can be compared with the database, if nothing can."""
    try:
        missing = await pending(shop.db)
    except DatabaseError as error:
        return str(error)
    return "the schema is not up to date: run `vpnd migrate`, or start the daemon" if missing else None


async def _bounded(
    report: Report, about: str, look: Callable[[], Awaitable[int]], what: str, remedy: str
) -> None:
    """Compare one thing, which names each difference itself; what is left, a failure or the end of its time is a finding."""
    with trio.move_on_after(LONG_CHECK) as scope:
        try:
            left = await look()
        except Exception as error:
            report.find(about, "critical", f"could not be compared: {described(error)}", remedy)
        else:
            report.left(about, left, f"{what}: {left} left, or not to be looked at", remedy)
    if scope.cancelled_caught:
        report.find(about, "critical", f"was not compared within {LONG_CHECK:g} s", remedy)


async def _write_down(shop: OpenShop, what: str, after: Mapping[str, int]) -> None:
    """A line in the audit log; what exactly is mended, the books, the journal and the nodes' log tell."""

    async def deed(_tx: Transaction) -> Change:
        return Change(subject="shop", after=after, detail=what)

    await act(shop, "shell.doctor", Permission.REPAIR, deed)


async def _books(shop: OpenShop) -> int:
    """The ledger at zero, and every cached balance what the ledger says."""
    wrong = 0
    for currency, total in (await ledger.imbalance(shop.db)).items():
        if total:
            wrong += 1
            say("ledger", f"{currency} is off by {total} minor units")
    after, verified = 0, 0
    while True:
        page = await books.cached_accounts(shop.db, after, _PAGE)
        for drift in await books.balance_drift(shop.db, page) if page else ():
            wrong += 1
            say(
                "balance",
                f"{drift.ref.kind} of customer {drift.ref.owner}: {drift.cached} kept,"
                f" {drift.booked} booked (minor units of {drift.ref.currency})",
            )
        verified += len(page)
        if len(page) < _PAGE:
            break
        after = page[-1]
    say("books", f"{verified} balances verified, {wrong} differences")
    return wrong


async def _provider(shop: OpenShop, provider: HasLists, since: datetime, *, repair: bool) -> int:
    try:
        with trio.fail_after(1800):
            report = await reconcile(shop.db, provider, since=since, repair=repair)
    except (PaymentError, trio.TooSlowError) as error:
        say(provider.name, f"could not be asked: {error}")
        return 1
    _name(provider.name, report.differences)
    left = len(report.differences) - report.mended
    say(
        provider.name,
        f"{report.charges} charges and {report.refunds} refunds compared, {left} differences left",
    )
    return left


async def _stars(shop: OpenShop, account: StarsAccount, *, repair: bool) -> int:
    try:
        report = await sweep_stars(shop.db, account, repair=repair)
    except PaymentError as error:
        say(NAME, f"could not be asked: {error}")
        return 1
    _name(NAME, report.differences)
    left = sum(not one.mended for one in report.differences)
    say(NAME, f"{report.read} transactions read, {left} differences left")
    return left


def _name(provider: str, differences: Sequence[Difference]) -> None:
    for one in differences:
        details = ", ".join(f"{name} {value}" for name, value in one.details.items())
        say(provider, f"{one.kind} {one.name}: {'mended' if one.mended else 'left'} ({details})")
