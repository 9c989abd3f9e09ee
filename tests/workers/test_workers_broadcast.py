"""Broadcasts: everybody meant is served, once but for what a kill leaves in doubt, at the pace of whoever sends."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import trio
from attrs import define, field
from hardship import cut_connections
from shop_world import ShopWorld

from vpnd.database.outbox_rows import BoundaryDown, Dead, Delivered, Delivery, Drop, Retry
from vpnd.runtime.journal import capture
from vpnd.shop import broadcast_rows, broadcasts
from vpnd.shop.broadcast_rows import Claimed
from vpnd.shop.broadcasts import Progress, Segment
from vpnd.workers import broadcast as module
from vpnd.workers.broadcast import BroadcastRunner

TEXT = {"text": {"en": "news"}}


class Mine:
    """A lease that is held, or not."""

    def __init__(self, held: bool = True) -> None:
        self.held = held

    async def hold(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.held


@define
class Post:
    """Stands for Telegram: what arrived, and what it says to whom."""

    arrived: Counter[int] = field(factory=Counter)
    says: Callable[[Claimed], Delivery | None] = lambda claimed: None
    pace: float = 0.001
    at_once: int = 0
    most_at_once: int = 0
    contents: list[Any] = field(factory=list)

    async def send(self, content: Any, claimed: Claimed) -> Delivery:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(self.pace)
        finally:
            self.at_once -= 1
        answer = self.says(claimed)
        if answer is None:
            self.arrived[claimed.telegram_id] += 1
            self.contents.append(content)
        return answer or Delivered()


async def crowd(shop: ShopWorld, count: int) -> None:
    """So many customers, with Telegram ids 1 to count."""
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code)"
        " select n, case when n % 2 = 0 then 'en' else 'ru' end, 'c' || n from generate_series(1, $1) n",
        count,
    )


async def started(shop: ShopWorld, segment: Segment | None = None, content: Any = TEXT) -> int:
    """A broadcast that runs."""
    made = await broadcasts.create(
        shop.db, content=content, segment=segment or Segment(), created_by="admin:1", title="t"
    )
    assert await broadcasts.start(shop.db, made)
    return made


async def state(shop: ShopWorld, broadcast_id: int) -> Progress:
    """How far it is."""
    found = await broadcasts.progress(shop.db, broadcast_id)
    assert found is not None
    return found


def runner(shop: ShopWorld, post: Post, **options: Any) -> BroadcastRunner:
    """A runner that looks often."""
    values: dict[str, Any] = {"lease": Mine(), "holder": "test", "concurrency": 8, "interval": 0.05}
    return BroadcastRunner(shop.db, post.send, **(values | options))


@asynccontextmanager
async def running(one: BroadcastRunner) -> AsyncIterator[None]:
    """The runner runs for as long as the block."""
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        yield
        nursery.cancel_scope.cancel()


async def until(shop: ShopWorld, broadcast_id: int, wanted: Callable[[Progress], bool]) -> Progress:
    """Wait for a state."""
    with trio.fail_after(30):
        while not wanted(found := await state(shop, broadcast_id)):
            await trio.sleep(0.02)
    return found


def done(progress: Progress) -> bool:
    """Whether it is at its end."""
    return progress.state == "done"


async def test_everybody_is_served_once(shop: ShopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """In small batches, with few in hand, recipients written down page by page; the counts come out even."""
    monkeypatch.setattr(broadcast_rows.fill, "__defaults__", (37,))
    await crowd(shop, 300)
    post = Post()
    made = await started(shop)
    late = await shop.customer(5000)  # registers after the start: is not asked
    async with running(runner(shop, post)):
        end = await until(shop, made, done)

    assert (end.total, end.sent, end.failed, end.unreachable, end.repeated, end.waiting) == (
        300,
        300,
        0,
        0,
        0,
        0,
    )
    assert post.arrived == Counter(range(1, 301))
    assert late.telegram_id not in post.arrived
    assert post.most_at_once <= 8
    assert post.contents[0] == TEXT
    assert end.finished_at is not None


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        (Segment(languages=["ru"]), {1, 3, 5, 7, 9}),
        (Segment(active=True), {1, 2, 3, 4}),
        (Segment(active=False, languages=["en"]), {6, 8, 10}),
        (Segment(trial=True), {4}),
        (Segment(trial=False, active=True), {1, 2, 3}),
        (Segment(bought=True), {1}),
        (Segment(bought=False, active=True), {2, 3, 4}),
        (Segment(plans=["plus"]), {3}),
        (Segment(plans=[]), set()),
    ],
)
async def test_segments(shop: ShopWorld, segment: Segment, expected: set[int]) -> None:
    """All that is set has to be true; who cannot be reached is in none."""
    await crowd(shop, 11)
    await shop.execute("update customers set reachable = false where telegram_id = 11")
    one, two, three, four = [await shop.customer(number) for number in (1, 2, 3, 4)]
    await shop.execute(
        "update customers set language = case when telegram_id % 2 = 0 then 'en' else 'ru' end"
    )
    await shop.settle(shop.charge(await shop.buy(one)))
    await shop.grant(two)
    await shop.grant(three, plan="plus")
    await shop.grant(four)
    await shop.execute("update subscriptions set trial = true where customer_id = $1", four.id)
    made = await started(shop, segment)
    while await broadcast_rows.fill(shop.db, made, 3):
        pass

    rows = await shop.db.fetch(
        "test",
        "select c.telegram_id from broadcast_recipients r join customers c on c.id = r.customer_id where broadcast_id = $1",
        made,
    )
    assert {row["telegram_id"] for row in rows} == expected
    assert (await state(shop, made)).total == len(expected)


async def test_what_becomes_of_each(shop: ShopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent, blocked, refused for good, tried again, given up: each ends, and the blocked are marked."""
    monkeypatch.setattr(module, "RETRY_FIRST", 0.001)
    monkeypatch.setattr(module, "RETRY_CAP", 0.001)
    await crowd(shop, 10)
    tries: Counter[int] = Counter()

    def says(claimed: Claimed) -> Delivery | None:
        tries[claimed.telegram_id] += 1
        match claimed.telegram_id:
            case 1:
                return Drop("blocked")
            case 2:
                return Dead("refused")
            case 3:
                return Retry(error="not this time") if tries[3] < 3 else None
            case 4:
                raise ValueError("a fault of ours")
            case 5:
                return Retry(after=0.01, error="slower") if tries[5] < 3 else None
        return None

    made = await started(shop)
    post = Post(says=says)
    with capture() as lines:
        async with running(runner(shop, post)):
            end = await until(shop, made, done)

    assert (end.sent, end.unreachable, end.failed) == (7, 1, 2)
    assert (tries[3], tries[4]) == (3, module.MOST_FAILURES)
    assert set(post.arrived) == {3, 5, 6, 7, 8, 9, 10}
    assert set(post.arrived.values()) == {1}
    assert {line.event for line in lines if line.level == "error"} == {"broadcast.send_failed"}
    reachable = await shop.db.fetch("test", "select telegram_id from customers where not reachable")
    assert [row["telegram_id"] for row in reachable] == [1]


