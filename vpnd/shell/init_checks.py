"""The live checks of `vpnd init`: each asks the other side with the answers in hand, cheaply, and changes nothing there.

They go by the clients that the daemon itself uses, so what they accept it accepts: Telegram by its transport, providers by
theirs, a node with its certificate pinned before a byte of the token is sent. Each is bounded, and ends with a verdict, whatever
happens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import trio

from vpnd.config import CryptoPaySettings, NodeSettings, Secret, Settings, TelegramSettings, YooKassaSettings
from vpnd.nodes.client import NodeClient, NodeError, NodeRefused
from vpnd.payments.base import PaymentError, PaymentForbidden
from vpnd.payments.cryptopay import CryptoPay
from vpnd.payments.yookassa import YooKassa
from vpnd.runtime.http import FingerprintMismatch, HttpClient, open_http_client
from vpnd.runtime.limits import Limits
from vpnd.runtime.pinning import fetch_certificate, fingerprint_of
from vpnd.shell.doctor_boundaries import look_at_public_address
from vpnd.shell.doctor_report import Report, described, kept_lines
from vpnd.shell.init_database import ask_as
from vpnd.shell.init_questions import Answers, CheckName
from vpnd.shell.init_verdict import Verdict, doubt, good, wrong
from vpnd.telegram.errors import Blocked, TelegramError, Unauthorized
from vpnd.telegram.outgoing import open_sender
from vpnd.telegram.sender import Lane, Sender

__all__ = ["SECONDS", "bounded", "present_certificate", "run_check"]

#: Seconds for a check. The slowest, YooKassa, answers within a few.
SECONDS: Final = 20.0

_NETWORK: Final = (
    "look at DNS, route and firewall of this machine: getent hosts {host}; curl -v https://{host}/"
)


async def run_check(name: CheckName, answers: Answers) -> Verdict:
    """Make one check of the shop's, as `bounded` does."""
    return await bounded(_CHECKS[name], answers)


async def bounded(check: Callable[[Answers], Awaitable[Verdict]], answers: Answers) -> Verdict:
    """Make one check, within `SECONDS`. Never raises but for a cancellation: what nobody foresaw is a doubt of its own."""
    with trio.move_on_after(SECONDS):
        try:
            return await check(answers)
        except Exception as error:
            return doubt(f"could not be checked: {described(error)}", "report it; the answer can be kept")
    return doubt(
        f"no answer within {SECONDS:g} s",
        "is the other side up, and does a firewall swallow what is sent to it?",
    )


def _network(url: str) -> str:
    return _NETWORK.format(host=urlsplit(url).hostname or "")


@asynccontextmanager
async def _telegram(answers: Answers) -> AsyncIterator[tuple[Sender, str]]:
    """A way to the Bot API with the answers so far, and its address."""
    api_base = answers.value("telegram.api_base") or TelegramSettings().api_base
    settings = TelegramSettings(
        token=Secret(answers.value("telegram.token")),
        api_base=api_base,
        proxy=answers.value("telegram.proxy"),
    )
    async with open_sender(Settings(telegram=settings)) as sender:
        yield sender, api_base


async def _bot(answers: Answers) -> Verdict:
    async with _telegram(answers) as (sender, api_base):
        try:
            me = await sender.post(Lane.REPLY, "getMe", {})
            hook = await sender.post(Lane.REPLY, "getWebhookInfo", {})
        except Unauthorized:
            return wrong(
                "Telegram refuses the token",
                "take the one that @BotFather shows: /mybots → your bot → API Token; a revoked one is worth nothing",
            )
        except TelegramError as error:
            return doubt(
                f"Telegram does not answer: {error}",
                f"{_network(api_base)}. Where Telegram is blocked: vpnd init --telegram-proxy socks5://…",
            )
    notes = []
    if hook.get("url"):
        host = urlsplit(str(hook["url"])).hostname or "an address"
        notes.append(
            f"a webhook to {host} is set: if another program uses this token, stop it; two cannot share one"
        )
    return good(
        f"@{me.get('username')} “{me.get('first_name')}” answers", *notes, bot=str(me.get("username") or "")
    )


async def _admins(answers: Answers) -> Verdict:
    """Who these people are, as far as the bot can see them: it sees whoever has written to it."""
    seen, unseen = [], []
    async with _telegram(answers) as (sender, _):
        for number in answers.value("telegram.admins") or ():
            try:
                chat = await sender.post(Lane.REPLY, "getChat", {"chat_id": number})
            except Blocked:
                unseen.append(str(number))
            except TelegramError as error:
                return good("taken as it is", f"Telegram could not be asked who that is: {error}")
            else:
                seen.append(" ".join(filter(None, (chat.get("first_name"), chat.get("last_name")))))
    bot = answers.learned.get("bot", "the bot")
    notes = (
        [f"{', '.join(unseen)} never wrote to @{bot}: write /start to it, else it cannot write to you"]
        if unseen
        else []
    )
    return good(", ".join(seen) or "taken as it is", *notes)


