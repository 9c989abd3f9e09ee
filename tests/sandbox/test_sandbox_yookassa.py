"""The sandboxed YooKassa: its shop's key, judged parameters, idempotence, both kinds of payment, refunds, news, faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vpnd.runtime.serve import serve_asgi
from vpnd.sandbox.chat_page import ChatPage, Journal
from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.servers import Sandbox, open_sandbox
from vpnd.sandbox.tls import trusted
from vpnd.sandbox.world import Control
from vpnd.sandbox.yookassa_methods import list_payments
from vpnd.sandbox.yookassa_state import Shop, payment_of


def order(value: str = "199.00", **more: Any) -> dict[str, Any]:
    return {
        "amount": {"value": value, "currency": "RUB"},
        "confirmation": {"type": "redirect", "return_url": "https://t.me/sandbox_bot"},
        "capture": True,
    } | more


class Hand:
    """API and control calls."""

    def __init__(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.client = client
        self.base = sandbox.yookassa_url
        self.auth = (sandbox.yookassa.shop_id, sandbox.yookassa.secret)
        self.keys = 0

    async def post(
        self, path: str, body: Any = None, key: str | None = None, **kwargs: Any
    ) -> httpx.Response:
        """POST under `key`, or a new one."""
        self.keys += 1
        headers = {"Idempotence-Key": key or f"key-{self.keys}"}
        return await self.client.post(
            f"{self.base}/v3{path}", json=body, headers=headers, auth=self.auth, **kwargs
        )

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.client.get(f"{self.base}/v3{path}", params=params, auth=self.auth)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def done(self, path: str, body: Any = None, key: str | None = None) -> Any:
        answer = await self.post(path, body, key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def paid(self, value: str = "199.00", **more: Any) -> str:
        """The id of a new payment that somebody has paid."""
        number = (await self.done("/payments", order(value, **more)))["id"]
        await self.sim("pay", payment_id=number)
        return str(number)

    async def refund(self, number: str, value: str, key: str | None = None) -> httpx.Response:
        body = {"payment_id": number, "amount": {"value": value, "currency": "RUB"}}
        return await self.post("/refunds", body, key)

    async def sim(self, path: str, **values: Any) -> Any:
        answer = await self.client.post(f"{self.base}/sim/{path}", json=values)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def not_simulated(self, path: str, **values: Any) -> str:
        answer = await self.client.post(f"{self.base}/sim/{path}", json=values)
        assert answer.status_code == 400, answer.text
        return str(answer.json()["error"])

    async def look(self, path: str) -> Any:
        return (await self.client.get(f"{self.base}/sim/{path}")).json()

    async def deliveries(self) -> list[dict[str, Any]]:
        return list((await self.look("deliveries"))["deliveries"])

    async def delivered(self, count: int) -> bool:
        found = await self.deliveries()
        return len(found) >= count and all(item["done"] or item["given_up"] for item in found)


def refused(answer: httpx.Response, status: int, code: str, parameter: str | None = None) -> bool:
    """Whether the answer is YooKassa's error object of this kind."""
    error = answer.json()
    assert {"type", "id", "code", "description"} <= error.keys()
    return (answer.status_code, error["code"], error.get("parameter")) == (status, code, parameter)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when the condition holds; what it waits for comes over a real socket."""
    with trio.fail_after(10):
        while not await condition():
            await trio.sleep(0.005)


@pytest.fixture
async def hand() -> AsyncIterator[Hand]:
    async with (
        open_sandbox() as sandbox,
        httpx.AsyncClient(verify=trusted(), trust_env=False, timeout=20) as client,
    ):
        yield Hand(sandbox, client)


@asynccontextmanager
async def open_hook(answers: list[int]) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
    """A receiver that answers with these codes, then 200; it keeps all it got."""
    got: list[dict[str, Any]] = []

    async def handle(request: Request) -> Response:
        got.append(await request.json())
        return Response(status_code=answers.pop(0) if answers else 200)

    app = Starlette(routes=[Route("/news", handle, methods=["POST"])])
    async with trio.open_nursery() as nursery:
        serve = partial(serve_asgi, app, ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever)
        bound = await nursery.start(serve)
        yield got, f"http://{bound[0]}/news"
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------------------- who asks, and for what


@pytest.mark.parametrize("path", ["/payments", "/refunds", "/me", "/nothing"])
async def test_only_the_shop_is_answered(hand: Hand, path: str) -> None:
    """Without the shop's id and key, together, nothing is told: not even what there is."""
    shop, secret = hand.auth
    for auth in (None, (shop, "test_other"), ("100501", secret), ("", "")):
        answer = await hand.client.get(f"{hand.base}/v3{path}", auth=auth)
        assert refused(answer, 401, "invalid_credentials", "Authorization")


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"amount": None}, "amount"),
        ({"amount": {"value": "1.00", "currency": "USD"}}, "amount.currency"),
        *(
            ({"amount": {"value": value, "currency": "RUB"}}, "amount.value")
            for value in ("0.00", "-1.00", "1", "1.0", "1.005", "1,00", "1e2", "NaN", " 1.00", "١.00", 1.0)
        ),
        ({"confirmation": None}, "confirmation"),
        ({"confirmation": {"type": "embedded"}}, "confirmation.type"),
        ({"confirmation": {"type": "redirect"}}, "confirmation.return_url"),
        ({"confirmation": {"type": "redirect", "return_url": "t.me"}}, "confirmation.return_url"),
        ({"capture": "true"}, "capture"),
        ({"description": "ж" * 129}, "description"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"k" * 33: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
        ({"metadata": {"k": 5}}, "metadata"),
        ({"payment_method_data": {"type": "shells"}}, "payment_method_data.type"),
        ({"tip": True}, "tip"),
    ],
)
async def test_parameters_are_judged(hand: Hand, change: dict[str, Any], parameter: str) -> None:
    """What YooKassa would refuse, or might, is refused, and the parameter is named."""
    answer = await hand.post("/payments", order() | change)
    assert refused(answer, 400, "invalid_request", parameter)
    assert (await hand.get("/payments"))["items"] == []