async def test_pause_resume_and_stop(shop: ShopWorld) -> None:
    """A pause leaves no more than what is being sent; a stop is for good; each is refused where it makes no sense."""
    await crowd(shop, 400)
    post = Post(pace=0.02)
    made = await started(shop)
    one = runner(shop, post)
    async with running(one):
        await until(shop, made, lambda progress: progress.sent > 10)
        assert await broadcasts.pause(shop.db, made)
        before = len(post.arrived)
        one.wake()
        await trio.sleep(0.5)
        assert len(post.arrived) - before <= 2 * 8
        held = len(post.arrived)
        await trio.sleep(0.3)
        assert len(post.arrived) == held
        assert not await broadcasts.pause(shop.db, made)
        assert await broadcasts.resume(shop.db, made)
        one.wake()
        await until(shop, made, lambda progress: progress.sent > held + 10)
        assert await broadcasts.stop(shop.db, made)
        one.wake()
        await trio.sleep(0.3)
    end = await state(shop, made)

    assert end.state == "stopped"
    assert end.sent == len(post.arrived) < 400
    assert set(post.arrived.values()) == {1}
    assert end.repeated == 0
    assert not await broadcasts.resume(shop.db, made)
    assert not await broadcasts.start(shop.db, made)
    assert await broadcasts.progress(shop.db, 999) is None
    with pytest.raises(ValueError, match="either copies"):
        await broadcasts.create(shop.db, content={}, segment=Segment(), created_by="x")


