"""The sandbox as a program: its line of JSON, its leash, its signals, and its clock in a real database."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from vpnd.database.database import Database
from vpnd.sandbox.faults import Fault
from vpnd.sandbox.servers import open_sandbox


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[tuple[trio.Process, dict[str, Any]]]:
    """The sandbox as a child process with a pipe to its standard input, and its ready line."""
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "vpnd.sandbox", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = b""
            with trio.fail_after(30):
                while not line.endswith(b"\n"):
                    line += await process.stdout.receive_some()
            yield process, json.loads(line)
        finally:
            if process.returncode is None:
                process.kill()
            await process.stdin.aclose()
            await process.stdout.aclose()
            await process.wait()
            nursery.cancel_scope.cancel()


async def test_it_says_where_it_listens_and_ends_on_sigterm() -> None:
    """One line of JSON with real ports, all serving the given tokens; SIGTERM ends it with success."""
    tokens = (
        "--bot-token",
        "77:abc",
        "--crypto-token",
        "88:def",
        "--yookassa-shop",
        "9",
        "--yookassa-secret",
        "k",
    )
    async with program(*tokens) as (process, ready):
        async with httpx.AsyncClient(trust_env=False) as client:
            me = await client.get(f"http://127.0.0.1:{ready['telegram_port']}/bot77:abc/getMe")
            assert me.json()["result"]["id"] == 77
            url = f"http://127.0.0.1:{ready['cryptopay_port']}/api/getMe"
            assert (await client.get(url, headers={"Crypto-Pay-API-Token": "88:def"})).status_code == 200
            url = f"http://127.0.0.1:{ready['yookassa_port']}/v3/me"
            assert (await client.get(url, auth=("9", "k"))).json()["account_id"] == "9"
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(10):
            assert await process.wait() == 0


async def test_a_leashed_one_ends_with_its_parent() -> None:
    """With --leash the end of standard input is the end, even while a poll is open."""
    async with program("--leash") as (process, ready):
        assert process.stdin is not None
        async with trio.open_nursery() as nursery:

            async def poll() -> None:
                async with httpx.AsyncClient(trust_env=False, timeout=40) as client:
                    with pytest.raises(httpx.HTTPError):
                        await client.get(f"{ready['telegram']}/bot100000001:x/getMe")
                        await client.get(f"{ready['telegram']}/sim/chat/1", params={"wait": 30})

            nursery.start_soon(poll)
            await process.stdin.aclose()
            with trio.fail_after(10):
                assert await process.wait() == 0


@pytest.mark.postgres
async def test_the_clock_moves_the_database_too(db: Database, database_url: str) -> None:
    """/sim/clock moves vpnd_now() by the same seconds, and a sandbox opened later begins where the database is."""
    before = await db.fetchval("test.clock", "select vpnd_now() - now()")
    assert before.total_seconds() == 0
    async with (
        open_sandbox(database_url=database_url) as sandbox,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        urls = (sandbox.telegram_url, sandbox.cryptopay_url, sandbox.yookassa_url)
        for url, total in zip(urls, (3600, 7200, 10_800), strict=True):
            answer = await client.post(f"{url}/sim/clock", json={"advance": 3600})
            assert answer.json()["offset"] == total
        backwards = await client.post(f"{sandbox.telegram_url}/sim/clock", json={"advance": -1})
        assert backwards.status_code == 400
    after = await db.fetchval("test.clock", "select vpnd_now() - now()")
    assert after.total_seconds() == 10_800
    async with open_sandbox(database_url=database_url) as again:
        assert again.clock.offset == 10_800


async def test_a_dropped_reply_is_not_one_byte() -> None:
    """A lost answer is the end of the stream and nothing before it, on a connection that served before."""
    async with open_sandbox() as sandbox:
        sandbox.telegram.faults.add(Fault("getme", "drop_reply"))
        host, port = sandbox.telegram_url.removeprefix("http://").split(":")
        request = b"GET /bot%s/%s HTTP/1.1\r\nHost: x\r\n\r\n"
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            with trio.fail_after(10):
                await stream.send_all(request % (sandbox.telegram.token.encode(), b"getMyName"))
                answer = b""
                while not answer.endswith(b"}}"):
                    answer += await stream.receive_some()
                await stream.send_all(request % (sandbox.telegram.token.encode(), b"getMe"))
                assert bytes(await stream.receive_some()) == b""
