"""Stars in the sandboxed Telegram: subscriptions and their renewals, the statement, and payments that go astray."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from telegram import StarTransactions, Update

from vpnd.runtime.serve import serve_asgi
from vpnd.sandbox.chat_page import ChatPage, Journal
from vpnd.sandbox.customer import Customer
from vpnd.sandbox.servers import Sandbox, open_sandbox
from vpnd.sandbox.telegram_state import Json
from vpnd.sandbox.tls import trusted
from vpnd.sandbox.world import Control, World

ALICE, BOB = 5001, 6001
PERIOD = 2_592_000
KINDS = ["message", "pre_checkout_query", "subscription"]


class Hand:
    """The bot and the people, by plain HTTP; `updates` reads and confirms what has come since."""

    def __init__(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.client = client
        self.offset = 0

    async def sim(self, path: str, **values: Any) -> Any:
        answer = await self.client.post(f"{self.sandbox.telegram_url}/sim/{path}", json=values)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, path: str, **values: Any) -> str:
        answer = await self.client.post(f"{self.sandbox.telegram_url}/sim/{path}", json=values)
        assert answer.status_code == 400
        return str(answer.json()["error"])

    async def crypto(self, path: str, **values: Any) -> Any:
        answer = await self.client.post(f"{self.sandbox.cryptopay_url}/sim/{path}", json=values)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def look(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(f"{self.sandbox.telegram_url}/sim/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def api(self, method: str, **values: Any) -> Any:
        url = f"{self.sandbox.telegram_url}/bot{self.sandbox.telegram.token}/{method}"
        answer = (await self.client.post(url, json=values)).json()
        return answer["result"] if answer["ok"] else answer["description"].removeprefix("Bad Request: ")

    async def link(self, payload: str = "sub-1", stars: int = 100, **values: Any) -> str:
        prices = [{"label": "Month", "amount": stars}]
        invoice = {"title": "Month", "description": "A month", "payload": payload, "prices": prices}
        return str(await self.api("createInvoiceLink", currency="XTR", **invoice, **values))

    async def subscribe(self, payload: str = "sub-1", user_id: int = ALICE, **options: Any) -> str:
        link = await self.link(payload, subscription_period=PERIOD)
        return await self.pay(link=link, chat_id=user_id, **options)

    async def pay(self, **options: Any) -> str:
        paid = await self.sim("pay", pre_checkout=False, **options)
        assert paid["ok"], paid
        return str(paid["charge_id"])

    @asynccontextmanager
    async def agreeing(self, asked: dict[str, Any]) -> AsyncIterator[None]:
        """While this lasts, the bot says yes to one pre-checkout query, which is `asked` afterwards."""

        async def answer() -> None:
            [update] = await self.api("getUpdates", timeout=20)
            asked.update(update["pre_checkout_query"])
            await self.api("answerPreCheckoutQuery", pre_checkout_query_id=asked["id"], ok=True)

        with trio.fail_after(15):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer)
                yield

    async def pass_time(self, seconds: int) -> None:
        await self.sim("clock", advance=seconds)

    async def updates(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.api("getUpdates", offset=self.offset, allowed_updates=KINDS)
        if found:
            self.offset = found[-1]["update_id"] + 1
        assert all(Update.de_json(update, None) is not None for update in found)
        return found

    async def payments(self) -> list[dict[str, Any]]:
        return [u["message"]["successful_payment"] for u in await self.updates() if "message" in u]

    async def states(self) -> list[tuple[int, str, str]]:
        changes = [u["subscription"] for u in await self.updates() if "subscription" in u]
        return [(change["user"]["id"], change["invoice_payload"], change["state"]) for change in changes]

    async def subscription(self, user_id: int = ALICE) -> dict[str, Any]:
        [found] = (await self.look("subscriptions", user_id=user_id))["subscriptions"]
        return dict(found)

    async def statement(self, **query: int) -> list[dict[str, Any]]:
        answer = await self.api("getStarTransactions", **query)
        assert StarTransactions.de_json(answer, None) is not None
        return list(answer["transactions"])


@pytest.fixture(autouse=True)
def _periods_as_timedelta(monkeypatch: pytest.MonkeyPatch) -> None:
    """PTB warns of the older type of `subscription_period` unless it is told to use the new one."""
    monkeypatch.setenv("PTB_TIMEDELTA", "true")


@pytest.fixture
async def hand() -> AsyncIterator[Hand]:
    async with (
        open_sandbox() as sandbox,
        httpx.AsyncClient(verify=trusted(), trust_env=False, timeout=30) as client,
    ):
        made = Hand(sandbox, client)
        await made.updates()  # from here on, the kind `subscription` is wanted
        yield made


# ---------------------------------------------------------------------------- subscriptions


async def test_the_first_payment_of_a_link_begins_a_subscription(hand: Hand) -> None:
    """It asks first, says until when is paid, and is recurring and the first, for each payer of the link anew."""
    link = await hand.link(subscription_period=PERIOD)
    asked: dict[str, Any] = {}
    async with hand.agreeing(asked):
        paid = await hand.sim("pay", link=link, chat_id=ALICE)
    await hand.pay(link=link, chat_id=BOB)
    hand.offset = 0
    first, second = await hand.payments()
    assert (asked["total_amount"], asked["invoice_payload"]) == (100, "sub-1")
    assert first["telegram_payment_charge_id"] == paid["charge_id"]
    assert (first["is_recurring"], first["is_first_recurring"]) == (True, True)
    assert second["is_first_recurring"] is True
    begun = await hand.subscription()
    assert begun["expiration_date"] == first["subscription_expiration_date"]
    assert (begun["charge_ids"], begun["state"]) == ([paid["charge_id"]], "active")
    [charge] = (await hand.look("charges", user_id=ALICE))["charges"]
    assert begun["expiration_date"] == charge["date"] + PERIOD


async def test_a_link_without_a_period_is_paid_once_and_for_all(hand: Hand) -> None:
    """No field of a subscription comes with it, and nothing renews it; it may be paid again."""
    link = await hand.link()
    assert await hand.pay(link=link, chat_id=ALICE) != await hand.pay(link=link, chat_id=ALICE)
    await hand.pass_time(2 * PERIOD)
    payments = [u["message"]["successful_payment"] for u in await hand.updates()]
    assert payments == []  # 24 hours are the life of an update
    charges = (await hand.look("charges"))["charges"]
    assert [charge["recurring"] for charge in charges] == [False, False]
    assert (await hand.look("subscriptions"))["subscriptions"] == []
    assert all("subscription_period" not in entry["source"] for entry in await hand.statement())


async def test_a_renewal_asks_nobody_and_has_a_charge_of_its_own(hand: Hand) -> None:
    """At the end of the period, not before: a new charge, the same payload, a period more, not the first any longer."""
    first_charge = await hand.subscribe()
    [first] = await hand.payments()
    await hand.pass_time(PERIOD - 60)
    assert await hand.updates() == []
    await hand.pass_time(60)
    [update] = await hand.updates()
    message = update["message"]
    payment = message["successful_payment"]
    assert (message["chat"]["id"], message["from"]["id"]) == (ALICE, ALICE)
    assert payment["telegram_payment_charge_id"] != first_charge
    assert (payment["invoice_payload"], payment["total_amount"]) == ("sub-1", 100)
    assert payment["is_recurring"] is True
    assert "is_first_recurring" not in payment
    assert payment["subscription_expiration_date"] == first["subscription_expiration_date"] + PERIOD
    assert (await hand.subscription())["charge_ids"] == [first_charge, payment["telegram_payment_charge_id"]]


async def test_each_period_that_passes_is_charged_once(hand: Hand) -> None:
    """A jump over several periods charges for each, at its own date, of all subscriptions in the order of time."""
    await hand.subscribe("a")
    await hand.pass_time(PERIOD // 2)
    await hand.subscribe("b", BOB)
    await hand.updates()
    await hand.pass_time(2 * PERIOD)
    messages = [update["message"] for update in await hand.updates()]
    assert [m["successful_payment"]["invoice_payload"] for m in messages] == ["a", "b", "a", "b"]
    dates = [message["date"] for message in messages]
    assert dates[2] - dates[0] == dates[3] - dates[1] == PERIOD
    assert dates == sorted(dates)
    entries = await hand.statement()
    assert [entry["date"] for entry in entries] == sorted(entry["date"] for entry in entries)
    assert len({entry["id"] for entry in entries}) == 6
    await hand.pass_time(0)
    assert await hand.updates() == []


async def test_a_charge_without_stars_fails_and_ends_the_subscription(hand: Hand) -> None:
    """Nothing is charged, the bot hears `failed`, and no later renewal is tried; paying the link begins a new one."""
    charge = await hand.subscribe()
    await hand.sim("subscription", charge_id=charge, renewals=["charge", "fail"])
    await hand.pass_time(3 * PERIOD)
    assert [list(update)[1] for update in await hand.updates()] == ["message", "subscription"]
    failed = await hand.subscription()
    assert (failed["state"], len(failed["charge_ids"])) == ("failed", 2)
    assert (await hand.api("getMyStarBalance"))["amount"] == 200
    assert "failed" in await hand.refused("subscription", charge_id=charge, resume=True)
    await hand.subscribe()
    assert [s["state"] for s in (await hand.look("subscriptions"))["subscriptions"]] == ["failed", "active"]


async def test_a_renewal_may_be_lost(hand: Hand) -> None:
    """The money moves and the statement says so, but no update comes; the next renewal is told as ever."""
    charge = await hand.subscribe()
    await hand.updates()
    await hand.sim("subscription", charge_id=charge, renewals=["lose"])
    await hand.pass_time(PERIOD)
    assert await hand.updates() == []
    [lost] = [c["charge_id"] for c in (await hand.look("charges"))["charges"] if not c["told"]]
    assert lost in {entry["id"] for entry in await hand.statement()}
    await hand.pass_time(PERIOD)
    assert len(await hand.payments()) == 1


async def test_what_the_user_cancels_is_not_charged_and_may_be_resumed_in_time(hand: Hand) -> None:
    """Both are told as `subscription` updates; after the paid time has ended there is nothing to resume."""
    charge = await hand.subscribe()
    await hand.updates()
    await hand.sim("subscription", charge_id=charge, user_id=ALICE, cancel=True)
    assert (await hand.subscription())["canceled_by"] == "user"
    assert "canceled" in await hand.refused("subscription", charge_id=charge, cancel=True)
    await hand.sim("subscription", charge_id=charge, user_id=ALICE, resume=True)
    assert await hand.states() == [(ALICE, "sub-1", "canceled"), (ALICE, "sub-1", "active")]
    await hand.pass_time(PERIOD)
    assert len(await hand.payments()) == 1
    await hand.sim("subscription", charge_id=charge, cancel=True)
    await hand.pass_time(PERIOD)
    assert await hand.payments() == []
    assert "ended" in await hand.refused("subscription", charge_id=charge, resume=True)
    assert await hand.refused("subscription", charge_id=charge, user_id=BOB, resume=True)


async def test_what_the_bot_cancels_is_resumed_only_when_it_allows_it(hand: Hand) -> None:
    """Any charge names the subscription; the veto keeps the user from resuming; lifting it resumes nothing by itself."""
    first = await hand.subscribe()
    await hand.pass_time(PERIOD)
    second = (await hand.payments())[-1]["telegram_payment_charge_id"]
    about = {"user_id": ALICE, "telegram_payment_charge_id": second}
    assert await hand.api("editUserStarSubscription", **about, is_canceled=True) is True
    assert await hand.api("editUserStarSubscription", **about, is_canceled=True) is True
    assert (await hand.subscription())["canceled_by"] == "bot"
    assert "the bot canceled" in await hand.refused("subscription", charge_id=first, resume=True)
    about["telegram_payment_charge_id"] = first
    assert await hand.api("editUserStarSubscription", **about, is_canceled=False) is True
    assert (await hand.subscription())["state"] == "canceled"
    assert await hand.states() == []
    await hand.sim("subscription", charge_id=first, resume=True)
    assert await hand.states() == [(ALICE, "sub-1", "active")]
    await hand.api("editUserStarSubscription", **about, is_canceled=True)
    await hand.pass_time(PERIOD)
    assert await hand.payments() == []


async def test_whose_subscription_a_bot_may_edit(hand: Hand) -> None:
    """An unknown user, another's charge, a charge of no subscription, what the user canceled, and what has ended: refused."""
    charge = await hand.subscribe()
    once = await hand.pay(link=await hand.link("once"), chat_id=ALICE)
    await hand.pay(link=await hand.link("once"), chat_id=BOB)

    async def edit(user_id: int, charge_id: str, is_canceled: bool) -> Any:
        values = {"user_id": user_id, "telegram_payment_charge_id": charge_id}
        return await hand.api("editUserStarSubscription", **values, is_canceled=is_canceled)

    assert await edit(404, charge, True) == "USER_ID_INVALID"
    assert await edit(BOB, charge, True) == "CHARGE_ID_INVALID"
    assert await edit(ALICE, once, True) == "CHARGE_ID_INVALID"
    assert await edit(ALICE, "unknown", True) == "CHARGE_ID_INVALID"
    await hand.sim("subscription", charge_id=charge, cancel=True)
    assert await edit(ALICE, charge, False) == "CHARGE_ID_INVALID"
    await hand.pass_time(PERIOD)
    assert await edit(ALICE, charge, True) == "CHARGE_ID_INVALID"