async def test_a_worker_switch_pauses_it_all(shop: ShopWorld) -> None:
    """And without the lease nothing is sent either."""
    await crowd(shop, 50)
    post, lease = Post(), Mine(held=False)
    made = await started(shop)
    one = runner(shop, post, lease=lease)
    one.pause()
    async with running(one):
        await trio.sleep(0.2)
        assert not post.arrived
        one.resume()
        await trio.sleep(0.2)
        assert not post.arrived
        lease.held = True
        await until(shop, made, done)

    assert len(post.arrived) == 50


async def test_a_kill_resumes_where_it_was(shop: ShopWorld) -> None:
    """Killed again and again in mid-flight: nobody is lost, and who may have been served twice is counted."""
    await crowd(shop, 300)
    post = Post(pace=0.01)
    made = await started(shop)
    in_flight = 0
    for _ in range(4):
        one = runner(shop, post)
        killed = trio.CancelScope()
        async with trio.open_nursery() as nursery:

            async def life(one: BroadcastRunner = one, killed: trio.CancelScope = killed) -> None:
                # A kill leaves no time for the last words.
                one._write_outcomes_real = one._write_outcomes  # type: ignore[attr-defined]
                with killed:
                    await one.run()

            nursery.start_soon(life)
            before = len(post.arrived)
            with trio.fail_after(20):
                while len(post.arrived) < before + 25:
                    await trio.sleep(0.002)

            async def silent() -> None:
                await trio.lowlevel.checkpoint()

            one._write_outcomes = silent  # type: ignore[method-assign]
            one._put_back = lambda which: silent()  # type: ignore[method-assign,assignment]
            in_flight += one._sending + len(one._outcomes)
            killed.cancel()
    async with running(runner(shop, post)):
        end = await until(shop, made, done)

    assert len(post.arrived) == end.sent == 300
    twice = sum(times - 1 for times in post.arrived.values())
    assert twice <= in_flight
    assert end.repeated >= twice


async def test_an_orderly_stop_repeats_nothing_that_was_sent(shop: ShopWorld) -> None:
    """What had been sent is written down and what was not begun given back, so the next life begins at once."""
    await crowd(shop, 120)
    post = Post(pace=0.01)
    made = await started(shop)
    async with running(runner(shop, post)):
        await until(shop, made, lambda progress: progress.sent > 20)
    async with running(runner(shop, post)):
        end = await until(shop, made, done)

    assert end.sent == len(post.arrived) == 120
    assert set(post.arrived.values()) == {1}


