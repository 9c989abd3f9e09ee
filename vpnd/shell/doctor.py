"""`vpnd doctor`: every difference between database, nodes and providers, named; with --repair, mended one by one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import trio

from vpnd.config import Settings
from vpnd.database.scope import Transaction
from vpnd.payments.base import PaymentError
from vpnd.payments.reconcile import HasLists, reconcile
from vpnd.payments.stars import NAME
from vpnd.payments.stars_account import StarsAccount
from vpnd.payments.stars_sweep import sweep_stars
from vpnd.shell.acting import act
from vpnd.shell.doctor_nodes import accept_nodes, look_at_nodes
from vpnd.shell.shop import OpenShop, run_command
from vpnd.shop import books, ledger
from vpnd.shop.audit_log import Change
from vpnd.shop.operators import Permission
from vpnd.shop.provider_lists import Difference

__all__ = ["doctor"]

_PAGE = 1000


def doctor(settings: Settings, *, repair: bool, days: int, accept: Sequence[str] = ()) -> int:
    """Run the command; exit code 1 if a difference is left, or something could not be looked at.

    Args:
        repair: mend what can be mended; otherwise only name it.
        days: how far back providers' lists are read.
        accept: nodes about which the database is right, by a person's word; nothing else is done then.
    """

    async def body(shop: OpenShop) -> int:
        if accept:
            return await accept_nodes(shop, accept)
        if repair:  # written before: nothing is mended unwritten, whatever becomes of the command
            await _write_down(shop, "begun", {"days": days})
        left = await _books(shop)
        since = datetime.now(UTC) - timedelta(days=days)
        for provider in shop.desk.providers.values():
            left += await _provider(shop, provider, since, repair=repair)
        if shop.desk.stars is not None and shop.settings.stars.enabled:
            left += await _stars(shop, shop.desk.stars, repair=repair)
        left += await look_at_nodes(shop, repair=repair)
        if repair:
            await _write_down(shop, "ended", {"left": left})
        _say("" if left else "Everything agrees.")
        return 1 if left else 0

    return run_command(settings, body)


def _say(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n")


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
            _say(f"ledger      {currency} is off by {total} minor units")
    after, verified = 0, 0
    while True:
        page = await books.cached_accounts(shop.db, after, _PAGE)
        for drift in await books.balance_drift(shop.db, page) if page else ():
            wrong += 1
            _say(
                f"balance     {drift.ref.kind} of customer {drift.ref.owner}: {drift.cached} kept,"
                f" {drift.booked} booked (minor units of {drift.ref.currency})"
            )
        verified += len(page)
        if len(page) < _PAGE:
            break
        after = page[-1]
    _say(f"books       {verified} balances verified, {wrong} differences")
    return wrong


async def _provider(shop: OpenShop, provider: HasLists, since: datetime, *, repair: bool) -> int:
    try:
        with trio.fail_after(1800):
            report = await reconcile(shop.db, provider, since=since, repair=repair)
    except (PaymentError, trio.TooSlowError) as error:
        _say(f"{provider.name:<11} could not be asked: {error}")
        return 1
    _name(provider.name, report.differences)
    left = len(report.differences) - report.mended
    _say(
        f"{provider.name:<11} {report.charges} charges and {report.refunds} refunds compared, {left} differences left"
    )
    return left


async def _stars(shop: OpenShop, account: StarsAccount, *, repair: bool) -> int:
    try:
        report = await sweep_stars(shop.db, account, repair=repair)
    except PaymentError as error:
        _say(f"{NAME:<11} could not be asked: {error}")
        return 1
    _name(NAME, report.differences)
    left = sum(not one.mended for one in report.differences)
    _say(f"{NAME:<11} {report.read} transactions read, {left} differences left")
    return left


def _name(provider: str, differences: Sequence[Difference]) -> None:
    for one in differences:
        details = ", ".join(f"{name} {value}" for name, value in one.details.items())
        _say(f"{provider:<11} {one.kind} {one.name}: {'mended' if one.mended else 'left'} ({details})")
