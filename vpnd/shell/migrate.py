"""`vpnd migrate`: the schema brought up to date, without the daemon."""

from __future__ import annotations

from typing import NoReturn

import trio

from vpnd.config import Settings
from vpnd.database.database import Database, open_database
from vpnd.database.errors import DatabaseError
from vpnd.database.migrate import Phase
from vpnd.database.migrate import migrate as bring_up_to_date
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import Limits
from vpnd.runtime.service import Service, run_service

__all__ = ["migrate"]

journal = get_journal("daemon")


def migrate(settings: Settings, *, phase: Phase) -> int:
    """Bring the database's schema up to date; return the exit code. What the database says against it is one line, and 1."""
    refused = False

    async def give_up(service: Service) -> NoReturn:
        await service.stopping.wait()
        raise Interrupted("stopped before the end; what was applied stays, the rest is done by the next run")

    async def main(service: Service) -> None:
        limits = Limits(settings.limits.database, settings.limits.http)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up, service)
            async with open_database(settings.database, limits, instance_name=settings.instance.name) as db:
                await apply(db)
            nursery.cancel_scope.cancel()

    async def apply(db: Database) -> None:
        nonlocal refused
        try:
            applied = await bring_up_to_date(db, phase=phase)
        except DatabaseError as error:
            refused = True
            journal.error(
                "migrate.failed",
                message=f"the schema is as it was, or up to the last step that is told: {error}",
            )
        else:
            journal.info(
                "migrate.done", message=f"{len(applied)} migrations were applied; the schema is up to date"
            )

    code = run_service(main, log_format=settings.log.format, log_level=settings.log.level)
    return code or int(refused)


class Interrupted(Exception):
    """A command was told to stop before it was done."""