async def test_what_is_not_there(hand: Hand) -> None:
    """An unknown id and an unknown path are 404, a body that is no JSON is 400, another content type 415."""
    assert refused(await hand.post("/payments/x/capture"), 404, "not_found", "payment_id")
    assert refused(await hand.refund("x" * 36, "1.00"), 404, "not_found", "payment_id")
    assert refused(await hand.post("/nothing", {}), 404, "not_found")
    send = partial(hand.client.post, f"{hand.base}/v3/payments", auth=hand.auth, content=b"{")
    assert refused(await send(headers={"Content-Type": "application/json"}), 400, "invalid_request")
    assert refused(await send(headers={"Content-Type": "text/plain"}), 415, "invalid_request")


# ---------------------------------------------------------------------------- idempotence


async def test_a_repeat_gets_the_first_answer(hand: Hand) -> None:
    """Under one key one payment is made, and the answer stays what it was though the payment has moved on."""
    first = await hand.post("/payments", order(), "once")
    await hand.sim("pay", payment_id=first.json()["id"])
    again = await hand.post("/payments", dict(reversed(order().items())), "once")
    assert again.content == first.content
    assert again.json()["status"] == "pending"
    assert len((await hand.look("payments"))["payments"]) == 1
    assert (await hand.look("stats"))["repeats"] == 1


async def test_a_key_belongs_to_one_request(hand: Hand) -> None:
    """Another body, or another path, under a key that was used is refused and does nothing."""
    number = await hand.paid()
    await hand.done("/payments", order(), "used")
    for path, body in (
        ("/payments", order("1.00")),
        ("/refunds", {"payment_id": number, "amount": {"value": "1.00", "currency": "RUB"}}),
    ):
        answer = await hand.post(path, body, "used")
        assert refused(answer, 400, "invalid_request", "Idempotence-Key")
        assert answer.json()["description"] == "Idempotence key duplicated"
    stats = await hand.look("stats")
    assert (stats["payments"], stats["refunds"]) == (2, 0)
    held, other = [await hand.paid(capture=False) for _ in range(2)]
    await hand.done(f"/payments/{held}/cancel", key="without a body")
    answer = await hand.post(f"/payments/{other}/cancel", key="without a body")
    assert refused(answer, 400, "invalid_request", "Idempotence-Key")
    assert (await hand.get(f"/payments/{other}"))["status"] == "waiting_for_capture"


