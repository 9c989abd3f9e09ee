"""YooKassa over real sockets: a payment's whole life against the sandbox, from its address to the money's way back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from payments_kit import invoice_order, refund_order
from starlette.applications import Starlette

from vpnd.config import Secret
from vpnd.payments.base import PaymentUnavailable, ProviderRefund
from vpnd.payments.yookassa import YooKassa
from vpnd.runtime.http import open_http_client
from vpnd.runtime.limits import Limits
from vpnd.runtime.serve import serve_asgi
from vpnd.sandbox.servers import Sandbox, open_sandbox
from vpnd.sandbox.tls import trusted
from vpnd.shop.charges import Charge, Outcome, SettlementResult
from vpnd.web.webhooks import yookassa_webhook


class Shop:
    """What the webhook hands on, one after the other, and the hand that plays everybody else."""

    def __init__(self, sandbox: Sandbox, client: YooKassa, browser: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.client = client
        self._browser = browser
        self._charges, self.charges = trio.open_memory_channel[Charge](10)
        self._refunds, self.refunds = trio.open_memory_channel[ProviderRefund](10)

    async def settle(self, charge: Charge) -> SettlementResult:
        await self._charges.send(charge)
        return SettlementResult(Outcome.SETTLED, settlement_id=1)

    async def refunded(self, refund: ProviderRefund) -> None:
        await self._refunds.send(refund)

    async def sim(self, path: str, **values: Any) -> Any:
        """A call of the control API."""
        answer = await self._browser.post(f"{self.sandbox.yookassa_url}/sim/{path}", json=values)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def bought(self, key: str) -> str:
        """The id of a payment that somebody has paid."""
        made = await self.client.create_invoice(invoice_order(key=key))
        await self.sim("pay", payment_id=made.external_id)
        return made.external_id


@asynccontextmanager
async def open_shop() -> AsyncIterator[Shop]:
    """A sandboxed YooKassa, our client of it, and our webhook, all on real sockets."""
    async with (
        open_sandbox() as sandbox,
        open_http_client(Limits(5, 10)) as http,
        httpx.AsyncClient(verify=trusted(), trust_env=False) as browser,
        trio.open_nursery() as nursery,
    ):
        yookassa = sandbox.yookassa
        client = YooKassa(http, yookassa.shop_id, Secret(yookassa.secret), f"{sandbox.yookassa_url}/v3")
        shop = Shop(sandbox, client, browser)
        app = Starlette(routes=[yookassa_webhook(client, shop.settle, shop.refunded)])
        serve = partial(serve_asgi, app, ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever)
        (bound,) = await nursery.start(serve)
        await shop.sim("webhook", url=f"http://{bound}/webhooks/yookassa", retry_first=0.05)
        with trio.fail_after(20):
            yield shop
        nursery.cancel_scope.cancel()


async def test_a_payment_from_its_address_to_its_refund() -> None:
    """Create, pay, be told, ask, give back in two parts, and find all of it in the lists."""
    async with open_shop() as shop:
        yoo, since = shop.client, datetime.now(UTC) - timedelta(minutes=1)
        made = await yoo.create_invoice(invoice_order())
        assert await yoo.create_invoice(invoice_order()) == made
        assert [state.status for state in await yoo.invoice_states([made.external_id, "unknown"])] == [
            "active"
        ]

        await shop.sim("pay", payment_id=made.external_id)
        charge = await shop.charges.receive()

        assert (charge.charge_id, charge.payload, charge.amount) == (made.external_id, "pabc", 19900)
        assert charge.details["payment_method"] == "bank_card"
        (state,) = await yoo.invoice_states([made.external_id])
        assert (state.status, state.charge) == ("paid", charge)

        back = partial(refund_order, charge_id=charge.charge_id, whole=False, amount=9950)
        first = await yoo.refund(back(key="refund:1"))
        again = await yoo.refund(back(key="refund:1"))
        second = await yoo.refund(back(key="refund:2"))
        third = await yoo.refund(back(key="refund:3"))
        told = [await shop.refunds.receive() for _ in range(2)]

        assert first.status == second.status == "done"
        assert again == first
        assert (third.status, third.external_id) == ("refused", "")
        assert {refund.key for refund in told} == {"refund:1", "refund:2"}
        charges, refunds = await yoo.charges_since(since), await yoo.refunds_since(since)
        # What went back is told of the payment, too, in a field that is not kept.
        assert [one.charge_id for one in charges.charges] == [made.external_id]
        assert {refund.external_id for refund in refunds.refunds} == {first.external_id, second.external_id}
        assert (charges.next, charges.unreadable, refunds.next) == (None, 0, None)


async def test_lists_are_walked_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each payment is on one page, by YooKassa's own cursor."""
    monkeypatch.setattr("vpnd.payments.yookassa.PAGE", 2)
    async with open_shop() as shop:
        since = datetime.now(UTC) - timedelta(minutes=1)
        paid = [await shop.bought(f"p:{number}") for number in range(5)]

        found: list[str] = []
        page = await shop.client.charges_since(since)
        found += [charge.charge_id for charge in page.charges]
        while page.next is not None:
            page = await shop.client.charges_since(since, page.next)
            found += [charge.charge_id for charge in page.charges]

        assert sorted(found) == sorted(paid)
        assert (await shop.client.charges_since(datetime.now(UTC) + timedelta(hours=1))).charges == ()


async def test_a_refund_outlives_its_key() -> None:
    """A pending one is followed to its end, also when YooKassa has long forgotten the key it was asked under."""
    async with open_shop() as shop:
        order = refund_order(charge_id=await shop.bought("p:1"), amount=100, whole=False)
        await shop.sim("refund_mode", mode="pending", count=1)

        asked = await shop.client.refund(order)
        await shop.sim("clock", advance=2 * 86_400)
        waiting = await shop.client.refund(order)
        await shop.sim(
            "complete_refund", refund_id=asked.external_id, mode="canceled", reason="rejected_by_payee"
        )
        ended = await shop.client.refund(order)

        assert asked.status == waiting.status == "pending"
        assert (ended.external_id, ended.status, ended.reason) == (
            asked.external_id,
            "refused",
            "rejected_by_payee",
        )
        assert len(shop.sandbox.yookassa.shop.refunds) == 1


async def test_a_lost_answer_and_a_forged_notification() -> None:
    """A payment whose making was answered 500 is found under its key; a lie is answered 200 and settles nothing."""
    async with open_shop() as shop:
        await shop.sim("fault", method="create_payment", kind="5xx_reply", count=1)
        with pytest.raises(PaymentUnavailable):
            await shop.client.create_invoice(invoice_order())
        made = await shop.client.create_invoice(invoice_order())

        await shop.sim(
            "forge", event="payment.succeeded", object={"id": made.external_id, "status": "succeeded"}
        )
        await shop.sim("pay", payment_id=made.external_id)
        charge = await shop.charges.receive()

        assert len(shop.sandbox.yookassa.shop.payments) == 1
        assert charge.charge_id == made.external_id
        assert shop.charges.statistics().current_buffer_used == 0
