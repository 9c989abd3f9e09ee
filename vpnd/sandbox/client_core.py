"""A customer's app: a real Xray core as a client, made from a ``vless://`` link and nothing else.

It is how the sandbox and the tests prove that a link works, or that it no longer does: traffic goes into a local SOCKS
port, through the link, out of the node.
"""

import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from vpnd.nodes.links import ParsedLink, parse_vless_link
from vpnd.runtime.process import run_child
from vpnd.sandbox.ports import free_port

#: Seconds until a client core takes connections; it needs about a twelfth.
START_DEADLINE: Final = 15.0
_POLL: Final = 0.01


class ClientCoreError(Exception):
    """The client core did not start."""


@contextlib.asynccontextmanager
async def client_core(
    link: str, *, source_ip: str | None = None, ca: Path | None = None, mux: bool = False
) -> AsyncIterator[int]:
    """Run a client for `link` and give the local SOCKS port that leads through it.

    Args:
        link: a ``vless://`` link as customers get it.
        source_ip: the local address it connects from. A core never counts 127.0.0.1 as online, so customers of a
            sandbox come from 127.0.0.3 and up.
        ca: certificate to trust for a TLS inbound, PEM; the system's otherwise.
        mux: let one connection carry many requests, as some apps do.

    Raises `ValueError` for a link that is none, and `ClientCoreError`.
    """
    port = free_port()
    config = client_config(parse_vless_link(link), port, source_ip=source_ip, ca=ca, mux=mux)
    argv = [sys.executable, "-P", "-m", "vpnd.agent.core_wheel"]
    async with trio.open_nursery() as nursery:
        child = await nursery.start(
            partial(
                run_child, argv, env=dict(os.environ), stdin=json.dumps(config).encode(), stop_timeout=2.0
            )
        )
        with trio.move_on_after(START_DEADLINE):
            while not await _listens(port):
                if child.returncode is not None:
                    raise ClientCoreError(f"the client core ended with status {child.returncode}")
                await trio.sleep(_POLL)
        yield port
        nursery.cancel_scope.cancel()


def client_config(
    link: ParsedLink,
    socks_port: int,
    *,
    source_ip: str | None = None,
    ca: Path | None = None,
    mux: bool = False,
) -> dict[str, Any]:
    """Return a core's configuration that offers SOCKS on `socks_port` and leads out through `link`."""
    query = link.query
    security = query.get("security", "none")
    stream: dict[str, Any] = {"network": query.get("type", "tcp"), "security": security}
    if security == "reality":
        stream["realitySettings"] = {
            "serverName": query["sni"],
            "fingerprint": query["fp"],
            "password": query["pbk"],
            "shortId": query.get("sid", ""),
            "spiderX": query.get("spx", ""),
        }
    elif security == "tls":
        stream["tlsSettings"] = {"serverName": query["sni"], "fingerprint": query["fp"]}
        if ca is not None:
            stream["tlsSettings"]["certificates"] = [{"usage": "verify", "certificateFile": str(ca)}]
    user = {"id": link.uuid, "encryption": query.get("encryption", "none"), "flow": query.get("flow", "")}
    outbound: dict[str, Any] = {
        "protocol": "vless",
        "settings": {"vnext": [{"address": link.host, "port": link.port, "users": [user]}]},
        "streamSettings": stream,
    }
    if source_ip is not None:
        outbound["sendThrough"] = source_ip
    if mux:
        outbound["mux"] = {"enabled": True, "concurrency": 8}
    inbound = {"listen": "127.0.0.1", "port": socks_port, "protocol": "socks", "settings": {"udp": False}}
    return {"log": {"loglevel": "none"}, "inbounds": [inbound], "outbounds": [outbound]}


async def fetch_through(socks_port: int, url: str, *, deadline: float = 5.0) -> bytes | None:
    """Fetch a page through a client; None when the connection was refused or broke, or no page came in time."""
    try:
        async with through(socks_port, deadline) as client:
            response = await client.get(url)
    except (httpx.HTTPError, OSError):
        return None
    return response.content if response.status_code == 200 else None


@contextlib.asynccontextmanager
async def through(socks_port: int, timeout: float = 5.0) -> AsyncIterator[httpx.AsyncClient]:
    """Give an HTTP client that goes through a SOCKS port; `timeout` is the longest silence, in seconds."""
    async with httpx.AsyncClient(
        proxy=f"socks5://127.0.0.1:{socks_port}",
        timeout=timeout,
        trust_env=False,
        verify=False,  # noqa: S501 - the sandbox's own targets have certificates nobody signed
    ) as client:
        yield client


async def _listens(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True