async def test_subscription_updates_come_only_to_who_wants_them(hand: Hand) -> None:
    """A bot whose allowed_updates leave the kind out hears of payments, not of cancellations."""
    await hand.api("getUpdates", offset=hand.offset, allowed_updates=["message"])
    charge = await hand.subscribe()
    await hand.sim("subscription", charge_id=charge, cancel=True)
    [update] = await hand.updates()
    assert "message" in update


# ---------------------------------------------------------------------------- the bot's money


async def test_the_statement_names_subscriptions_and_is_read_in_pages(hand: Hand) -> None:
    """Oldest first, by offset and limit: payments with their payload and period, refunds under the charge's own id."""
    charge = await hand.subscribe()
    once = await hand.pay(link=await hand.link("once", stars=7), chat_id=BOB)
    assert await hand.api("refundStarPayment", user_id=ALICE, telegram_payment_charge_id=charge) is True
    first, second, third = await hand.statement()
    assert (first["id"], second["id"], third["id"]) == (charge, once, charge)
    source = first["source"]
    assert (source["type"], source["transaction_type"]) == ("user", "invoice_payment")
    assert (source["invoice_payload"], source["subscription_period"]) == ("sub-1", PERIOD)
    assert "subscription_period" not in second["source"]
    assert "source" not in third
    assert third["receiver"]["user"]["id"] == ALICE
    assert await hand.statement(offset=1, limit=1) == [second]
    assert await hand.statement(offset=3) == []


