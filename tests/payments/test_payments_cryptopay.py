"""Crypto Pay: signatures over raw bytes, strict reading, every error by its name."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import define, field
from payments_kit import SINCE, TOKEN, CheckReport, check_invoices, cryptopay, invoice_order
from shop_world import ShopWorld

from vpnd.payments.base import (
    Ignored,
    MalformedWebhook,
    NewInvoice,
    PaymentBusy,
    PaymentError,
    PaymentForbidden,
    PaymentRejected,
    PaymentUnavailable,
)
from vpnd.payments.cryptopay import FIATS, parse_webhook, verify_signature
from vpnd.payments.watcher import invoice_for
from vpnd.runtime.http import HttpTimeout
from vpnd.shop.charges import Charge, Outcome
from vpnd.shop.money import EXPONENTS

V1 = (
    b'{"update_id":1,"update_type":"invoice_paid","request_date":"2026-11-23T12:00:00.000Z","payload":{"invoice_id":1,'
    b'"hash":"IVtest1","currency_type":"crypto","asset":"USDT","amount":"5.25","status":"paid","payload":"order-42"}}'
)
V2 = (
    '{"update_id":2,"update_type":"invoice_paid","request_date":"2026-11-23T12:00:01.000Z",'
    '"payload":{"invoice_id":2,"comment":"спасибо 🙂"}}'
).encode()
V3 = rb'{"update_id": 3, "update_type": "invoice_paid", "payload": {"amount": 1.0, "url": "https:\/\/t.me\/x"}}'
V4 = b"{}"
SIGNED = [
    (V1, 223, "20570bbb95af74482855d4e50c88cb925cf5f534a57fd4fad9dded4d76c81d0d"),
    (V2, 145, "438731e5af1e3c0700000a53a964d2f73b2bb2deb2ce39b3dcfbd61974318c59"),
    (V3, 103, "6ffc3161e8285561f1da37edafdef80f424c3339e9d6f573b708d52e9eef0fa9"),
    (V4, 2, "8096cde6e8b427a708e585098dc5f7ebb1a5e5e1e5ab8bd2ea723cfd73e50cd1"),
]


@pytest.mark.parametrize(("body", "size", "signature"), SIGNED)
def test_signatures_of_other_implementations_verify(body: bytes, size: int, signature: str) -> None:
    """Vectors made with openssl and five clients; the third passes only over the raw bytes."""
    assert len(body) == size
    assert verify_signature(TOKEN, body, signature)
    assert not verify_signature(TOKEN, body + b" ", signature)


@pytest.mark.parametrize(("body", "signature"), [(body, signature) for body, _, signature in SIGNED])
def test_openssl_signs_what_we_verify(body: bytes, signature: str) -> None:
    """An implementation that shares no line with ours signs the same bytes with the same words, V1 to V4."""
    key = hashlib.sha256(TOKEN.encode()).hexdigest()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-hex"]
    said = subprocess.run(command, input=body, capture_output=True, check=True, timeout=30).stdout.decode()

    assert said.split()[-1] == signature
    assert verify_signature(TOKEN, body, said.split()[-1])


@pytest.mark.parametrize(
    "header",
    [
        "b0e02fe3c7fcd678312adbbdd8541936542282ecdf709fc6a12fa663edd686b3",  # keyed with the hash's hex text
        SIGNED[0][2].upper(),
        SIGNED[0][2][:-1],
        "",
        None,
        "é" * 64,
    ],
)
def test_what_cannot_be_verified_is_refused(header: str | None) -> None:
    """Fail closed: a wrong key, a malformed header, none at all; and no token means no signature is good."""
    assert not verify_signature(TOKEN, V1, header)
    assert not verify_signature("", V1, SIGNED[0][2])


def webhook(**changes: Any) -> bytes:
    invoice = {"invoice_id": 17, "status": "paid", "currency_type": "fiat", "fiat": "RUB", "amount": "199.00",
               "payload": "pabc", "paid_at": "2026-11-23T12:00:00.000Z", "paid_asset": "TON", "paid_amount": "0.5"}  # fmt: skip
    merged = {key: value for key, value in (invoice | changes).items() if value is not ...}
    return json.dumps({"update_id": 1, "update_type": "invoice_paid", "payload": merged}).encode()


def test_a_paid_webhook_is_a_charge() -> None:
    """The charge's name is the invoice's id; the amount is exact, and the coin is kept beside it."""
    charge = parse_webhook(webhook())

    assert charge == Charge(
        provider="cryptopay", charge_id="17", amount=19900, currency="RUB", amount_text="199.00",
        invoice_external_id="17", payload="pabc", paid_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
        details={"currency_type": "fiat", "amount": "199.00", "paid_asset": "TON", "paid_amount": "0.5"},
    )  # fmt: skip


def test_numbers_are_never_floats() -> None:
    """An amount sent as a number is read by its own digits."""
    charge = parse_webhook(webhook().replace(b'"199.00"', b"199.10"))
    assert isinstance(charge, Charge)
    assert (charge.amount, charge.amount_text) == (19910, "199.10")


@pytest.mark.parametrize(
    ("amount", "currency"), [("1.999", "RUB"), ("1e2", "RUB"), ("5", "PEPE"), ("-1", "RUB")]
)
def test_an_amount_that_is_not_exact_here_is_left_to_an_admin(amount: str, currency: str) -> None:
    """It is a charge without an amount: held, never rounded and never lost."""
    charge = parse_webhook(webhook(amount=amount, fiat=currency))
    assert isinstance(charge, Charge)
    assert (charge.amount, charge.amount_text) == (None, amount)


@pytest.mark.parametrize(
    ("body", "field_named"),
    [
        (V3, "payload.invoice_id"),
        (V2, "payload.status"),
        (V4, "update_type"),
        (b"\xff", "(body)"),
        (b"[]", "(body)"),
        (b"[" * 100_000, "(body)"),
        (b'{"update_type":"invoice_paid"}', "payload"),
        (webhook(invoice_id=True), "payload.invoice_id"),
        (webhook(invoice_id="17"), "payload.invoice_id"),
        (webhook(invoice_id=-1), "payload.invoice_id"),
        (webhook(status=...), "payload.status"),
        (webhook(currency_type="gold"), "payload.currency_type"),
        (webhook(fiat=...), "payload.fiat"),
        (webhook(fiat="rub"), "payload.fiat"),
        (webhook(currency_type="crypto"), "payload.asset"),
        (webhook(amount=...), "payload.amount"),
        (webhook(amount=""), "payload.amount"),
        (webhook(amount="1" * 65), "payload.amount"),
        (webhook(payload=5), "payload.payload"),
        (webhook(paid_at="yesterday"), "payload.paid_at"),
        (webhook(paid_at=5), "payload.paid_at"),
    ],
)
def test_a_malformed_webhook_names_its_field(body: bytes, field_named: str) -> None:
    """Whatever is wrong is told by field, without a guess at what was meant."""
    with pytest.raises(MalformedWebhook) as caught:
        parse_webhook(body)
    assert caught.value.field == field_named


def test_what_says_nothing_of_a_payment_is_ignored() -> None:
    """Another kind of update, or an invoice that is not paid."""
    assert isinstance(parse_webhook(b'{"update_type":"something_new"}'), Ignored)
    assert isinstance(parse_webhook(webhook(status="active")), Ignored)


def made(*_: object) -> tuple[int, Any]:
    return 200, {"ok": True, "result": {"invoice_id": 5, "bot_invoice_url": "https://t.me/5"}}


async def test_an_invoice_is_priced_in_the_shops_currency() -> None:
    """Fiat price, exact text, the purchase's public id, and the life of its price; the token only in the header."""
    pay, http = cryptopay(made)

    invoice = await pay.create_invoice(invoice_order(description="x" * 2000))

    (call,) = http.calls
    assert (call.operation, call.method, call.url) == (
        "createInvoice",
        "POST",
        "https://pay/api/createInvoice",
    )
    assert call.headers == {"Crypto-Pay-API-Token": TOKEN}
    assert call.asked == {
        "currency_type": "fiat", "fiat": "RUB", "amount": "199.00", "payload": "pabc", "expires_in": 3600,
        "description": "x" * 1024, "allow_comments": False, "accepted_assets": "USDT,TON,BTC,ETH,LTC,TRX",
    }  # fmt: skip
    assert invoice == NewInvoice("cryptopay", "5", "https://t.me/5", "RUB", 19900, SINCE)


