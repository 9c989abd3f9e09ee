"""`vpnd demo`: the sandbox world, the daemon in it, and a page to play the customer; or the tour."""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import Final

import trio

from vpnd.runtime import journal as journals
from vpnd.runtime.serve import serve_asgi
from vpnd.sandbox.chat_page import ChatPage, Journal
from vpnd.sandbox.postgres import PostgresError
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.tour import NotProven, Tour, play
from vpnd.sandbox.world import World, open_world

FAILED: Final = 1


def run(*, tour: bool, port: int, verbose: bool) -> int:
    """Run the demo or, with `tour`, the tour; return the exit code.

    Args:
        tour: play without a person, prove each step, end.
        port: of the chat page; 0 takes a free one.
        verbose: show what the programs print.
    """
    journals.configure("console")
    failed = False

    async def main() -> None:
        nonlocal failed
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
            try:
                await (_play_tour(verbose=verbose) if tour else _serve_chat(port, verbose=verbose))
            except* (NotProven, ProgramFailed, PostgresError, OSError, trio.TooSlowError) as group:
                failed = True
                for error in _leaves(group):
                    print(f"vpnd demo: {error}", file=sys.stderr)
            nursery.cancel_scope.cancel()

    trio.run(main)
    return FAILED if failed else 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


def _listen_to(world: World, *, verbose: bool) -> None:
    if verbose:
        for program in (world.daemon, world.agent):
            if program is not None:
                program.listeners.append(partial(print, flush=True))


async def _play_tour(*, verbose: bool) -> None:
    tour = Tour()
    print(
        "A customer's life in a world of its own: PostgreSQL, messenger, payments and a VPN node on this machine."
    )
    async with open_world() as world:
        _listen_to(world, verbose=verbose)
        await world.start_daemon()
        tour.step("the world stands", "PostgreSQL, two servers, a node with a real Xray core, the daemon")
        await play(world, tour)


async def _serve_chat(port: int, *, verbose: bool) -> None:
    print(
        "Making a small world: PostgreSQL, a messenger, a payment provider, a VPN node, and the shop…",
        flush=True,
    )
    async with open_world() as world:
        journal = Journal()
        world.daemon.listeners.append(journal.hear)
        _listen_to(world, verbose=verbose)
        await world.start_daemon()
        async with trio.open_nursery() as nursery:
            [address] = await nursery.start(
                partial(
                    serve_asgi,
                    ChatPage(world, journal).app,
                    [f"127.0.0.1:{port}"],
                    shutdown_trigger=trio.sleep_forever,
                )
            )
            print(f"The shop is open: http://{address}", flush=True)
            print("You are the customer there. Ctrl-C ends the world and leaves nothing behind.", flush=True)
            nursery.start_soon(_watch_daemon, world)


async def _watch_daemon(world: World) -> None:
    """End the demo when the daemon ends."""
    await world.daemon.wait()
    raise world.daemon.failure("ended")
