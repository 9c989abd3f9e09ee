"""The audited design, rebuilt small and honestly: `_freeze_audited.py API URL NODE TOKEN EPOCH`.

What the audit found, and nothing worse: handlers as coroutines, six workers, a pool of 2 to 15 connections with an acquire
timeout of 10 s; fetches without a limit; a connection that is kept over the whole loop, over Telegram and over each call of
the node (5 s, three tries); a purchase that calls the node inside its transaction; a sequential broadcast, 0.05 s a message. A
pass of the expiry stops itself after 15 s, all loops yield every 50 rows. Its intervals are the audit's, divided by 60.

No framework: what would be aiogram's share is left out, to its advantage. It obeys messages of the bench: `/bench workers`,
`/bench forget` and `/bench report`, which prints a line of JSON.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg

SCALE = 60
EXPIRY_CAP = 15.0
FIRST = 1_000_000_000

now = time.perf_counter
worst = {"cpu": 0.0, "wall": 0.0}
waits: list[float] = []
counts = {"handlers_failed": 0, "buys_failed": 0, "worker_failures": 0, "expired": 0, "broadcast": 0}


def watch_steps() -> None:
    """Time every step of the loop, by the processor's clock and by the wall's."""
    run = asyncio.Handle._run

    def timed(self: asyncio.Handle) -> None:
        wall, cpu = now(), time.thread_time()
        run(self)
        worst["wall"] = max(worst["wall"], now() - wall)
        worst["cpu"] = max(worst["cpu"], time.thread_time() - cpu)

    asyncio.Handle._run = timed  # type: ignore[method-assign]


class Bot:
    """The program."""

    def __init__(self, api: str, node: str, token: str, epoch: str) -> None:
        self.api, self.node, self.epoch = f"{api}/bot1:x/", node, epoch
        self.authorization = {"Authorization": f"Bearer {token}"}
        self.tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ boundaries

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection of the pool; the wait for it is noted."""
        began = now()
        try:
            connection = await self.pool.acquire(timeout=10)
        finally:
            waits.append(now() - began)
        try:
            yield connection
        finally:
            await self.pool.release(connection)

    async def telegram(self, method: str, **parameters: Any) -> Any:
        """Call the Bot API."""
        async with self.http.post(self.api + method, json=parameters) as answer:
            return (await answer.json())["result"]

    async def call_node(self, method: str, path: str, **parameters: Any) -> Any:
        """Call the node: three tries of 5 s."""
        for _attempt in range(3):
            try:
                async with self.http.request(
                    method,
                    self.node + path,
                    headers=self.authorization,
                    timeout=aiohttp.ClientTimeout(total=5),
                    **parameters,
                ) as answer:
                    return await answer.json()
            except (TimeoutError, aiohttp.ClientError):
                continue
        raise TimeoutError("the node does not answer")

    async def set_access(self, name: str, uuid: str, version: int, active: bool) -> None:
        """Add a credential to the node or remove it."""
        change = {"name": name, "uuid": uuid, "version": version, "active": active}
        await self.call_node("POST", "/v1/changes", json={"epoch": self.epoch, "seq": 0, "changes": [change]})

    # ------------------------------------------------------------------ handlers

    async def poll(self) -> None:
        """Take updates and start a task for each."""
        offset = 0
        while True:
            for update in await self.telegram("getUpdates", offset=offset, timeout=30):
                offset = update["update_id"] + 1
                self.spawn(self.handle(update))

    def spawn(self, work: Any) -> None:
        """Run something beside everything else."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def handle(self, update: dict[str, Any]) -> None:
        """One update."""
        if "message" in update:
            await self.obey(update["message"]["text"])
            return
        query = update["callback_query"]
        try:
            await self.telegram("answerCallbackQuery", callback_query_id=query["id"])
            text = await self.read(query) if query["data"] == "1h" else await self.buy(query)
            place = {"chat_id": query["from"]["id"], "message_id": query["message"]["message_id"]}
            await self.telegram("editMessageText", text=text, **place)
        except (TimeoutError, asyncpg.PostgresError):
            counts["handlers_failed"] += 1

    async def read(self, query: dict[str, Any]) -> str:
        """The first screen: a SELECT by key."""
        async with self.connection() as connection:
            row = await connection.fetchrow("select * from subs where telegram_id = $1", query["from"]["id"])
        return f"until {row['expires_at']:%d.%m.%Y}"

    async def buy(self, query: dict[str, Any]) -> str:
        """A purchase: the node is called inside of the transaction that pays for it."""
        try:
            async with self.connection() as connection, connection.transaction():
                row = await connection.fetchrow(
                    "update buyers set paid_at = now() where telegram_id = $1 and paid_at is null returning *",
                    query["from"]["id"],
                )
                await self.set_access(row["name"], str(row["uuid"]), 1, True)
        except TimeoutError:
            counts["buys_failed"] += 1
            return "try again later"
        return "paid"

    async def obey(self, text: str) -> None:
        """An order of the bench."""
        if text == "/bench workers":
            for interval, work in (
                (60, self.expire),
                (300, self.activate),
                (600, self.renew),
                (600, self.reconcile),
                (30, self.watch_payments),
                (300, self.tell_trials),
            ):
                self.spawn(self.every(interval / SCALE, work))
            self.spawn(self.broadcast())
        elif text == "/bench forget":
            waits.clear()
            worst.update(cpu=0.0, wall=0.0)
            counts.update(dict.fromkeys(counts, 0))
        elif text == "/bench report":
            p99 = sorted(waits)[int(len(waits) * 0.99)] if waits else 0.0
            print(json.dumps({"worst": worst, "acquire_p99": p99, "counts": counts}), flush=True)

    # ------------------------------------------------------------------ workers

    async def every(self, interval: float, work: Callable[[], Awaitable[None]]) -> None:
        """A worker's shell."""
        while True:
            await asyncio.sleep(interval)
            try:
                await work()
            except (TimeoutError, asyncpg.PostgresError, aiohttp.ClientError):
                counts["worker_failures"] += 1

    async def expire(self) -> None:
        """All that is due, one row at a time, the node first; stops itself after 15 s."""
        began = now()
        async with self.connection() as connection:
            rows = await connection.fetch(
                "select id, telegram_id, name, uuid, expires_at, source from subs where status = 'active' and expires_at < now()"
            )
            for number, row in enumerate(rows):
                if now() - began > EXPIRY_CAP:
                    return
                await self.set_access(row["name"], str(row["uuid"]), 2, False)
                await connection.execute(
                    "update subs set status = 'expired' where id = $1 and status = 'active' and expires_at < now()",
                    row["id"],
                )
                counts["expired"] += 1
                if number % 50 == 49:
                    await asyncio.sleep(0)

    async def tell_trials(self) -> None:
        """All who try, due or not; sends with the connection kept."""
        async with self.connection() as connection:
            rows = await connection.fetch(
                "select id, telegram_id, expires_at, told, source from subs where source = 'trial'"
            )
            moment = await connection.fetchval("select now()")
            for number, row in enumerate(rows):
                if not row["told"] and (row["expires_at"] - moment).total_seconds() < 86_400:
                    await self.telegram("sendMessage", chat_id=row["telegram_id"], text="your trial ends")
                    await connection.execute("update subs set told = true where id = $1", row["id"])
                if number % 50 == 49:
                    await asyncio.sleep(0)

    async def renew(self) -> None:
        """All that renews within six hours, in one transaction, the node inside."""
        async with self.connection() as connection, connection.transaction():
            rows = await connection.fetch(
                "select id, name, uuid from subs where status = 'active' and renews and expires_at < now() + interval '6 hours'"
            )
            for row in rows:
                await connection.execute(
                    "update subs set expires_at = expires_at + interval '30 days' where id = $1", row["id"]
                )
                await self.set_access(row["name"], str(row["uuid"]), 2, True)

    async def reconcile(self) -> None:
        """Every credential of the database, every one of the node, and up to 100 removals; 20 s for all of it."""
        async with asyncio.timeout(20), self.connection() as connection:
            known = {row["name"] for row in await connection.fetch("select name from subs")}
            orphans: list[dict[str, Any]] = []
            for start in range(0, 256, 64):
                query = "&".join(f"b={bucket}" for bucket in range(start, start + 64))
                found = await self.call_node("GET", f"/v1/bucket?{query}")
                orphans += [one for one in found["members"] if one["active"] and one["name"] not in known]
            for one in orphans[:100]:
                await self.set_access(one["name"], one["uuid"], one["version"] + 1, False)

    async def activate(self) -> None:
        """Fifty that are paid and not yet on, each with its connection kept over the node's call."""
        async with self.connection() as connection:
            rows = await connection.fetch(
                "select id, name, uuid from subs where status = 'pending' order by id limit 50"
            )
        for row in rows:
            async with self.connection() as connection:
                await self.set_access(row["name"], str(row["uuid"]), 1, True)
                await connection.execute("update subs set status = 'active' where id = $1", row["id"])

    async def watch_payments(self) -> None:
        """A hundred open invoices, one call each, the connection kept."""
        async with self.connection() as connection:
            for row in await connection.fetch("select id from invoices order by id desc limit 100"):
                url = self.api.replace("/bot1:x/", f"/pay/api/getInvoices?invoice_ids={row['id']}")
                async with self.http.get(url) as answer:
                    await answer.read()

    async def broadcast(self) -> None:
        """Everybody, one after the other."""
        async with self.connection() as connection:
            people = await connection.fetch("select telegram_id from subs")
        for row in people:
            with contextlib.suppress(TimeoutError):
                async with self.connection() as connection:
                    await connection.fetchval("select 1 from subs where telegram_id = $1", row["telegram_id"])
                await self.telegram("sendMessage", chat_id=row["telegram_id"], text="news")
                counts["broadcast"] += 1
            await asyncio.sleep(0.05)


async def main(api: str, url: str, node: str, token: str, epoch: str) -> None:
    """Run until killed."""
    watch_steps()
    bot = Bot(api, node, token, epoch)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as bot.http,
        asyncpg.create_pool(url, min_size=2, max_size=15, timeout=10, command_timeout=60) as bot.pool,
    ):
        await bot.poll()


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(0)