async def test_a_refund_of_a_renewal_gives_back_that_charge_alone(hand: Hand) -> None:
    """Each charge of a subscription is refunded for itself and once; the renewals go on."""
    first = await hand.subscribe()
    await hand.pass_time(PERIOD)
    renewal = (await hand.payments())[-1]["telegram_payment_charge_id"]
    about = {"user_id": ALICE, "telegram_payment_charge_id": renewal}
    assert await hand.api("refundStarPayment", **about) is True
    assert await hand.api("refundStarPayment", **about) == "CHARGE_ALREADY_REFUNDED"
    [update] = await hand.updates()
    refunded = update["message"]["refunded_payment"]
    assert (refunded["telegram_payment_charge_id"], refunded["total_amount"]) == (renewal, 100)
    await hand.pass_time(PERIOD)
    assert len(await hand.payments()) == 1
    given_back = {c["charge_id"] for c in (await hand.look("charges"))["charges"] if c["refunded"]}
    assert given_back == {renewal}
    assert first not in given_back


async def test_what_was_withdrawn_cannot_be_refunded(hand: Hand) -> None:
    """Stars taken out stand in the statement with Fragment as their receiver; a refund of more than is left is refused."""
    charge = await hand.pay(link=await hand.link(stars=50), chat_id=ALICE)
    taken = await hand.sim("withdraw", amount=1)
    assert taken["balance"] == (await hand.api("getMyStarBalance"))["amount"] == 49
    about = {"user_id": ALICE, "telegram_payment_charge_id": charge}
    assert await hand.api("refundStarPayment", **about) == "BALANCE_TOO_LOW"
    entry = (await hand.statement())[-1]
    assert (entry["id"], entry["amount"]) == (taken["transaction_id"], 1)
    assert entry["receiver"]["type"] == "fragment"
    assert entry["receiver"]["withdrawal_state"]["type"] == "succeeded"
    assert "49 Stars" in await hand.refused("withdraw", amount=50)
    await hand.pay(link=await hand.link(stars=1), chat_id=BOB)
    assert await hand.api("refundStarPayment", **about) is True


