"""Who may send next: Telegram's limits shared out between four lanes.

A message needs a token of the whole bot (30 a second) and one of its chat (1 a second, bursts of 5; 20 a minute in a group).
Replies go before receipts, those before notices, and a broadcast takes what is left. Three choices make that work:

* The whole bot's limit is a rolling window, so it holds for *any* second and not only on average. It is kept a little
  wider than a second, because calls that leave evenly do not arrive evenly.
* Notices and broadcasts leave at an even pace, never as a burst. So while a broadcast runs at full rate, the next
  token is never further away than one pace (34 ms), and a reply takes it. While replies come they keep one token free for the
  next, and each reply puts them back by a pace: replies that come in a bunch find no gap that an earlier bunch has left.
* A waiting call waits at its *chat*. A chat whose own tokens are spent is parked until it has one again, so it holds up
  nobody else, and messages of one lane keep their order within a chat.

Telegram's 429 does not say whether the chat or the bot as a whole was too fast. A chat that had sent a lot is blamed itself;
otherwise the whole bot's window shrinks by one and grows back by one every ten seconds. Other programs may use the same token.
Refusals of several chats in a row, with no success between, stop every call for as long as Telegram asked.

Nothing waits in the usual case: `take()` with tokens at hand returns at once, without a turn of the loop.
"""

from __future__ import annotations

import enum
import heapq
from itertools import count
from typing import Final, NoReturn

import attrs
import trio

from vpnd.runtime import metrics, observations
from vpnd.telegram.buckets import Bucket, RollingWindow
from vpnd.telegram.errors import RetryLater

__all__ = ["Lane", "Lanes", "LanesStatistics"]

CHAT_BURST: Final = 5
GROUP_PER_MINUTE: Final = 20
#: A call that cannot get its token within this many seconds is told so instead of waiting.
LONGEST_WAIT: Final = 30.0
#: How much wider than a second the rolling window is, for the unevenness of the way to Telegram.
MARGIN: Final = 0.015
#: And wider still by this at a thousand a second, in proportion below: that many calls keep the loop busy, and then some leave
#: 30 ms after they got their token. Refusals stop replies too, so they cost more than the share does.
MARGIN_OF_A_THOUSAND: Final = 0.02
MOST_CHATS: Final = 4_000
#: Seconds without a refusal after which the learned limit is tried one higher.
RAISE_AFTER: Final = 10.0
#: How much of a late wake-up the slow lanes make up for, at most; seconds. Within a rate of some hundred a second that is less
#: than one pace; at a thousand, wake-ups are late by several.
CATCH_UP: Final = 0.02
#: Where a token comes each millisecond, those who wait are woken by fives: to wake each alone took a tenth of the processor, and
#: customers waited for it. Seconds.
REST: Final = 0.005
#: While a reply or a receipt has left within this time, the slow lanes leave `RESERVE` tokens for the next; seconds.
REPLIES_GAP: Final = 1.0
RESERVE: Final = 1
#: A broadcast has ended when none of its messages left for so long; one that ran shorter than the second says nothing of its
#: rate; one that runs on is judged anew after the third. Seconds.
BROADCAST_GAP: Final = 2.0
BROADCAST_LEAST: Final = 5.0
BROADCAST_JUDGED: Final = 30.0
#: Refusals of different chats in a row that stop the whole bot.
REFUSALS_IN_ROW: Final = 3


class Lane(enum.IntEnum):
    """What a message is, in the order of who goes first."""

    REPLY = 0
    RECEIPT = 1
    NOTICE = 2
    BROADCAST = 3

    @property
    def label(self) -> str:
        """The lane's name in metrics and in the outbox."""
        return self.name.lower()


@attrs.frozen
class LanesStatistics:
    """A picture of the lanes: calls that wait, by lane; the bot's present limit a window; chats remembered; the seconds
    for which every call is stopped; and how many tokens were given and refusals (429) met since the start."""

    waiting: dict[str, int]
    limit: int | None
    chats: int
    paused_for: float
    granted: int
    refused: int


@attrs.define
class _BroadcastRun:
    """A stretch of a broadcast: times and tokens at its first message and its last, and the lowest rate that was permitted."""

    began: float
    last: float
    first_tokens: int
    last_tokens: int
    permitted: float


@attrs.define(eq=False)
class _Waiter:
    lane: Lane
    count: int
    granted: trio.Event = attrs.Factory(trio.Event)
    gone: bool = False


