"""A node that holds a million credentials and costs next to nothing: `_freeze_node.py URL TOKEN STRANGERS LACKING`.

It speaks the agent's API (`vpnd/agent/api.py`) over plain HTTP on loopback, keeps everything in memory, and begins with what the
shop's database says, less `LACKING` credentials, and with `STRANGERS` that the shop does not know. It prints its port as JSON.

`GET /load/quick`, `/load/slow` (each answer after 1 to 3 s) and `/load/hung` (no answer at all) change how it behaves;
`/load/figures` tells what it was asked.
"""

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4

import asyncpg

from vpnd.runtime.digest import BUCKETS, bucket_of, member_value

Member = tuple[int, int, bool]  # uuid, version, active
INBOUND = {
    "tag": "reality",
    "protocol": "vless",
    "transport": "tcp",
    "security": "reality",
    "flow": "xtls-rprx-vision",
    "host": "127.0.0.2",
    "port": 443,
    "sni": "decoy.test",
    "public_key": "A" * 43,
    "short_id": "00",
    "spider_x": "/",
    "fingerprint": "chrome",
}


class Node:
    """What is held, with the sums kept up to date."""

    def __init__(self, token: str) -> None:
        self.authorization = f"bearer {token}"
        self.mode = "quick"
        self.epoch = ""
        self.seq = 0
        self.members: list[dict[str, Member]] = [{} for _ in range(BUCKETS)]
        self.sums = [0] * BUCKETS
        self.asked: Counter[str] = Counter()

    def put(self, name: str, uuid: int, version: int, active: bool) -> bool:
        """Hold a credential, unless it is held in this version or a newer one."""
        bucket = bucket_of(name)
        former = self.members[bucket].get(name)
        if former is not None:
            if former[1] >= version:
                return False
            self.sums[bucket] -= member_value(name, str(UUID(int=former[0])), *former[1:])
        self.members[bucket][name] = (uuid, version, active)
        self.sums[bucket] += member_value(name, str(UUID(int=uuid)), version, active)
        return True

    async def load(self, url: str, strangers: int, lacking: int) -> None:
        """Take over what the database says."""
        connection = await asyncpg.connect(url)
        async with connection.transaction():
            self.epoch, self.seq = await connection.fetchrow("select epoch, last_seq from access_head")
            sql = "select name, credential, version, status = 'active' as active from subscriptions"
            number = 0
            async for row in connection.cursor(sql, prefetch=5000):
                number += 1
                if number > lacking:
                    self.put(row["name"], row["credential"].int, row["version"], row["active"])
        await connection.close()
        for number in range(strangers):
            self.put(f"stranger{number}", uuid4().int, 1, True)

    async def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        """Answer one request of the daemon."""
        path, _, query = target.partition("?")
        self.asked[path] += 1
        if self.mode == "slow":
            await asyncio.sleep(random.uniform(1, 3))
        if self.mode == "hung":
            await asyncio.Event().wait()
        if path == "/v1/status":
            core = {"state": "running", "version": "double", "restarts": 0}
            users = 0  # counting a million is not worth it, and nobody reads it here
            return 200, {
                "agent": "double", "boot_id": "boot", "epoch": self.epoch, "seq": self.seq, "users": users, "core": core,
                "cut": "sockets", "inbounds": [INBOUND],
            }  # fmt: skip
        if path == "/v1/changes" and method == "POST":
            return self.change(json.loads(body))
        if path == "/v1/buckets":
            rows = [[len(held), str(total)] for held, total in zip(self.members, self.sums, strict=True)]
            return 200, {"epoch": self.epoch, "seq": self.seq, "buckets": rows}
        if path == "/v1/bucket":
            found = [
                {"name": name, "uuid": str(UUID(int=uuid)), "version": version, "active": active}
                for bucket in parse_qs(query)["b"]
                for name, (uuid, version, active) in self.members[int(bucket)].items()
            ]
            return 200, {"members": found}
        if path == "/v1/usage":
            return 200, {"boot_id": "boot", "counters": {}, "next": None}
        return 404, {"error": "there is no such thing"}

    def change(self, push: dict[str, Any]) -> tuple[int, Any]:
        """Take changes over."""
        if push["epoch"] != self.epoch and not push.get("adopt"):
            return 409, {"error": "epoch", "epoch": self.epoch}
        applied, removed = 0, []
        for one in push["changes"]:
            if self.put(one["name"], UUID(one["uuid"]).int, one["version"], one["active"]):
                applied += 1
                if not one["active"]:
                    removed.append({"name": one["name"], "online_ips": 0, "sockets": 0, "how": "none"})
        self.epoch = push["epoch"]
        self.seq = push["seq"] if push.get("adopt") else max(self.seq, push["seq"])
        ignored = len(push["changes"]) - applied
        return 200, {
            "epoch": self.epoch,
            "seq": self.seq,
            "applied": applied,
            "ignored": ignored,
            "removed": removed,
        }

    def order(self, what: str) -> tuple[int, Any]:
        """Answer the bench."""
        if what == "figures":
            return 200, {"asked": dict(self.asked), "held": sum(map(len, self.members)), "seq": self.seq}
        self.mode = what
        return 200, {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One kept-alive connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if target.startswith("/load/"):
                    status, document = self.order(target[6:])
                elif headers.get("authorization") != self.authorization.lower():
                    status, document = 401, {"error": "the token is wrong"}
                else:
                    status, document = await self.answer(method, target, body)
                data = json.dumps(document, separators=(",", ":")).encode()
                writer.write(
                    b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % (status, len(data))
                )
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def main(url: str, token: str, strangers: str, lacking: str) -> None:
    """Serve until killed."""
    node = Node(token)
    await node.load(url, int(strangers), int(lacking))
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0, backlog=500)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(0)
