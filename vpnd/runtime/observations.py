"""The record of the worst: for each thing the audit asks about, today's worst, its limit, who it was, and how many were seen.

`vpnd audit` prints it. What is measured stands below as data: a `Measure` for each thing, a `Line` for each line of the report,
under the row of the audit's findings that it answers. Whoever does the thing calls `note` where it happens.

Bounded: a measure keeps one record a day (UTC) for `DAYS` days, and a record is a handful of numbers and the name of one
culprit. Cheap: a note is a clock read and four comparisons, well under a microsecond.
For the loop's own thread only, where everything that is noted happens.

A limit is of one of two kinds. A *binding* one is ours to keep, whatever the world does: to break it is a fault. The others
are thresholds from which the journal tells (`[HTTP_SLOW]`, `[WORKER_ITEMS]`, …): a slow node or a busy machine reaches them,
and nobody has done wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define, field, frozen

__all__ = [
    "ACQUIRE",
    "BATCH",
    "BLOCKING",
    "BROADCAST",
    "CPU",
    "DEADLINE",
    "HELD",
    "HTTP_CALL",
    "HTTP_CEILING",
    "ITEMS",
    "LAG",
    "LATENESS",
    "LINES",
    "MEASURES",
    "POOL_USED",
    "READ",
    "SHORTEST",
    "YIELD",
    "Line",
    "Measure",
    "Record",
    "Watch",
    "history",
    "watching",
]

#: Days kept, today included.
DAYS: Final = 7
_DAY: Final = 86_400

#: Steps of the loop shorter than this are counted and not timed one by one; seconds.
SHORTEST: Final = 0.001

#: Watches at once; more are refused.
MOST_WATCHES: Final = 8


@define
class Record:
    """What was seen of one measure in one stretch of time; `worst` is None before the first.

    `ratio` orders the worst: how far a value went towards its own limit, 1 is the limit.
    """

    count: int = 0
    over: int = 0
    ratio: float = -1.0
    worst: float | None = None
    limit: float = 0.0
    who: str = ""
    where: str = ""
    at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; `worst` is null where nothing was seen."""
        found: dict[str, Any] = {"count": self.count, "over": self.over, "worst": None}
        if self.worst is not None:
            found["worst"] = {
                "value": round(self.worst, 6),
                "limit": self.limit,
                "who": self.who,
                "where": self.where,
                "at": round(self.at, 3),
            }
        return found


