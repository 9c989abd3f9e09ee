"""The Xray core as a child: started with every user in its configuration, watched, explained, started again.

A core forgets everything when it ends, so each life begins with a configuration rendered from the durable copy: there
is no moment in which it serves nobody, and nothing to replay. A life is *running* from the first answer of its API on;
it carries the revision of the copy it was rendered from, so that whoever changed the copy knows whether this life
holds the change already.

Two kinds of end are planned: `restart` (somebody's open connections must end and sockets cannot be destroyed; joined
and spaced, because it interrupts everybody) and the cancellation of the task. All others are explained in the journal,
and the next life waits a little longer each time. A core that refuses the settings outright gets the last ones that
worked, if there are any: an operator's slip must not turn paying customers off.
"""

import enum
import errno
import os
import random
import socket
import tempfile
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

import attrs
import trio

from vpnd.agent.config_render import Doors, render
from vpnd.agent.core_program import CoreProgram
from vpnd.agent.identity import write_private
from vpnd.agent.model import Credential
from vpnd.agent.xray_client import CoreError, XrayClient, open_client
from vpnd.runtime import metrics
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.runtime.process import ChildProcess, ChildStartError, run_child

journal = get_journal("agent")

#: Seconds a new core gets until its API answers; 100 000 users in two inbounds take it about three.
START_DEADLINE: Final = 120.0
#: Seconds between two looks at a starting core.
_START_POLL: Final = 0.01
#: Shortest life, in seconds, that a planned restart may end: restarts asked for meanwhile are joined.
RESTART_GAP: Final = 10.0
#: Seconds a core gets to end by itself; it needs about a tenth.
STOP_TIMEOUT: Final = 3.0
#: Waiting times before a new life, in seconds; a life of a minute wipes the slate.
BACKOFF_FIRST: Final = 0.2
BACKOFF_CAP: Final = 15.0
_HEALTHY: Final = 60.0
#: Exit status of Xray for a configuration that it cannot use, and for a port that it cannot have.
BAD_CONFIGURATION: Final = 23
BUSY_PORT: Final = 255
LAST_GOOD: Final = "last-good.json"
#: Variables that are none of the core's business: secrets of ours, and our side door to systemd.
_OURS_ALONE: Final = ("VPND_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
#: A unix socket's path has 108 bytes, with the final zero.
_MAX_SOCKET_PATH: Final = 107
#: Lines of the core's output kept for the explanation of its end, and passed on per second.
_KEPT_LINES: Final = 20
_LINES_PER_SECOND: Final = 20

Snapshot = Callable[[], Awaitable[tuple[int, Sequence[Sequence[Credential]]]]]


class CoreState(enum.Enum):
    """Where the core is in its life, in the words of the agent's API."""

    RUNNING = "running"
    STARTING = "starting"
    DOWN = "down"


@attrs.frozen(eq=False)
class Running:
    """One life of the core, while it answers.

    `boot_id` names the life for readers of its counters, `number` counts lives from 1, `revision` is that of the durable
    copy in its configuration, `doors` its inbounds. `lost` is set when the life is over.
    """

    client: XrayClient
    boot_id: str
    number: int
    revision: int
    doors: Doors
    since: float
    lost: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class _Life:
    ended: trio.Event = attrs.field(factory=trio.Event)
    status: int | None = None
    start_error: ChildStartError | None = None


class Core:
    """Keeps a core alive while `run` runs; other tasks wait for `running` and use its client."""

    def __init__(self, program: CoreProgram, doors: Doors, state_folder: Path, snapshot: Snapshot) -> None:
        self.program = program
        self.doors = doors
        self.restarts = 0
        self._folder = state_folder
        self._snapshot = snapshot
        self._number = 0
        self._running: Running | None = None
        self._up = trio.Event()
        self._starting = False
        self._restart_wanted = trio.Event()
        self._restart_urgent = trio.Event()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._second, self._second_lines = 0, 0
        self._chance = random.Random()  # noqa: S311 - spreads waiting times, guards nothing

    @property
    def state(self) -> CoreState:
        """What the core is doing now."""
        if self._running is not None:
            return CoreState.RUNNING
        return CoreState.STARTING if self._starting else CoreState.DOWN

    @property
    def current(self) -> Running | None:
        """The present life, None while there is none."""
        return self._running

    async def running(self) -> Running:
        """Wait until the core answers and return its present life."""
        while self._running is None:
            await self._up.wait()
        return self._running

    async def restart(self, life: Running, reason: str, *, urgent: bool = False) -> Running:
        """End `life`, and with it every connection it carries, and return the one after it.

        Nothing is ended when `life` is over already. Requests are joined, and a life is left at least `RESTART_GAP`
        seconds unless `urgent`. A cancelled wait does not take the request back.
        """
        while (present := await self.running()) is life:
            if not self._restart_wanted.is_set():
                journal.warning(
                    "core.restart_wanted",
                    message=f"The core is going to be restarted: {reason}",
                    reason=reason,
                )
                self._restart_wanted.set()
            if urgent:
                self._restart_urgent.set()
            await life.lost.wait()
        return present

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Keep the core alive until cancelled.

        `task_status` is told at once: an agent without a core is there to be asked why.
        """
        task_status.started()
        failures = 0
        with tempfile.TemporaryDirectory(prefix="vpnd-core-") as short_folder:
            while True:
                began = trio.current_time()
                planned = await self._live(Path(short_folder))
                metrics.agent_core_up.set(0)
                self.restarts += 1
                metrics.agent_core_restarts_total.inc()
                if planned:
                    failures = 0
                    continue
                failures = 1 if trio.current_time() - began > _HEALTHY else failures + 1
                await trio.sleep(jittered_backoff(failures, BACKOFF_FIRST, BACKOFF_CAP, self._chance))

    # -- one life

    async def _live(self, short_folder: Path) -> bool:
        """Live once. Returns whether the end was planned."""
        self._restart_wanted, self._restart_urgent = trio.Event(), trio.Event()
        self._starting = True
        self._lines.clear()
        life = _Life()
        planned = False
        try:
            revision, pages = await self._snapshot()
            place = api_socket(self._folder, short_folder, self._number + 1)
            config = await trio.to_thread.run_sync(render, self.doors, str(place), pages)
            del pages
            async with trio.open_nursery() as nursery:
                await nursery.start(self._child, config, life)
                del config
                if await self._await_socket(place, life):
                    planned = await self._serve(place, revision, life)
                nursery.cancel_scope.cancel()
        finally:
            self._starting = False
            if self._running is not None:
                self._running.lost.set()
                self._running, self._up = None, trio.Event()
        if not planned:
            await self._explain(life)
        return planned

    async def _child(self, config: bytes, life: _Life, *, task_status: trio.TaskStatus[ChildProcess]) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_OURS_ALONE)}
        # With splicing in the kernel, a download is not counted until it ends.
        environment["XRAY_BUF_SPLICE"] = "disable"
        try:
            life.status = await run_child(
                self.program.argv,
                env=environment,
                stdin=config,
                stdout=self._output,
                stderr=self._output,
                stop_timeout=STOP_TIMEOUT,
                task_status=task_status,
            )
        except ChildStartError as error:
            life.start_error = error
            task_status.started()  # type: ignore[call-arg] # there is no process to speak of
        finally:
            life.ended.set()

    async def _await_socket(self, place: Path, life: _Life) -> bool:
        """Wait until the API takes connections. Returns False when the core ended or took too long."""
        with trio.move_on_after(START_DEADLINE):
            while not life.ended.is_set():
                try:
                    stream = await trio.open_unix_socket(place)
                except OSError:
                    await trio.sleep(_START_POLL)
                else:
                    await stream.aclose()
                    return True
        return False

    async def _serve(self, place: Path, revision: int, life: _Life) -> bool:
        """Be the present life until the core ends (False) or a restart is wanted and due (True)."""
        async with open_client(place) as client:
            try:
                await client.ping(START_DEADLINE)
            except CoreError as error:
                journal.warning("core.mute", message=f"The core is up and its API does not answer: {error}")
                return False
            self._number += 1
            present = Running(
                client, uuid.uuid4().hex, self._number, revision, self.doors, trio.current_time()
            )
            self._running, self._starting = present, False
            self._up.set()
            metrics.agent_core_up.set(1)
            journal.info(
                "core.running",
                message=f"The core runs ({self.program.version}), life {self._number}",
                version=self.program.version,
                life=self._number,
            )
            await self._keep_last_good()
            wanted = await self._until_end_or_restart(present, life)
            present.lost.set()
            self._running, self._up = None, trio.Event()
            return wanted

    async def _until_end_or_restart(self, present: Running, life: _Life) -> bool:
        wanted = False

        async def restart_due(scope: trio.CancelScope) -> None:
            nonlocal wanted
            await self._restart_wanted.wait()
            with trio.move_on_at(present.since + RESTART_GAP):
                await self._restart_urgent.wait()
            wanted = True
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(restart_due, nursery.cancel_scope)
            await life.ended.wait()
            nursery.cancel_scope.cancel()
        return wanted

    # -- settings that worked, and words for what didn't

    async def _keep_last_good(self) -> None:
        place, data = self._folder / LAST_GOOD, self.doors.to_json()

        def keep() -> None:
            if not place.exists() or place.read_bytes() != data:
                write_private(place, data)

        try:
            await trio.to_thread.run_sync(keep)
        except OSError as error:
            journal.warning(
                "core.last_good_not_kept",
                message=f"{place} cannot be written: {error.strerror}",
                errno=error.errno,
            )

    def _last_good(self) -> Doors | None:
        try:
            return Doors.from_json((self._folder / LAST_GOOD).read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return None  # there was none yet; the refusal itself has been told

    async def _explain(self, life: _Life) -> None:
        """Say in the journal why a life ended, and fall back on the last good settings where they were refused."""
        output = " | ".join(self._lines)
        if life.start_error is not None:
            journal.error(
                "core.not_startable",
                message=f"The core {self.program.argv[0]} cannot be started: {life.start_error.strerror}",
            )
        elif life.status == BAD_CONFIGURATION:
            journal.error(
                "core.settings_refused",
                message="The core refuses its configuration (exit status 23): check [[agent.inbounds]], above all the"
                f" certificate files, target and keys. {output}",
            )
            await self._fall_back()
        elif life.status == BUSY_PORT:
            busy = await trio.to_thread.run_sync(busy_ports, self.doors)
            where = (
                f"port {', '.join(map(str, busy))} is taken by another process" if busy else "a port is taken"
            )
            journal.error(
                "core.port_busy",
                message=f"The core cannot listen (exit status 255): {where}. {output}",
                ports=busy,
            )
        elif life.status is None:
            journal.error(
                "core.slow_start", message=f"The core's API was not up in {START_DEADLINE:g} s. {output}"
            )
        else:
            ending = f"signal {-life.status}" if life.status < 0 else f"exit status {life.status}"
            journal.error(
                "core.ended", message=f"The core ended by itself ({ending}). {output}", status=life.status
            )

    async def _fall_back(self) -> None:
        last = await trio.to_thread.run_sync(self._last_good)
        if last is not None and last != self.doors:
            journal.error(
                "core.last_good_used",
                message="The node goes on with the last inbounds that worked; links are made for those",
            )
            self.doors = last

    def _output(self, line: str) -> None:
        """Pass a line of the core's on to the journal, not more than the journal can bear."""
        self._lines.append(line)
        second = int(trio.current_time())
        if second != self._second:
            self._second, self._second_lines = second, 0
        self._second_lines += 1
        if self._second_lines <= _LINES_PER_SECOND:
            journal.info("core.output", message=line)


def api_socket(folder: Path, short_folder: Path, number: int) -> Path:
    """Return a fresh path for the API's socket: in the state folder, or in a short one where that would be too long."""
    for base in (folder, short_folder):
        place = base / f"api-{number}.sock"
        place.unlink(missing_ok=True)
        (base / f"api-{number - 1}.sock").unlink(missing_ok=True)
        if len(os.fsencode(place)) <= _MAX_SOCKET_PATH:
            return place
    raise OSError(errno.ENAMETOOLONG, "no folder short enough for a unix socket", str(short_folder))


def busy_ports(doors: Doors) -> list[int]:
    """Return the ports of the inbounds that cannot be listened on now. Blocks for an instant."""
    busy = []
    for port in doors.ports.values():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("", port))
                attempt.listen(1)
            except OSError:
                busy.append(port)
    return busy