@attrs.define(eq=False)
class _Chat:
    bucket: Bucket
    window: RollingWindow | None
    blocked_until: float = 0.0
    parked: bool = False
    waiting: list[tuple[Lane, int, _Waiter]] = attrs.Factory(list)

    def free_at(self, tokens: int) -> float:
        at = max(self.blocked_until, self.bucket.free_at(tokens))
        return at if self.window is None else max(at, self.window.free_at(tokens))

    def take(self, now: float, tokens: int) -> None:
        self.bucket.take(now, tokens)
        if self.window is not None:
            self.window.take(now, tokens)

    def is_idle(self, now: float) -> bool:
        return (
            not self.waiting
            and self.blocked_until <= now
            and self.bucket.is_idle(now)
            and (self.window is None or self.window.is_idle(now))
        )

    def head(self) -> tuple[Lane, int, _Waiter] | None:
        while self.waiting and self.waiting[0][2].gone:
            heapq.heappop(self.waiting)
        return self.waiting[0] if self.waiting else None


class Lanes:
    """Gives out the tokens that new messages need.

    Args:
        per_second: new messages a second in all; 0 lifts the limit.
        per_chat: new messages a second to one chat; 0 lifts the limits of chats and groups.

    `run()` must be running for calls that have to wait; those that need not wait get by without.
    """

    def __init__(self, per_second: float, per_chat: float) -> None:
        self._per_chat = per_chat
        self._window = _window_of_all(per_second)
        self._next_slow = 0.0
        self._replied_at = float("-inf")
        self._paused_until = 0.0
        self._raise_at = 0.0
        self._refused_in_row: list[int | str | None] = []
        self._chats: dict[int | str | None, _Chat] = {}
        self._ready: list[tuple[Lane, int, _Chat]] = []
        self._parked: list[tuple[float, int, _Chat]] = []
        self._numbers = count()
        self._waiting = dict.fromkeys(Lane, 0)
        self._waiting_total = 0
        # labels() costs as much as the figure itself.
        self._lengths = {lane: metrics.telegram_send_queue_length.labels(lane.label) for lane in Lane}
        self._alarm = trio.Event()
        self._alarm_at = float("inf")
        self._rests_until = float("-inf")
        self._granted = 0
        self._refused = 0
        self._tokens = 0
        self._run: _BroadcastRun | None = None

    def limit(self, per_second: float, per_chat: float) -> None:
        """Give out tokens by other limits from now on. What was learned from refusals is forgotten, who waits is served anew."""
        now = trio.current_time()
        former, self._window = self._window, _window_of_all(per_second)
        if former is not None and self._window is not None:
            self._window.follow(former)
        self._per_chat = per_chat
        for chat_id, chat in self._chats.items():
            chat.bucket.rate = per_chat if chat_id is not None else 0.0
            if _is_group(chat_id):
                chat.window = (chat.window or _window_of_group()) if per_chat > 0 else None
            if per_chat <= 0:
                chat.bucket.full_at = 0.0
        self._next_slow = min(self._next_slow, now)
        parked, self._parked = self._parked, []
        for _, _, chat in parked:
            chat.parked = False
            self._requeue(chat)
        self._wake_by(self._serve(now))

    def statistics(self) -> LanesStatistics:
        """Return a picture of the present state; a broadcast that is over is judged before."""
        if self._run is not None and trio.current_time() - self._run.last > BROADCAST_GAP:
            self._end_broadcast()
        return LanesStatistics(
            waiting={lane.label: number for lane, number in self._waiting.items()},
            limit=self._window.limit if self._window else None,
            chats=len(self._chats),
            paused_for=max(0.0, self._paused_until - trio.current_time()),
            granted=self._granted,
            refused=self._refused,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Wake waiting calls when their time comes, until cancelled."""
        task_status.started()
        while True:
            now = trio.current_time()
            self._rests_until = now + self._rest()
            self._alarm_at = max(self._serve(now), self._rests_until)
            self._alarm = trio.Event()
            with trio.move_on_at(self._alarm_at):
                await self._alarm.wait()

    async def take(self, lane: Lane, chat_id: int | str | None, tokens: int = 1, *, method: str = "") -> None:
        """Return when `tokens` new messages may be sent to `chat_id`.

        Raises:
            RetryLater: it is known now that it would take longer than `LONGEST_WAIT`, or than the caller's deadline.

        A call that is cancelled while it waits leaves no trace.
        """
        now = trio.current_time()
        chat = self._chat(chat_id, now)
        at = max(self._gate_at(lane, tokens), chat.free_at(tokens))
        if at <= now and not self._waiting_total:
            self._grant(chat, lane, tokens, now)
            return
        if at > now:
            self._refuse_if_too_late(at, now, method)
        waiter = _Waiter(lane, tokens)
        number = next(self._numbers)
        heapq.heappush(chat.waiting, (lane, number, waiter))
        if not chat.parked and chat.waiting[0][2] is waiter:
            heapq.heappush(self._ready, (lane, number, chat))
        self._count_waiting(lane, 1)
        self._wake_by(self._serve(now))
        if waiter.granted.is_set():
            return
        try:
            await waiter.granted.wait()
        except BaseException:
            if not waiter.granted.is_set():
                waiter.gone = True
                self._count_waiting(lane, -1)
                self._requeue(chat)
                self._wake_by(self._serve(trio.current_time()))
            raise

    async def pass_unmetered(self, chat_id: int | str | None, *, method: str = "") -> None:
        """Return when a call that makes no new message may go: at once, unless a 429 is in force.

        Raises:
            RetryLater: see `take`.
        """
        while True:
            chat = self._chats.get(chat_id) if chat_id is not None else None
            at = max(self._paused_until, chat.blocked_until if chat else 0.0)
            now = trio.current_time()
            if at <= now:
                return
            self._refuse_if_too_late(at, now, method)
            await trio.sleep_until(at)

    def refused(self, chat_id: int | str | None, after: float) -> None:
        """Learn from a 429: `after` is what Telegram asked to wait, in seconds."""
        now = trio.current_time()
        self._refused += 1
        metrics.telegram_retry_after_seconds.set(after)
        chat = self._chat(chat_id, now)
        chat_was_fast = chat_id is not None and chat.bucket.full_at - now > CHAT_BURST / 2 / max(
            self._per_chat, 0.1
        )
        if chat_id is not None:
            chat.blocked_until = max(chat.blocked_until, now + after)
        if chat_id not in self._refused_in_row:
            self._refused_in_row.append(chat_id)
        if chat_id is None or len(self._refused_in_row) >= REFUSALS_IN_ROW:
            self._paused_until = max(self._paused_until, now + after)
            self._refused_in_row.clear()
        if self._window is not None and not chat_was_fast:
            self._window.limit = max(1, self._window.limit - 1)
            self._raise_at = now + RAISE_AFTER

    def succeeded(self) -> None:
        """Note that Telegram accepted a call."""
        if self._refused_in_row:
            self._refused_in_row.clear()
            if self._paused_until <= trio.current_time():
                metrics.telegram_retry_after_seconds.set(0)

    def _refuse_if_too_late(self, at: float, now: float, method: str) -> None:
        if at > min(now + LONGEST_WAIT, trio.current_effective_deadline()):
            raise RetryLater(at - now, method=method)

    def _gate_at(self, lane: Lane, tokens: int) -> float:
        """Return when the bot as a whole may send in `lane`."""
        if self._window is None:
            return self._paused_until
        if lane < Lane.NOTICE:
            return max(self._paused_until, self._window.free_at(tokens))
        kept = RESERVE if trio.current_time() - self._replied_at < REPLIES_GAP else 0
        return max(self._paused_until, self._window.free_at(tokens + kept), self._next_slow)

    def _grant(self, chat: _Chat, lane: Lane, tokens: int, now: float) -> None:
        self._granted += 1
        self._tokens += tokens
        chat.take(now, tokens)
        window = self._window
        if window is None:
            return
        window.take(now, tokens)
        pace = window.seconds / window.limit
        if lane is Lane.BROADCAST:
            self._judge_broadcast(now, 1 / pace)
        elif self._run is not None and now - self._run.last > BROADCAST_GAP:
            self._end_broadcast()
        if lane >= Lane.NOTICE:
            # A wake-up that came late may be made up for, by one pace or a moment, and no more.
            self._next_slow = max(self._next_slow, now - max(pace, CATCH_UP)) + pace * tokens
        else:
            self._replied_at = now
            self._next_slow = max(self._next_slow, now) + pace * tokens
        if window.limit < window.most and now >= self._raise_at:
            window.limit += 1
            self._raise_at = now + RAISE_AFTER

    def _judge_broadcast(self, now: float, permitted: float) -> None:
        """Note which share of the permitted rate all lanes together reach while a broadcast runs."""
        run = self._run
        if run is None or now - run.last > BROADCAST_GAP:
            self._end_broadcast()
            self._run = _BroadcastRun(now, now, self._tokens, self._tokens, permitted)
            return
        run.last, run.last_tokens, run.permitted = now, self._tokens, min(run.permitted, permitted)
        if now - run.began >= BROADCAST_JUDGED:
            self._end_broadcast()
            self._run = _BroadcastRun(now, now, self._tokens, self._tokens, permitted)

    def _end_broadcast(self) -> None:
        run, self._run = self._run, None
        if run is None or run.last - run.began < BROADCAST_LEAST:
            return
        share = (run.last_tokens - run.first_tokens) / ((run.last - run.began) * run.permitted)
        observations.BROADCAST.note(share, "all lanes", f"{run.last - run.began:.0f} s")

    def _serve(self, now: float) -> float:
        """Grant all that may go at `now`; return when to look again."""
        while self._parked and self._parked[0][0] <= now:
            chat = heapq.heappop(self._parked)[2]
            chat.parked = False
            self._requeue(chat)
        look_again = float("inf")
        while self._ready:
            lane, number, chat = self._ready[0]
            head = chat.head()
            if head is None or chat.parked or head[1] != number:
                heapq.heappop(self._ready)  # left behind by a call that was overtaken or given up
                continue
            waiter = head[2]
            chat_at = chat.free_at(waiter.count)
            if chat_at > now:
                heapq.heappop(self._ready)
                chat.parked = True
                heapq.heappush(self._parked, (chat_at, number, chat))
                continue
            look_again = self._gate_at(lane, waiter.count)
            if look_again > now:
                break  # whoever waits behind stands in the same lane or a lower one: not before this one
            look_again = float("inf")
            heapq.heappop(self._ready)
            heapq.heappop(chat.waiting)
            self._grant(chat, lane, waiter.count, now)
            self._count_waiting(lane, -1)
            waiter.granted.set()
            self._requeue(chat)
        return min(look_again, self._parked[0][0]) if self._parked else look_again

    def _requeue(self, chat: _Chat) -> None:
        """Put a chat's foremost call in line, unless the chat is parked."""
        head = chat.head()
        if head is not None and not chat.parked:
            heapq.heappush(self._ready, (head[0], head[1], chat))

    def _wake_by(self, at: float) -> None:
        if max(at, self._rests_until) < self._alarm_at:
            self._alarm.set()

    def _rest(self) -> float:
        """Seconds for which nobody is woken after this time: none, unless tokens come faster than that."""
        window = self._window
        return REST if window is not None and window.seconds / window.limit < REST else 0.0

    def _count_waiting(self, lane: Lane, change: int) -> None:
        self._waiting[lane] += change
        self._waiting_total += change
        self._lengths[lane].set(self._waiting[lane])

    def _chat(self, chat_id: int | str | None, now: float) -> _Chat:
        chat = self._chats.get(chat_id)
        if chat is None:
            self._forget_idle(now)
            window = _window_of_group() if _is_group(chat_id) and self._per_chat > 0 else None
            rate = self._per_chat if chat_id is not None else 0.0
            chat = self._chats[chat_id] = _Chat(Bucket(rate, CHAT_BURST), window)
        return chat

    def _forget_idle(self, now: float) -> None:
        """Make room: idle chats remember nothing and can go; of the others, the oldest has to, in the last resort."""
        for _ in range(4):
            if len(self._chats) < MOST_CHATS:
                return
            chat_id = next(iter(self._chats))
            chat = self._chats.pop(chat_id)
            if chat.waiting or (not chat.is_idle(now) and len(self._chats) < 2 * MOST_CHATS):
                self._chats[chat_id] = chat  # to the end of the line


def _window_of_all(per_second: float) -> RollingWindow | None:
    if per_second <= 0:
        return None
    limit = max(1, int(per_second))
    margin = MARGIN + MARGIN_OF_A_THOUSAND * min(1.0, per_second / 1000)
    return RollingWindow(limit, limit / per_second * (1 + margin))


def _window_of_group() -> RollingWindow:
    return RollingWindow(GROUP_PER_MINUTE, 60 * (1 + MARGIN))


def _is_group(chat_id: int | str | None) -> bool:
    """Whether a chat is a group; a channel's name counts as one: so does Telegram."""
    return isinstance(chat_id, str) or (chat_id is not None and chat_id < 0)
