"""The daemon's HTTP client for one node.

Every call has a ceiling of five seconds and a typed answer. What can go wrong falls into three: the node cannot be
reached or asked now (`NodeUnavailable`: try again, and conclude nothing), it understood and refuses (`NodeRefused`), or
it follows another epoch of the log (`NodeEpochMismatch`: compare before anything else is sent).
"""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import trio

from vpnd.config import NodeSettings
from vpnd.nodes.model import (
    AccessChange,
    BadAnswer,
    NodeBuckets,
    NodeStatus,
    PushResult,
    Usage,
)
from vpnd.runtime.http import HttpBadBody, HttpClient, HttpError, HttpResponse, pinned_context

T = TypeVar("T")

#: Seconds a call may take, whatever it is.
CEILING: Final = 5.0
#: Largest answer: fifty thousand members of about 120 bytes.
MAX_ANSWER: Final = 16 * 1024 * 1024
#: Buckets asked for in one URL.
_BUCKETS_A_CALL: Final = 64
_BOUNDARY: Final = "node"


class NodeError(Exception):
    """A node did not do what it was asked; `node` is its name."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(f"node {node}: {message}")
        self.node = node


class NodeUnavailable(NodeError):
    """The node gave no answer that means anything: nothing is known of what it holds."""


class NodeRefused(NodeError):
    """The node understood and refuses; `status` is HTTP's, `field` what the node objects to, if it said so."""

    def __init__(self, node: str, status: int, message: str, field: str | None = None) -> None:
        about = f" ({field})" if field else ""
        super().__init__(node, f"{status} {message}{about}")
        self.status = status
        self.field = field


class NodeEpochMismatch(NodeError):
    """The node follows another epoch of the log; `epoch` is the node's, None when it has never followed one."""

    def __init__(self, node: str, epoch: str | None) -> None:
        super().__init__(node, f"follows epoch {epoch}")
        self.epoch = epoch


class NodeClient:
    """Calls to one node.

    The certificate is pinned when the settings hold its fingerprint: it is compared before a byte of a request,
    and so of the token, is sent. Build one client for a node and an `HttpClient`; it registers an origin by the node's
    name.
    """

    def __init__(self, settings: NodeSettings, http: HttpClient) -> None:
        self.name = settings.name
        self._base = settings.url.rstrip("/")
        self._token = settings.token
        self._http = http
        self._origin: str | None = None
        parts = urlsplit(self._base)
        if settings.fingerprint is not None and parts.scheme == "https":
            self._origin = f"node {settings.name}"
            host, port = parts.hostname or "", parts.port or 443
            http.add_origin(self._origin, functools.partial(pinned_context, host, port, settings.fingerprint))

    async def aclose(self) -> None:
        """Close the connections to the node; what is asked of it afterwards is answered by `NodeUnavailable`."""
        if self._origin is not None:
            await self._http.drop_origin(self._origin)

    async def status(self) -> NodeStatus:
        """Ask what the node is and how far it follows the log."""
        return await self._ask("status", "GET", "/v1/status", NodeStatus.parse)

    async def push(
        self, epoch: str, seq: int, changes: Sequence[AccessChange], *, adopt: bool = False
    ) -> PushResult:
        """Have the node take over `changes`, which bring it up to `seq` of `epoch`.

        Returns when the node's disk and core hold them. Sending the same again is harmless. At most 10 000 changes.
        `adopt` makes the node follow `epoch` from now on, whatever it followed before. Raises `NodeEpochMismatch`.
        """
        # A full call is a megabyte and a half of JSON: some thirty milliseconds that are not the loop's.
        content = await trio.to_thread.run_sync(_push_body, epoch, seq, changes, adopt)
        return await self._ask("push", "POST", "/v1/changes", PushResult.parse, content=content)

    async def buckets(self) -> NodeBuckets:
        """Ask for the sums of everything the node holds."""
        return await self._ask("buckets", "GET", "/v1/buckets", NodeBuckets.parse)

    async def members(self, buckets: Iterable[int]) -> list[AccessChange]:
        """Ask for all credentials of some buckets, those that are off included.

        Raises `NodeRefused` when one call's buckets hold more than the node tells at once (50 000): ask for fewer.
        """
        wanted = sorted(set(buckets))
        found: list[AccessChange] = []
        for start in range(0, len(wanted), _BUCKETS_A_CALL):
            part = [("b", str(bucket)) for bucket in wanted[start : start + _BUCKETS_A_CALL]]
            query = "&".join(f"{key}={value}" for key, value in part)
            found += await self._ask("members", "GET", f"/v1/bucket?{query}", _members)
        return found

    async def usage(self, after: str = "") -> Usage:
        """Ask for a page of traffic counters, of names after `after`; ``next`` of the answer continues."""
        return await self._ask(
            "usage", "GET", f"/v1/usage?after={after}" if after else "/v1/usage", Usage.parse
        )

    async def _ask(
        self,
        operation: str,
        method: str,
        path: str,
        parse: Callable[[Any], T],
        *,
        content: bytes | None = None,
    ) -> T:
        try:
            response = await self._http.request(
                _BOUNDARY,
                operation,
                method,
                self._base + path,
                deadline=CEILING,
                headers={
                    "Authorization": f"Bearer {self._token.reveal()}",
                    "Content-Type": "application/json",
                },
                content=content,
                origin=self._origin,
                max_body=MAX_ANSWER,
            )
        except HttpError as error:
            raise NodeUnavailable(self.name, str(error)) from error
        if response.status != 200:
            raise self._refusal(response)
        try:
            # A long list takes a tenth of a second to read.
            return await trio.to_thread.run_sync(lambda: parse(response.json()))
        except (BadAnswer, HttpBadBody) as error:
            raise NodeUnavailable(self.name, f"its answer cannot be read: {error}") from None

    def _refusal(self, response: HttpResponse) -> NodeError:
        """Read a refusal. What is not one of the agent's own comes from something else that answers in its place."""
        try:
            document = response.json()
        except HttpBadBody:
            document = None
        said = document.get("error") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(said, str):
            return NodeUnavailable(self.name, f"answered {response.status}, which is no answer of an agent")
        if response.status == 409 and said == "epoch":
            epoch = document.get("epoch")
            return NodeEpochMismatch(self.name, epoch if isinstance(epoch, str) else None)
        if response.status >= 500 or response.status == 408:
            return NodeUnavailable(self.name, f"{response.status} {said[:200]}")
        field = document.get("field")
        return NodeRefused(self.name, response.status, said[:200], field if isinstance(field, str) else None)


def _push_body(epoch: str, seq: int, changes: Sequence[AccessChange], adopt: bool) -> bytes:
    body: dict[str, Any] = {"epoch": epoch, "seq": seq, "changes": [change.to_json() for change in changes]}
    if adopt:
        body["adopt"] = True
    return json.dumps(body, separators=(",", ":")).encode()


def _members(document: Any) -> list[AccessChange]:
    members = document.get("members") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise BadAnswer("members: is not a list")
    return [AccessChange.parse(member) for member in members]
