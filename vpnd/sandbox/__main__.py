"""`python -m vpnd.sandbox`: Telegram, Crypto Pay and YooKassa in a process of their own.

Prints one line of JSON when all listen, and ends on SIGTERM or SIGINT; with `--leash` also when its standard input ends, so that
it cannot outlive the program that started it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys

import trio

from vpnd.sandbox import cryptopay_api, telegram_server, yookassa_api
from vpnd.sandbox.servers import open_sandbox


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m vpnd.sandbox", description=__doc__)
    parser.add_argument("--telegram-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--cryptopay-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--yookassa-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--bot-token", default=telegram_server.DEFAULT_TOKEN)
    parser.add_argument("--crypto-token", default=cryptopay_api.DEFAULT_TOKEN)
    parser.add_argument("--yookassa-shop", default=yookassa_api.DEFAULT_SHOP_ID, help="the shop's id")
    parser.add_argument(
        "--yookassa-secret", default=yookassa_api.DEFAULT_SECRET, help="the shop's secret key"
    )
    parser.add_argument("--database-url", help="the sandbox database whose clock /sim/clock moves along")
    parser.add_argument("--leash", action="store_true", help="end when standard input ends")
    return parser.parse_args(arguments)


async def _until_signalled() -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return


async def _until_leash_ends() -> None:
    """Return when standard input ends; works for pipes, terminals and files alike."""
    await trio.to_thread.run_sync(_drain_stdin, abandon_on_cancel=True)


def _drain_stdin() -> None:
    while os.read(0, 4096):
        pass


async def run(options: argparse.Namespace) -> None:
    """Serve until told to stop."""
    async with trio.open_nursery() as nursery:

        async def stop_after(wait: trio.Event) -> None:
            await wait.wait()
            nursery.cancel_scope.cancel()

        stopped = trio.Event()

        async def watch_signals() -> None:
            await _until_signalled()
            stopped.set()

        async def watch_leash() -> None:
            await _until_leash_ends()
            stopped.set()

        nursery.start_soon(stop_after, stopped)
        nursery.start_soon(watch_signals)
        if options.leash:
            nursery.start_soon(watch_leash)
        async with open_sandbox(
            telegram_port=options.telegram_port,
            cryptopay_port=options.cryptopay_port,
            yookassa_port=options.yookassa_port,
            bot_token=options.bot_token,
            crypto_token=options.crypto_token,
            yookassa_shop_id=options.yookassa_shop,
            yookassa_secret=options.yookassa_secret,
            database_url=options.database_url,
        ) as sandbox:
            ready = {
                "telegram": sandbox.telegram_url,
                "cryptopay": sandbox.cryptopay_url,
                "yookassa": sandbox.yookassa_url,
                "telegram_port": int(sandbox.telegram_url.rpartition(":")[2]),
                "cryptopay_port": int(sandbox.cryptopay_url.rpartition(":")[2]),
                "yookassa_port": int(sandbox.yookassa_url.rpartition(":")[2]),
            }
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()
            await stopped.wait()


if __name__ == "__main__":
    trio.run(run, read_arguments())
