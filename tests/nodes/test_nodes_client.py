"""The client of one node, against small servers that answer what a node might."""

from __future__ import annotations

import contextlib
import json

import pytest
import trio
from starlette.responses import Response

from vpnd.config import NodeSettings, Secret
from vpnd.nodes import client as client_module
from vpnd.nodes.client import NodeClient, NodeEpochMismatch, NodeRefused, NodeUnavailable
from vpnd.nodes.model import AccessChange
from vpnd.runtime.held import HeldConnectionError, open_mark
from vpnd.runtime.http import open_http_client
from vpnd.runtime.limits import Limits
from vpnd.runtime.serve import serve_asgi

TOKEN = "token-nobody-may-see"
UUID = "0b7f1c9e-7d2f-4c55-9a53-0d8f3f0a1b2c"
ACK = {"epoch": "e", "seq": 3, "applied": 1, "ignored": 0, "removed": []}


@contextlib.asynccontextmanager
async def answering(status, body, *, hang=False):
    """Give a client of a node that answers everything alike, and the list of what it was asked."""
    asked = []

    async def app(scope, receive, send):
        message = await receive()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        asked.append(
            (scope["method"], scope["path"], scope["query_string"].decode(), headers, message["body"])
        )
        if hang:
            await trio.sleep_forever()
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        await Response(content, status_code=status)(scope, receive, send)

    stop = trio.Event()
    async with trio.open_nursery() as nursery, open_http_client(Limits(2, 4)) as http:

        async def serve(task_status=trio.TASK_STATUS_IGNORED):
            await serve_asgi(
                app,
                ["127.0.0.1:0"],
                shutdown_trigger=stop.wait,
                graceful_timeout=0.1,
                task_status=task_status,
            )

        (bound,) = await nursery.start(serve)
        yield (
            NodeClient(NodeSettings(name="berlin", url=f"http://{bound}/", token=Secret(TOKEN)), http),
            asked,
        )
        stop.set()


async def test_a_push_is_sent_and_its_acknowledgement_read():
    """With the token in the header, and adopt only where it is meant."""
    change = AccessChange("sabc", UUID, 2, active=True)
    async with answering(200, ACK) as (client, asked):
        result = await client.push("e", 3, [change])
        await client.push("e", 3, [], adopt=True)

    assert (result.seq, result.applied) == (3, 1)
    method, path, _query, headers, body = asked[0]
    assert (method, path, headers["authorization"]) == ("POST", "/v1/changes", f"Bearer {TOKEN}")
    assert json.loads(body) == {
        "epoch": "e",
        "seq": 3,
        "changes": [{"name": "sabc", "uuid": UUID, "version": 2, "active": True}],
    }
    assert json.loads(asked[1][4])["adopt"] is True


async def test_members_are_asked_for_in_portions():
    """A URL has an end: 256 buckets take four."""
    async with answering(200, {"members": [{"name": "a", "uuid": UUID, "version": 1, "active": False}]}) as (
        client,
        asked,
    ):
        members = await client.members(range(256))

    assert len(asked) == 4
    assert len(members) == 4
    assert asked[0][2].startswith("b=0&b=1&")


async def test_another_epoch_is_an_error_of_its_own():
    """With the node's epoch in it, None for a node that follows nothing yet."""
    async with answering(409, {"error": "epoch", "epoch": None}) as (client, _asked):
        with pytest.raises(NodeEpochMismatch) as caught:
            await client.push("e", 3, [])

    assert caught.value.epoch is None


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"error": "the token is wrong"}, NodeRefused),
        (400, {"error": "must be text", "field": "epoch"}, NodeRefused),
        (413, {"error": "too many"}, NodeRefused),
        (409, {"error": "something else"}, NodeRefused),
        (503, {"error": "the core does not hold the changes yet"}, NodeUnavailable),
        (500, b"Internal Server Error", NodeUnavailable),
        (408, {"error": "the body did not arrive"}, NodeUnavailable),
        (404, b"<html>not here</html>", NodeUnavailable),
        (302, b"", NodeUnavailable),
        (200, b"<html>hello</html>", NodeUnavailable),
        (200, {"epoch": "e"}, NodeUnavailable),
        (200, [], NodeUnavailable),
    ],
)
async def test_every_answer_has_a_meaning(status, body, error):
    """A refusal is the agent's own word; anything else, a proxy's page for one, is "I can't tell"."""
    async with answering(status, body) as (client, _asked):
        with pytest.raises(error) as caught:
            await client.push("e", 3, [])

    assert type(caught.value) is error
    assert caught.value.node == "berlin"
    assert TOKEN not in str(caught.value)


async def test_the_field_in_question_is_told():
    """So that a poisoned change can be found."""
    async with answering(400, {"error": "must be text", "field": "changes[3].uuid"}) as (client, _asked):
        with pytest.raises(NodeRefused) as caught:
            await client.push("e", 3, [])

    assert (caught.value.status, caught.value.field) == (400, "changes[3].uuid")


async def test_a_node_that_hangs_is_given_up(monkeypatch):
    """At the ceiling, whatever the call."""
    monkeypatch.setattr(client_module, "CEILING", 0.2)
    async with answering(200, ACK, hang=True) as (client, asked):
        with pytest.raises(NodeUnavailable):
            await client.status()

    assert len(asked) == 1


async def test_a_node_that_is_gone_is_unavailable():
    """A refused connection says nothing of what the node holds."""
    async with open_http_client(Limits(2, 4)) as http:
        client = NodeClient(NodeSettings(name="x", url="http://127.0.0.1:9", token=Secret(TOKEN)), http)
        with pytest.raises(NodeUnavailable):
            await client.buckets()


async def test_no_call_while_a_transaction_is_open():
    """A node that hangs must never hold a database connection."""
    async with answering(200, ACK) as (client, asked):
        with open_mark("some scope"), pytest.raises(HeldConnectionError):
            await client.status()

    assert asked == []


def test_the_ceiling_is_five_seconds():
    """The audit's."""
    assert client_module.CEILING == 5.0
