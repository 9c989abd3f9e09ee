"""The workers of figures: days that are over are kept, summaries told, exports made that were asked for in the bot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final

import trio

from vpnd.config import ReportsSettings
from vpnd.database.database import Database
from vpnd.runtime.journal import get_journal
from vpnd.runtime.worker import Job
from vpnd.shop.export_requests import (
    ATTEMPTS,
    EndedExport,
    ExportRequest,
    Problem,
    State,
    claim_export,
    end_export,
)
from vpnd.shop.exports import Exported, TooBig, export_csv, plan_export
from vpnd.shop.figures import today_in
from vpnd.shop.figures_days import days_to_keep, keep_day
from vpnd.shop.summaries import due_summaries, tell_summary

__all__ = ["KEPT_BACK", "MOST_BYTES", "Deliver", "exports", "figures"]

journal = get_journal("workers")

#: Days that are over and were not counted, because the daemon was down or is new, are made up for so far back.
KEPT_BACK: Final = 62
#: Days that one iteration counts: of a million customers each takes some seconds.
_AT_ONCE: Final = 10
#: What a bot may send is 50 MB.
MOST_BYTES: Final = 45_000_000

#: Sends what became of an export: the file at the path, or why there is none. Returns whether it was received; raises to have it
#: tried again.
Deliver = Callable[[ExportRequest, Path, Exported | Problem], Awaitable[bool]]


def figures(
    db: Database,
    *,
    time_zone: str,
    reports: ReportsSettings,
    owners: Collection[int],
    language: str,
    wake: Callable[[], None],
) -> Job:
    """Keep the days that are over, the newest first, and tell the summaries that are due; `wake` is for what sends them."""

    async def work() -> int:
        _, now = await today_in(db, time_zone)
        days = await days_to_keep(db, time_zone, now, back=KEPT_BACK)
        for day in days[:_AT_ONCE]:
            await keep_day(db, time_zone, day)
        told = 0
        for summary in await due_summaries(
            db, time_zone, hour=reports.hour, daily=reports.daily, weekly=reports.weekly
        ):
            told += await tell_summary(db, summary, owners, default_language=language)
        if told:
            wake()
        return min(len(days), _AT_ONCE) + told

    return Job("figures", interval=600, deadline=300, work=work)


def exports(
    db: Database, folder: Path, *, owners: Collection[int], deliver: Deliver, wake: Callable[[], None]
) -> Job:
    """Make what was asked for, one after the other, and send it; the file lives in `folder` for as long as that takes.

    `wake` is for what tells somebody that his wish was in vain.
    """

    async def work() -> int:
        done = 0
        while (found := await claim_export(db, owners)) is not None:
            if isinstance(found, EndedExport):
                _tell_end(found)
                wake()
            else:
                await _make(db, folder, found, deliver)
            done += 1
        return done

    return Job("exports", interval=60, deadline=1800, work=work)


async def _make(db: Database, folder: Path, request: ExportRequest, deliver: Deliver) -> None:
    await trio.to_thread.run_sync(_empty_folder, folder)
    plan = await plan_export(db, request.what)
    path = folder / f"vpnd-{request.what}-{plan.as_of:%Y%m%d-%H%M%S}.csv"
    try:
        made: Exported | Problem = await export_csv(
            db, plan, path, with_secrets=request.with_secrets, most=MOST_BYTES
        )
    except TooBig:
        made = "too_big"
    except OSError as error:
        journal.error(
            "export.not_written",
            message=f"an export of {request.what} cannot be written to {folder}: {error.strerror}",
            what=request.what,
        )
        made = "failed"
    try:
        received = await deliver(request, path, made)
    finally:
        await trio.to_thread.run_sync(_empty_folder, folder)
    rows = made.rows if isinstance(made, Exported) else None
    state: State = "failed" if not received else made if not isinstance(made, Exported) else "sent"
    await end_export(db, request, state, rows=rows if received else None)
    journal.info(
        "export.made",
        message=f"an export of {request.what} for {request.telegram_id}: {state}",
        what=request.what,
        state=state,
        rows=rows,
    )


def _tell_end(ended: EndedExport) -> None:
    request = ended.request
    if ended.state == "failed":
        journal.error(
            "export.given_up",
            message=f"an export of {request.what} for {request.telegram_id} was begun {ATTEMPTS} times in vain and is given up;"
            " the failures of the worker `exports` before this line say why",
            what=request.what,
        )
    else:
        journal.warning(
            "export.not_allowed",
            message=f"an export of {request.what} was not made: {request.telegram_id} may not have it any more",
            what=request.what,
        )


def _empty_folder(folder: Path) -> None:
    """Make the folder, for us alone, and take away what a kill has left in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