async def test_a_chargeback_takes_the_money_whatever_the_balance(hand: Hand) -> None:
    """An outgoing transaction with the charge's id and a refunded_payment message, once; the balance may sink below zero."""
    charge = await hand.pay(link=await hand.link(stars=50), chat_id=ALICE)
    await hand.sim("withdraw")
    await hand.updates()
    assert (await hand.sim("chargeback", charge_id=charge))["balance"] == -50
    [update] = await hand.updates()
    assert update["message"]["refunded_payment"]["telegram_payment_charge_id"] == charge
    entry = (await hand.statement())[-1]
    assert (entry["id"], "receiver" in entry, entry["amount"]) == (charge, True, 50)
    assert "refunded already" in await hand.refused("chargeback", charge_id=charge)
    about = {"user_id": ALICE, "telegram_payment_charge_id": charge}
    assert await hand.api("refundStarPayment", **about) == "CHARGE_ALREADY_REFUNDED"


# ---------------------------------------------------------------------------- payments that go astray


async def test_a_payment_may_be_told_late_and_twice(hand: Hand) -> None:
    """The payer sees it at once, the bot only when it is delivered: the same message with its old date, in new updates."""
    charge = await hand.pay(link=await hand.link(), chat_id=ALICE, deliver=False)
    assert await hand.updates() == []
    [shown] = (await hand.look(f"chat/{ALICE}"))["messages"]
    await hand.pass_time(3600)
    told = await hand.sim("deliver", charge_id=charge, times=2)
    first, second = await hand.updates()
    assert [first["update_id"], second["update_id"]] == told["update_ids"]
    assert first["message"] == second["message"]
    assert first["message"]["message_id"] == shown["message_id"]
    assert first["message"]["date"] == shown["date"]
    assert (await hand.look("charges"))["charges"][0]["told"] == 2


