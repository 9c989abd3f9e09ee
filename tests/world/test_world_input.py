"""What strangers, broken providers and confused people send: refused, held or answered kindly, and nobody's money is touched."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from world_kit import a_world, books_of, choose, first_screen, invoice_of, metrics_of

from vpnd.sandbox.cryptopay_webhook import signature
from vpnd.sandbox.customer import Customer, buttons_of, text_of
from vpnd.sandbox.world import ADMIN, BOT_TOKEN, CRYPTO_TOKEN, WEBHOOK_SECRET, World

pytestmark = pytest.mark.world


async def crypto_webhook(
    world: World, body: bytes, *, token: str = CRYPTO_TOKEN, **headers: str
) -> httpx.Response:
    """Send what Crypto Pay would send, signed with `token`."""
    headers = {"crypto-pay-api-signature": signature(token, body)} | headers
    return await world.http.post(f"{world.daemon_http}/webhooks/cryptopay", content=body, headers=headers)


def paid(invoice: dict[str, Any], **changes: Any) -> bytes:
    """Return a webhook's body about a paid invoice."""
    payload = invoice | {"status": "paid", "paid_at": "2026-01-01T00:00:00Z"} | changes
    return json.dumps(
        {"update_id": 1, "update_type": "invoice_paid", "request_date": "2026-01-01T00:00:00Z"}
        | {"payload": payload}
    ).encode()


async def test_crypto_pay_webhooks_that_are_not_right() -> None:
    """Forged: 401. Garbage: 400. Too little: credited and told. Unknown: held, and an admin is told. No access by any of them."""
    async with a_world(node=False) as (world, _), books_of(world) as db:
        await world.start_daemon()
        admin, customer = Customer(world, ADMIN), Customer(world, 1001)
        await first_screen(admin)
        invoice = await invoice_of(world, await choose(customer, "cryptopay"))
        right = paid(invoice)

        forged = await crypto_webhook(world, right, token="4242:AAsomebody-elses")
        unsigned = await world.http.post(f"{world.daemon_http}/webhooks/cryptopay", content=right)
        tampered = await crypto_webhook(
            world, right + b" ", **{"crypto-pay-api-signature": signature(CRYPTO_TOKEN, right)}
        )
        assert [answer.status_code for answer in (forged, unsigned, tampered)] == [401, 401, 401]
        for garbage in (b"", b"\x00\xff", b"[]", b'{"update_type": "invoice_paid"}', b"[" * 100_000):
            assert (await crypto_webhook(world, garbage)).status_code == 400
        assert await db.fetchval("test.charges", "select count(*) from settlements") == 0

        too_little = await crypto_webhook(world, paid(invoice, amount="100"))
        assert (too_little.status_code, too_little.json()["outcome"]) == (200, "underpaid")
        told = await customer.wait_for("word of it", lambda m: "smaller than the price" in text_of(m))
        assert "100" in text_of(told)
        balance = "select balance from accounts where kind = 'customer' and currency = 'RUB' limit 1"
        assert await db.fetchval("test.balance", balance) == 100_00

        unknown = await crypto_webhook(world, paid(invoice, invoice_id=987654, payload="no purchase of ours"))
        assert (unknown.status_code, unknown.json()["outcome"]) == (200, "held")
        alert = await admin.wait_for("an alert", lambda m: "needs your decision" in text_of(m))
        assert "987654" in text_of(alert)

        again = await crypto_webhook(world, paid(invoice, invoice_id=987654, payload="no purchase of ours"))
        assert again.status_code == 200
        assert await db.fetchval("test.charges", "select count(*) from settlements") == 2
        assert await db.fetchval("test.grants", "select count(*) from grants") == 0


async def test_strangers_at_the_doors() -> None:
    """A forged update is refused unseen, an unknown link is not found, and metrics have their own listener and no secret."""
    async with a_world(mode="webhook", node=False) as (world, _), books_of(world) as db:
        await world.start_daemon()
        customer = Customer(world, 1001_000_001)
        await first_screen(customer)
        stored = await db.fetchval("test.stored", "select count(*) from inbox")

        url = f"{world.daemon_http}/webhooks/telegram"
        header = "X-Telegram-Bot-Api-Secret-Token"
        message = {"message_id": 5, "date": 1, "chat": {"id": 7, "type": "private"}, "text": "/start"}
        update = {"update_id": 10**9, "message": message | {"from": {"id": 7, "first_name": "X"}}}
        for headers in ({}, {header: ""}, {header: WEBHOOK_SECRET + "x"}):
            assert (await world.http.post(url, json=update, headers=headers)).status_code == 401
        for garbage in (b"", b"[]", b"{", b'{"update_id": "1"}'):
            answer = await world.http.post(url, content=garbage, headers={header: WEBHOOK_SECRET})
            assert answer.status_code == 400
        huge = b"x" * ((1 << 20) + 1)
        assert (await world.http.post(url, content=huge, headers={header: WEBHOOK_SECRET})).status_code == 413
        assert await db.fetchval("test.stored", "select count(*) from inbox") == stored

        for path in ("/sub/AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "/sub/..", "/sub/%00", "/metrics", "/", "/.env"):
            assert (await world.http.get(world.daemon_http + path)).status_code == 404, path
        assert (await world.http.get(world.metrics_url)).status_code == 200
        assert (await world.http.get(world.metrics_url.replace("/metrics", "/readyz"))).status_code == 404

        text = (await world.http.get(world.metrics_url)).text
        for secret in (BOT_TOKEN, BOT_TOKEN.split(":")[1], CRYPTO_TOKEN, WEBHOOK_SECRET, str(customer.id)):
            assert secret not in text
        assert "vpnd_telegram_updates_total" in await metrics_of(world)


async def test_presses_and_words_nobody_planned() -> None:
    """Unknown buttons, unknown words, unknown commands and odd updates get the menu, or nothing; nothing fails."""
    async with a_world(node=False, lift_limits=True) as (world, lines):
        await world.start_daemon()
        customer = Customer(world, 1001)
        for data in ("nonsense", "", "\u0000", "p:999999999999999999999", "x" * 64):
            screen = await first_screen(customer)
            since = customer.event
            query = {
                "id": "42",
                "from": {"id": customer.id, "is_bot": False, "first_name": "Alex", "language_code": "en"},
                "message": {key: screen[key] for key in ("message_id", "date", "chat", "text")},
                "chat_instance": "1",
                "data": data,
            }
            await world.telegram.post(
                "/sim/update", kind="callback_query", payload=query, chat_id=customer.id
            )
            said = await customer.wait_for("the menu", lambda m: bool(buttons_of(m)), since=since)
            assert "out of date" in text_of(said), data
        for words in ("hello?", "/nonsense", "a" * 4096, "\u202e\u200b\N{SEE-NO-EVIL MONKEY}"):
            since = customer.event
            await customer.say(words)
            said = await customer.wait_for("the menu", lambda m: bool(buttons_of(m)), since=since)
            assert "buttons below" in text_of(said)
        for kind, payload in (("poll", {"id": "1"}), ("message", {}), ("callback_query", {"id": "\x00"})):
            await world.telegram.post("/sim/update", kind=kind, payload=payload)
        await first_screen(customer)
        assert not [line for line in lines if '"telegram.update_refused"' in line]