@define(eq=False)
class Measure:
    """Something that is measured all the time.

    Attributes:
        name: its key in JSON.
        unit: of values and limits: "s", "rows", "connections" or "share".
        limit: what a value is held against, unless the note brings a limit of its own.
        binding: whether to go over the limit is a fault of ours; see the module's text.
        slack: share of the limit by which a value may be over and still keep it: a call that is cut at its deadline ends a
            blink after it.
        floor: the limit is the least, not the most.
        fed: somebody watches all that happens, so that what was not noted was too short to be.
    """

    name: str
    unit: str
    limit: float
    binding: bool = True
    slack: float = 0.0
    floor: bool = False
    fed: bool = False
    _today: Record = field(factory=Record, init=False)
    _day: int = field(default=0, init=False)
    _day_ends: float = field(default=0.0, init=False)
    _past: dict[int, Record] = field(factory=dict, init=False)
    _open: tuple[Record, ...] = field(default=(), init=False)  # today's, and those of watches

    def note(
        self, value: float, who: str, where: str = "", limit: float | None = None, count: int = 1
    ) -> None:
        """Note what was seen.

        Args:
            value: how much it was.
            who: the task, query, site, worker or boundary.
            where: more about it: a line, an operation.
            limit: this one's own limit.
            count: how many were seen of which this was the worst.
        """
        now = time.time()
        if now >= self._day_ends:
            self._turn(now)
        if limit is None:
            limit = self.limit
        if self.floor:
            ratio = limit / value if value > 0 else float("inf")
        else:
            ratio = value / limit if limit > 0 else (float("inf") if value > 0 else 0.0)
        over = ratio > 1.0 + self.slack
        for record in self._open:
            record.count += count
            if over:
                record.over += 1
            if ratio > record.ratio:
                record.ratio, record.worst, record.limit = ratio, value, limit
                record.who, record.where, record.at = who, where, now

    def records(self) -> dict[str, Record]:
        """Return the kept records by day, as `2026-11-26`, the newest first; today's is among them."""
        now = time.time()
        if now >= self._day_ends:
            self._turn(now)
        days = {self._day: self._today, **dict(sorted(self._past.items(), reverse=True))}
        return {_name(day): record for day, record in days.items()}

    def broken(self, record: Record) -> bool:
        """Whether the record went over the limit by more than the slack."""
        return record.ratio > 1.0 + self.slack

    def forget(self) -> None:
        """Forget all days; for tests."""
        self._past, self._day_ends = {}, 0.0
        self._begin(Record())

    def _turn(self, now: float) -> None:
        """Begin a new day. A clock that jumped back goes on with the day it was on."""
        if self._today.count:
            self._past[self._day] = self._today
        self._day = int(now // _DAY)
        self._day_ends = (self._day + 1) * float(_DAY)
        former = self._past.pop(self._day, None)
        self._begin(Record() if former is None else former)
        for day in sorted(self._past)[: -(DAYS - 1)]:
            del self._past[day]

    def _begin(self, today: Record) -> None:
        self._open = (today, *self._open[1:])
        self._today = today

    def follow(self, record: Record) -> None:
        """Note in `record` too from now on."""
        self._open = (*(self._open or (self._today,)), record)

    def leave(self, record: Record) -> None:
        """End a `follow`."""
        self._open = tuple(one for one in self._open if one is not record)


def _name(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY, UTC).date().isoformat()


# --- what is measured ----------------------------------------------------------------------------------------------------

BLOCKING: Final = Measure("blocking", "s", 0.05)
YIELD: Final = Measure("yield", "s", 0.05)
LAG: Final = Measure("lag", "s", 0.2, binding=False)
#: The audited system read 10 000 rows and more into memory at once.
READ: Final = Measure("rows_read", "rows", 10_000)
BATCH: Final = Measure("batch", "rows", 100)
HELD: Final = Measure("held", "s", 1.0)
BROADCAST: Final = Measure("broadcast_rate", "share", 0.8, floor=True)
#: A probe of the watchdog may stand beside the pool.
POOL_USED: Final = Measure("pool_used", "connections", 15, slack=0.15)
ACQUIRE: Final = Measure("acquire", "s", 2.0)
LATENESS: Final = Measure("interval", "s", 60.0)
DEADLINE: Final = Measure("deadline", "s", 60.0, slack=0.1)
HTTP_CEILING: Final = Measure("http_ceiling", "s", 5.0, slack=0.05)
HTTP_CALL: Final = Measure("http_call", "s", 2.0, binding=False)
ITEMS: Final = Measure("worker_items", "rows", 1000, binding=False)
CPU: Final = Measure("cpu", "share", 0.8, binding=False)

MEASURES: Final = (
    BLOCKING, YIELD, LAG, READ, BATCH, HELD, BROADCAST, POOL_USED, ACQUIRE, LATENESS, DEADLINE, HTTP_CEILING, HTTP_CALL, ITEMS,
    CPU,
)  # fmt: skip


@frozen
class Line:
    """One line of the audit: the finding it answers, what was measured, and by which measure."""

    row: str
    what: str
    measure: Measure


#: In the order of the audit's findings.
LINES: Final = (
    Line("blocking", "CPU time of one step of the loop", BLOCKING),
    Line("unbounded", "rows of one read", READ),
    Line("unbounded", "rows of one batch, beside its size", BATCH),
    Line("held", "a connection held by one scope or read", HELD),
    Line("yield", "CPU time of a worker between two checkpoints", YIELD),
    Line("broadcast", "share of the permitted rate while a broadcast ran", BROADCAST),
    Line("pool", "connections in use, of all", POOL_USED),
    Line("pool", "wait for a connection", ACQUIRE),
    Line("intervals", "a worker's lateness, beside its interval", LATENESS),
    Line("intervals", "one iteration, beside its deadline", DEADLINE),
    Line("http timeouts", "one HTTP call, beside its ceiling", HTTP_CEILING),
    Line("[EVENT_LOOP_LAG]", "one step of the loop, by the clock", LAG),
    Line("[WORKER_DURATION]", "one iteration, beside its deadline", DEADLINE),
    Line("[WORKER_ITEMS]", "rows fetched by one iteration", ITEMS),
    Line("[HIGH_CPU]", "share of one core over some seconds", CPU),
    Line("[DB_ACQUIRE_SLOW]", "wait for a connection", ACQUIRE),
    Line("[HTTP_SLOW]", "one HTTP call", HTTP_CALL),
    Line("[DB_HOLD_LONG]", "a transaction", HELD),
)


# --- looking -------------------------------------------------------------------------------------------------------------


class TooManyWatches(Exception):
    """As many watch already as may at once."""


class Watch:
    """A record of its own for a stretch of time; made by `watching`."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    def turn(self) -> dict[str, Record]:
        """Return what was seen since the last turn, and begin anew."""
        former = self.records
        self.records = {}
        for measure in MEASURES:
            record = self.records[measure.name] = Record()
            if former:
                measure.leave(former[measure.name])
            measure.follow(record)
        return former

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the report for what was seen so far."""
        return [_line(line, self.records[line.measure.name]) for line in LINES]


_watches = 0


@contextmanager
def watching(*, reserved: bool = False) -> Iterator[Watch]:
    """Record what happens while the block runs, beside the record of the day.

    Args:
        reserved: a part of the daemon itself, which is never refused.

    Raises:
        TooManyWatches: see `MOST_WATCHES`.
    """
    global _watches
    if _watches >= MOST_WATCHES and not reserved:
        raise TooManyWatches(f"{MOST_WATCHES} watch already")
    watch = Watch()
    watch.turn()
    _watches += not reserved
    try:
        yield watch
    finally:
        _watches -= not reserved
        for measure in MEASURES:
            measure.leave(watch.records[measure.name])


def history() -> dict[str, list[dict[str, Any]]]:
    """Return the lines of the report for each kept day, the newest first; today is always there."""
    records = {measure.name: measure.records() for measure in MEASURES}
    days = sorted({day for of_measure in records.values() for day in of_measure}, reverse=True)
    empty = Record()
    return {
        day: [_line(line, records[line.measure.name].get(day, empty)) for line in LINES]
        for day in days[:DAYS]
    }


def _line(line: Line, record: Record) -> dict[str, Any]:
    measure = line.measure
    if record.worst is None:
        state = "not measured"
    elif not measure.broken(record):
        state = "ok"
    else:
        state = "broken" if measure.binding else "told"
    return {
        "row": line.row,
        "what": line.what,
        "measure": measure.name,
        "unit": measure.unit,
        "limit": measure.limit,
        "floor": measure.floor,
        "binding": measure.binding,
        "state": state,
        **record.to_json(),
    }
