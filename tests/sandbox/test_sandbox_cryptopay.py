"""The sandboxed Crypto Pay: signatures, every way of calling it, judged parameters, payments and their webhook."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
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
from vpnd.sandbox.clock import SandboxClock
from vpnd.sandbox.cryptopay_methods import CryptoPayError, carry_out, read_amount
from vpnd.sandbox.cryptopay_state import CryptoPayState, plain
from vpnd.sandbox.cryptopay_webhook import signature
from vpnd.sandbox.parameters import Parameters
from vpnd.sandbox.servers import Sandbox, open_sandbox
from vpnd.sandbox.tls import trusted

VECTOR_TOKEN = "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC"
VECTORS = [
    (
        (
            '{"update_id":1,"update_type":"invoice_paid","request_date":"2026-11-23T12:00:00.000Z","payload":{'
            '"invoice_id":1,"hash":"IVtest1","currency_type":"crypto","asset":"USDT","amount":"5.25","status":"paid",'
            '"payload":"order-42"}}'
        ),
        "20570bbb95af74482855d4e50c88cb925cf5f534a57fd4fad9dded4d76c81d0d",
    ),
    (
        (
            '{"update_id":2,"update_type":"invoice_paid","request_date":"2026-11-23T12:00:01.000Z","payload":{'
            '"invoice_id":2,"comment":"спасибо 🙂"}}'
        ),
        "438731e5af1e3c0700000a53a964d2f73b2bb2deb2ce39b3dcfbd61974318c59",
    ),
    (
        '{"update_id": 3, "update_type": "invoice_paid", "payload": {"amount": 1.0, "url": "https:\\/\\/t.me\\/x"}}',
        "6ffc3161e8285561f1da37edafdef80f424c3339e9d6f573b708d52e9eef0fa9",
    ),
    ("{}", "8096cde6e8b427a708e585098dc5f7ebb1a5e5e1e5ab8bd2ea723cfd73e50cd1"),
]


@pytest.mark.parametrize(("body", "expected"), VECTORS)
def test_signatures_equal_the_published_vectors(body: str, expected: str) -> None:
    """The signature is the one that four independent clients and openssl compute over the same bytes."""
    assert signature(VECTOR_TOKEN, body.encode()) == expected


class Hand:
    """API and control calls."""

    def __init__(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.client = client
        self.headers = {"Crypto-Pay-API-Token": sandbox.cryptopay.token}

    async def call(self, method: str, **values: Any) -> Any:
        answer = await self.api(method, json=values)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    async def api(self, method: str, **kwargs: Any) -> httpx.Response:
        url = f"{self.sandbox.cryptopay_url}/api/{method}"
        return await self.client.post(url, headers=self.headers, **kwargs)

    async def error(self, method: str, **values: Any) -> str:
        answer = await self.api(method, json=values)
        body = answer.json()
        assert body["ok"] is False
        assert answer.status_code == body["error"]["code"]
        return str(body["error"]["name"])

    async def sim(self, path: str, **values: Any) -> Any:
        answer = await self.client.post(f"{self.sandbox.cryptopay_url}/sim/{path}", json=values)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def look(self, path: str) -> Any:
        return (await self.client.get(f"{self.sandbox.cryptopay_url}/sim/{path}")).json()

    async def delivered(self, count: int) -> bool:
        found = (await self.look("deliveries"))["deliveries"]
        return len(found) >= count and all(delivery["done"] for delivery in found)

    async def switched_off(self) -> bool:
        return bool((await self.look("deliveries"))["switched_off"])


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
async def open_hook(answers: list[int]) -> AsyncIterator[tuple[list[tuple[str, bytes]], str]]:
    """A receiver that answers with these codes, then 200; it keeps signature and body of all it got."""
    got: list[tuple[str, bytes]] = []

    async def handle(request: Request) -> Response:
        got.append((request.headers["crypto-pay-api-signature"], await request.body()))
        return Response(status_code=answers.pop(0) if answers else 200)

    app = Starlette(routes=[Route("/paid", handle, methods=["POST"])])
    async with trio.open_nursery() as nursery:
        serve = partial(serve_asgi, app, ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever)
        bound = await nursery.start(serve)
        yield got, f"http://{bound[0]}/paid"
        nursery.cancel_scope.cancel()


async def test_every_way_of_calling(hand: Hand) -> None:
    """GET and POST; query, JSON, form and multipart; the token in any case of header, and never without it."""
    values = {"asset": "USDT", "amount": "5.25", "payload": "order 1"}
    url = f"{hand.sandbox.cryptopay_url}/api/createInvoice"
    answers = [
        await hand.client.get(url, params=values, headers=hand.headers),
        await hand.client.post(url, json=values, headers=hand.headers),
        await hand.client.post(url, data=values, headers=hand.headers),
        await hand.client.post(url, files={k: (None, v) for k, v in values.items()}, headers=hand.headers),
    ]
    assert {a.json()["result"]["payload"] for a in answers} == {"order 1"}
    assert len({a.json()["result"]["invoice_id"] for a in answers}) == 4
    refused = await hand.client.get(url, headers={"Crypto-Pay-API-Token": "1:x"})
    assert (refused.status_code, refused.json()["error"]["name"]) == (401, "UNAUTHORIZED")
    assert await hand.error("getNothing") == "METHOD_NOT_FOUND"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"amount": "1"}, "PARAM_ASSET_REQUIRED"),
        ({"asset": "XYZ", "amount": "1"}, "ASSET_INVALID"),
        ({"asset": "USDT"}, "PARAM_AMOUNT_REQUIRED"),
        ({"asset": "USDT", "amount": "-1"}, "AMOUNT_INVALID"),
        ({"asset": "USDT", "amount": "1e3"}, "AMOUNT_INVALID"),
        ({"asset": "USDT", "amount": "0.001"}, "AMOUNT_TOO_SMALL"),
        ({"currency_type": "fiat", "amount": "1"}, "PARAM_FIAT_REQUIRED"),
        (
            {"currency_type": "fiat", "fiat": "USD", "amount": "1", "accepted_assets": "TON,XYZ"},
            "ACCEPTED_ASSETS_INVALID",
        ),
        ({"currency_type": "other", "amount": "1"}, "CURRENCY_TYPE_INVALID"),
        ({"asset": "USDT", "amount": "1", "expires_in": 0}, "EXPIRES_IN_INVALID"),
        ({"asset": "USDT", "amount": "1", "expires_in": 2678401}, "EXPIRES_IN_INVALID"),
        ({"asset": "USDT", "amount": "1", "payload": "ж" * 2049}, "PAYLOAD_TOO_LONG"),
        ({"asset": "USDT", "amount": "1", "description": "x" * 1025}, "DESCRIPTION_TOO_LONG"),
        ({"asset": "USDT", "amount": "1", "paid_btn_name": "openBot"}, "PAID_BTN_URL_REQUIRED"),
        (
            {"asset": "USDT", "amount": "1", "paid_btn_name": "x", "paid_btn_url": "https://e.org"},
            "PAID_BTN_NAME_INVALID",
        ),
        ({"asset": "USDT", "amount": "1", "swap_to": "BNB"}, "SWAP_TO_INVALID"),
    ],
)
async def test_parameters_are_judged(hand: Hand, values: dict[str, Any], name: str) -> None:
    """What Crypto Pay would refuse is refused, by name."""
    assert await hand.error("createInvoice", **values) == name


async def test_the_invoice_object_is_complete(hand: Hand) -> None:
    """Every field a strict client needs is there from the first moment; those of the payment only with it."""
    invoice = await hand.call(
        "createInvoice",
        currency_type="fiat",
        fiat="RUB",
        amount="200.50",
        accepted_assets="TON,USDT",
        expires_in=60,
    )
    assert invoice["amount"] == "200.5"
    needed = {
        "invoice_id", "hash", "currency_type", "fiat", "amount", "bot_invoice_url", "mini_app_invoice_url",
        "web_app_invoice_url", "status", "created_at", "allow_comments", "allow_anonymous", "expiration_date",
    }  # fmt: skip
    assert needed <= invoice.keys()
    assert not {"paid_at", "paid_amount", "fee_amount"} & invoice.keys()
    paid = (await hand.sim("pay", invoice_id=invoice["invoice_id"], asset="TON", comment="спасибо"))[
        "invoice"
    ]
    assert (paid["status"], paid["paid_asset"], paid["comment"]) == ("paid", "TON", "спасибо")
    assert paid["paid_amount"] == "0.783203125"
    assert {
        "paid_at",
        "paid_usd_rate",
        "paid_fiat_rate",
        "fee_asset",
        "fee_amount",
        "fee_in_usd",
    } <= paid.keys()


async def test_listing_and_expiry_on_the_sandbox_clock(hand: Hand) -> None:
    """Filters, pages, newest first; an invoice expires by the sandbox's clock and then is neither active nor paid."""
    ids = [
        (await hand.call("createInvoice", asset="USDT", amount="1", expires_in=100))["invoice_id"]
        for _ in range(3)
    ]
    await hand.sim("pay", invoice_id=ids[0])

    async def listed(**values: Any) -> list[int]:
        return [item["invoice_id"] for item in (await hand.call("getInvoices", **values))["items"]]

    assert await listed() == ids[::-1]
    assert await listed(status="paid") == [ids[0]]
    assert await listed(invoice_ids=f"{ids[0]},{ids[2]}") == [ids[2], ids[0]]
    assert await listed(offset=1, count=1) == [ids[1]]
    assert await hand.call("deleteInvoice", invoice_id=ids[2]) is True
    await hand.sim("clock", advance=101)
    assert await listed(status="active") == []
    [late] = (await hand.call("getInvoices", invoice_ids=str(ids[1])))["items"]
    assert late["status"] == "expired"
    assert await hand.error("getInvoices", status="expired") == "STATUS_INVALID"
    assert await hand.error("getInvoices", count=1001) == "COUNT_INVALID"
    refused = await hand.client.post(f"{hand.sandbox.cryptopay_url}/sim/pay", json={"invoice_id": ids[1]})
    assert "expired" in refused.json()["error"]
    assert (await hand.sim("pay", invoice_id=late["hash"], force=True))["invoice"]["status"] == "paid"


