"""The monitors as one part of the daemon: what looks, how often, and which alarms there are.

What happens in an instant (a slow call, a long hold, a block of the loop) is counted by the record of the worst and judged
here each few seconds, over the last minute: once is an event in the journal, often is an alarm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

import attrs
import trio

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.monitors import nodes, process, queues
from vpnd.monitors.alarms import Alarm, Alarms
from vpnd.monitors.nodes import NodeMonitor
from vpnd.monitors.process import ProcessMonitor
from vpnd.monitors.queues import QueueMonitor
from vpnd.runtime import observations
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.runtime.observations import Measure, Record
from vpnd.runtime.worker import WorkerRunner

__all__ = ["ALARMS", "Monitors"]

journal = get_journal("monitors")

#: Seconds between two looks at the queues and the nodes, and between two judgements of what was recorded.
LOOK_EVERY: Final = 15.0
JUDGE_EVERY: Final = 5.0
#: What was recorded is judged over so many judgements: a minute.
JUDGED: Final = 12

EVENT_ALARMS: Final[tuple[tuple[Measure, Alarm], ...]] = (
    (observations.LAG, Alarm("loop_lag", "steps over 0.2 s within a minute", "steps", 3, 0)),
    (observations.BLOCKING, Alarm("loop_busy", "steps that computed over 50 ms within a minute", "steps", 10, 1)),
    (observations.ACQUIRE, Alarm("pool_acquire", "waits over 2 s for a connection within a minute", "waits", 3, 0)),
    (observations.HELD, Alarm("transactions", "connections held over 1 s within a minute", "scopes", 3, 0)),
    (observations.HTTP_CALL, Alarm("http_slow", "HTTP calls over 2 s within a minute", "calls", 10, 2)),
    (observations.ITEMS, Alarm("worker_items", "iterations over 1000 rows within a minute", "iterations", 3, 0)),
    (observations.DEADLINE, Alarm("worker_duration", "iterations past their deadline within a minute", "iterations", 1, 0)),
)  # fmt: skip

STATE_ALARMS: Final = (
    Alarm(
        "worker_failing", "iterations of one worker that failed in a row", "iterations", 3, 0, clear_after=0
    ),
    Alarm("database", "the database cannot be reached since", "s", 30, 0, clear_after=0),
)

#: All alarms of the daemon, by name in docs/operations.md.
ALARMS: Final = (
    *(alarm for _, alarm in EVENT_ALARMS),
    *STATE_ALARMS,
    *process.ALARMS,
    *queues.ALARMS,
    *nodes.ALARMS,
)


class Monitors:
    """What watches the daemon; one child of the supervisor.

    Args:
        db: the database.
        tell: writes one message to the admins; see `Alarms`.
        instance: the daemon's name.
        kinds: of the outbox.
        nodes: names of the nodes that this daemon drives.
        workers: returns the workers there are.
        tables: set once the schema can be used.
        standing: reads the alarms that operators believe to be raised, as they were told.
    """

    def __init__(
        self,
        db: Database,
        tell: Callable[[str, Mapping[str, Any]], Awaitable[None]],
        *,
        instance: str,
        kinds: Iterable[str],
        nodes: Iterable[str],
        workers: Callable[[], Iterable[WorkerRunner]],
        tables: trio.Event,
        standing: Callable[[], Awaitable[Iterable[Mapping[str, Any]]]],
    ) -> None:
        self._db = db
        self._workers = workers
        self._tables = tables
        self._standing = standing
        self._adopted = False
        self.alarms: Final = Alarms(ALARMS, tell, instance=instance)
        self.process: Final = ProcessMonitor(self.alarms)
        self.queues: Final = QueueMonitor(db, self.alarms, tuple(kinds))
        self.nodes: Final = NodeMonitor(db, self.alarms, tuple(nodes))
        self._minute: deque[dict[str, Record]] = deque(maxlen=JUDGED)
        self._down_since: float | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled."""
        task_status.started()
        with as_class(LimitClass.ADMIN):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.process.run, name="monitor of the process")
                nursery.start_soon(self._judge, name="monitor of events")
                nursery.start_soon(self._look, name="monitor of the queues and nodes")
                nursery.start_soon(self.alarms.run, name="alarms")

    async def _look(self) -> NoReturn:
        """Look at what the database knows; one that is away leaves everything as it was."""
        await self._tables.wait()
        while True:
            for look in (self.adopt, self.queues.look, self.nodes.look):
                try:
                    await look()
                except DatabaseError as error:
                    journal.debug(
                        "monitor.blind", message=f"the queues or nodes cannot be looked at: {error}"
                    )
            await trio.sleep(LOOK_EVERY)

    async def adopt(self) -> None:
        """Go on with the alarms of before the start; done once. Raises DatabaseError."""
        if not self._adopted:
            self.alarms.adopt(await self._standing())
            self._adopted = True

    async def _judge(self) -> NoReturn:
        """Feed the alarms with what was recorded within the last minute, and with what the parts say of themselves."""
        with observations.watching(reserved=True) as watch:
            while True:
                await trio.sleep(JUDGE_EVERY)
                self._minute.append(watch.turn())
                self.judge()

    def judge(self) -> None:
        """Feed the alarms once."""
        for measure, alarm in EVENT_ALARMS:
            records = [records[measure.name] for records in self._minute]
            worst = max(records, key=lambda record: record.ratio, default=Record())
            self.alarms.update(
                alarm.name, sum(record.over for record in records), f"{worst.who} {worst.where}".strip()
            )
        failing = {
            one.name: one.failures_in_a_row for one in (worker.statistics() for worker in self._workers())
        }
        most = max(failing, key=lambda name: failing[name], default="")
        self.alarms.update("worker_failing", failing.get(most, 0), most)
        now = trio.current_time()
        if not self._db.statistics().down:
            self._down_since = None
        elif self._down_since is None:
            self._down_since = now
        self.alarms.update("database", 0.0 if self._down_since is None else now - self._down_since)

    def raised(self) -> list[dict[str, Any]]:
        """Return the alarms that are raised now, as JSON."""
        return [state.to_json() for state in self.alarms.raised()]

    def pictures(self) -> dict[str, Any]:
        """Return what was seen at the last looks, as JSON; null before the first."""
        return {
            "process": _json(self.process.picture),
            "queues": _json(self.queues.picture),
            "nodes": _json(self.nodes.picture),
        }


def _json(picture: Any) -> Any:
    if picture is None:
        return None
    return attrs.asdict(
        picture, value_serializer=lambda _owner, _field, value: getattr(value, "isoformat", lambda: value)()
    )