async def test_a_post_needs_a_key(hand: Hand) -> None:
    """Without a key, or with one of more than 64 characters, nothing is done; 64 are enough."""
    bare = await hand.client.post(f"{hand.base}/v3/payments", json=order(), auth=hand.auth)
    assert refused(bare, 400, "invalid_request", "Idempotence-Key")
    long = await hand.post("/payments", order(), "k" * 65)
    assert refused(long, 400, "invalid_request", "Idempotence-Key")
    assert (await hand.look("stats"))["payments"] == 0
    await hand.done("/payments", order(), "k" * 64)


async def test_a_key_is_forgotten_after_a_day(hand: Hand) -> None:
    """For 24 hours of business time a repeat is a repeat; then it is a new request."""
    first = await hand.done("/payments", order(), "day")
    await hand.sim("clock", advance=86_000)
    assert (await hand.done("/payments", order(), "day"))["id"] == first["id"]
    await hand.sim("clock", advance=401)
    assert (await hand.done("/payments", order(), "day"))["id"] != first["id"]


async def test_a_refusal_holds_no_key(hand: Hand) -> None:
    """A request that was refused did nothing, and may be corrected under its key."""
    assert (await hand.post("/payments", order("0.00"), "corrected")).status_code == 400
    await hand.done("/payments", order(), "corrected")


@pytest.mark.parametrize("slow", [0, 15])
async def test_repeats_at_once_make_one_payment(hand: Hand, slow: int) -> None:
    """Twenty requests under one key, at the same time and overtaking each other, are one payment and one answer."""
    if slow:
        await hand.sim("fault", method="create_payment", kind="slow", count=slow, delay=0.0)
    answers: list[bytes] = []

    async def ask() -> None:
        answers.append((await hand.post("/payments", order(), "crowd")).content)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert len(answers) == 20
    assert len(set(answers)) == 1
    assert (await hand.look("stats"))["payments"] == 1


# ---------------------------------------------------------------------------- payments


async def test_a_payment_shows_what_its_status_brings(hand: Hand) -> None:
    """A link while it can be paid; method, income and moment of capture once it is; the shop's own data always."""
    opened = await hand.done(
        "/payments",
        order(description="VPN", metadata={"purchase": "42"}, payment_method_data={"type": "sbp"}),
    )
    assert len(opened["id"]) == 36
    assert opened["amount"] == {"value": "199.00", "currency": "RUB"}
    assert (opened["status"], opened["paid"], opened["refundable"], opened["test"]) == (
        "pending",
        False,
        False,
        True,
    )
    assert payment_of(opened["confirmation"]["confirmation_url"]) == opened["id"]
    assert not {"payment_method", "captured_at", "income_amount", "refunded_amount"} & opened.keys()
    await hand.sim("pay", payment_id=opened["id"])
    paid = await hand.get(f"/payments/{opened['id']}")
    assert (paid["status"], paid["paid"], paid["refundable"]) == ("succeeded", True, True)
    assert (paid["payment_method"]["type"], paid["income_amount"]["value"]) == ("sbp", "192.03")
    assert paid["refunded_amount"]["value"] == "0.00"
    assert paid["captured_at"] >= paid["created_at"]
    assert "confirmation" not in paid
    for found in (opened, paid):
        assert (found["description"], found["metadata"]) == ("VPN", {"purchase": "42"})


async def test_a_payment_without_capture_waits_for_the_shop(hand: Hand) -> None:
    """`capture` is false unless it is given: what is paid is the shop's only when it takes it, whole or in part."""
    body = order()
    del body["capture"]
    number = (await hand.done("/payments", body))["id"]
    assert refused(await hand.post(f"/payments/{number}/capture"), 400, "invalid_request", "payment_id")
    assert refused(await hand.post(f"/payments/{number}/cancel"), 400, "invalid_request", "payment_id")
    held = (await hand.sim("pay", payment_id=number))["payment"]
    assert (held["status"], held["paid"]) == ("waiting_for_capture", True)
    assert held["expires_at"] > held["created_at"]
    assert refused(await hand.refund(number, "1.00"), 400, "invalid_request", "payment_id")
    beyond = {"amount": {"value": "199.01", "currency": "RUB"}}
    assert refused(await hand.post(f"/payments/{number}/capture", beyond), 400, "invalid_request", "amount")
    part = {"amount": {"value": "100.00", "currency": "RUB"}}
    taken = await hand.done(f"/payments/{number}/capture", part)
    assert (taken["status"], taken["amount"]["value"]) == ("succeeded", "100.00")
    assert refused(await hand.post(f"/payments/{number}/cancel"), 400, "invalid_request", "payment_id")


