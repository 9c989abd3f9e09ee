"""The agent's side of the Xray core's gRPC API.

grpcio keeps its own threads and blocks its callers, so every call runs in a trio thread, under a small limiter and with
a deadline of its own: a call that is cancelled lasts at most that long. Many changes go out from one thread with a
window of requests in flight, which is several times faster than a thread each.

The core answers nearly every failure with status 2 and a sentence; `_mapped` is the one place where sentences become
exceptions.
"""

import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

# Children are started by vfork and exec; grpcio's own fork handlers have nothing to do then, and only complain.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import attrs
import grpc
import trio

from vpnd.agent import xray_api_pb2 as api

T = TypeVar("T")

FLOW: Final = "xtls-rprx-vision"
#: Largest message the core takes (gRPC-Go's default is 4 MiB), less a reserve for the rest of the message.
MAX_MESSAGE: Final = 4 * 1024 * 1024 - 65_536
#: Seconds a single question may take; a busy core answers in milliseconds.
CALL_DEADLINE: Final = 5.0
#: Seconds for answers that list every user.
LIST_DEADLINE: Final = 60.0
#: Requests in flight from one thread; more gained nothing.
_WINDOW: Final = 64
#: Changes a thread sends before the task behind it may be cancelled.
_SLICE: Final = 500
#: Threads of one client at once.
_THREADS: Final = 8

_HANDLER: Final = "/xray.app.proxyman.command.HandlerService/"
_STATS: Final = "/xray.app.stats.command.StatsService/"
_ADD_USER: Final = "xray.app.proxyman.command.AddUserOperation"
_REMOVE_USER: Final = "xray.app.proxyman.command.RemoveUserOperation"
_VLESS_ACCOUNT: Final = "xray.proxy.vless.Account"
_VLESS_INBOUND: Final = "xray.proxy.vless.inbound.Config"


class CoreError(Exception):
    """The core did not do what it was asked."""


class CoreUnavailable(CoreError):
    """The core is not there, or did not answer in time: nothing is known about the change."""


class CoreRejected(CoreError):
    """The core refuses the request, and would refuse it again."""


class UserExists(CoreError):
    """A user of this name is there already, perhaps with another uuid."""


class UserUnknown(CoreError):
    """No user of this name is there."""


class InboundUnknown(CoreError):
    """No inbound has this tag."""


@attrs.frozen
class Operation:
    """One change of one inbound's list of users: added with `uuid`, or removed where `uuid` is None."""

    tag: str
    name: str
    uuid: str | None


@contextlib.asynccontextmanager
async def open_client(socket_path: Path) -> AsyncIterator["XrayClient"]:
    """Open a channel to the core's API on a unix socket, for as long as the context lasts.

    Opening does not wait for the core: the first call does, within its deadline.
    """
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", -1),  # a list of all users has no fixed size
        ("grpc.enable_http_proxy", 0),
        (
            "grpc.use_local_subchannel_pool",
            1,
        ),  # a new core must not inherit the back-off of the one before it
    ]
    channel = grpc.insecure_channel(f"unix:{socket_path}", options=options)
    try:
        yield XrayClient(channel)
    finally:
        # Ends calls that are still in flight, and with them their threads. Takes well under a millisecond.
        channel.close()


