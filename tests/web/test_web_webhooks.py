"""Webhooks: what is believed, what is refused, and that 2xx means that it is in the database."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from shop_world import ShopWorld
from starlette.applications import Starlette
from starlette.routing import Route

from vpnd.config import Secret
from vpnd.database.errors import CommitUnknown, DatabaseUnavailable
from vpnd.payments.settle import settle_charge
from vpnd.runtime import metrics
from vpnd.runtime.journal import capture
from vpnd.runtime.serve import serve_asgi
from vpnd.shop.settlement import Charge, Outcome, SettlementResult
from vpnd.telegram.intake import InboxUnavailable
from vpnd.web import webhooks
from vpnd.web.webhooks import cryptopay_webhook, telegram_webhook

TOKEN = "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC"
SECRET = "what-setWebhook-was-told"
KNOWN = {webhooks.TELEGRAM_SECRET_HEADER: SECRET}

#: Bodies with the signatures that independent clients and openssl compute over the same bytes, and what becomes of them.
V1 = (
    b'{"update_id":1,"update_type":"invoice_paid","request_date":"2026-11-23T12:00:00.000Z","payload":{"invoice_id":1,'
    b'"hash":"IVtest1","currency_type":"crypto","asset":"USDT","amount":"5.25","status":"paid","payload":"order-42"}}'
)
V2 = (
    '{"update_id":2,"update_type":"invoice_paid","request_date":"2026-11-23T12:00:01.000Z","payload":{"invoice_id":2,'
    '"comment":"спасибо 🙂"}}'
).encode()
V3 = b'{"update_id": 3, "update_type": "invoice_paid", "payload": {"amount": 1.0, "url": "https:\\/\\/t.me\\/x"}}'
V4 = b"{}"
VECTORS = [
    (V1, "20570bbb95af74482855d4e50c88cb925cf5f534a57fd4fad9dded4d76c81d0d", 200),
    (V2, "438731e5af1e3c0700000a53a964d2f73b2bb2deb2ce39b3dcfbd61974318c59", 400),
    (V3, "6ffc3161e8285561f1da37edafdef80f424c3339e9d6f573b708d52e9eef0fa9", 400),
    (V4, "8096cde6e8b427a708e585098dc5f7ebb1a5e5e1e5ab8bd2ea723cfd73e50cd1", 400),
]
#: V1 signed with the hexadecimal text of the token's hash in place of its 32 bytes, which is a usual mistake.
WRONG_KEY = "b0e02fe3c7fcd678312adbbdd8541936542282ecdf709fc6a12fa663edd686b3"


def signed(body: bytes) -> dict[str, str]:
    """The header that makes `body` Crypto Pay's."""
    key = sha256(TOKEN.encode()).digest()
    return {"crypto-pay-api-signature": hmac.new(key, body, sha256).hexdigest()}


def paid(invoice: str, amount: str, purchase: str) -> bytes:
    """What Crypto Pay sends when an invoice in roubles is paid."""
    invoice_id = int(invoice)
    payload = {
        "invoice_id": invoice_id, "currency_type": "fiat", "fiat": "RUB", "amount": amount, "status": "paid",
        "payload": purchase,
    }  # fmt: skip
    return json.dumps({"update_id": 1, "update_type": "invoice_paid", "payload": payload}).encode()


class Till:
    """Settles nothing and remembers what it was given."""

    def __init__(self, *failures: Exception) -> None:
        self.charges: list[Charge] = []
        self._failures = list(failures)

    async def __call__(self, charge: Charge) -> SettlementResult:
        await trio.lowlevel.checkpoint()
        if self._failures:
            raise self._failures.pop(0)
        self.charges.append(charge)
        return SettlementResult(Outcome.SETTLED, settlement_id=1)


class Inbox:
    """Keeps updates in a list, once `until` lets it."""

    def __init__(self, *failures: Exception, until: trio.Event | None = None) -> None:
        self.updates: list[dict[str, Any]] = []
        self.asked = trio.Event()
        self._failures = list(failures)
        self._until = until

    async def accept(self, update: dict[str, Any]) -> None:
        self.asked.set()
        if self._until is not None:
            await self._until.wait()
        if self._failures:
            raise self._failures.pop(0)
        self.updates.append(update)


def client_of(*routes: Route) -> httpx.AsyncClient:
    """A client whose requests go straight into an application."""
    transport = httpx.ASGITransport(app=Starlette(routes=list(routes)))
    return httpx.AsyncClient(transport=transport, base_url="http://shop", trust_env=False)