async def test_payments_may_be_told_in_any_order(hand: Hand) -> None:
    """What the bot was not told of comes in the order of time, in the opposite, or as given."""
    charges = [await hand.pay(link=await hand.link(), chat_id=ALICE, deliver=False) for _ in range(3)]

    async def told(**how: Any) -> list[int]:
        await hand.sim("deliver", **how)
        return [charges.index(payment["telegram_payment_charge_id"]) for payment in await hand.payments()]

    assert await told(untold=True, reverse=True) == [2, 1, 0]
    assert await told(untold=True) == []
    assert await told(charge_ids=[charges[1], charges[2], charges[0]]) == [1, 2, 0]
    assert "no such charge" in await hand.refused("deliver", charge_id="unknown")


async def test_a_forwarded_invoice_is_paid_by_somebody_else(hand: Hand) -> None:
    """The payment stands in the stranger's own chat, under his name; the buyer can still pay his message, once."""
    await hand.sim("message", chat_id=ALICE, text="/start")
    prices = [{"label": "Month", "amount": 9}]
    invoice = {"title": "t", "description": "d", "payload": "p", "currency": "XTR", "prices": prices}
    number = (await hand.api("sendInvoice", chat_id=ALICE, **invoice))["message_id"]
    await hand.updates()
    bob = {"id": BOB, "first_name": "Bob"}
    await hand.pay(chat_id=ALICE, message_id=number, **{"from": bob})
    await hand.pay(chat_id=ALICE, message_id=number)
    await hand.pay(link=await hand.link(), **{"from": bob})
    messages = [update["message"] for update in await hand.updates()]
    assert [(m["chat"]["id"], m["from"]["id"]) for m in messages] == [(BOB, BOB), (ALICE, ALICE), (BOB, BOB)]
    again = {"chat_id": ALICE, "message_id": number}
    assert "paid already" in await hand.refused("pay", **again)
    assert "paid already" in await hand.refused("pay", **again, **{"from": bob})


async def test_a_link_is_looked_at_before_it_is_paid(hand: Hand) -> None:
    """What a person sees: the title, the price and the period; of an unknown link nothing."""
    link = await hand.link(subscription_period=PERIOD)
    shown = (await hand.look("invoice", link=link))["invoice"]
    assert (shown["title"], shown["total_amount"], shown["subscription_period"]) == ("Month", 100, PERIOD)
    assert "no such invoice link" in await hand.refused("pay", link="https://t.me/$x", chat_id=ALICE)


