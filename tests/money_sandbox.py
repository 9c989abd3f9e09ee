"""The sandboxed providers over real sockets, for tests of what is asked of them: hands to play everybody else, and clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from attrs import frozen
from shop_world import ShopWorld

from vpnd.config import Secret, Settings, TelegramSettings
from vpnd.payments.base import Provider
from vpnd.payments.cryptopay import CryptoPay
from vpnd.payments.stars_account import StarsAccount
from vpnd.payments.watcher import invoice_for
from vpnd.payments.yookassa import YooKassa
from vpnd.runtime.http import open_http_client
from vpnd.runtime.limits import Limits
from vpnd.sandbox.servers import Sandbox, open_sandbox
from vpnd.sandbox.tls import trusted
from vpnd.shop.purchases import Purchase
from vpnd.telegram.outgoing import open_sender

PERIOD = 2_592_000


@frozen
class Town:
    """The providers, our clients of them, and the hands of everybody else."""

    sandbox: Sandbox
    browser: httpx.AsyncClient
    cryptopay: CryptoPay
    yookassa: YooKassa
    stars: StarsAccount

    async def _post(self, url: str, values: dict[str, Any]) -> Any:
        answer = await self.browser.post(url, json=values)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def telegram(self, path: str, **values: Any) -> Any:
        """A call of Telegram's control API."""
        return await self._post(f"{self.sandbox.telegram_url}/sim/{path}", values)

    async def crypto(self, path: str, **values: Any) -> Any:
        """A call of Crypto Pay's control API."""
        return await self._post(f"{self.sandbox.cryptopay_url}/sim/{path}", values)

    async def yoo(self, path: str, **values: Any) -> Any:
        """A call of YooKassa's control API."""
        return await self._post(f"{self.sandbox.yookassa_url}/sim/{path}", values)

    async def bot(self, method: str, **values: Any) -> Any:
        """A call of the Bot API."""
        url = f"{self.sandbox.telegram_url}/bot{self.sandbox.telegram.token}/{method}"
        answer = (await self.browser.post(url, json=values)).json()
        assert answer["ok"], answer
        return answer["result"]

    async def pay_stars(self, purchase: Purchase, telegram_id: int) -> str:
        """A person pays a purchase in Stars, and the bot is not told; the charge's id."""
        asked: dict[str, Any] = {"subscription_period": PERIOD} if purchase.recurring else {}
        link = await self.bot(
            "createInvoiceLink", title="Month", description="A month", payload=purchase.public_id, currency="XTR",
            prices=[{"label": "Month", "amount": purchase.amount}], **asked,
        )  # fmt: skip
        paid = await self.telegram("pay", link=link, chat_id=telegram_id, pre_checkout=False, deliver=False)
        return str(paid["charge_id"])

    def asked(self, provider: Provider) -> Any:
        """The control API of a provider that is asked over HTTP."""
        return self.crypto if provider.name == "cryptopay" else self.yoo

    async def pay(self, provider: Provider, external_id: str, **options: Any) -> None:
        """A person pays an invoice, and no webhook tells of it."""
        field = "invoice_id" if provider.name == "cryptopay" else "payment_id"
        await self.asked(provider)("pay", **{field: external_id, "deliver": False, **options})


@asynccontextmanager
async def open_town(**cryptopay: Any) -> AsyncIterator[Town]:
    """The three providers on real sockets, and clients of them."""
    async with (
        open_sandbox() as sandbox,
        open_http_client(Limits(5, 20)) as http,
        httpx.AsyncClient(verify=trusted(), trust_env=False, timeout=30) as browser,
    ):
        telegram = TelegramSettings(token=Secret(sandbox.telegram.token), api_base=sandbox.telegram_url)
        card = sandbox.yookassa
        async with open_sender(Settings(telegram=telegram)) as sender:
            yield Town(
                sandbox,
                browser,
                CryptoPay(http, Secret(sandbox.cryptopay.token), f"{sandbox.cryptopay_url}/api", **cryptopay),
                YooKassa(http, card.shop_id, Secret(card.secret), f"{sandbox.yookassa_url}/v3"),
                StarsAccount(sender),
            )


async def ordered(shop: ShopWorld, provider: Provider, **options: Any) -> tuple[Purchase, str]:
    """A new customer's purchase with its invoice at a provider: the purchase, and the invoice's number there."""
    one = options.pop("customer", None) or await shop.customer()
    purchase = await shop.buy(one, provider.name, **options)  # type: ignore[arg-type]  # a provider's name is a method
    invoice = await invoice_for(shop.db, provider, purchase, description="A month")
    return purchase, invoice.external_id


def environment(town: Town, database_url: str) -> dict[str, str]:
    """What configures a command for a shop of this town."""
    sandbox = town.sandbox
    return {
        "VPND_TELEGRAM__TOKEN": sandbox.telegram.token,
        "VPND_TELEGRAM__API_BASE": sandbox.telegram_url,
        "VPND_DATABASE__URL": database_url,
        "VPND_CRYPTOPAY__TOKEN": sandbox.cryptopay.token,
        "VPND_CRYPTOPAY__API_BASE": f"{sandbox.cryptopay_url}/api",
        "VPND_YOOKASSA__SHOP_ID": sandbox.yookassa.shop_id,
        "VPND_YOOKASSA__SECRET_KEY": sandbox.yookassa.secret,
        "VPND_YOOKASSA__API_BASE": f"{sandbox.yookassa_url}/v3",
    }