async def test_a_price_in_a_coin_is_asked_in_that_coin() -> None:
    """No other coin is accepted for it, and all its places are written; `swap_to` is sent only where it is set."""
    pay, http = cryptopay(made, swap_to="USDT")

    invoice = await pay.create_invoice(invoice_order(amount=1_500_000_000, currency="TON"))

    asked = http.calls[0].asked
    assert (asked["currency_type"], asked["asset"], asked["amount"]) == ("crypto", "TON", "1.500000000")
    assert asked["swap_to"] == "USDT"
    assert not {"fiat", "accepted_assets"} & set(asked)
    assert (invoice.amount, invoice.currency) == (1_500_000_000, "TON")


def test_every_fiat_of_crypto_pay_is_money_here() -> None:
    """A price in any of them can be booked, in hundredths; and no coin is taken for one."""
    assert {EXPONENTS[currency] for currency in FIATS} == {2}
    assert not FIATS & {"USDT", "USDC", "TRX", "BTC", "LTC", "TON", "SOL", "ETH", "BNB"}


@pytest.mark.parametrize(
    ("status", "body", "error", "detail"),
    [
        (
            401,
            {"ok": False, "error": {"code": 401, "name": "UNAUTHORIZED"}},
            PaymentForbidden,
            "UNAUTHORIZED",
        ),
        (
            423,
            {"ok": False, "error": {"code": 423, "name": "APP_SUSPENDED"}},
            PaymentForbidden,
            "APP_SUSPENDED",
        ),
        (
            400,
            {"ok": False, "error": {"code": 400, "name": "AMOUNT_TOO_SMALL"}},
            PaymentRejected,
            "AMOUNT_TOO_SMALL",
        ),
        (400, {"ok": False}, PaymentRejected, "UNKNOWN"),
        (500, b"<html>oops", PaymentUnavailable, "500"),
        (200, b"<html>oops", PaymentUnavailable, "not JSON"),
        (200, [], PaymentUnavailable, "no object"),
        (200, {"ok": True, "result": {}}, PaymentUnavailable, "no invoice_id"),
    ],
)
async def test_errors_have_names(status: int, body: Any, error: type, detail: str) -> None:
    """Each refusal and each unusable answer by its type; none carries the token."""
    pay, _ = cryptopay(lambda *_: (status, body))
    with pytest.raises(error, match=detail) as caught:
        await pay.create_invoice(invoice_order())
    assert type(caught.value) is error
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", 5.0), ("soon", 5.0), ("999999", 300.0)])
async def test_too_often_says_for_how_long(header: str, seconds: float) -> None:
    """429 tells when to ask again, within reason."""
    pay, _ = cryptopay(lambda *_: (429, b""), {"retry-after": header} if header else {})
    with pytest.raises(PaymentBusy) as caught:
        await pay.get_me()
    assert caught.value.retry_after == seconds