def _world(hand: Hand) -> World:
    """As much of a world as a customer and the chat page need to pay by Stars."""
    return cast("World", SimpleNamespace(telegram=Control(hand.client, hand.sandbox.telegram_url)))


async def test_a_customer_pays_cancels_and_resumes(hand: Hand) -> None:
    """The kit's customer does in one call each what a person does with a link and a subscription."""
    customer = Customer(_world(hand), ALICE, name="Alice")
    link = await hand.link(subscription_period=PERIOD)
    charge = (await customer.pay_link(link, pre_checkout=False))["charge_id"]
    await customer.cancel_subscription(charge)
    assert (await hand.subscription())["state"] == "canceled"
    await customer.resume_subscription(charge)
    assert (await hand.subscription())["state"] == "active"
    assert (await hand.updates())[0]["message"]["from"]["first_name"] == "Alice"


async def test_the_chat_page_pays_a_link(hand: Hand) -> None:
    """A click on a button with a Stars link shows what it asks for, and pays it; an unknown link is an error."""
    link = await hand.link(subscription_period=PERIOD)
    page = ChatPage(_world(hand), Journal())
    transport = httpx.ASGITransport(app=page.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as browser:
        shown = (await browser.get("/api/stars", params={"link": link})).json()["invoice"]
        assert (shown["title"], shown["subscription_period"]) == ("Month", PERIOD)
        async with hand.agreeing({}):
            answer = await browser.post("/api/pay-stars", json={"customer": ALICE, "link": link})
        assert answer.json() == {}
        assert (await browser.get("/api/stars", params={"link": "https://t.me/$x"})).status_code == 502
    assert (await hand.subscription())["state"] == "active"


# ---------------------------------------------------------------------------- Crypto Pay's notifications


@asynccontextmanager
async def _hook(hand: Hand, status: int) -> AsyncIterator[trio.MemoryReceiveChannel[tuple[str | None, Json]]]:
    """Crypto Pay's webhook, which answers `status` and hands over each signature and body."""
    send, receive = trio.open_memory_channel[tuple[str | None, Json]](10)

    async def hear(request: Request) -> Response:
        await send.send((request.headers.get("crypto-pay-api-signature"), await request.json()))
        return Response("heard", status)

    app = Starlette(routes=[Route("/hook", hear, methods=["POST"])])
    serve = partial(
        serve_asgi, app, ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever, graceful_timeout=0.2
    )
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            [bound] = await nursery.start(serve)
            await hand.crypto("webhook", url=f"http://{bound}/hook")
            yield receive
            nursery.cancel_scope.cancel()


async def test_crypto_pay_tells_late_reordered_and_twice(hand: Hand) -> None:
    """A paid invoice is told when `deliver` says so, as often and in the order it says."""
    server = hand.sandbox.cryptopay
    for _ in range(2):
        await hand.client.post(
            f"{hand.sandbox.cryptopay_url}/api/createInvoice",
            json={"asset": "USDT", "amount": "1"},
            headers={"Crypto-Pay-API-Token": server.token},
        )
    first, second = server.state.invoices
    async with _hook(hand, 200) as heard:
        for invoice_id in (first, second):
            await hand.crypto("pay", invoice_id=invoice_id, deliver=False)
        told = []
        for invoice_id, times in ((second, 1), (first, 2)):
            await hand.crypto("deliver", invoice_id=invoice_id, times=times)
            told += [(await heard.receive())[1]["payload"]["invoice_id"] for _ in range(times)]
    assert told == [second, first, first]


async def test_a_forged_notification_of_crypto_pay_reaches_the_webhook(hand: Hand) -> None:
    """Any body, signed by a stranger, as one likes, or not at all; it is sent once, and the answer is told."""
    body = {"update_type": "invoice_paid", "payload": {"invoice_id": 1, "status": "paid"}}
    async with _hook(hand, 401) as heard:
        signatures = []
        for extra in ({}, {"signature": "abc"}, {"signature": None}):
            answer = await hand.crypto("forge", body=body, **extra)
            assert answer == {"status": 401, "answer": "heard"}
            signature, got = await heard.receive()
            assert got == body
            signatures.append(signature)
    assert [signature and len(signature) for signature in signatures] == [64, 3, None]
    assert hand.sandbox.cryptopay.courier.deliveries == []