async def test_the_shop_lets_a_payment_go(hand: Hand) -> None:
    """A canceled payment names who canceled it, is not paid, and is not to be had back."""
    number = await hand.paid(capture=False)
    gone = await hand.done(f"/payments/{number}/cancel")
    assert (gone["status"], gone["paid"], gone["refundable"]) == ("canceled", False, False)
    assert gone["cancellation_details"] == {"party": "merchant", "reason": "canceled_by_merchant"}
    assert refused(await hand.post(f"/payments/{number}/capture"), 400, "invalid_request", "payment_id")


@pytest.mark.parametrize(
    ("capture", "seconds", "reason"),
    [(True, 3600, "expired_on_confirmation"), (False, 7 * 86_400, "expired_on_capture")],
)
async def test_time_is_up_by_the_sandbox_clock(hand: Hand, capture: bool, seconds: int, reason: str) -> None:
    """An hour to pay, seven days to capture, by the clock that every server moves; the webhook hears of the end once."""
    number = (await hand.done("/payments", order(capture=capture)))["id"]
    if not capture:
        await hand.sim("pay", payment_id=number)
    async with open_hook([]) as (got, url):
        await hand.sim("webhook", url=url)
        telegram_clock = f"{hand.sandbox.telegram_url}/sim/clock"
        await hand.client.post(telegram_clock, json={"advance": seconds - 100})
        assert (await hand.get(f"/payments/{number}"))["status"] != "canceled"
        await hand.client.post(telegram_clock, json={"advance": 101})
        await until(lambda: hand.delivered(1))
        found = await hand.get(f"/payments/{number}")
        assert found["cancellation_details"] == {"party": "yoo_money", "reason": reason}
        assert got == [{"type": "notification", "event": "payment.canceled", "object": found}]
    assert "canceled" in await hand.not_simulated("pay", payment_id=number)


async def test_a_late_payment_is_made_by_force_only(hand: Hand) -> None:
    """The control makes what YooKassa rules out: a canceled payment is paid, and with another sum and currency."""
    number = (await hand.done("/payments", order()))["id"]
    await hand.sim("cancel", payment_id=number)
    paid = (await hand.sim("pay", payment_id=number, force=True, amount="1.5", currency="USD"))["payment"]
    assert (paid["status"], paid["amount"]) == ("succeeded", {"value": "1.50", "currency": "USD"})
    assert "cancellation_details" not in paid
    assert "succeeded" in await hand.not_simulated("pay", payment_id=number, force=True)
    assert "no sum" in await hand.not_simulated("refund", payment_id=number, amount="0.001")


# ---------------------------------------------------------------------------- refunds


async def test_no_more_goes_back_than_came(hand: Hand) -> None:
    """Several parts up to the last kopeck; one more is refused, and the payment shows what is gone."""
    number = await hand.paid("10.00")
    for value in ("3.33", "6.66"):
        assert (await hand.refund(number, value)).json()["status"] == "succeeded"
    assert refused(await hand.refund(number, "0.02"), 400, "invalid_request", "amount")
    assert (await hand.get(f"/payments/{number}"))["refundable"] is True
    assert (await hand.refund(number, "0.01")).status_code == 200
    payment = await hand.get(f"/payments/{number}")
    assert (payment["refunded_amount"]["value"], payment["refundable"]) == ("10.00", False)
    assert payment["status"] == "succeeded"


async def test_refunds_at_once_never_exceed_the_payment(hand: Hand) -> None:
    """Of ten full refunds that are asked for at the same time under keys of their own, one is made."""
    number = await hand.paid()
    codes: Counter[int] = Counter()

    async def ask() -> None:
        codes[(await hand.refund(number, "199.00")).status_code] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert codes == {200: 1, 400: 9}