async def test_the_webhook_is_signed_and_tried_again(hand: Hand) -> None:
    """Compact JSON, signed over the very bytes, repeated until a 2xx; `deliver` tells how many copies go out."""
    async with open_hook([500, 503]) as (got, url):
        await hand.sim("webhook", url=url, retry_first=0.005)
        invoice = await hand.call("createInvoice", asset="USDT", amount="1", payload="заказ 🙂")
        other = await hand.call("createInvoice", asset="USDT", amount="1")
        silent = await hand.sim("pay", invoice_id=other["invoice_id"], deliver=False)
        assert silent["deliveries"] == []
        await hand.sim("pay", invoice_id=invoice["invoice_id"], amount="0.7")
        await until(lambda: hand.delivered(1))
        assert [d["answers"] for d in (await hand.look("deliveries"))["deliveries"]] == [
            ["500", "503", "200"]
        ]
        assert len({body for _, body in got}) == 1
        signed, body = got[0]
        assert signed == signature(hand.sandbox.cryptopay.token, body)
        update = json.loads(body)
        assert body == json.dumps(update, ensure_ascii=False, separators=(",", ":")).encode()
        assert (update["update_type"], update["payload"]["amount"]) == ("invoice_paid", "0.7")
        assert update["payload"]["payload"] == "заказ 🙂"
        assert len((await hand.sim("deliver", invoice_id=other["invoice_id"], times=2))["deliveries"]) == 2
        await until(lambda: hand.delivered(3))
        assert len(got) == 5


