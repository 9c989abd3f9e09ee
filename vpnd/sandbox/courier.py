"""Takes a provider's messages to a webhook: again and again, with growing delays, until somebody says 2xx.

What a message holds, and what it means that nobody took it, is the provider's own: see the modules that stand on this one.
"""

from __future__ import annotations

from typing import Any, NoReturn

import attrs
import httpx
import trio

from vpnd.sandbox.tls import trusted

MAX_ATTEMPTS = 17
REQUEST_TIMEOUT = 10.0
KEPT_DELIVERIES = 1000


@attrs.define
class Delivery:
    """One message on its way, with the answers it got so far; `about` says what it tells of."""

    id: int
    about: dict[str, Any]
    body: bytes
    headers: dict[str, str]
    answers: list[str] = attrs.field(factory=list)
    done: bool = False
    given_up: bool = False

    def api(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "id": self.id, **self.about, "answers": self.answers, "done": self.done, "given_up": self.given_up,
        }  # fmt: skip


class Courier:
    """Delivers messages, each with attempts of its own; lives in `run()`.

    Attributes:
        url: where messages go; None: nowhere.
        retry_first: seconds before the second attempt; every further one waits twice as long.
        max_attempts: how often one message is tried.
        switched_off: nothing more is sent until the webhook is set again.
        deliveries: the last messages, oldest first.
    """

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._client: httpx.AsyncClient | None = None
        self.numbers = 0
        self.url: str | None = None
        self.retry_first = 1.0
        self.max_attempts = MAX_ATTEMPTS
        self.switched_off = False
        self.deliveries: list[Delivery] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Deliver for ever; what is on its way at a cancellation is lost, as when a provider forgets."""
        async with (
            httpx.AsyncClient(verify=trusted(), timeout=REQUEST_TIMEOUT, trust_env=False) as self._client,
            trio.open_nursery() as self._nursery,
        ):
            task_status.started()
            await trio.sleep_forever()
        raise AssertionError("sleep_forever returned")

    def set(self, values: dict[str, Any]) -> None:
        """Obey a control request {url?, retry_first?, attempts?}; a webhook that was switched off is on again."""
        if "url" in values:
            self.url = values["url"]
        self.retry_first = float(values.get("retry_first", self.retry_first))
        self.max_attempts = int(values.get("attempts", self.max_attempts))
        self.switched_off = False

    def api(self) -> dict[str, Any]:
        """The last messages and what they were answered, for the control API."""
        return {
            "switched_off": self.switched_off,
            "deliveries": [delivery.api() for delivery in self.deliveries],
        }

    def post(self, body: bytes, about: dict[str, Any], headers: dict[str, str]) -> Delivery | None:
        """Begin to deliver a body of JSON; None when there is no webhook."""
        if self.url is None or self.switched_off or self._nursery is None:
            return None
        self.numbers += 1
        headers = {"Content-Type": "application/json", **headers}
        delivery = Delivery(self.numbers, about, body, headers)
        self.deliveries.append(delivery)
        del self.deliveries[:-KEPT_DELIVERIES]
        self._nursery.start_soon(self._deliver, delivery)
        return delivery

    def gave_up(self, delivery: Delivery) -> None:
        """What a message that nobody took means to the provider: here, nothing."""

    async def _deliver(self, delivery: Delivery) -> None:
        for attempt in range(self.max_attempts):
            if self.url is None:
                return
            answer = await self._attempt(self.url, delivery)
            delivery.answers.append(answer)
            if answer.startswith("2"):
                delivery.done = True
                return
            if attempt + 1 < self.max_attempts:
                await trio.sleep(self.retry_first * 2**attempt)
        delivery.given_up = True
        self.gave_up(delivery)

    async def _attempt(self, url: str, delivery: Delivery) -> str:
        if self._client is None:
            raise RuntimeError("the courier is not running")
        try:
            answer = await self._client.post(url, content=delivery.body, headers=delivery.headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__
        return str(answer.status_code)
