"""Two ways of sending that are common, written as small as they can be: `_broadcast_rivals.py BASE TOKEN SHAPE COUNT SECONDS`.

    sequential   one after the other, 0.05 s between two; a refusal is a failure and is not tried again
    burst        25 at once, then a second; a refusal is waited for as long as it says and a second more, and is tried again

Prints one line of JSON when all are behind it or the time is up: how many it believes to have sent, and how many it gave up.
"""

import asyncio
import json
import sys
from urllib.parse import urlsplit

FIRST = 1_000_000_000


class Client:
    """Sends over kept-alive connections."""

    def __init__(self, base: str, token: str) -> None:
        self.host, self.token = urlsplit(base), token
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, number: int) -> int:
        """Send one message; 0, or the seconds that Telegram asks to wait."""
        if self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self.host.hostname, self.host.port)
        body = f"chat_id={FIRST + number}&text=BROADCAST".encode()
        writer.write(
            f"POST /bot{self.token}/sendMessage HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        answer = json.loads(await reader.readexactly(length))
        self.idle.append((reader, writer))
        return 0 if answer["ok"] else int(answer["parameters"]["retry_after"])


async def sequential(client: Client, count: int, tally: dict[str, int]) -> None:
    """One after the other."""
    for number in range(1, count + 1):
        tally["given up" if await client.send(number) else "sent"] += 1
        await asyncio.sleep(0.05)


async def burst(client: Client, count: int, tally: dict[str, int]) -> None:
    """Twenty-five at once."""

    async def one(number: int) -> None:
        while after := await client.send(number):  # noqa: ASYNC110 (Telegram tells nobody)
            await asyncio.sleep(after + 1)
        tally["sent"] += 1

    for start in range(1, count + 1, 25):
        await asyncio.gather(*(one(number) for number in range(start, min(start + 25, count + 1))))
        await asyncio.sleep(1)


async def main(base: str, token: str, shape: str, count: str, seconds: str) -> None:
    """Send to all, or for so long."""
    tally = {"sent": 0, "given up": 0}
    work = {"sequential": sequential, "burst": burst}[shape](Client(base, token), int(count), tally)
    try:
        await asyncio.wait_for(work, float(seconds))
    except TimeoutError:
        tally["cut off"] = 1
    print(json.dumps(tally), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:6]))