async def _database(answers: Answers) -> Verdict:
    return await ask_as(answers.value("database.url"), answers.account)


@asynccontextmanager
async def _http() -> AsyncIterator[HttpClient]:
    async with open_http_client(Limits(1, 8)) as http:
        yield http


async def _cryptopay(answers: Answers) -> Verdict:
    api_base = answers.value("cryptopay.api_base") or CryptoPaySettings().api_base
    async with _http() as http:
        try:
            me = await CryptoPay(http, Secret(answers.value("cryptopay.token")), api_base).get_me()
        except PaymentError as error:
            credential = (
                "take the token of @CryptoBot → Crypto Pay → My Apps; one of @CryptoTestnetBot needs"
                " --cryptopay-api-base https://testnet-pay.crypt.bot/api"
            )
            return _refused("Crypto Pay", error, credential, api_base, "cryptopay.token")
    return good(f"the app “{me.get('name', '?')}” answers")


async def _yookassa(answers: Answers) -> Verdict:
    api_base = answers.value("yookassa.api_base") or YooKassaSettings().api_base
    shop, key = answers.value("yookassa.shop_id"), Secret(answers.value("yookassa.secret_key"))
    async with _http() as http:
        try:
            await YooKassa(http, shop, key, api_base).charges_since(datetime.now(UTC) - timedelta(minutes=1))
        except PaymentError as error:
            credential = "take shop id and secret key from YooKassa's cabinet → Integration → API keys"
            return _refused(
                "YooKassa", error, credential, api_base, "yookassa.shop_id", "yookassa.secret_key"
            )
    currency = answers.value("shop.currency")
    notes = [] if currency == "RUB" else [f"YooKassa takes RUB, and the shop's currency is {currency}"]
    return good(f"the shop {shop} answers", *notes)


def _refused(who: str, error: PaymentError, credential: str, api_base: str, *again: str) -> Verdict:
    if isinstance(error, PaymentForbidden):
        return wrong(f"{who} refuses the credential: {error}", credential, *again)
    return doubt(f"{who} does not answer as it should: {error}", _network(api_base))


async def _public_url(answers: Answers) -> Verdict:
    url = answers.value("http.public_url")
    if not url:
        return good("none: updates are polled, and there are no pages for apps")
    report = Report()
    with kept_lines(keep=True) as lines:
        await look_at_public_address(url, report)
    for found in report.findings:
        if found.severity == "critical":
            return doubt(
                found.text, f"{found.remedy}. A proxy may be set up later (docs/install.md): keep it then"
            )
    return good(
        "; ".join(line["text"] for line in lines) or "taken as it is",
        *(found.text for found in report.findings),
    )


async def present_certificate(url: str) -> str | None:
    """Return the SHA-256 of the certificate that an agent on this machine shows now; None if there is none to be seen."""
    parts = urlsplit(url)
    with trio.move_on_after(5):
        try:
            certificate = await fetch_certificate(parts.hostname or "", parts.port or 443)
        except (OSError, trio.BrokenResourceError):
            return None
        return fingerprint_of(certificate).hex()
    return None


async def _node(answers: Answers) -> Verdict:
    settings = NodeSettings(
        name=answers.value("node.name"),
        url=answers.value("node.url"),
        token=Secret(answers.value("node.token")),
        fingerprint=answers.value("node.fingerprint"),
    )
    async with _http() as http:
        try:
            status = await NodeClient(settings, http).status()
        except NodeRefused as error:
            return wrong(str(error), "compare the token with agent.token on the node", "node.token")
        except NodeError as error:
            if isinstance(error.__cause__, FingerprintMismatch):
                return wrong(
                    str(error),
                    "compare it with what the agent prints (journalctl -u vpnd-node | grep fingerprint);"
                    " if it is another one there, somebody stands in between",
                    "node.fingerprint",
                )
            if settings.fingerprint is None and "certificate" in str(error).lower():
                return wrong(
                    "its certificate is not signed by an authority that this machine trusts",
                    "an agent makes its own: give its SHA-256 (journalctl -u vpnd-node | grep fingerprint there)",
                    "node.fingerprint",
                )
            remedy = "systemctl status vpnd-node on the node; its firewall must let this machine in to the agent's port"
            return doubt(str(error), remedy, "node.url", "node.fingerprint")
    notes = []
    if status.core.state != "running":
        notes.append(f"its core is {status.core.state}: journalctl -u vpnd-node there says why")
    doors = ", ".join(f"{door.security} on port {door.port}" for door in status.inbounds) or "no inbound"
    return good(f"the agent {status.agent} answers: {doors}", *notes)


_CHECKS: Final[Mapping[CheckName, Callable[[Answers], Awaitable[Verdict]]]] = {
    "telegram": _bot,
    "admins": _admins,
    "database": _database,
    "cryptopay": _cryptopay,
    "yookassa": _yookassa,
    "public_url": _public_url,
    "node": _node,
}