async def test_a_refund_may_wait_or_be_canceled(hand: Hand) -> None:
    """A pending refund holds its sum and is not told; a canceled one says why, gives its sum free, and is not told either."""
    async with open_hook([]) as (got, url):
        number = await hand.paid("10.00")
        await hand.sim("webhook", url=url)
        await hand.sim("refund_mode", mode="pending", count=2)
        first, second = [(await hand.refund(number, "5.00")).json() for _ in range(2)]
        assert (first["status"], second["status"]) == ("pending", "pending")
        assert (await hand.get(f"/payments/{number}"))["refunded_amount"]["value"] == "0.00"
        assert refused(await hand.refund(number, "0.01"), 400, "invalid_request", "amount")
        await hand.sim("complete_refund", refund_id=second["id"], mode="canceled", reason="rejected_by_payee")
        ended = await hand.get(f"/refunds/{second['id']}")
        assert ended["status"] == "canceled"
        assert ended["cancellation_details"] == {"party": "refund_network", "reason": "rejected_by_payee"}
        assert await hand.not_simulated("complete_refund", refund_id=second["id"])
        await hand.sim("complete_refund", refund_id=first["id"])
        assert (await hand.refund(number, "5.00")).json()["status"] == "succeeded"
        await until(lambda: hand.delivered(2))
        assert {message["event"] for message in got} == {"refund.succeeded"}
        assert len(got) == 2


async def test_a_refund_in_the_cabinet_is_seen_by_the_api(hand: Hand) -> None:
    """What the merchant gives back by hand is listed, counted, told, and bounded like the rest."""
    async with open_hook([]) as (got, url):
        number = await hand.paid("10.00")
        await hand.sim("webhook", url=url)
        await hand.sim("refund", payment_id=number, amount="4.00")
        await until(lambda: hand.delivered(1))
        [refund] = (await hand.get("/refunds", payment_id=number))["items"]
        assert got == [{"type": "notification", "event": "refund.succeeded", "object": refund}]
        assert "6.00" in await hand.not_simulated("refund", payment_id=number, amount="6.01")
        assert (await hand.sim("refund", payment_id=number))["refund"]["amount"]["value"] == "6.00"
        assert "0.00" in await hand.not_simulated("refund", payment_id=number)


# ---------------------------------------------------------------------------- lists


async def test_lists_are_filtered(hand: Hand) -> None:
    """By status and by each bound of a moment, the bound itself in or out; ten at a time, newest first."""
    numbers = []
    for _ in range(12):
        numbers.append((await hand.done("/payments", order()))["id"])
        await hand.sim("clock", advance=10)
    await hand.sim("pay", payment_id=numbers[3])

    async def listed(**params: Any) -> list[int]:
        return [numbers.index(item["id"]) for item in (await hand.get("/payments", **params))["items"]]

    assert await listed() == list(range(11, 1, -1))
    assert await listed(status="succeeded") == [3]
    moment = (await hand.get(f"/payments/{numbers[5]}"))["created_at"]
    for how, found in (("lt", [4, 3, 2, 1, 0]), ("lte", [5, 4, 3, 2, 1, 0]), ("gt", list(range(11, 5, -1)))):
        assert await listed(**{f"created_at.{how}": moment}) == found
    assert 5 in await listed(**{"created_at.gte": moment})
    captured = (await hand.get(f"/payments/{numbers[3]}"))["captured_at"]
    assert await listed(**{"captured_at.lte": captured}) == [3]
    for params in (
        {"limit": 0}, {"limit": 101}, {"limit": "x"}, {"status": "done"}, {"cursor": "x"}, {"created_at": moment},
        {"created_at.gte": "yesterday"}, {"created_at.gte": "2026-01-01T00:00:00"}, {"payment_id": numbers[0]},
    ):  # fmt: skip
        answer = await hand.client.get(f"{hand.base}/v3/payments", params=params, auth=hand.auth)
        assert refused(answer, 400, "invalid_request", next(iter(params)))


@settings(deadline=None, max_examples=50)
@given(count=st.integers(0, 25), limit=st.integers(1, 12), between=st.integers(0, 3))
def test_pages_show_everything_once(count: int, limit: int, between: int) -> None:
    """Whatever comes into being between two pages, every payment of the first moment is shown once, in order."""
    shop = Shop(SandboxClock(), "100500")

    def make() -> str:
        opened = shop.open(Decimal(1), capture=True, return_url="", method="sbp", extra={})
        return opened.id

    made = [make() for _ in range(count)]
    values: dict[str, Any] = {"limit": str(limit)}
    seen: list[str] = []
    for _ in range(count + 1):
        page = list_payments(shop, values, "")
        seen += [item["id"] for item in page["items"]]
        if "next_cursor" not in page:
            break
        assert len(page["items"]) == limit
        values["cursor"] = page["next_cursor"]
        for _ in range(between):
            make()
    assert seen == made[::-1]


