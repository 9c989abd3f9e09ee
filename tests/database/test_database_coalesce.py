"""A lone call goes at once; calls that would have to wait go together."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vpnd.database.coalesce import Batcher, Loader, Shared
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseUnavailable
from vpnd.runtime.held import HeldConnectionError


class Flush:
    """Records batches and holds each until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gates: list[trio.Event] = []
        self.errors: dict[int, Exception] = {}

    async def __call__(self, items: list[int]) -> None:
        number = len(self.batches)
        self.batches.append(items)
        self.gates.append(trio.Event())
        await self.gates[number].wait()
        if number in self.errors:
            raise self.errors[number]


async def test_a_lone_item_goes_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody is inside, so nobody is waited for: no timer, no delay."""
    flush = Flush()
    batcher = Batcher(flush)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.add, 1)
        await wait_all_tasks_blocked()
        assert flush.batches == [[1]]
        flush.gates[0].set()
    assert trio.current_time() == 0


async def test_items_that_wait_go_together_and_return_after_their_own_flush() -> None:
    """Whoever comes while a flush is under way is in the next one; nobody returns before the flush that carried him."""
    flush = Flush()
    batcher = Batcher(flush, max_batch=3)
    done: list[int] = []

    async def add(item: int) -> None:
        await batcher.add(item)
        done.append(item)

    async with trio.open_nursery() as nursery:
        for item in range(6):
            nursery.start_soon(add, item)
            await wait_all_tasks_blocked()
        flush.gates[0].set()
        await wait_all_tasks_blocked()
        assert flush.batches == [[0], [1, 2, 3]]
        assert done == [0]
        flush.gates[1].set()
        await wait_all_tasks_blocked()
        assert sorted(done) == [0, 1, 2, 3]
        assert flush.batches[2] == [4, 5]
        flush.gates[2].set()


async def test_a_cancelled_leader_hands_the_work_on() -> None:
    """The flush of a cancelled caller is cancelled with him; the others' items go with the next leader, his own does not."""
    flush = Flush()
    batcher = Batcher(flush)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.add, 0)
        await wait_all_tasks_blocked()
        scope = trio.CancelScope()

        async def impatient() -> None:
            with scope:
                await batcher.add(1)

        nursery.start_soon(impatient)
        await wait_all_tasks_blocked()
        nursery.start_soon(batcher.add, 2)
        nursery.start_soon(batcher.add, 3)
        await wait_all_tasks_blocked()
        flush.gates[0].set()
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert [sorted(batch) for batch in flush.batches] == [[0], [1, 2, 3], [2, 3]]
        flush.gates[2].set()


async def test_a_cancelled_waiter_leaves_the_queue_even_when_called_to_lead() -> None:
    """One who is cancelled in the instant he is called to lead passes the call on; nobody is left standing."""
    flush = Flush()
    batcher = Batcher(flush)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.add, 0)
        await wait_all_tasks_blocked()
        scope = trio.CancelScope()

        async def impatient() -> None:
            with scope:
                await batcher.add(1)

        nursery.start_soon(impatient)
        await wait_all_tasks_blocked()
        nursery.start_soon(batcher.add, 2)
        await wait_all_tasks_blocked()
        scope.cancel()
        flush.gates[0].set()
        await wait_all_tasks_blocked()
        assert flush.batches[-1] == [2]
        flush.gates[-1].set()


async def test_an_error_reaches_everybody_in_the_batch_and_nobody_else() -> None:
    """All whose items were in the failed flush are told, each by an object of his own; the next flush goes on."""
    flush = Flush()
    flush.errors[1] = DatabaseUnavailable("gone", site="test")
    batcher = Batcher(flush)
    caught: list[Exception] = []

    async def add(item: int) -> None:
        try:
            await batcher.add(item)
        except DatabaseUnavailable as error:
            caught.append(error)

    async with trio.open_nursery() as nursery:
        for item in range(3):
            nursery.start_soon(add, item)
            await wait_all_tasks_blocked()
        flush.gates[0].set()
        await wait_all_tasks_blocked()
        flush.gates[1].set()
        await wait_all_tasks_blocked()
        assert [str(error) for error in caught] == ["gone (at test)"] * 2
        assert caught[0] is not caught[1]
        nursery.start_soon(add, 3)
        await wait_all_tasks_blocked()
        flush.gates[2].set()
    assert flush.batches == [[0], [1, 2], [3]]


