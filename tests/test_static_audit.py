"""The static half of the audit, over the whole package; and the checker itself, which finds what is planted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest
from static_audit import (
    Finding,
    Module,
    bare_bridges,
    blocking,
    bounded,
    held_calls,
    package,
    unbounded,
    unique_keys,
)

#: In one process, which parses the package for all of them.
pytestmark = pytest.mark.xdist_group("static_audit")

KEYS = unique_keys()


@cache
def modules() -> list[Module]:
    """The package, parsed once and by the first test that needs it: to collect tests costs nothing of it."""
    return package()


@cache
def findings(rule: str) -> list[Finding]:
    """What a rule finds in the package."""
    if rule == "unbounded":
        return unbounded(modules(), KEYS)
    return {"blocking": blocking, "held": held_calls, "bridges": bare_bridges}[rule](modules())


#: Places that make a call which is known to block, and why that is no harm.
BLOCKING_ALLOWED = {
    "vpnd.agent.core.Core.run": "makes one folder at the agent's start",
    "vpnd.agent.core.Core._live": "removes one socket file between two lives of the core",
    "vpnd.database.migrate.migrate": "reads the package's few statements once, before anything is served",
    "vpnd.database.migrate.pending": "likewise",
    "vpnd.runtime.process.run_child": "starts a child: fork and exec cannot be done by another thread",
    "vpnd.runtime.sdnotify.service_manager": "connects a datagram socket to a path, which never waits",
    "vpnd.runtime.serve._open": "binds the listening sockets at the start",
    "vpnd.shell.init_node_checks._core": "makes one folder in a command that does nothing else meanwhile",
    "vpnd.shop.exports.export_csv": "makes one file, and renames or removes it; what is written goes by a thread",
}

#: Fetches whose statement cannot be judged here, or that nothing in it bounds, and what does.
UNBOUNDED_ALLOWED = {
    "vpnd.database.coalesce.RowsLoader._load": "hands on what its constructor was given, which is judged there",
    "vpnd.database.database._Reading._ask": "hands on",
    "vpnd.database.scope._fetch": "hands on",
    "vpnd.database.scope._fetchrow": "hands on",
    "vpnd.database.scope._fetchval": "hands on",
    "vpnd.shop.source.fetch": "hands on",
    "vpnd.shop.source.fetchrow": "hands on",
    "vpnd.shop.housekeeping": "chores are data: a page of keys by LIMIT, and what is done over the keys of that page",
    "vpnd.shop.access_log.record_ack.body": "what lies between the marks that the statement before has set: ACK_LIMIT rows",
    "vpnd.shop.ledger.repay_receivable": "one account's sum, by its kind, owner and currency",
    "vpnd.shop.ledger.imbalance": "a row for each currency",
    "vpnd.shop.nodes.forget_others.body": "a shop has tens of nodes",
    "vpnd.shop.settlement_write.write_verdict": "one row: the statement is put together once, when the module is loaded",
    "vpnd.shop.subscriptions.grant": "makes one subscription",
    "vpnd.shop.exports._write": "tables are data: a page of ids by LIMIT",
}

#: Awaits inside of a scope, and why.
HELD_ALLOWED = {
    "vpnd.database.migrate._lock": "waits for another migration with the connection that will hold the lock",
}


def refused(found: list[Finding], allowed: Mapping[str, str]) -> list[str]:
    """What no allowance covers; one of a module covers all of it."""
    return [str(finding) for finding in found if not any(map(finding.within, allowed))]


def test_no_call_in_async_code_blocks() -> None:
    """Neither an `async def` itself nor a plain function of ours that it calls sleeps, opens a file or waits for a socket."""
    assert refused(findings("blocking"), BLOCKING_ALLOWED) == []


def test_every_read_is_bounded() -> None:
    """By a LIMIT, a unique key, an aggregate, or the keys it is given."""
    assert len(KEYS["subscriptions"]) >= 3
    assert refused(findings("unbounded"), UNBOUNDED_ALLOWED) == []


def test_nothing_is_awaited_of_the_world_inside_a_scope() -> None:
    """A connection is never held across the network, nor across a sleep."""
    assert refused(findings("held"), HELD_ALLOWED) == []


def test_the_bridge_is_crossed_in_one_room() -> None:
    """No bare bridge call: asyncio and its driver are used in `vpnd/database` only."""
    assert refused(findings("bridges"), {}) == []


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [("blocking", BLOCKING_ALLOWED), ("unbounded", UNBOUNDED_ALLOWED), ("held", HELD_ALLOWED)],
)
def test_an_allowance_is_needed(rule: str, allowed: Mapping[str, str]) -> None:
    """One that nothing stands for any more is taken out: else it would cover the next fault of that place."""
    assert [place for place in allowed if not any(finding.within(place) for finding in findings(rule))] == []


# --- the checker finds what is planted -------------------------------------------------------------------------------------


def planted(text: str, name: str = "vpnd.shop.planted") -> list[Module]:
    return [Module.parse(name, text)]


@pytest.mark.parametrize(
    "body",
    [
        "import time\nasync def f():\n    time.sleep(1)",
        "from time import sleep\nasync def f():\n    sleep(1)",
        "from time import sleep as nap\nasync def f():\n    nap(1)",
        "async def f():\n    with open('x') as file:\n        pass",
        "async def f(path):\n    return path.read_text()",
        "from pathlib import Path\nasync def f():\n    Path('x').write_bytes(b'')",
        "import subprocess\nasync def f():\n    subprocess.run(['true'])",
        "import requests\nasync def f():\n    requests.get('https://example.org')",
        "import socket\nasync def f():\n    socket.create_connection(('h', 1))",
        "import os\nasync def f():\n    os.fsync(1)",
        "import hashlib\nasync def f():\n    hashlib.scrypt(b'', salt=b'', n=2, r=1, p=1)",
        "def g():\n    open('x')\nasync def f():\n    g()",
        "def h():\n    open('x')\ndef g():\n    h()\nasync def f():\n    g()",
        "class A:\n    def g(self):\n        open('x')\n    async def f(self):\n        self.g()",
        "async def f():\n    return [line for line in open('x')]",
    ],
)
def test_a_planted_blocking_call_is_found(body: str) -> None:
    """By whatever name it was imported, and behind plain functions of ours."""
    assert len(blocking(planted(body))) == 1


@pytest.mark.parametrize(
    "body",
    [
        "import time\ndef f():\n    time.sleep(1)",
        "import trio\nasync def f():\n    await trio.sleep(1)",
        "import trio\ndef g():\n    open('x')\nasync def f():\n    await trio.to_thread.run_sync(g)",
        "import trio\nasync def f(path):\n    await trio.to_thread.run_sync(lambda: path.read_text())",
        "import trio\nasync def f():\n    await trio.Path('x').read_text()",
        "async def f():\n    def g():\n        open('x')\n    return g",
    ],
)
def test_what_does_not_block_is_passed(body: str) -> None:
    """Plain code outside of the loop, threads, and trio's own ways."""
    assert blocking(planted(body)) == []


