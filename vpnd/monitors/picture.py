"""The picture of the daemon, as one JSON document: what `vpnd status` shows, and the admin's screen in the bot.

Each part has a source: a function that returns JSON. One that fails, or does not answer in time, is an `{"error": …}` in its
place: a picture is asked for when something is wrong. The composition root adds the parts that other rooms know.

    service     instance, version, since (Unix time), status (the line of systemctl), children
    workers     a list: name, interval, paused, awake, last_end, last_outcome, last_duration, last_success, iterations, items,
                failures, failures_in_a_row, timeouts, item_failures
    pools       database and http: total, borrowed, waiting, classes; connections: idle, used, most, down
    loop        worst_minute (seconds), today (the record of the audit's lines about the loop)
    process, queues, nodes, alarms
                of the monitors
    lanes       waiting (by lane), limit, chats, paused_for, granted, refused
    money       a list: provider, currency, count, amount (minor units); and whether there are more than were counted
    switches    what is paused, and the incident's banner
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import isawaitable
from typing import Any, Final

import attrs
import trio

from vpnd import __version__
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.monitors.service import Monitors
from vpnd.runtime import metrics, observations
from vpnd.runtime.control import CommandRefused, Tell
from vpnd.runtime.limits import LimitClass, Limits, as_class
from vpnd.runtime.supervisor import Supervisor
from vpnd.runtime.worker import WorkerRunner

__all__ = ["AuditCommand", "Picture", "Source"]

Source = Callable[[], Any | Awaitable[Any]]

#: Seconds that one part of the picture may take.
PART_TIME: Final = 3.0
#: The longest time for which an audit watches; seconds.
LONGEST_WATCH: Final = 3600.0


class Picture:
    """Puts the picture together.

    Args:
        instance: the daemon's name.
        monitors: bring the process, the queues, the nodes and the alarms.
        limits: the pools.
        db: the connections.
        workers: returns the workers there are.
        supervisor: returns the supervisor, once there is one.
        status_line: what `systemctl status` shows.
    """

    def __init__(
        self,
        *,
        instance: str,
        monitors: Monitors,
        limits: Limits,
        db: Database,
        workers: Callable[[], Iterable[WorkerRunner]],
        supervisor: Callable[[], Supervisor],
        status_line: Callable[[], str],
    ) -> None:
        self._instance = instance
        self._monitors = monitors
        self._limits = limits
        self._db = db
        self._workers = workers
        self._supervisor = supervisor
        self._status_line = status_line
        self._sources: dict[str, Source] = {
            "service": self._service,
            "workers": self._worker_list,
            "pools": self._pools,
            "loop": self._loop,
            "alarms": monitors.raised,
        }

    def add(self, part: str, source: Source) -> None:
        """Add a part, or replace one: `source` returns JSON, or an awaitable of it."""
        self._sources[part] = source

    async def command(self, _request: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
        """The command `status` of the control socket."""
        return await self.take()

    async def take(self) -> dict[str, Any]:
        """Return the whole picture; bounded, whatever is away."""
        document: dict[str, Any] = {"at": round(time.time(), 3), **self._monitors.pictures()}

        async def take_part(part: str, source: Source) -> None:
            answer: Any = {"error": f"no answer within {PART_TIME:g} s"}
            try:
                with trio.move_on_after(PART_TIME):
                    answer = source()
                    if isawaitable(answer):
                        waiting, answer = answer, {"error": f"no answer within {PART_TIME:g} s"}
                        answer = await waiting
            except (DatabaseError, AttributeError) as error:
                # An attribute that is not there yet: the daemon is still being built.
                answer = {"error": str(error)}
            document[part] = answer

        with as_class(LimitClass.ADMIN):
            async with trio.open_nursery() as nursery:
                for part, source in self._sources.items():
                    nursery.start_soon(take_part, part, source)
        return document

    def _service(self) -> dict[str, Any]:
        statistics = self._supervisor().statistics()
        return {
            "instance": self._instance,
            "version": __version__,
            "since": metrics.REGISTRY.get_sample_value("vpnd_start_timestamp_seconds"),
            "status": self._status_line(),
            "children": [
                {
                    "name": child.name,
                    "state": child.state.value,
                    "deaths": child.deaths,
                    "last_error": child.last_error,
                }
                for child in statistics.children
            ],
        }

    def _worker_list(self) -> list[dict[str, Any]]:
        return [attrs.asdict(worker.statistics()) for worker in self._workers()]

    def _pools(self) -> dict[str, Any]:
        limits = attrs.asdict(
            self._limits.statistics(), value_serializer=lambda _o, _f, value: getattr(value, "value", value)
        )
        return {**limits, "connections": attrs.asdict(self._db.statistics())}

    def _loop(self) -> dict[str, Any]:
        today = next(iter(observations.history().values()))
        return {
            "worst_minute": metrics.REGISTRY.get_sample_value("vpnd_loop_lag_worst_seconds"),
            "today": [line for line in today if line["measure"] in ("blocking", "lag", "yield")],
        }


class AuditCommand:
    """The command `audit` of the control socket: the kept history, or what a stretch of time shows.

    Args:
        before: called before the record is read: what is noted only when it ends (a broadcast) is noted then.
    """

    def __init__(self, *before: Callable[[], object]) -> None:
        self._before = before

    async def __call__(self, request: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        """Answer `{"seconds": N}` with what N seconds showed, and a request without it with the history.

        Raises:
            CommandRefused: the seconds are no such number, or too many watch already.
        """
        seconds = request.get("seconds")
        if seconds is None:
            self._settle()
            days = observations.history()
            return {"kind": "history", "days": days, "lines": next(iter(days.values()))}
        if (
            isinstance(seconds, bool)
            or not isinstance(seconds, int | float)
            or not 0 < seconds <= LONGEST_WATCH
        ):
            raise CommandRefused(f"an audit watches for 1 to {LONGEST_WATCH:g} seconds")
        self._settle()
        try:
            with observations.watching() as watch:
                await tell({"watching": seconds})
                await trio.sleep(seconds)
                self._settle()
                return {"kind": "watch", "seconds": seconds, "lines": watch.lines()}
        except observations.TooManyWatches as error:
            raise CommandRefused(str(error)) from None

    def _settle(self) -> None:
        for settle in self._before:
            settle()
