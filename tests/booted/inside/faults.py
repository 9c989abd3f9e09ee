"""Makes every boundary fail while people go on: `faults.py DATABASE_URL CONFIG`. Runs inside the booted system.

Telegram, both providers and the webhooks fail in each way that the sandbox knows; a bill is made and paid in each of them. Nobody
has to succeed meanwhile: what is looked for is what the daemon says of it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import trio
from play import visiting

from vpnd.bot import callbacks
from vpnd.sandbox.customer import Customer
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.world import World

TELEGRAM = ("5xx", "garbage", "drop_reply", "401", "403", "409", "429", "400", "5xx_reply")
PROVIDERS = ("5xx", "garbage", "drop_reply", "401", "429", "hang")
#: Longest that somebody goes on while a boundary fails, in seconds.
PATIENCE = 6.0


async def go_on(world: World, number: int, method: str) -> None:
    """Somebody begins to buy, as far as he gets."""
    customer = Customer(world, number)
    with trio.move_on_after(PATIENCE), suppress(ProgramFailed):
        await customer.say("/start")
        since = 0
        for kind in (callbacks.Plans, callbacks.Periods, callbacks.Methods):
            since = await customer.press("go on", lambda a, kind=kind: isinstance(a, kind), since=since)
        await customer.press(
            "pay", lambda a: isinstance(a, callbacks.Pay) and a.method == method, since=since
        )
        await trio.sleep(2)


async def main(database_url: str, config: Path) -> None:
    """Order the faults, one kind after the other."""
    count = 0
    async with visiting(database_url, config) as world:
        for kind in TELEGRAM:
            await world.telegram.post("/sim/fault", method="*", kind=kind, count=3)
            await go_on(world, 700_000 + count, "yookassa")
            await world.telegram.post("/sim/reset")
            count += 1
        for control, method in ((world.cryptopay, "cryptopay"), (world.yookassa, "yookassa")):
            for kind in PROVIDERS:
                await control.post("/sim/fault", kind=kind, count=4)
                await go_on(world, 700_000 + count, method)
                await control.post("/sim/reset")
                count += 1
        for path in ("telegram", "cryptopay", "yookassa"):
            for body in (b"{", b"[]", b'{"update_id": "x"}', b"\xff\xfe", b'{"event": "payment.succeeded"}'):
                answer = await world.http.post(f"{world.daemon_http}/webhooks/{path}", content=body)
                count += answer.status_code >= 400
        for token in ("x" * 32, "../etc/passwd", "%00", "a"):
            await world.http.get(f"{world.daemon_http}/sub/{token}")
    print(f"{count} faults at three boundaries and three webhooks")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]))