async def test_a_telegram_that_is_away_costs_nobody_anything(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pause, one is tried, and when it is back everybody is served: no failures, no repeats."""
    monkeypatch.setattr(module, "PAUSE_FIRST", 0.02)
    monkeypatch.setattr(module, "PAUSE_CAP", 0.05)
    await crowd(shop, 100)
    away = True
    tried = 0

    def says(claimed: Claimed) -> Delivery | None:
        nonlocal tried
        tried += away
        return BoundaryDown(error="away") if away else None

    post = Post(says=says)
    made = await started(shop)
    async with running(runner(shop, post)):
        await trio.sleep(0.6)
        away = False
        end = await until(shop, made, done)

    assert tried < 60
    assert (end.sent, end.failed, end.repeated) == (100, 0, 0)
    assert set(post.arrived.values()) == {1}


async def test_a_telegram_that_refuses_everybody_is_not_asked_for_everybody(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long flood wait is met by a few, not by all, and nobody is given up for it."""
    monkeypatch.setattr(module, "PAUSE_CAP", 0.05)
    await crowd(shop, 200)
    refused = 0

    def says(claimed: Claimed) -> Delivery | None:
        nonlocal refused
        if refused < 40:
            refused += 1
            return Retry(after=0.2, error="flood")
        return None

    post = Post(says=says)
    made = await started(shop)
    async with running(runner(shop, post)):
        end = await until(shop, made, done)

    assert (end.sent, end.failed) == (200, 0)
    assert set(post.arrived.values()) == {1}


async def test_a_database_that_is_lost_in_the_middle(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections die under it; what was sent is remembered until it is written down."""
    monkeypatch.setattr(module, "PAUSE_FIRST", 0.01)
    monkeypatch.setattr(module, "PAUSE_CAP", 0.05)
    await crowd(shop, 200)
    post = Post(pace=0.005)
    made = await started(shop)
    async with running(runner(shop, post)):
        await cut_connections(shop.db, 10)
        end = await until(shop, made, done)

    assert (end.sent, end.failed) == (200, 0)
    assert set(post.arrived) == set(range(1, 201))


async def test_two_runners_at_once_share_the_work(shop: ShopWorld) -> None:
    """The lease is for economy: without it nobody is written to twice either."""
    await crowd(shop, 300)
    post = Post(pace=0.005)
    made = await started(shop)
    async with running(runner(shop, post, holder="one")), running(runner(shop, post, holder="two")):
        end = await until(shop, made, done)

    assert (end.sent, end.repeated) == (300, 0)
    assert set(post.arrived.values()) == {1}


async def test_one_poisoned_recipient_among_a_thousand(
    shop: ShopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He is given up after his tries, in the journal by name, and nobody waits for him."""
    monkeypatch.setattr(module, "RETRY_FIRST", 0.001)
    monkeypatch.setattr(module, "RETRY_CAP", 0.001)
    await crowd(shop, 1000)

    def says(claimed: Claimed) -> Delivery | None:
        if claimed.telegram_id == 617:
            raise ValueError("poisoned")
        return None

    post = Post(says=says, pace=0.0)
    made = await started(shop)
    with capture() as lines:
        async with running(runner(shop, post, concurrency=32)):
            end = await until(shop, made, done)

    assert (end.sent, end.failed) == (999, 1)
    assert {line.fields["customer"] for line in lines if line.event == "broadcast.send_failed"} == {617}


def test_a_claim_outlasts_a_send() -> None:
    """A lease too short to send anything in is refused."""
    with pytest.raises(ValueError, match="longer than"):
        BroadcastRunner(None, Post().send, lease=Mine(), holder="x", claim_lease=5)  # type: ignore[arg-type]


async def test_news_of_the_service_goes_first(shop: ShopWorld) -> None:
    """A notice that is begun in the middle of a long broadcast does not wait for its end."""
    await crowd(shop, 400)
    post = Post(pace=0.005)
    long = await started(shop)
    async with running(runner(shop, post, concurrency=2)):
        await until(shop, long, lambda progress: progress.sent > 10)
        news = await started(shop, Segment(languages=["ru"]), {"notice": {"template": "maintenance"}})
        await until(shop, news, lambda progress: progress.sent >= 100)
        assert (await state(shop, long)).waiting > 100
        await until(shop, long, done)
        end = await until(shop, news, done)

    assert end.sent == 200
    assert sum(post.arrived.values()) == 600


async def test_the_runner_begins_what_is_scheduled(shop: ShopWorld) -> None:
    """When its time has come, on the clock of the business; two runners begin it once."""
    await crowd(shop, 20)
    post = Post()
    made = await broadcasts.create(shop.db, content=TEXT, segment=Segment(), created_by="admin:1")
    now = (await state(shop, made)).now
    assert await broadcasts.schedule(shop.db, made, now + timedelta(hours=1))
    async with running(runner(shop, post, holder="one")), running(runner(shop, post, holder="two")):
        await trio.sleep(0.2)
        assert not post.arrived
        await shop.advance(timedelta(hours=2))
        end = await until(shop, made, done)

    assert (end.sent, end.repeated) == (20, 0)
    assert set(post.arrived.values()) == {1}


async def test_a_message_that_everybody_refuses_halts_its_broadcast(shop: ShopWorld) -> None:
    """It pauses with the reason after a few, the others wait, and once it is mended it goes on; another one is not touched."""
    await crowd(shop, 300)
    refused = True

    def says(claimed: Claimed) -> Delivery | None:
        return Dead("message to copy not found") if refused and claimed.broadcast_id == made else None

    made = await started(shop)
    other = await started(shop)
    post = Post(says=says)
    one = runner(shop, post)
    with capture() as lines:
        async with running(one):
            halted = await until(shop, made, lambda progress: progress.state == "paused")
            await until(shop, other, done)
            refused = False
            assert await broadcasts.resume(shop.db, made)
            one.wake()
            end = await until(shop, made, done)

    assert halted.halted == "message to copy not found"
    assert module.DEAD_IN_ROW <= end.failed <= module.DEAD_IN_ROW + 3 * 8
    assert end.sent == 300 - end.failed
    assert end.halted is None
    assert [line.event for line in lines if line.level == "error"] == ["broadcast.halted"]
