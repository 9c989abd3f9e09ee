"""The shop opened for one command: database, HTTP, the payment desk and the way to Telegram, without the daemon.

What a command commits, the running daemon finds: nodes, messages and refunds leave by its own relays.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from attrs import frozen

from vpnd.config import ConfigError, Settings
from vpnd.database.database import Database, open_database
from vpnd.database.errors import DatabaseError
from vpnd.database.migrate import pending
from vpnd.payments.base import PaymentError
from vpnd.payments.desk import PaymentDesk, open_desk
from vpnd.runtime import journal
from vpnd.runtime.groups import plainest
from vpnd.runtime.http import HttpClient, open_http_client
from vpnd.runtime.limits import Limits
from vpnd.telegram.outgoing import open_sender
from vpnd.telegram.sender import Sender

__all__ = ["CommandFailed", "OpenShop", "run_command"]


class CommandFailed(Exception):
    """The command cannot do what it was asked to; the message says why and what helps."""


@frozen
class OpenShop:
    """What a command works with."""

    settings: Settings
    db: Database
    desk: PaymentDesk
    http: HttpClient
    sender: Sender


@asynccontextmanager
async def _open(settings: Settings, *, any_schema: bool = False) -> AsyncIterator[OpenShop]:
    limits = Limits(settings.limits.database, settings.limits.http)
    async with (
        open_database(settings.database, limits, instance_name=f"{settings.instance.name} shell") as db,
        open_http_client(limits) as http,
        open_sender(settings) as sender,
    ):
        if not any_schema and await pending(db):
            raise CommandFailed(
                "the database's schema is not up to date: run `vpnd migrate`, or start the daemon"
            )
        desk = open_desk(settings, db, http)
        desk.connect_stars(sender)
        yield OpenShop(settings, db, desk, http, sender)


def run_command(
    settings: Settings, body: Callable[[OpenShop], Awaitable[int]], *, any_schema: bool = False
) -> int:
    """Open the shop, run `body`, return its exit code; a failure is one line on standard error and exit code 1.

    With `any_schema` the shop is opened whatever the schema is, and whether or not the database answers: `body` looks itself.
    """
    journal.configure("console", level="warning")

    async def main() -> int:
        async with _open(settings, any_schema=any_schema) as shop:
            return await body(shop)

    try:
        return trio.run(main)
    except* (CommandFailed, DatabaseError, PaymentError, ConfigError) as group:
        error = plainest(group)
        sys.stderr.write(f"vpnd: {error}\n")
    return 1