class XrayClient:
    """Typed calls to one core. Built by `open_client`; may be used by many tasks.

    Every method raises `CoreUnavailable` when the core is gone or silent, and `CoreRejected` for an answer without a
    meaning of its own.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._limiter = trio.CapacityLimiter(_THREADS)
        self._methods: dict[str, Any] = {}

    async def ping(self, deadline: float = CALL_DEADLINE) -> int:
        """Return how many seconds the core has been up."""
        answer = await self._call(
            f"{_STATS}GetSysStats", api.GetSysStatsRequest(), api.GetSysStatsResponse, deadline
        )
        return int(answer.uptime)

    async def add_user(self, tag: str, name: str, uuid: str) -> None:
        """Let `uuid` in through an inbound under `name`; in force when this returns. Raises `UserExists`."""
        await self._call(f"{_HANDLER}AlterInbound", _alteration(Operation(tag, name, uuid)), None)

    async def remove_user(self, tag: str, name: str) -> None:
        """Refuse new connections of `name` on an inbound; open ones live on. Raises `UserUnknown`."""
        await self._call(f"{_HANDLER}AlterInbound", _alteration(Operation(tag, name, None)), None)

    async def alter(self, operations: Sequence[Operation]) -> list[CoreError | None]:
        """Carry out many changes with a window in flight and return the outcome of each, in their order.

        Raises `CoreUnavailable` as soon as the core is gone; then some changes may have been made. A cancellation
        takes effect between slices of some hundred changes.
        """
        outcomes: list[CoreError | None] = []
        for start in range(0, len(operations), _SLICE):
            part = operations[start : start + _SLICE]
            outcomes += await self._in_thread(lambda p=part: self._alter_slice(p))  # type: ignore[misc] # mypy cannot infer a lambda with defaults
        return outcomes

    async def user(self, tag: str, name: str) -> str | None:
        """Return the uuid of `name` on an inbound, None when it is not there."""
        request = api.GetInboundUsersRequest(tag=tag, email=name)
        answer = await self._call(f"{_HANDLER}GetInboundUsers", request, api.GetInboundUsersResponse)
        for user in answer.users:
            if user.email == name:  # an unknown name is answered with one empty user
                return _uuid_of(user)
        return None

    async def users(self, tag: str) -> dict[str, str]:
        """Return name and uuid of every user of an inbound; decoded piece by piece in a thread."""
        method = f"{_HANDLER}GetInboundUsers"
        request = api.GetInboundUsersRequest(tag=tag)

        def ask() -> dict[str, str]:
            raw = self._blocking(method, request, None, LIST_DEADLINE)
            found = {}
            for piece in submessages(raw):
                user = api.User.FromString(piece)
                found[user.email] = _uuid_of(user)
            return found

        return await self._in_thread(ask)

    async def count(self, tag: str) -> int:
        """Return how many users an inbound has."""
        request = api.GetInboundUsersRequest(tag=tag)
        answer = await self._call(
            f"{_HANDLER}GetInboundUsersCount", request, api.GetInboundUsersCountResponse
        )
        return int(answer.count)

    async def online(self) -> dict[str, frozenset[str]]:
        """Return the users who have connections now, with the addresses they come from.

        A removed user stays in this list while his connections last. Peers on 127.0.0.1 are never listed.
        """

        def ask() -> dict[str, frozenset[str]]:
            raw = self._blocking(f"{_STATS}GetUsersStats", api.GetUsersStatsRequest(), None, LIST_DEADLINE)
            found = {}
            for piece in submessages(raw):
                user = api.OnlineUser.FromString(piece)
                found[user.email] = frozenset(address.ip for address in user.ips)
            return found

        return await self._in_thread(ask)

    async def usage(self) -> dict[str, tuple[int, int]]:
        """Return bytes up and down of every user since the core started, without resetting them.

        A reset whose answer is lost would lose the bytes; differences are the reader's business.
        """

        def ask() -> dict[str, tuple[int, int]]:
            request = api.QueryStatsRequest(pattern="user>>>")
            raw = self._blocking(f"{_STATS}QueryStats", request, None, LIST_DEADLINE)
            found: dict[str, tuple[int, int]] = {}
            for piece in submessages(raw):
                stat = api.Stat.FromString(piece)
                kind, name, *rest = stat.name.split(">>>")
                if kind == "user" and rest in (["traffic", "uplink"], ["traffic", "downlink"]):
                    up, down = found.get(name, (0, 0))
                    found[name] = (stat.value, down) if rest[1] == "uplink" else (up, stat.value)
            return found

        return await self._in_thread(ask)

    async def replace_users(self, tag: str, pages: Iterable[Sequence[tuple[str, str]]]) -> bool:
        """Give an inbound another whole list of (name, uuid), by taking it away and adding it again with the list.

        Open connections go on; new ones are refused for the milliseconds in between. Returns False, having changed
        nothing, when the list would not fit into one message. When it raises after the inbound was taken away, the
        inbound is gone: restart the core.
        """
        listed = await self._call(
            f"{_HANDLER}ListInbounds", api.ListInboundsRequest(), api.ListInboundsResponse, LIST_DEADLINE
        )
        found = next((inbound for inbound in listed.inbounds if inbound.tag == tag), None)
        if found is None:
            raise InboundUnknown(f"the core has no inbound {tag}")

        def replace() -> bool:
            # Whatever else the listed settings hold is carried through unchanged, known to us or not.
            settings = api.VlessInbound.FromString(found.proxy_settings.value)
            del settings.clients[:]
            for page in pages:
                settings.clients.extend(_user(name, uuid) for name, uuid in page)
            found.proxy_settings.CopyFrom(
                api.TypedMessage(type=_VLESS_INBOUND, value=settings.SerializeToString())
            )
            request = api.AddInboundRequest(inbound=found)
            if request.ByteSize() > MAX_MESSAGE:
                return False
            self._blocking(f"{_HANDLER}RemoveInbound", api.RemoveInboundRequest(tag=tag), None, CALL_DEADLINE)
            self._blocking(f"{_HANDLER}AddInbound", request, None, LIST_DEADLINE)
            return True

        return await self._in_thread(replace)

    # -- in the thread

    async def _in_thread(self, body: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(body, limiter=self._limiter)

    async def _call(self, method: str, request: Any, answer: Any, deadline: float = CALL_DEADLINE) -> Any:
        return await self._in_thread(lambda: self._blocking(method, request, answer, deadline))

    def _blocking(self, method: str, request: Any, answer: Any, deadline: float) -> Any:
        """Make one call. Returns the decoded message, or the bytes where `answer` is None."""
        try:
            raw = self._method(method)(request.SerializeToString(), timeout=deadline)
        except grpc.RpcError as error:
            raise _mapped(error) from None
        except ValueError:  # grpcio's word for a closed channel
            raise CoreUnavailable("the channel to the core is closed") from None
        return raw if answer is None else answer.FromString(raw)

    def _alter_slice(self, operations: Sequence[Operation]) -> list[CoreError | None]:
        method = self._method(f"{_HANDLER}AlterInbound")
        outcomes: list[CoreError | None] = []
        flying: deque[Any] = deque()

        def land() -> None:
            try:
                flying.popleft().result()
            except grpc.RpcError as error:
                mapped = _mapped(error)
                if isinstance(mapped, CoreUnavailable):
                    raise mapped from None
                outcomes.append(mapped)
            else:
                outcomes.append(None)

        try:
            for operation in operations:
                if len(flying) >= _WINDOW:
                    land()
                flying.append(
                    method.future(_alteration(operation).SerializeToString(), timeout=CALL_DEADLINE)
                )
            while flying:
                land()
        except ValueError:
            raise CoreUnavailable("the channel to the core is closed") from None
        return outcomes

    def _method(self, name: str) -> Any:
        # Bytes in, bytes out: large answers are decoded in pieces, so that the loop gets its share of the interpreter.
        if name not in self._methods:
            self._methods[name] = self._channel.unary_unary(name)
        return self._methods[name]


def submessages(raw: bytes) -> Iterator[bytes]:
    """Yield the values of field 1 of a protobuf message, each a message of its own. Raises `CoreRejected`.

    Decoding a list of a million users in one step would hold the interpreter for a second.
    """
    position, end = 0, len(raw)
    while position < end:
        key, position = _varint(raw, position)
        if key & 7 == 0:
            _value, position = _varint(raw, position)
            continue
        if key & 7 != 2:
            raise CoreRejected("the core's answer is no list")
        size, position = _varint(raw, position)
        if position + size > end:
            raise CoreRejected("the core's answer is cut short")
        if key >> 3 == 1:
            yield raw[position : position + size]
        position += size


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(raw) and shift < 70:
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise CoreRejected("the core's answer is cut short")


def _user(name: str, uuid: str) -> Any:
    account = api.VlessAccount(id=uuid, flow=FLOW, encryption="none")
    return api.User(
        email=name, account=api.TypedMessage(type=_VLESS_ACCOUNT, value=account.SerializeToString())
    )


def _uuid_of(user: Any) -> str:
    return str(api.VlessAccount.FromString(user.account.value).id)


def _alteration(operation: Operation) -> Any:
    if operation.uuid is None:
        kind, body = _REMOVE_USER, api.RemoveUserOperation(email=operation.name)
    else:
        kind, body = _ADD_USER, api.AddUserOperation(user=_user(operation.name, operation.uuid))
    return api.AlterInboundRequest(
        tag=operation.tag, operation=api.TypedMessage(type=kind, value=body.SerializeToString())
    )


def _mapped(error: Any) -> CoreError:
    """Turn a gRPC failure into one of ours, by its code and the core's sentence."""
    code, text = error.code(), str(error.details() or "")
    gone = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
    if code in gone:
        return CoreUnavailable(f"the core does not answer ({code.name.lower()})")
    if "handler not found" in text or "not enough information for making a decision" in text:
        return InboundUnknown(text)
    if "already exists" in text:
        return UserExists(text)
    if "not found" in text:
        return UserUnknown(text)
    return CoreRejected(f"{code.name.lower()}: {text}")