# ---------------------------------------------------------------------------- news


async def test_news_are_told_until_somebody_takes_them(hand: Hand) -> None:
    """A notification is repeated as it was until a 2xx; `deliver` says how many go out, and `deliver` again repeats."""
    async with open_hook([500, 302]) as (got, url):
        await hand.sim("webhook", url=url, retry_first=0.005)
        silent = (await hand.done("/payments", order()))["id"]
        assert (await hand.sim("pay", payment_id=silent, deliver=False))["deliveries"] == []
        number = (await hand.done("/payments", order()))["id"]
        paid = await hand.sim("pay", payment_id=number)
        assert len(paid["deliveries"]) == 1
        await until(lambda: hand.delivered(1))
        [delivery] = await hand.deliveries()
        assert (delivery["answers"], delivery["object_id"]) == (["500", "302", "200"], number)
        told = {"type": "notification", "event": "payment.succeeded", "object": paid["payment"]}
        assert got == [told] * 3
        again = await hand.sim("deliver", payment_id=silent, times=2)
        assert len(again["deliveries"]) == 2
        await until(lambda: hand.delivered(3))
        assert [message["object"]["id"] for message in got[3:]] == [silent, silent]
        waiting = (await hand.done("/payments", order()))["id"]
        assert "pending" in await hand.not_simulated("deliver", payment_id=waiting)


async def test_a_notification_nobody_takes_is_forgotten_alone(hand: Hand) -> None:
    """The last attempt fails and this one is lost; the next is told as if nothing had been."""
    async with open_hook([500, 500, 500]) as (got, url):
        await hand.sim("webhook", url=url, retry_first=0.001, attempts=3)
        await hand.paid()
        await until(lambda: hand.delivered(1))
        await hand.paid()
        await until(lambda: hand.delivered(2))
        assert [item["given_up"] for item in await hand.deliveries()] == [True, False]
        assert len(got) == 4


async def test_anybody_can_forge_a_notification(hand: Hand) -> None:
    """Nothing is signed: the control sends any event about any object, real or not, and the API does not know it."""
    async with open_hook([]) as (got, url):
        assert (await hand.sim("forge", event="payment.succeeded", object={}))["deliveries"] == []
        await hand.sim("webhook", url=url)
        number = (await hand.done("/payments", order()))["id"]
        await hand.sim("forge", event="payment.succeeded", object={"id": number, "status": "succeeded"})
        await until(lambda: hand.delivered(1))
        assert got[0]["object"] == {"id": number, "status": "succeeded"}
        assert (await hand.get(f"/payments/{number}"))["status"] == "pending"


# ---------------------------------------------------------------------------- faults


async def test_faults_that_come_first_leave_nothing(hand: Hand) -> None:
    """A refusal, a broken proxy and a server's failure before the work make no payment and hold no key."""
    for fault, status, code in (
        ({"kind": "5xx", "status": 503}, 503, "internal_server_error"),
        ({"kind": "429", "retry_after": 7}, 429, "too_many_requests"),
        ({"kind": "403"}, 403, "forbidden"),
        ({"kind": "400"}, 400, "invalid_request"),
    ):
        await hand.sim("fault", method="create_payment", **fault)
        answer = await hand.post("/payments", order(), "tried")
        assert refused(answer, status, code)
        assert answer.headers.get("retry-after") == ("7" if status == 429 else None)
    await hand.sim("fault", method="create_payment", kind="401")
    assert refused(
        await hand.post("/payments", order(), "tried"), 401, "invalid_credentials", "Authorization"
    )
    await hand.sim("fault", method="create_payment", kind="garbage")
    assert not (await hand.post("/payments", order(), "tried")).text.startswith("{")
    await hand.sim("fault", method="create_payment", kind="hang")
    with pytest.raises(httpx.ReadTimeout):
        await hand.post("/payments", order(), "tried", timeout=0.1)
    assert (await hand.look("stats"))["payments"] == 0
    await hand.done("/payments", order(), "tried")


