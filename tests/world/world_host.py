"""A world for many tests: makes one with its daemon, says as a line of JSON where everything is, and ends it with its input.

    python tests/world/world_host.py JOURNAL OPTIONS

OPTIONS are `WorldOptions` as JSON. Every line of the daemon goes to the file JOURNAL. A process of its own, because a world
lives in one run of trio, and each test has a run of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from vpnd.runtime import journal
from vpnd.sandbox.world import WorldOptions, open_world


async def main(journal_path: Path, options: WorldOptions) -> None:
    """Serve until nobody listens any more."""
    with journal_path.open("a", buffering=1) as kept:
        async with open_world(options) as world:
            world.daemon.listeners.append(lambda line: kept.write(f"{line}\n"))
            await world.start_daemon()
            found = {
                "folder": str(world.folder),
                "database_url": world.database_url,
                "telegram": world.telegram.base,
                "cryptopay": world.cryptopay.base,
                "yookassa": world.yookassa.base,
                "daemon_http": world.daemon_http,
                "metrics_url": world.metrics_url,
                "config_path": str(world.config_path),
                "page_url": world.targets.page_url,
            }
            print(json.dumps(found), flush=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_input_ends, nursery.cancel_scope)
                await world.daemon.wait()
                raise world.daemon.failure("ended")


async def _until_input_ends(scope: trio.CancelScope) -> None:
    await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    scope.cancel()


if __name__ == "__main__":
    journal.configure("console", level="warning")
    trio.run(main, Path(sys.argv[1]), WorldOptions(**json.loads(sys.argv[2])))