async def test_concurrent_reads_become_one_query(db: Database) -> None:
    """Under load many keys are one query; each gets his own row, or None."""
    async with db.transaction("test.rows") as tx:
        await tx.script(
            "create table a (id int, v text); insert into a select n, 'v' || n from generate_series(1, 50) n"
        )
    queries: list[int] = []
    loader = Loader(db, "test.loader", "select id, v from a where id = any($1)", "id")
    load = loader._load

    async def counted(keys: list[object]) -> object:
        queries.append(len(keys))
        return await load(keys)

    loader._turnstile._work = counted
    found: dict[int, str | None] = {}

    async def get(key: int) -> None:
        row = await loader.get(key)
        found[key] = row["v"] if row else None

    async with trio.open_nursery() as nursery:
        for key in range(1, 61):
            nursery.start_soon(get, key)
    assert found == {key: f"v{key}" if key <= 50 else None for key in range(1, 61)}
    assert queries == [60]  # all asked in one turn of the loop
    async with db.transaction("test.held"):
        with pytest.raises(HeldConnectionError):
            await loader.get(1)


async def test_what_is_the_same_for_all_is_read_once_for_those_who_wait() -> None:
    """Whoever comes while it is read gets the next read, which began after he asked; they share it."""
    gates = [trio.Event(), trio.Event()]
    reads: list[int] = []

    async def read() -> int:
        number = len(reads)
        reads.append(number)
        await gates[number].wait()
        return number

    shared = Shared(read)
    got: list[int] = []

    async def get() -> None:
        got.append(await shared.get())

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(get)
            await wait_all_tasks_blocked()
        assert reads == [0]
        gates[0].set()
        await wait_all_tasks_blocked()
        assert reads == [0, 1]
        gates[1].set()
    assert got == [0, 1, 1, 1]


async def test_what_was_read_a_moment_ago_is_good_enough(autojump_clock: trio.testing.MockClock) -> None:
    """It is handed out again for so many seconds from when its read began, and not a moment longer; by default not at all."""
    reads: list[float] = []

    async def read() -> float:
        reads.append(trio.current_time())
        await trio.sleep(0.4)
        return reads[-1]

    shared, always = Shared(read, fresh=1.0), Shared(read)
    assert await shared.get() == 0
    await trio.sleep(0.5)  # at 0.9
    assert await shared.get() == 0
    await trio.sleep(0.1)  # at 1.0
    assert await shared.get() == pytest.approx(1.0)
    assert len(reads) == 2
    assert await always.get() != await always.get()


async def test_what_was_changed_is_read_anew(autojump_clock: trio.testing.MockClock) -> None:
    """After `forget` nothing is handed out that was read before it, not even by a read that was under way."""
    values = iter(range(10))

    async def read() -> int:
        value = next(values)
        await trio.sleep(0.1)
        return value

    shared = Shared(read, fresh=10.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shared.get)
        await trio.sleep(0.05)
        shared.forget()
    assert await shared.get() == 1
    assert await shared.get() == 1
    shared.forget()
    assert await shared.get() == 2


async def test_a_shared_read_that_fails_is_no_value() -> None:
    """Everybody who waits for it hears of it, and the next one asks again."""
    answers: list[Exception | int] = [DatabaseUnavailable("down", site="test"), 7]

    async def read() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shared = Shared(read, fresh=10.0)
    with pytest.raises(DatabaseUnavailable):
        await shared.get()
    assert await shared.get() == 7
    assert await shared.get() == 7


async def test_no_shared_read_while_a_scope_is_open(db: Database) -> None:
    """It might wait for another connection while one is held."""

    async def read() -> int:
        return 1

    async with db.transaction("test.scope"):
        with pytest.raises(HeldConnectionError):
            await Shared(read).get()
