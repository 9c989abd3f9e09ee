"""aiocryptopay as a judge of the sandboxed Crypto Pay: GET and query strings, strict models, its own webhook verifier.

Run by test_sandbox_judges.py in an environment of its own: judge_aiocryptopay.py CRYPTOPAY_URL TOKEN
"""

import asyncio
import sys

import aiohttp
from aiocryptopay import AioCryptoPay
from aiohttp import web

URL, TOKEN = sys.argv[1:]


async def sim(path: str, **values: object) -> dict:
    async with aiohttp.ClientSession() as session, session.post(f"{URL}/sim/{path}", json=values) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def must_refuse(name: str, awaitable: object) -> None:
    try:
        await awaitable
    except Exception as error:
        said = str(error)
    else:
        raise AssertionError(f"{name} was expected")
    assert name in said, said


async def main() -> None:
    crypto = AioCryptoPay(TOKEN, network=URL)
    assert (await crypto.get_me()).app_id
    plain = await crypto.create_invoice(asset="USDT", amount=5.25, payload="order-42", expires_in=600)
    assert (plain.amount, plain.status, plain.payload) == (5.25, "active", "order-42")
    fiat = await crypto.create_invoice(
        amount=200,
        fiat="RUB",
        currency_type="fiat",
        accepted_assets=["TON", "USDT"],
        description="d",
        allow_comments=False,
        paid_btn_name="openBot",
        paid_btn_url="https://t.me/x",
    )
    assert fiat.fiat == "RUB"
    assert [i.invoice_id for i in await crypto.get_invoices(invoice_ids=[plain.invoice_id])] == [
        plain.invoice_id
    ]
    assert len(await crypto.get_invoices(status="active")) == 2
    await must_refuse("EXPIRES_IN_INVALID", crypto.create_invoice(asset="USDT", amount=5, expires_in=10**9))

    heard: asyncio.Queue = asyncio.Queue()

    @crypto.pay_handler()
    async def on_paid(update: object, app: object) -> None:
        await heard.put(update)

    app = web.Application()
    app.router.add_post("/paid", crypto.get_updates)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    await sim("webhook", url=f"http://127.0.0.1:{port}/paid")
    for invoice in (plain, fiat):
        await sim("pay", invoice_id=invoice.invoice_id, comment="спасибо 🙂")
        update = await asyncio.wait_for(heard.get(), 10)
        assert update.update_type == "invoice_paid"
        assert (update.payload.invoice_id, update.payload.status) == (invoice.invoice_id, "paid")
    assert update.payload.paid_amount > 0
    await runner.cleanup()

    assert len(await crypto.get_invoices(status="paid")) == 2
    await sim("balance", asset="USDT", amount="50")
    assert (await crypto.transfer(1, "USDT", 3.5, "spend-1")).status == "completed"
    await must_refuse("SPEND_ID_ALREADY_USED", crypto.transfer(1, "USDT", 3.5, "spend-1"))
    assert len(await crypto.get_transfers()) == 1
    assert {b.currency_code for b in await crypto.get_balance()} >= {"USDT", "TON"}
    assert (await crypto.get_exchange_rates())[0].rate > 0
    assert await crypto.get_amount_by_fiat(summ=100, asset="TON", target="USD") > 0
    assert any(c.code == "RUB" and c.is_fiat for c in await crypto.get_currencies())
    gone = await crypto.create_invoice(asset="TON", amount=1)
    assert await crypto.delete_invoice(gone.invoice_id)
    await crypto.close()
    sys.stdout.write("judged\n")


asyncio.run(main())