@pytest.mark.parametrize("kind", ["drop_reply", "hang_reply", "5xx_reply"])
async def test_a_lost_answer_is_found_by_its_key(hand: Hand, kind: str) -> None:
    """The work was done and the answer lost, to create and to refund: the repeat gets it, and nothing is done twice."""

    async def lost(path: str, body: Any, key: str) -> Any:
        await hand.sim("fault", kind=kind)
        if kind == "5xx_reply":
            assert refused(await hand.post(path, body, key), 500, "internal_server_error")
        else:
            with pytest.raises(httpx.RemoteProtocolError if kind == "drop_reply" else httpx.ReadTimeout):
                await hand.post(path, body, key, timeout=20 if kind == "drop_reply" else 0.2)
        return await hand.done(path, body, key)

    payment = await lost("/payments", order(), "lost payment")
    await hand.sim("pay", payment_id=payment["id"])
    back = {"payment_id": payment["id"], "amount": payment["amount"]}
    assert (await lost("/refunds", back, "lost refund"))["status"] == "succeeded"
    stats = await hand.look("stats")
    assert (stats["payments"], stats["refunds"], stats["repeats"]) == (1, 1, 2)


async def test_every_server_can_fail_after_its_work(hand: Hand) -> None:
    """Telegram and Crypto Pay know the fault, too: a 500 whose invoice, or name, is there."""
    crypto, telegram = hand.sandbox.cryptopay_url, hand.sandbox.telegram_url
    for base in (crypto, telegram):
        added = await hand.client.post(f"{base}/sim/fault", json={"kind": "5xx_reply"})
        assert added.json() == {"left": 1}
    made = await hand.client.post(
        f"{crypto}/api/createInvoice",
        json={"asset": "USDT", "amount": "1"},
        headers={"Crypto-Pay-API-Token": hand.sandbox.cryptopay.token},
    )
    assert (made.status_code, made.json()["error"]["name"]) == (500, "INTERNAL_ERROR")
    assert len((await hand.client.get(f"{crypto}/sim/invoices")).json()["invoices"]) == 1
    bot = f"{telegram}/bot{hand.sandbox.telegram.token}"
    assert (await hand.client.post(f"{bot}/setMyName", json={"name": "Shop"})).status_code == 500
    assert (await hand.client.get(f"{bot}/getMyName")).json()["result"]["name"] == "Shop"


async def test_a_reset_forgets(hand: Hand) -> None:
    """No faults, counters and modes of refunds stay; with `all` no payment, refund or key."""
    await hand.paid()
    first = await hand.done("/payments", order(), "kept")
    await hand.sim("fault", kind="5xx", count=5)
    await hand.sim("refund_mode", mode="canceled")
    await hand.sim("reset")
    assert (await hand.done("/payments", order(), "kept"))["id"] == first["id"]
    await hand.sim("reset", all=True)
    stats = await hand.look("stats")
    assert (stats["calls"], stats["payments"], stats["refunds"], stats["repeats"]) == ({}, 0, 0, 0)
    assert (await hand.done("/payments", order(), "kept"))["id"] != first["id"]
    assert (await hand.refund(await hand.paid(), "1.00")).json()["status"] == "succeeded"


# ---------------------------------------------------------------------------- the chat page


async def test_the_chat_page_pays_a_confirmation_url(hand: Hand) -> None:
    """A person who opens the link sees what it asks for and pays it; another link is none of YooKassa's."""
    world: Any = SimpleNamespace(yookassa=Control(hand.client, hand.base))
    page = httpx.ASGITransport(ChatPage(world, Journal()).app)
    payment = await hand.done("/payments", order(description="VPN"))
    async with httpx.AsyncClient(transport=page, base_url="http://page") as browser:
        for url in ("https://t.me/CryptoBot?start=IV1", f"https://example.org/?orderId={payment['id']}"):
            assert (await browser.get("/api/card", params={"url": url})).json() == {"payment": None}
        link = payment["confirmation"]["confirmation_url"]
        assert (await browser.get("/api/card", params={"url": link})).json() == {"payment": payment}
        assert (await browser.post("/api/pay-card", json={"payment_id": payment["id"]})).json() == {}
        paid = (await browser.get("/api/card", params={"url": link})).json()["payment"]
        assert paid["status"] == "succeeded"
