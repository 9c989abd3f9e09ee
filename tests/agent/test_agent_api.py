"""The agent's HTTP API, without a core behind it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import httpx
import pytest
import trio

from vpnd.agent.api import MAX_BODY, AgentApi
from vpnd.agent.apply import Removed
from vpnd.agent.core import CoreState
from vpnd.agent.core_program import CoreProgram
from vpnd.agent.model import Credential, Push
from vpnd.agent.state import open_state
from vpnd.agent.xray_client import CoreUnavailable
from vpnd.config import Secret

TOKEN = "a-token-of-the-daemon"
UUID = "0b7f1c9e-7d2f-4c55-9a53-0d8f3f0a1b2c"
CHANGE = {"name": "sabc", "uuid": UUID, "version": 1, "active": True}


class Endless(httpx.AsyncByteStream):
    """A body that does not say how long it is."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        return b" " * 65536


class FakeCore:
    program = CoreProgram(("xray",), "Xray 1")
    restarts = 3
    state = CoreState.RUNNING
    current = None

    doors = SimpleNamespace(public=({"tag": "main"},))


class FakeApplier:
    means = "sockets"
    idle = True
    stuck = False

    async def carry_out(self, applied):
        if self.stuck:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return {name: Removed(name, 1, 2, "sockets") for name in applied.cut}


class FakeLife:
    boot_id = "boot"

    def __init__(self, counters):
        self.client = self
        self._counters = counters

    async def usage(self):
        await trio.lowlevel.checkpoint()
        if isinstance(self._counters, Exception):
            raise self._counters
        return self._counters


@pytest.fixture
async def api(tmp_path):
    async with open_state(tmp_path) as state:
        yield AgentApi(Secret(TOKEN), FakeCore(), state, FakeApplier(), settled=await state.watermark())


@pytest.fixture
async def client(api):
    transport = httpx.ASGITransport(api.application())
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://agent", headers=headers) as client:
        yield client


def push(*changes, **other):
    return {"epoch": "e", "seq": 5, "changes": list(changes), "adopt": True} | other


@pytest.mark.parametrize("path", ["/v1/status", "/v1/buckets", "/v1/bucket?b=1", "/v1/usage", "/metrics"])
@pytest.mark.parametrize(
    "given", ["", "Bearer ", "Bearer wrong", f"bearer {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff\xfe", TOKEN]
)
async def test_only_the_token_opens(client, path, given):
    """Anything else is 401, and the answer tells nothing more."""
    response = await client.get(path, headers={"authorization": given.encode("latin-1")})

    assert response.status_code == 401
    assert list(response.json()) == ["error"]


async def test_a_wrong_token_is_refused_before_the_body_is_read(client):
    """A stranger cannot make the agent read or parse anything."""
    response = await client.post("/v1/changes", content=b"{", headers={"authorization": "Bearer no"})

    assert response.status_code == 401


async def test_an_empty_token_opens_nothing(tmp_path):
    """Not even to those who send an empty one."""
    async with open_state(tmp_path) as state:
        api = AgentApi(Secret(""), FakeCore(), state, FakeApplier(), settled=await state.watermark())
        transport = httpx.ASGITransport(api.application())
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
            assert (await client.get("/v1/status", headers={"authorization": "Bearer "})).status_code == 401


async def test_a_push_is_applied_and_answered(client):
    """The answer counts what was new, what was known, and tells who was cut off and how."""
    first = await client.post("/v1/changes", json=push(CHANGE))
    again = await client.post("/v1/changes", json=push(CHANGE))
    gone = await client.post("/v1/changes", json=push(CHANGE | {"version": 2, "active": False}, seq=6))

    assert first.json() == {"epoch": "e", "seq": 5, "applied": 1, "ignored": 0, "removed": []}
    assert again.json() == {"epoch": "e", "seq": 5, "applied": 0, "ignored": 1, "removed": []}
    assert gone.json()["removed"] == [{"name": "sabc", "online_ips": 1, "sockets": 2, "how": "sockets"}]


async def test_another_epoch_is_a_conflict(client):
    """The daemon learns which one the node follows, and that a fresh node follows none."""
    fresh = await client.post("/v1/changes", json=push(adopt=False))
    await client.post("/v1/changes", json=push())
    other = await client.post("/v1/changes", json=push(epoch="f", adopt=False))

    assert (fresh.status_code, fresh.json()) == (409, {"error": "epoch", "epoch": None})
    assert (other.status_code, other.json()) == (409, {"error": "epoch", "epoch": "e"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"not json", ""),
        (b"[" * 100_000, ""),
        (b"\xff\xfe", ""),
        (json.dumps(push(CHANGE | {"uuid": "x"})).encode(), "changes[0].uuid"),
    ],
)
async def test_garbage_is_400_with_its_field(client, body, field):
    """Whatever arrives, the answer says what is wrong with it."""
    response = await client.post("/v1/changes", content=body)

    assert response.status_code == 400
    assert response.json()["field"] == field