async def test_a_webhook_that_never_answers_is_switched_off(hand: Hand) -> None:
    """After the last attempt nothing is told any more, until the webhook is set again."""
    async with open_hook([500] * 50) as (got, url):
        await hand.sim("webhook", url=url, retry_first=0.001, attempts=3)
        invoice = await hand.call("createInvoice", asset="USDT", amount="1")
        await hand.sim("pay", invoice_id=invoice["invoice_id"])
        await until(hand.switched_off)
        assert len(got) == 3
        assert (await hand.sim("deliver", invoice_id=invoice["invoice_id"]))["deliveries"] == []


async def test_transfers_spend_once(hand: Hand) -> None:
    """A spend_id works once, whatever comes with it; no more is sent than there is."""
    send = partial(hand.error, "transfer", user_id=1, asset="USDT", amount="5")
    assert await send(spend_id="a") == "INSUFFICIENT_FUNDS"
    await hand.sim("balance", asset="USDT", amount="12")
    sent = await hand.call("transfer", user_id=1, asset="USDT", amount="5", spend_id="a")
    assert sent["status"] == "completed"
    assert await send(spend_id="a") == "SPEND_ID_ALREADY_USED"
    assert await send(spend_id="x" * 65) == "SPEND_ID_TOO_LONG"
    assert await send() == "PARAM_SPEND_ID_REQUIRED"
    balance = {item["currency_code"]: item["available"] for item in await hand.call("getBalance")}
    assert balance["USDT"] == "7"
    assert [t["spend_id"] for t in (await hand.call("getTransfers"))["items"]] == ["a"]


async def test_faults_on_request(hand: Hand) -> None:
    """Refusals come as asked; a dropped reply leaves its invoice behind."""
    await hand.sim("fault", method="createInvoice", kind="429", retry_after=3)
    answer = await hand.api("createInvoice", json={})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    await hand.sim("fault", method="createInvoice", kind="garbage")
    assert not (await hand.api("createInvoice")).text.startswith("{")
    await hand.sim("fault", method="createInvoice", kind="drop_reply")
    with pytest.raises(httpx.RemoteProtocolError):
        await hand.api("createInvoice", json={"asset": "TON", "amount": "1"})
    assert len((await hand.look("invoices"))["invoices"]) == 1
    await hand.sim("fault", method="getMe", kind="hang")
    with pytest.raises(httpx.ReadTimeout):
        await hand.api("getMe", timeout=0.1)
    assert (await hand.call("getMe"))["app_id"] == 500_001


@settings(deadline=None)
@given(st.decimals(min_value="0.01", max_value="999999999", places=9, allow_nan=False))
def test_amounts_survive_the_wire_exactly(amount: Any) -> None:
    """What is written as a decimal comes back as the same number, without exponent or zeros at its end."""
    state = CryptoPayState(SandboxClock())
    call = Parameters({"asset": "TON", "amount": format(amount, "f")})
    invoice = carry_out(state, "createInvoice", call)
    assert read_amount(Parameters({"amount": invoice["amount"]})) == amount
    assert invoice["amount"] == plain(amount)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "0", "0.0", " 1", "1,5", "١", "0x1", "1" * 40])
def test_what_is_no_amount(text: str) -> None:
    """Nothing but plain ASCII decimals above zero is money."""
    with pytest.raises(CryptoPayError):
        read_amount(Parameters({"amount": text}))