@pytest.mark.parametrize(
    "sql",
    [
        "select id from subscriptions where expires_at < now()",
        "select id from subscriptions where customer_id = $1",
        "select s.id from subscriptions s join customers c on c.id = s.customer_id",
        "select s.id from subscriptions s, customers c where c.id = s.customer_id and c.username = $1",
        "select currency, sum(amount) from ledger group by currency",
        "update outbox set status = 'ready' where status = 'dead' returning id",
        "delete from inbox where done_at < now() returning update_id",
        "insert into access_log (subscription_id) select id from subscriptions returning id",
    ],
)
def test_a_planted_unbounded_read_is_found(sql: str) -> None:
    """One that grows with its table, whether it only reads, or writes and returns."""
    for call in (
        f"await db.fetch('shop.q', {sql!r})",
        f"await tx.fetch({sql!r}, 1)",
        f"await self._db.fetchrow('shop.q', {sql!r})",
    ):
        assert len(unbounded(planted(f"async def f(self, db, tx):\n    {call}"), KEYS)) == 1
    constant = f"_Q = {sql!r}\nasync def f(db):\n    await db.fetch('shop.q', _Q)"
    assert len(unbounded(planted(constant), KEYS)) == 1
    loader = (
        f"from vpnd.database.coalesce import Loader\ndef f(db):\n    return Loader(db, 'q', {sql!r}, 'id')"
    )
    assert len(unbounded(planted(loader), KEYS)) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        "select vpnd_now()",
        "select id from subscriptions order by id limit $1",
        "select id from subscriptions where name = $1",
        "select s.id from subscriptions s where s.link_token = $1",
        "select amount from prices where offer_id = $1 and currency = $2",
        "select count(*) from inbox where done_at is null",
        "select * from subscriptions where id = any($1::bigint[])",
        "select epoch, last_seq from access_head",
    ],
)
def test_a_bounded_read_is_passed(sql: str) -> None:
    """By LIMIT, unique key (of one column or of several), aggregate, or the keys given."""
    assert bounded(sql, KEYS)


def test_half_of_a_key_is_no_key() -> None:
    """An offer has a price in each currency."""
    assert not bounded("select amount from prices where offer_id = $1", KEYS)


def test_a_statement_that_is_no_constant_is_found() -> None:
    """What is put together when it is asked cannot be judged, and may hold a stranger's words."""
    assert len(unbounded(planted("async def f(db, q):\n    await db.fetch('shop.q', build(q))"), KEYS)) == 1


@pytest.mark.parametrize(
    "body",
    [
        "async def f(db, http):\n    async with db.transaction('a.b') as tx:\n        await http.request('x')",
        "async def f(s):\n    async with s.db.transaction('a.b') as tx:\n        if tx:\n            await s._sender.go(1)",
        "async def f(self, tx: Transaction):\n    await self.bot.call('getMe')",
        "async def f(node: NodeClient, tx: Transaction):\n    await node.push()",
        "import trio\nasync def f(tx: Transaction):\n    await trio.sleep(1)",
        "async def f(db, provider):\n    async def g(tx: Transaction):\n        await provider.do()\n    await db.run('a', g)",
    ],
)
def test_a_planted_call_inside_a_scope_is_found(body: str) -> None:
    """In the block of the scope, however deep, and in functions that are given an open scope."""
    assert len(held_calls(planted(body))) == 1


def test_a_call_beside_a_scope_is_passed() -> None:
    """Before and after it, the world may be waited for."""
    body = (
        "async def f(db, http):\n    await http.request('x')\n    async with db.transaction('a.b') as tx:\n"
        "        await tx.execute('q')\n    await http.request('y')"
    )
    assert held_calls(planted(body)) == []


@pytest.mark.parametrize(
    "body",
    [
        "import asyncio",
        "from trio_asyncio import aio_as_trio",
        "import asyncpg.pool",
        "x = trio_asyncio.aio_as_trio(y)",
    ],
)
def test_a_planted_bridge_is_found(body: str) -> None:
    """Outside of its room; inside it is at home."""
    assert len(bare_bridges(planted(body))) >= 1
    assert bare_bridges(planted(body, "vpnd.database.bridge")) == []
