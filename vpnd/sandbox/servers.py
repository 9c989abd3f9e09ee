"""Runs the sandboxed Telegram, Crypto Pay and YooKassa on loopback ports, in a nursery of the caller's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from vpnd.runtime.serve import serve_asgi
from vpnd.sandbox import cryptopay_api, telegram_server, yookassa_api
from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.cryptopay_api import CryptoPayServer
from vpnd.sandbox.faults import hanging_up
from vpnd.sandbox.telegram_api import TelegramApi, not_found, wrong_http_method
from vpnd.sandbox.telegram_control import TelegramControl
from vpnd.sandbox.telegram_server import TelegramServer
from vpnd.sandbox.yookassa_api import YooKassaServer
from vpnd.sandbox.yookassa_control import YooKassaControl

GRACE = 0.2
"""Seconds requests in flight (long polls, mostly) get at the end."""


@attrs.frozen
class Sandbox:
    """The servers while they run, and where they listen."""

    clock: SandboxClock
    telegram: TelegramServer
    cryptopay: CryptoPayServer
    yookassa: YooKassaServer
    telegram_url: str
    cryptopay_url: str
    yookassa_url: str


@asynccontextmanager
async def open_sandbox(
    *,
    telegram_port: int = 0,
    cryptopay_port: int = 0,
    yookassa_port: int = 0,
    bot_token: str = telegram_server.DEFAULT_TOKEN,
    crypto_token: str = cryptopay_api.DEFAULT_TOKEN,
    yookassa_shop_id: str = yookassa_api.DEFAULT_SHOP_ID,
    yookassa_secret: str = yookassa_api.DEFAULT_SECRET,
    database_url: str | None = None,
    extra_routes: tuple[BaseRoute, ...] = (),
) -> AsyncIterator[Sandbox]:
    """All servers on 127.0.0.1 for the length of the context; port 0 takes a free one.

    `database_url` is a database whose `sandbox_clock` moves along with `/sim/clock`; `extra_routes` are served beside
    the Bot API. Leaving the context closes all within a second.

    Raises:
        OSError: a port is taken.
    """
    clock = SandboxClock(database_url)
    await clock.follow_database()
    telegram = TelegramServer(clock, bot_token)
    cryptopay = CryptoPayServer(clock, crypto_token)
    yookassa = YooKassaServer(clock, yookassa_shop_id, yookassa_secret)
    routes = [*TelegramControl(telegram, clock).routes, *extra_routes, *TelegramApi(telegram).routes]
    handlers = {404: not_found, 405: wrong_http_method}
    applications = (
        (Starlette(routes=routes, exception_handlers=handlers), telegram_port),
        (Starlette(routes=cryptopay.routes), cryptopay_port),
        (Starlette(routes=[*YooKassaControl(yookassa).routes, *yookassa.routes]), yookassa_port),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(telegram.webhooks.run)
        await nursery.start(cryptopay.courier.run)
        await nursery.start(yookassa.courier.run)
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
        yield Sandbox(clock, telegram, cryptopay, yookassa, *urls)
        nursery.cancel_scope.cancel()
