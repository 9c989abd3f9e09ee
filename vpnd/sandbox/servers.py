"""Runs the sandboxed Telegram and Crypto Pay on loopback ports, in a nursery of the caller's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from vpnd.runtime.serve import serve_asgi
from vpnd.sandbox import cryptopay_api, telegram_server
from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.cryptopay_api import CryptoPayServer
from vpnd.sandbox.faults import hanging_up
from vpnd.sandbox.telegram_api import TelegramApi, not_found, wrong_http_method
from vpnd.sandbox.telegram_control import TelegramControl
from vpnd.sandbox.telegram_server import TelegramServer

GRACE = 0.2
"""Seconds requests in flight (long polls, mostly) get at the end."""


@attrs.frozen
class Sandbox:
    """The two servers while they run, and where they listen."""

    clock: SandboxClock
    telegram: TelegramServer
    cryptopay: CryptoPayServer
    telegram_url: str
    cryptopay_url: str


@asynccontextmanager
async def open_sandbox(
    *,
    telegram_port: int = 0,
    cryptopay_port: int = 0,
    bot_token: str = telegram_server.DEFAULT_TOKEN,
    crypto_token: str = cryptopay_api.DEFAULT_TOKEN,
    database_url: str | None = None,
    extra_routes: tuple[BaseRoute, ...] = (),
) -> AsyncIterator[Sandbox]:
    """Both servers on 127.0.0.1 for the length of the context; port 0 takes a free one.

    `database_url` is a database whose `sandbox_clock` moves along with `/sim/clock`; `extra_routes` are served beside
    the Bot API. Leaving the context closes both within a second.

    Raises:
        OSError: a port is taken.
    """
    clock = SandboxClock(database_url)
    await clock.follow_database()
    telegram = TelegramServer(clock, bot_token)
    cryptopay = CryptoPayServer(clock, crypto_token)
    routes = [*TelegramControl(telegram, clock).routes, *extra_routes, *TelegramApi(telegram).routes]
    handlers = {404: not_found, 405: wrong_http_method}
    applications = (
        (Starlette(routes=routes, exception_handlers=handlers), telegram_port),
        (Starlette(routes=cryptopay.routes), cryptopay_port),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(telegram.webhooks.run)
        await nursery.start(cryptopay.courier.run)
        urls = []
        for app, port in applications:
            serve = partial(
                serve_asgi,
                hanging_up(app),
                [f"127.0.0.1:{port}"],
                shutdown_trigger=trio.sleep_forever,
                graceful_timeout=GRACE,
            )
            bound = await nursery.start(serve)
            urls.append(f"http://{bound[0]}")
        yield Sandbox(clock, telegram, cryptopay, *urls)
        nursery.cancel_scope.cancel()