async def test_a_transport_error_is_a_payment_error() -> None:
    """A deadline or a broken line is "unavailable": nobody knows whether it acted."""

    def fail(*_: object) -> tuple[int, Any]:
        raise HttpTimeout("cryptopay", "getMe", "no whole answer within 10 s")

    pay, _ = cryptopay(fail)
    with pytest.raises(PaymentUnavailable, match="no whole answer"):
        await pay.get_me()
    with pytest.raises(ValueError, match="at most 1000"):
        await pay.invoice_states(["1"] * 1001)
    assert await pay.invoice_states([]) == []


@define
class Desk:
    """Crypto Pay's side: invoices and what became of them."""

    invoices: dict[int, dict[str, Any]] = field(factory=dict)

    def __call__(self, operation: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if operation == "createInvoice":
            number = len(self.invoices) + 1
            self.invoices[number] = {
                "invoice_id": number, "status": "active", "currency_type": "fiat", "fiat": asked["fiat"],
                "amount": asked["amount"], "payload": asked["payload"], "bot_invoice_url": f"https://t.me/{number}",
            }  # fmt: skip
            return 200, {"ok": True, "result": self.invoices[number]}
        wanted = [int(one) for one in asked["invoice_ids"].split(",")]
        return 200, {
            "ok": True,
            "result": {"items": [self.invoices[n] for n in wanted if n in self.invoices]},
        }


async def test_the_watcher_settles_what_was_paid_in_one_call(shop: ShopWorld) -> None:
    """Many invoices, one question: paid ones are settled, expired ones forgotten, open ones asked about again."""
    desk = Desk()
    pay, http = cryptopay(desk)
    people = [await shop.customer() for _ in range(4)]
    for one in people:
        await invoice_for(shop.db, pay, await shop.buy(one), description="")
    desk.invoices[1]["status"] = desk.invoices[2]["status"] = "paid"
    desk.invoices[3]["status"] = "expired"
    http.calls.clear()
    woken: list[Outcome] = []

    report = await check_invoices(shop.db, pay, on_commit=[lambda result: woken.append(result.outcome)])

    assert report == CheckReport(checked=4, paid=2, expired=1)
    assert woken == [Outcome.SETTLED, Outcome.SETTLED]
    assert [call.operation for call in http.calls] == ["getInvoices"]
    assert [len(await shop.subscriptions(one)) for one in people] == [1, 1, 0, 0]
    assert await check_invoices(shop.db, pay) == CheckReport(1, 0, 0)


async def test_the_watcher_starts_with_the_longest_unchecked(shop: ShopWorld) -> None:
    """With more invoices than a call takes, every one gets its turn."""
    desk = Desk()
    pay, http = cryptopay(desk)
    for _ in range(5):
        await invoice_for(shop.db, pay, await shop.buy(await shop.customer()), description="")
    http.calls.clear()

    for _ in range(3):
        await check_invoices(shop.db, pay, 2)

    asked = [set(call.asked["invoice_ids"].split(",")) for call in http.calls]
    assert asked[0] == {"1", "2"}
    assert asked[1] == {"3", "4"}
    assert "5" in asked[2]


async def test_the_watcher_asks_nothing_when_there_is_nothing(shop: ShopWorld) -> None:
    """No open invoice, no call; and a provider that is down is an error that loses no invoice."""
    pay, http = cryptopay(Desk())
    assert await check_invoices(shop.db, pay) == CheckReport(0, 0, 0)
    assert http.calls == []

    await invoice_for(shop.db, pay, await shop.buy(await shop.customer()), description="")
    down, _ = cryptopay(lambda *_: (502, b""))
    with pytest.raises(PaymentError):
        await check_invoices(shop.db, down)
    assert (await check_invoices(shop.db, pay)).checked == 1


async def test_an_invoice_gone_at_the_provider_is_forgotten_when_it_is_long_over(shop: ShopWorld) -> None:
    """Missing means nothing while it could still be paid; and one unreadable answer spoils no other."""
    desk = Desk()
    pay, _ = cryptopay(desk)
    one, two = await shop.customer(), await shop.customer()
    await invoice_for(shop.db, pay, await shop.buy(one), description="")
    await invoice_for(shop.db, pay, await shop.buy(two), description="")
    gone = desk.invoices.pop(1)
    desk.invoices[2] |= {"status": "paid", "fiat": "?"}

    assert await check_invoices(shop.db, pay) == CheckReport(2, 0, 0)
    await shop.advance(timedelta(hours=3))
    assert await check_invoices(shop.db, pay) == CheckReport(2, 0, 1)
    desk.invoices[2]["fiat"] = gone["fiat"]
    assert await check_invoices(shop.db, pay) == CheckReport(1, 1, 0)


async def test_a_second_tap_shows_the_same_invoice(shop: ShopWorld) -> None:
    """The open invoice of a purchase is reused; the provider is asked once."""
    pay, http = cryptopay(Desk())
    one = await shop.customer()
    first = await invoice_for(shop.db, pay, await shop.buy(one), description="")

    assert await invoice_for(shop.db, pay, await shop.buy(one), description="") == first
    assert len(http.calls) == 1
