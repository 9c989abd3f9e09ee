"""What the daemon does to its database before it serves anybody: the right one, up to date, with its plans and nodes.

A database that is away is waited for, as long as it takes. Whoever needs tables waits for `Preparation.ready`; until then the
bot says that it is being repaired, webhooks are put off, and `/readyz` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Final

import trio

from vpnd.config import Settings
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.database.migrate import migrate
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.shop import nodes
from vpnd.shop.catalogue import list_plans
from vpnd.shop.plans import apply_plans
from vpnd.shop.plans_file import PlanDraft, PlansFileError, load_plans_file
from vpnd.shop.plans_toml import differences
from vpnd.shop.referrals import apply_levels

journal = get_journal("daemon")

#: Back-off of a start without a usable database, in seconds.
SCHEMA_RETRY_FIRST: Final = 0.5
SCHEMA_RETRY_CAP: Final = 15.0

#: Differences between the plans file and the database that get a line each.
MOST_TOLD: Final = 50


class WrongDatabase(Exception):
    """The database is a sandbox and the daemon is not, or the other way round."""


class Preparation:
    """Prepares the database, as a child that finishes. `fault` says what is missing until `ready` is set."""

    def __init__(self, db: Database, settings: Settings, *, sandbox: bool) -> None:
        """`sandbox`: whether the database may (and must) be one whose business clock can be moved."""
        self._db = db
        #: What is configured; a reload exchanges it.
        self.settings = settings
        self._sandbox = sandbox
        self.ready: Final = trio.Event()
        self.fault = "the database was not reached yet"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bring the schema up to date, apply the plans and open the gate; try for as long as it takes."""
        task_status.started()
        failures = 0
        said: type[Exception] | None = None
        random = Random()  # noqa: S311  jitter is no secret
        while not self.ready.is_set():
            try:
                await self._check_kind()
                await migrate(self._db, phase="all")
                await self.forget_nodes()
                await apply_levels(self._db, self.settings.referral.levels)
                await self.apply_plans()
            except (DatabaseError, WrongDatabase) as error:
                if type(error) is not said:  # an outage has many words, and one line is enough
                    said = type(error)
                    journal.error(
                        "database.not_ready", message=f"the database cannot be used yet, trying on: {error}"
                    )
                    self.fault = str(error)
                failures += 1
                await self._db.rest(jittered_backoff(failures, SCHEMA_RETRY_FIRST, SCHEMA_RETRY_CAP, random))
            else:
                self.ready.set()
                journal.info("database.ready", message="the database is ready, its schema is up to date")

    async def _check_kind(self) -> None:
        """Refuse a database whose clock may be moved, unless this is the sandbox.

        Raises:
            WrongDatabase: it is one, or it should be one and is not.
        """
        exists = await self._db.fetchval("daemon.sandbox", "select to_regclass('sandbox_clock') is not null")
        marked = exists and await self._db.fetchval(
            "daemon.marked", "select exists (select from sandbox_clock)"
        )
        if marked and not self._sandbox:
            raise WrongDatabase(
                "this is the database of a sandbox, whose clock can be moved: name the shop's own"
            )
        if self._sandbox and not marked:
            raise WrongDatabase("this is no sandbox database, and a sandbox must not touch it")

    async def forget_nodes(self) -> None:
        """Take nodes that are no longer configured out of the shop; at start, and when a reload has removed one.

        Raises:
            DatabaseError: nothing was forgotten.
        """
        gone = await nodes.forget_others(self._db, [node.name for node in self.settings.nodes])
        if gone:
            journal.warning(
                "nodes.forgotten",
                message=f"no longer configured, and out of customers' profiles: {', '.join(gone)}."
                " An agent that still runs there is told nothing any more: stop it",
                nodes=", ".join(gone),
            )

    async def apply_plans(self) -> None:
        """Apply the plans file to plans that nobody edited since; at start, and on a reload.

        Raises:
            DatabaseError: nothing was applied.
        """
        shop = self.settings.shop
        try:
            plans = await trio.to_thread.run_sync(
                partial(load_plans_file, shop.plans, currency=shop.currency)
            )
        except PlansFileError as error:
            # The database is the truth for plans: a shop that has them sells on.
            journal.error("plans.unusable", message=f"the plans file was not applied: {error}")
            return
        changed = await apply_plans(self._db, plans)
        journal.info(
            "plans.applied", message=f"the plans file was applied: {changed} changes", changes=changed
        )
        await self._tell_differences(plans)

    async def _tell_differences(self, plans: Sequence[PlanDraft]) -> None:
        """Name what the shop has otherwise than the file: somebody has edited it there, and the shop's is what counts."""
        found = differences(plans, await list_plans(self._db))
        for difference in found[:MOST_TOLD]:
            journal.warning(
                "plans.differ",
                message=f"a plan was edited in the shop, and the file says otherwise: {difference}",
                difference=difference,
            )
        if len(found) > MOST_TOLD:
            journal.warning(
                "plans.differ", message=f"{len(found) - MOST_TOLD} more differences of the plans file"
            )
