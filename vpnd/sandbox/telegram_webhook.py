"""Delivers updates to a webhook the way Telegram's server does.

Updates of one chat (queries: of one user) stand in one queue; each queue has at most one update in flight, so order is kept and
an update that keeps failing holds up its own chat only. Success is any 2xx. A failure is retried after 1, 2, 4, … seconds, or
when the answer's `Retry-After` says, until the update's life is over. Source: the Bot API server's WebhookActor.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import attrs
import httpx
import trio

from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.telegram_updates import Pending, UpdateQueue
from vpnd.sandbox.tls import trusted

REQUEST_TIMEOUT = 60.0
LONGEST_RETRY = 60.0
LONGEST_RETRY_AFTER = 3600.0


@attrs.frozen
class Webhook:
    """Where updates are delivered, and how."""

    url: str
    secret_token: str = ""
    max_connections: int = 40
    allowed_updates: list[str] | None = None


class WebhookCourier:
    """Takes updates from the queue to the webhook; lives in `run()`.

    `reply` is called with a method and its parameters when a webhook's answer contains one.
    """

    def __init__(
        self,
        clock: SandboxClock,
        updates: UpdateQueue,
        reply: Callable[[str, dict[str, Any]], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._updates = updates
        self._reply = reply
        self._queues: dict[str, deque[Pending]] = {}
        self._nursery: trio.Nursery | None = None
        self._client: httpx.AsyncClient | None = None
        self._scopes: set[trio.CancelScope] = set()
        self._slots = trio.CapacityLimiter(1)
        self._last_set: float | None = None
        self._last_error: tuple[int, str] | None = None
        self.current: Webhook | None = None
        self.retry_first = 1.0
        self.deliveries = 0
        self.failures = 0
        updates.on_emit = self._take

    def set_too_soon(self) -> bool:
        """Whether the webhook was set less than a second ago."""
        return self._last_set is not None and trio.current_time() - self._last_set < 1.0

    def set(self, webhook: Webhook | None) -> None:
        """Deliver to another URL (or nowhere) from now on; deliveries in flight are cut, their updates stay."""
        for scope in self._scopes:
            scope.cancel()
        self._queues = {}
        self._last_error = None
        self.current = webhook
        if webhook is None:
            return
        self._last_set = trio.current_time()
        self._slots = trio.CapacityLimiter(webhook.max_connections)
        for pending in self._updates.pending():
            self._take(pending)

    def info(self) -> dict[str, Any]:
        """The webhook's part of WebhookInfo."""
        if self.current is None:
            return {}
        found: dict[str, Any] = {"url": self.current.url, "max_connections": self.current.max_connections}
        if self._last_error is not None:
            found["last_error_date"], found["last_error_message"] = self._last_error
        return found

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Deliver for ever; ends by cancellation, and nothing is lost then but this process's memory."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        async with (
            httpx.AsyncClient(
                verify=trusted(), timeout=REQUEST_TIMEOUT, limits=limits, trust_env=False
            ) as self._client,
            trio.open_nursery() as self._nursery,
        ):
            task_status.started()
            await trio.sleep_forever()
        raise AssertionError("sleep_forever returned")

    def _take(self, pending: Pending) -> None:
        """Put an update at the end of its queue, and start the queue if it rests."""
        if self.current is None or self._nursery is None:
            return
        queue = self._queues.get(pending.queue)
        if queue is None:
            queue = self._queues[pending.queue] = deque()
            self._nursery.start_soon(self._serve, pending.queue, queue, self.current, self._slots)
        queue.append(pending)

    async def _serve(
        self, name: str, queue: deque[Pending], webhook: Webhook, slots: trio.CapacityLimiter
    ) -> None:
        """One queue, from its first update to its last; ended early when the webhook changes."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await self._empty(queue, webhook, slots)
            finally:
                self._scopes.discard(scope)
        if self._queues.get(name) is queue:
            del self._queues[name]

    async def _empty(self, queue: deque[Pending], webhook: Webhook, slots: trio.CapacityLimiter) -> None:
        failed = 0
        while queue:
            pending = queue[0]
            if not self._updates.is_alive(pending):
                queue.popleft()
                continue
            async with slots:
                wait = await self._deliver(webhook, pending, failed)
            if wait is None:
                self._updates.confirm(pending.update_id)
                queue.popleft()
                failed = 0
            else:
                failed += 1
                await trio.sleep(wait)

    async def _deliver(self, webhook: Webhook, pending: Pending, failed: int) -> float | None:
        """One attempt; None when the update was taken, else the seconds until the next attempt."""
        if self._client is None:
            raise RuntimeError("the courier is not running")
        headers = {"Content-Type": "application/json"}
        if webhook.secret_token:
            headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret_token
        body = json.dumps(pending.body, ensure_ascii=False, separators=(",", ":")).encode()
        wait: float = min(self.retry_first * 2.0 ** min(failed, 20), LONGEST_RETRY)
        self.deliveries += 1
        try:
            answer = await self._client.post(webhook.url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._note(f"Connection failed: {type(error).__name__}")
            return wait
        if answer.is_success:
            await self._answer(answer)
            return None
        self._note(f"Wrong response from the webhook: {answer.status_code} {answer.reason_phrase}")
        asked = str(answer.headers.get("retry-after", ""))
        return min(float(asked), LONGEST_RETRY_AFTER) if asked.isdigit() else wait

    def _note(self, message: str) -> None:
        self.failures += 1
        self._last_error = (self._clock.stamp(), message)

    async def _answer(self, answer: httpx.Response) -> None:
        """Carry out the method that a webhook put into its 2xx answer, if it did."""
        if not answer.content.lstrip().startswith(b"{"):
            return
        try:
            values = answer.json()
        except ValueError:
            return
        if isinstance(values, dict) and isinstance(values.get("method"), str):
            name = values.pop("method")
            await self._reply(name, values)