@asynccontextmanager
async def till_of(settle: Callable[[Charge], Awaitable[SettlementResult]]) -> AsyncIterator[Any]:
    """What posts to Crypto Pay's webhook."""
    async with client_of(cryptopay_webhook(Secret(TOKEN), settle)) as client:

        async def post(body: bytes, headers: dict[str, str]) -> httpx.Response:
            return await client.post("/webhooks/cryptopay", content=body, headers=headers)

        yield post


@asynccontextmanager
async def served(*routes: Route) -> AsyncIterator[str]:
    """The routes behind a real socket; yields where."""
    app = Starlette(routes=list(routes))
    serve = partial(serve_asgi, app, ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            (bound,) = await nursery.start(serve)
            yield bound
            nursery.cancel_scope.cancel()


async def raw_post(bound: str, path: str, headers: dict[str, str], body: bytes, told: int) -> bytes:
    """What a request is answered whose body may be another than its Content-Length tells."""
    host, _, port = bound.rpartition(":")
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {told}\r\n{''.join(lines)}\r\n"
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, head.encode() + body)
            answer = await stream.receive_some(4096)
            nursery.cancel_scope.cancel()  # who has its answer need not send the rest
    return bytes(answer)


# -- Crypto Pay


@pytest.mark.parametrize(("body", "signature", "status"), VECTORS)
async def test_the_signature_is_judged_over_the_raw_bytes(body: bytes, signature: str, status: int) -> None:
    """Published vectors pass the signature as they came, with their spaces, escapes and letters; none passes with another."""
    till = Till()
    async with till_of(till) as post:
        believed = await post(body, {"crypto-pay-api-signature": signature})
        refused = await post(body + b" ", {"crypto-pay-api-signature": signature})

    assert believed.status_code == status
    assert refused.status_code == 401
    assert len(till.charges) == (status == 200)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"crypto-pay-api-signature": ""},
        {"crypto-pay-api-signature": WRONG_KEY},
        {"crypto-pay-api-signature": "no hex"},
        {"crypto-pay-api-signature": VECTORS[0][1].upper()},
    ],
)
async def test_what_is_not_signed_is_refused_before_it_is_read(headers: dict[str, str]) -> None:
    """A missing, malformed or wrongly keyed signature is answered 401, for garbage as well as for a good body."""
    till = Till()
    async with till_of(till) as post:
        answers = [await post(body, headers) for body in (V1, b"\x00garbage", b"")]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert till.charges == []


async def test_an_unknown_kind_is_ignored_and_signed_garbage_is_not_believed() -> None:
    """What we do not act on is answered 200, so that it is not sent again; what makes no sense is 400, and never a 500."""
    bodies = [b'{"update_type":"something_new"}', b"not json", b"[1]", b"[" * 100_000, b"\xff\xfe"]
    async with till_of(Till()) as post:
        answers = [await post(body, signed(body)) for body in bodies]

    assert [answer.status_code for answer in answers] == [200, 400, 400, 400, 400]
    assert answers[0].json() == {"status": "ignored"}


async def test_a_body_that_is_too_large_is_not_taken_in() -> None:
    """More than a webhook ever has is answered 413, whatever its signature."""
    body = b"x" * (webhooks.MAX_BODY + 1)
    async with served(cryptopay_webhook(Secret(TOKEN), Till())) as bound:
        answer = await raw_post(bound, "/webhooks/cryptopay", signed(body), body, len(body))

    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("failure", [DatabaseUnavailable("away"), CommitUnknown("who knows")])
async def test_without_a_database_the_sender_is_asked_to_come_again(failure: Exception) -> None:
    """503 with Retry-After, and when it comes again it is settled."""
    body = paid("7", "199.00", "p")
    till = Till(failure)
    async with till_of(till) as post:
        first, second = await post(body, signed(body)), await post(body, signed(body))

    assert (first.status_code, first.headers["retry-after"]) == (503, "5")
    assert second.status_code == 200
    assert [charge.charge_id for charge in till.charges] == ["7"]