async def test_a_body_has_an_end(client):
    """A long body is refused by its announced length, and by its real one when none was announced."""

    announced = await client.post("/v1/changes", content=b" " * (MAX_BODY + 1))
    request = httpx.Request("POST", "http://agent/v1/changes", headers=client.headers, stream=Endless())
    streamed = await client.send(request)

    assert (announced.status_code, streamed.status_code) == (413, 413)


async def test_too_many_changes_are_413(client):
    """Ten thousand a call."""
    response = await client.post("/v1/changes", json=push(*[None] * 10_001))

    assert response.status_code == 413


async def test_a_change_the_core_does_not_hold_is_not_acknowledged(api, client, autojump_clock):
    """It is 503 in good time, the status keeps the old watermark, and the same push is answered later."""
    api.applier.stuck, api.applier.idle = True, False
    waiting = await client.post("/v1/changes", json=push(CHANGE))
    pending = (await client.get("/v1/status")).json()
    api.applier.stuck, api.applier.idle = False, True
    later = await client.post("/v1/changes", json=push(CHANGE))
    settled = (await client.get("/v1/status")).json()

    assert waiting.status_code == 503
    assert (pending["epoch"], pending["seq"], pending["users"]) == (None, 0, 1)
    assert (later.status_code, later.json()["ignored"]) == (200, 1)
    assert (settled["epoch"], settled["seq"]) == ("e", 5)


async def test_the_status_says_what_the_node_is(client):
    """All that the contract with the daemon names."""
    assert (await client.get("/v1/status")).json() == {
        "agent": "0.1.0",
        "boot_id": "",
        "epoch": None,
        "seq": 0,
        "users": 0,
        "core": {"state": "running", "version": "Xray 1", "restarts": 3},
        "cut": "sockets",
        "inbounds": [{"tag": "main"}],
    }


async def test_buckets_and_members_tell_the_same(api, client):
    """The sums are there for all 256 buckets, and the members of each can be asked for."""
    changes = tuple(Credential(f"s{n}", f"{n:08x}{UUID[8:]}", 1, active=n % 2 == 0) for n in range(40))
    await api.state.apply(Push("e", 9, True, changes))
    told = (await client.get("/v1/buckets")).json()
    some = (await client.get("/v1/bucket?b=0&b=17&b=255&b=17")).json()["members"]
    every = (await client.get("/v1/bucket?" + "&".join(f"b={n}" for n in range(256)))).json()["members"]

    assert (told["epoch"], told["seq"], len(told["buckets"])) == ("e", 9, 256)
    assert sum(count for count, _ in told["buckets"]) == 40
    assert len(some) == sum(told["buckets"][n][0] for n in (0, 17, 255))
    assert {(m["name"], m["uuid"], m["version"], m["active"]) for m in every} == {
        (c.name, c.uuid, c.version, c.active) for c in changes
    }


@pytest.mark.parametrize("query", ["", "?b=", "?b=256", "?b=-1", "?b=x", "?b=1&b=1e3", "?b=%C2%B2"])
async def test_a_bucket_is_a_number_below_256(client, query):
    """Anything else is 400."""
    response = await client.get(f"/v1/bucket{query}")

    assert (response.status_code, response.json()["field"]) == (400, "b")


async def test_usage_comes_in_pages(api, client, monkeypatch):
    """By name, each page saying where the next begins; without a core there is none."""
    monkeypatch.setattr("vpnd.agent.api.USAGE_PAGE", 2)
    nothing = (await client.get("/v1/usage")).json()
    api.core.current = FakeLife(dict.fromkeys("dbca", (1, 2)))
    first = (await client.get("/v1/usage")).json()
    second = (await client.get("/v1/usage?after=b")).json()

    assert nothing == {"boot_id": "", "counters": {}, "next": None}
    assert first == {"boot_id": "boot", "counters": {"a": [1, 2], "b": [1, 2]}, "next": "b"}
    assert second == {"boot_id": "boot", "counters": {"c": [1, 2], "d": [1, 2]}, "next": None}
    assert (await client.get("/v1/usage?after=A!")).status_code == 400


async def test_a_core_that_cannot_be_asked_is_503(api, client):
    """No counters is another answer than no traffic."""
    api.core.current = FakeLife(CoreUnavailable("gone"))
    response = await client.get("/v1/usage")

    assert response.status_code == 503


async def test_metrics_are_served(client):
    """In the text format, for whoever has the token."""
    response = await client.get("/metrics")

    assert response.status_code == 200
    assert "vpnd_agent_core_up" in response.text
