"""Supervision: children that are started in order, restarted when they die, and stopped in the opposite order.

The idea is OTP's. A child is a task with a name; what leaves it, an exception or an unexpected return, is its death,
and the supervisor answers with a restart after a back-off. Errors that belong to the work are the child's own
business and never get here. So a death is rare, and several in a short time mean that a restart does not help:
then the supervisor stops its children in order and raises `RestartIntensityExceeded`, the process ends, and systemd
starts it anew. The count is taken over all children together, as in OTP: a house in which five things broke within
a minute is not standing.

This is the one place that catches `Exception` around a child. Cancellation always passes.
"""

import enum
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from random import Random, SystemRandom
from typing import Any, Final

import attrs
import trio

from vpnd.runtime import metrics
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.groups import plainest
from vpnd.runtime.journal import get_journal

journal = get_journal("runtime")

# A child that is not ready within this time does not keep the next ones waiting any longer; seconds.
START_TIMEOUT: Final = 10.0
# A cancelled child has this long to unwind before we say that it hangs; seconds.
UNWIND_GRACE: Final = 5.0


class Stopping:
    """The wish that a child should finish by itself.

    The composition root makes one for a child that wants an orderly stop, gives it to the child, which waits for it
    or looks at `requested`, and names it in the `ChildSpec`.
    """

    def __init__(self) -> None:
        self._event = trio.Event()

    @property
    def requested(self) -> bool:
        """Whether the child should finish."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask the child to finish; may be called again."""
        self._event.set()

    async def wait(self) -> None:
        """Return when the child should finish."""
        await self._event.wait()


@attrs.frozen
class ChildSpec:
    """What is known of a child before it runs.

    Attributes:
        name: its name in the journal and in metrics.
        run: called as ``run(task_status=...)`` for every life; it reports readiness by ``task_status.started()``.
        backoff_first: ceiling of the wait after a first death, in seconds; it doubles with each further one.
        backoff_cap: highest ceiling, in seconds. A child that lived longer than this starts counting anew.
        essential: its death ends the supervisor at once.
        may_finish: its return is an end, not a death.
        stopping: how it is asked to finish; without one it is cancelled.
        stop_timeout: seconds it gets to finish after it was asked; then it is cancelled.
    """

    name: str
    run: Callable[..., Coroutine[Any, Any, None]]
    backoff_first: float = 0.5
    backoff_cap: float = 30.0
    essential: bool = False
    may_finish: bool = False
    stopping: Stopping | None = None
    stop_timeout: float = 5.0


class ChildState(enum.Enum):
    """Where a child is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing off"
    STOPPED = "stopped"


@attrs.frozen
class ChildStatistics:
    """A child at one moment. `since` is the clock's time of the last change of state, `deaths` counts all."""

    name: str
    state: ChildState
    deaths: int
    since: float
    last_error: str | None


@attrs.frozen
class SupervisorStatistics:
    """All children, in starting order, and how many deaths the window holds now."""

    children: tuple[ChildStatistics, ...]
    recent_deaths: int

    @property
    def standing(self) -> bool:
        """Whether every child is at work (or had nothing left to do)."""
        return all(child.state in (ChildState.RUNNING, ChildState.STOPPED) for child in self.children)


class SupervisionError(Exception):
    """The supervisor gave up on its children; the process should end."""


class RestartIntensityExceeded(SupervisionError):
    """Children died more often than restarting can help."""

    def __init__(self, child: str, deaths: int, window: float) -> None:
        self.child = child
        super().__init__(f"{deaths} deaths within {window:g} s, the last one of {child}")


class EssentialChildDied(SupervisionError):
    """A child the process cannot be without has died."""

    def __init__(self, child: str) -> None:
        self.child = child
        super().__init__(f"the essential child {child} died")


