"""aiosend as a judge of the sandboxed Crypto Pay: POST and JSON, API 1.5.2's models, its own webhook verifier.

Run by test_sandbox_judges.py in an environment of its own: judge_aiosend.py CRYPTOPAY_URL TOKEN
"""

import asyncio
import sys

import aiohttp
from aiohttp import web
from aiosend import CryptoPay
from aiosend.client import Network
from aiosend.exceptions import APIError
from aiosend.webhook import AiohttpManager

URL, TOKEN = sys.argv[1:]


async def sim(path: str, **values: object) -> dict:
    async with aiohttp.ClientSession() as session, session.post(f"{URL}/sim/{path}", json=values) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def must_refuse(name: str, awaitable: object) -> None:
    try:
        await awaitable
    except APIError as error:
        said = str(error)
    else:
        raise AssertionError(f"{name} was expected")
    assert name in said, said


async def main() -> None:
    app = web.Application()
    network = Network(name="SANDBOX", base=URL + "/api/{method}")
    crypto = CryptoPay(TOKEN, network, webhook_manager=AiohttpManager(app, "/paid"))
    heard: asyncio.Queue = asyncio.Queue()

    @crypto.invoice_paid()
    async def on_paid(invoice: object) -> None:
        await heard.put(invoice)

    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    await sim("webhook", url=f"http://127.0.0.1:{port}/paid")

    assert (await crypto.get_me()).app_id
    plain = await crypto.create_invoice(5.25, "USDT", payload="order-42", expires_in=600)
    fiat = await crypto.create_invoice(
        200,
        currency_type="fiat",
        fiat="RUB",
        accepted_assets=["TON", "USDT"],
        swap_to="BTC",
        hidden_message="h",
    )
    assert (plain.amount, plain.status, fiat.swap_to) == (5.25, "active", "BTC")
    for invoice in (plain, fiat):
        await sim("pay", invoice_id=invoice.invoice_id, asset="TON" if invoice is fiat else None)
        paid = await asyncio.wait_for(heard.get(), 10)
        assert (paid.invoice_id, paid.status) == (invoice.invoice_id, "paid")
        await invoice.update()
        assert invoice.status == "paid"
    assert fiat.paid_asset == "TON"
    await runner.cleanup()

    assert len(await crypto.get_invoices(status="paid")) == 2
    await must_refuse("AMOUNT_TOO_SMALL", crypto.create_invoice(0.001, "USDT"))
    await sim("balance", asset="TON", amount="50")
    await crypto.transfer(1, "TON", 3.5, "spend-2")
    await must_refuse("SPEND_ID_ALREADY_USED", crypto.transfer(1, "TON", 3.5, "spend-2"))
    assert [t.spend_id for t in await crypto.get_transfers()] == ["spend-2"]
    assert await crypto.get_balance()
    assert await crypto.get_exchange_rates()
    assert await crypto.get_currencies()
    gone = await crypto.create_invoice(1, "TON")
    assert await gone.delete()
    sys.stdout.write("judged\n")


asyncio.run(main())
