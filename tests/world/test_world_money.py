"""Money in the whole world: by the bot's screens, the sandbox's providers, and an operator's shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import trio
from world_kit import a_world, books_of, eventually

from vpnd.bot import callbacks
from vpnd.sandbox.customer import Customer, Message, buttons_of, text_of
from vpnd.sandbox.world import World

pytestmark = pytest.mark.world

ORDER = re.compile(r"orderId=([0-9a-f-]+)")


def pays_by(method: str):
    return lambda action: isinstance(action, callbacks.Pay) and action.method == method


def is_a(kind: type[callbacks.Action]):
    return lambda action: isinstance(action, kind)


async def order_by(customer: Customer, method: str) -> int:
    """Go through the screens to a way to pay; return the chat's event before the last press."""
    await customer.say("/buy")
    await customer.press("choose a plan", is_a(callbacks.Periods))
    await customer.press("choose a period", is_a(callbacks.Methods))
    return await customer.press(f"pay by {method}", pays_by(method))


def pay_page(message: Message) -> str | None:
    found = [ORDER.search(button.get("url", "")) for button in buttons_of(message)]
    return next((match[1] for match in found if match), None)


async def shell(world: World, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vpnd", *words, "--config", str(world.config_path)]
    return await trio.run_process(
        command, check=False, capture_stdout=True, capture_stderr=True, env=dict(os.environ)
    )


async def test_bought_by_card_and_given_back_by_the_shell() -> None:
    """A card pays by YooKassa's page; the operator gives it back: the money is there, the access is not, the books are right."""
    async with a_world(node=False) as (world, _lines), books_of(world) as db:
        await world.start_daemon()
        customer = Customer(world, 4711)
        await customer.say("/start")
        since = await order_by(customer, "yookassa")
        message = await customer.wait_for(
            "the page to pay at", lambda m: pay_page(m) is not None, since=since
        )
        payment = pay_page(message)
        await world.yookassa.post("/sim/pay", payment_id=payment, deliver=2)
        await customer.wait_for("the receipt", lambda m: "Payment received" in text_of(m), since=since)

        told = await shell(world, "refund", f"yookassa:{payment}")
        assert (told.returncode, b"Nothing was done" in told.stdout) == (0, True)
        done = await shell(world, "refund", f"yookassa:{payment}", "--yes", "--reason", "test")
        assert done.returncode == 0, done.stderr
        assert b"the money went back" in done.stdout

        refunds = (await world.yookassa.get("/sim/refunds"))["refunds"]
        assert [(one["payment_id"], one["amount"]["value"]) for one in refunds] == [(payment, "199.00")]
        row = await db.fetchrow(
            "test.after",
            "select s.status, p.status as purchase, (select count(*) from settlements) as charges"
            " from subscriptions s, purchases p limit 1",
        )
        assert row is not None
        assert tuple(row.values()) == ("expired", "refunded", 1)
        looked = await shell(world, "doctor", "--only", "books", "--only", "providers")
        assert looked.returncode == 0, looked.stdout


async def test_a_top_up_buys_what_the_balance_lacked() -> None:
    """A customer without money fills his balance by Crypto Pay and pays from it, after a confirmation, once."""
    async with a_world(node=False) as (world, _lines), books_of(world) as db:
        await world.start_daemon()
        customer = Customer(world, 4712)
        await customer.say("/start")
        await order_by(customer, "balance")
        await customer.press("fill it", is_a(callbacks.TopUpAmount))
        since = await customer.press(
            "by Crypto Pay", lambda a: isinstance(a, callbacks.TopUpPay) and a.method == "cryptopay"
        )
        await customer.wait_for("the invoice", lambda m: any("url" in b for b in buttons_of(m)), since=since)
        invoices = (await world.cryptopay.get("/sim/invoices"))["invoices"]
        await world.cryptopay.post("/sim/pay", invoice_id=invoices[0]["invoice_id"], deliver=True)
        await eventually(
            "the balance is filled",
            lambda: db.fetchval("test.filled", "select balance > 0 from accounts where kind = 'customer'"),
        )
        since = await order_by(customer, "balance")
        await customer.press("confirm", is_a(callbacks.PayFromBalance), since=since)
        await eventually(
            "it was sold",
            lambda: db.fetchval("test.sold", "select count(*) = 1 from grants"),
        )
        assert await db.fetchval("test.left", "select balance from accounts where kind = 'customer'") == 0