class _Entry:
    """A child's present life."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.state = ChildState.STARTING
        self.since = trio.current_time()
        self.deaths = 0
        self.last_error: str | None = None
        self.life = trio.CancelScope()
        self.settled = trio.Event()  # ready for the first time, or dead before it was
        self.leaving = trio.Event()  # it must not live again
        self.gone = trio.Event()

    def turn(self, state: ChildState) -> None:
        self.state, self.since = state, trio.current_time()


class Supervisor:
    """Keeps children alive; see the head of the module.

    Args:
        specs: the children, in starting order.
        max_deaths: as many deaths within `window` seconds are answered by restarts; one more ends it all.
        window: seconds a death is remembered.
        rng: source of the back-off's jitter.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        max_deaths: int = 5,
        window: float = 60.0,
        rng: Random | None = None,
    ) -> None:
        names = [spec.name for spec in specs]
        if len(set(names)) != len(names):
            raise ValueError(f"two children have one name: {', '.join(names)}")
        self._specs = tuple(specs)
        self._max_deaths = max_deaths
        self._window = window
        self._rng = rng or SystemRandom()
        self._entries: list[_Entry] = []
        self._recent: deque[float] = deque()
        self._stop = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._fatal: SupervisionError | None = None
        for name in names:
            metrics.declare_child(name)

    def stop(self) -> None:
        """Begin an orderly stop: `run` ends the children in the opposite order and returns."""
        self._stop.set()
        for entry in self._entries:
            entry.settled.set()  # whoever is still starting is not waited for

    def add(self, spec: ChildSpec, *, after: str) -> None:
        """Start one more child. In the order of starting and stopping it stands behind the child `after`.

        Nothing is started once a stop was asked for. Only while `run` runs.

        Raises:
            ValueError: there is a child of this name, or none called `after`.
        """
        names = [entry.spec.name for entry in self._entries]
        if spec.name in names:
            raise ValueError(f"two children have one name: {spec.name}")
        if after not in names:
            raise ValueError(f"there is no child {after}")
        if self._nursery is None or self._stop.is_set():
            return
        metrics.declare_child(spec.name)
        entry = _Entry(spec)
        self._entries.insert(names.index(after) + 1, entry)
        self._nursery.start_soon(self._keep, entry, name=f"child {spec.name}")

    async def remove(self, name: str) -> None:
        """End one child for good, as a stop would, and forget it. Bounded; an unknown name is no fault."""
        found = next((entry for entry in self._entries if entry.spec.name == name), None)
        if found is None:
            return
        await self._end(found)
        if found in self._entries:
            self._entries.remove(found)
            metrics.supervisor_restarts_total.remove(name)

    def statistics(self) -> SupervisorStatistics:
        """Return what every child is doing."""
        self._forget(trio.current_time())
        children = tuple(
            ChildStatistics(entry.spec.name, entry.state, entry.deaths, entry.since, entry.last_error)
            for entry in self._entries
        )
        return SupervisorStatistics(children, len(self._recent))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children one after the other, keep them alive, and return after an orderly `stop`.

        A child that is not ready within `START_TIMEOUT`, or dies before it is, does not hold up the next.
        `task_status` is told when each has had its turn. May be called once.

        Raises:
            RestartIntensityExceeded: too many deaths; the children were stopped in order before.
            EssentialChildDied: likewise.

        Cancellation cancels all children at once; an orderly stop is what `stop` is for.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for spec in self._specs:
                if self._stop.is_set():
                    break
                entry = _Entry(spec)
                self._entries.append(entry)
                nursery.start_soon(self._keep, entry, name=f"child {spec.name}")
                with trio.move_on_after(START_TIMEOUT):
                    await entry.settled.wait()
            task_status.started()
            await self._stop.wait()
            for entry in list(reversed(self._entries)):
                await self._end(entry)
        if self._fatal is not None:
            raise self._fatal

    async def _keep(self, entry: _Entry) -> None:
        """Live the lives of one child."""
        spec, attempt = entry.spec, 0
        try:
            while not entry.leaving.is_set():
                entry.turn(ChildState.STARTING)
                born = trio.current_time()
                error = await self._live(entry)
                if entry.leaving.is_set() or (error is None and spec.may_finish):
                    return
                now = trio.current_time()
                attempt = 1 if now - born > spec.backoff_cap else attempt + 1
                if not self._survivable(entry, error, now):
                    return
                delay = jittered_backoff(attempt, spec.backoff_first, spec.backoff_cap, self._rng)
                entry.turn(ChildState.BACKING_OFF)
                entry.settled.set()
                with trio.move_on_after(delay):
                    await entry.leaving.wait()
                    return
                metrics.supervisor_restarts_total.labels(spec.name).inc()
                journal.info(
                    "child.restarted",
                    message=f"{spec.name} is started again after {delay:.1f} s",
                    child=spec.name,
                    attempt=attempt,
                )
        finally:
            entry.turn(ChildState.STOPPED)
            entry.settled.set()
            entry.gone.set()

    async def _live(self, entry: _Entry) -> BaseException | None:
        """Run the child once. Return what it died of; None when it returned or was told to leave."""
        death: BaseException | None = None
        try:
            with trio.CancelScope() as entry.life:
                if entry.leaving.is_set():
                    entry.life.cancel()
                async with trio.open_nursery() as nursery:
                    await nursery.start(entry.spec.run, name=entry.spec.name)
                    entry.turn(ChildState.RUNNING)
                    entry.settled.set()
        except* Exception as group:
            death = plainest(group)
            entry.last_error = f"{type(death).__name__}: {death}"
            entry.deaths += 1
            journal.error(
                "child.died",
                message=f"{entry.spec.name} died: {type(death).__name__}",
                exc_info=group,
                child=entry.spec.name,
                deaths=entry.deaths,
            )
        else:
            if not entry.leaving.is_set() and not entry.spec.may_finish:
                entry.last_error = "it returned"
                entry.deaths += 1
                journal.error(
                    "child.died",
                    message=f"{entry.spec.name} returned, which it never should",
                    child=entry.spec.name,
                    deaths=entry.deaths,
                )
        return death

    def _survivable(self, entry: _Entry, error: BaseException | None, now: float) -> bool:
        """Note a death; return whether it is answered by a restart."""
        self._recent.append(now)
        self._forget(now)
        if self._fatal is not None:
            return False
        if entry.spec.essential:
            self._fatal = EssentialChildDied(entry.spec.name)
        elif len(self._recent) > self._max_deaths:
            self._fatal = RestartIntensityExceeded(entry.spec.name, len(self._recent), self._window)
        else:
            return True
        self._fatal.__cause__ = error
        journal.critical(
            "supervisor.gave_up", message=f"The process ends: {self._fatal}", child=entry.spec.name
        )
        self.stop()
        return False

    def _forget(self, now: float) -> None:
        while self._recent and now - self._recent[0] > self._window:
            self._recent.popleft()

    async def _end(self, entry: _Entry) -> None:
        """End one child: ask, wait, cancel, wait. Bounded, whatever the child does."""
        entry.leaving.set()
        if entry.spec.stopping is not None:
            entry.spec.stopping.request()
            with trio.move_on_after(entry.spec.stop_timeout):
                await entry.gone.wait()
            if not entry.gone.is_set():
                journal.warning(
                    "child.stop_timeout",
                    message=f"{entry.spec.name} did not finish in {entry.spec.stop_timeout:g} s; it is cancelled",
                    child=entry.spec.name,
                )
        entry.life.cancel()
        with trio.move_on_after(UNWIND_GRACE):
            await entry.gone.wait()
        if not entry.gone.is_set():
            journal.error(
                "child.stuck",
                message=f"{entry.spec.name} does not react to its cancellation",
                child=entry.spec.name,
            )