async def test_two_hundred_means_committed(shop: ShopWorld) -> None:
    """When the answer is there, another connection sees the settlement; the same webhook again changes nothing."""
    purchase = await shop.buy(await shop.customer())
    body = paid("17", "199.00", purchase.public_id)
    in_order: list[str] = []

    async def settle(charge: Charge) -> SettlementResult:
        return await settle_charge(shop.db, charge, on_commit=(lambda _result: in_order.append("committed"),))

    async with till_of(settle) as post:
        first = await post(body, signed(body))
        in_order.append("answered")
        settled = await shop.db.fetchval("test", "select count(*) from settlements")
        second = await post(body, signed(body))

    assert (first.status_code, first.json()["outcome"], settled) == (200, "settled", 1)
    assert (second.status_code, second.json()["outcome"]) == (200, "already_settled")
    assert in_order == ["committed", "answered"]
    assert (await shop.again(purchase)).status == "paid"


async def test_forgeries_do_not_fill_the_journal() -> None:
    """Anybody can send them: the metric counts each, the journal has one line a minute, and nothing of what was sent."""
    counted = metrics.webhook_requests_total.labels("cryptopay", "unauthorised")
    before = counted._value.get()
    with capture() as lines:
        async with till_of(Till()) as post:
            for _ in range(50):
                await post(b"a secret of somebody", {"crypto-pay-api-signature": WRONG_KEY})

    assert counted._value.get() - before == 50
    assert [line.event for line in lines] == ["webhook.forged"]
    assert "secret of somebody" not in str(lines)
    assert WRONG_KEY not in str(lines)


# -- Telegram


async def telegram(inbox: Inbox, body: bytes, **headers: str) -> httpx.Response:
    """One update posted, with the right secret unless `secret` is another."""
    given = [(b"x-telegram-bot-api-secret-token", headers.get("secret", SECRET).encode())]
    async with client_of(telegram_webhook(Secret(SECRET), inbox)) as client:
        return await client.post("/webhooks/telegram", content=body, headers=given)


async def test_an_update_is_answered_when_it_is_stored() -> None:
    """200 is not said before the inbox has it: until then there is no answer."""
    stored = trio.Event()
    inbox = Inbox(until=stored)
    answers: list[int] = []

    async def post() -> None:
        answers.append((await telegram(inbox, b'{"update_id": 5, "message": {}}')).status_code)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post)
            await inbox.asked.wait()
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []
            stored.set()

    assert answers == [200]
    assert [update["update_id"] for update in inbox.updates] == [5]


@pytest.mark.parametrize("secret", ["", "wrong", SECRET + "x", "ÿ"])
async def test_an_update_without_the_secret_is_refused(secret: str) -> None:
    """Whoever does not know what setWebhook was told is a stranger."""
    inbox = Inbox()

    answer = await telegram(inbox, b'{"update_id": 5}', secret=secret)

    assert answer.status_code == 401
    assert inbox.updates == []


async def test_an_empty_secret_lets_nobody_in() -> None:
    """A route that was built without a secret refuses everybody, and does not let in those who send none."""
    async with client_of(telegram_webhook(Secret(""), Inbox())) as client:
        answer = await client.post("/webhooks/telegram", content=b'{"update_id": 5}')

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"", b"garbage", b"[]", b"{}", b'{"update_id": "5"}', b'{"update_id": true}', b'{"update_id": -1}',
        b'{"update_id": 1e400}', b'{"update_id": 99999999999999999999}', b"[" * 200_000,
    ],
)  # fmt: skip
async def test_what_is_no_update_is_answered_400(body: bytes) -> None:
    """Sending it again would not make it one."""
    inbox = Inbox()

    assert (await telegram(inbox, body)).status_code == 400
    assert inbox.updates == []


async def test_an_update_that_is_too_large_is_answered_413() -> None:
    """No update has a megabyte."""
    body = b" " * (webhooks.MAX_BODY + 1)
    async with served(telegram_webhook(Secret(SECRET), Inbox())) as bound:
        answer = await raw_post(bound, "/webhooks/telegram", KNOWN, body, len(body))

    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("failure", [InboxUnavailable(5), DatabaseUnavailable("away")])
async def test_an_update_that_cannot_be_kept_is_to_come_again(failure: Exception) -> None:
    """503 with Retry-After: Telegram keeps it and sends it again."""
    answer = await telegram(Inbox(failure), b'{"update_id": 5}')

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_a_body_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that goes silent in the middle of its body is answered 408 and holds nothing for longer."""
    monkeypatch.setattr(webhooks, "BODY_DEADLINE", 0.05)
    async with served(telegram_webhook(Secret(SECRET), Inbox())) as bound:
        answer = await raw_post(bound, "/webhooks/telegram", KNOWN, b"{", 100)

    assert answer.startswith(b"HTTP/1.1 408")
