"""The boundaries' part of `vpnd doctor`: whether each name resolves, each other side answers, and takes what we show it.

Every one is asked with the credential that the daemon uses, and nothing is changed there. Telegram's own clock is taken from the
head of an answer: what Telegram says of time is what its messages are dated by.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from vpnd.nodes.client import NodeClient, NodeError, NodeRefused
from vpnd.payments.base import PaymentError, PaymentForbidden
from vpnd.payments.cryptopay import CryptoPay
from vpnd.payments.yookassa import YooKassa
from vpnd.runtime.http import FingerprintMismatch
from vpnd.shell.doctor_report import Check, Report, say
from vpnd.shell.shop import OpenShop
from vpnd.telegram.errors import Conflict, TelegramError, Unauthorized
from vpnd.telegram.sender import Lane

__all__ = ["boundary_checks", "look_at_public_address"]

#: Seconds by which Telegram's clock may differ: its head has whole seconds, and an answer takes some time.
CLOCK: Final = 5.0
#: Days that a certificate should last.
CERTIFICATE_DAYS: Final = 14
#: Seconds since a failed delivery of an update that is worth a word.
RECENT: Final = 3600
#: Updates that wait at Telegram.
WAITING: Final = 100

_NETWORK: Final = "look at DNS, route and firewall of this machine: getent hosts NAME; curl -v https://NAME/"


def boundary_checks(shop: OpenShop, clients: Sequence[NodeClient]) -> list[Check]:
    """Return a check for each other side that is configured."""
    settings = shop.settings
    checks = [Check("telegram", partial(_telegram, shop), seconds=20.0, remedy=_NETWORK)]
    if settings.telegram.proxy is None:
        checks.append(Check("clock there", partial(_telegram_clock, shop), remedy=_NETWORK))
    if shop.desk.cryptopay is not None:
        checks.append(
            Check("cryptopay", partial(_cryptopay, shop, shop.desk.cryptopay), seconds=15.0, remedy=_NETWORK)
        )
    if shop.desk.yookassa is not None:
        checks.append(
            Check("yookassa", partial(_yookassa, shop, shop.desk.yookassa), seconds=15.0, remedy=_NETWORK)
        )
    if settings.http.public_url is not None:
        checks.append(
            Check("public_url", partial(look_at_public_address, settings.http.public_url), remedy=_NETWORK)
        )
    urls = {node.name: node.url for node in settings.nodes}
    checks += [
        Check(f"way {client.name}", partial(_node, client, urls[client.name]), seconds=12.0)
        for client in clients
    ]
    return checks


async def _resolves(report: Report, about: str, url: str) -> bool:
    """Look whether the name of a URL's host is known; say so if it is not."""
    host = urlsplit(url).hostname or ""
    try:
        await trio.socket.getaddrinfo(host, None)
    except OSError as error:
        report.find(
            about,
            "critical",
            f"the name {host} does not resolve: {error.strerror or error}",
            f"getent hosts {host}; look into /etc/resolv.conf, or mend the name in the configuration",
        )
        return False
    return True


async def _telegram(shop: OpenShop, report: Report) -> None:
    settings = shop.settings.telegram
    if settings.proxy is None and not await _resolves(report, "telegram", settings.api_base):
        return
    try:
        me = await shop.sender.post(Lane.REPLY, "getMe", {})
        hook = await shop.sender.post(Lane.REPLY, "getWebhookInfo", {})
    except Unauthorized:
        report.find(
            "telegram",
            "critical",
            "Telegram refuses the token",
            "take the one that @BotFather shows under API Token, put it into the credential's file, restart",
        )
    except Conflict as error:
        report.find("telegram", "critical", str(error), "stop the other program that uses this token")
    except TelegramError as error:
        report.find("telegram", "critical", f"does not answer: {error}", _NETWORK)
    else:
        say("telegram", f"@{me.get('username', '?')} answers, updates by {settings.mode}")
        _webhook(shop, hook, report)


def _webhook(shop: OpenShop, hook: dict[str, Any], report: Report) -> None:
    """Judge what Telegram says of the way that updates take."""
    settings, public = shop.settings.telegram, shop.settings.http.public_url
    address = str(hook.get("url") or "")
    if settings.mode == "polling" and address:
        report.find(
            "telegram",
            "critical",
            "a webhook is set, so polling gets nothing",
            "the daemon deletes it when it starts; does another program set it?",
        )
    if settings.mode == "webhook" and public is not None and not address.startswith(public):
        where = urlsplit(address).hostname or "nowhere"
        report.find(
            "telegram",
            "critical",
            f"updates are delivered to {where}, not to [http] public_url",
            "the daemon sets it when it starts; does another program set it?",
        )
    failed = hook.get("last_error_date")
    if isinstance(failed, int) and time.time() - failed < RECENT:
        report.find(
            "telegram",
            "warning",
            f"Telegram could not deliver an update {time.time() - failed:.0f} s ago: {hook.get('last_error_message')}",
            "look at the reverse proxy's log, and at its certificate from outside: curl -v PUBLIC_URL",
        )
    waiting = hook.get("pending_update_count")
    if isinstance(waiting, int) and waiting > WAITING:
        report.find(
            "telegram", "warning", f"{waiting} updates wait at Telegram", "does the daemon run? vpnd status"
        )


async def _telegram_clock(shop: OpenShop, report: Report) -> None:
    before = time.time()
    answer = await shop.http.request(
        "telegram", "clock", "GET", shop.settings.telegram.api_base.rstrip("/") + "/", deadline=8.0
    )
    took = time.time() - before
    said = answer.headers.get("date")
    if said is None:
        say("clock there", "Telegram's answer has no date")
        return
    offset = parsedate_to_datetime(said).timestamp() - (before + took / 2)
    if abs(offset) > CLOCK + took:
        report.find(
            "clock there",
            "critical",
            f"Telegram's clock is {offset:+.0f} s from this machine's",
            "set this machine's by NTP: timedatectl set-ntp true, then timedatectl status",
        )


async def _cryptopay(shop: OpenShop, provider: CryptoPay, report: Report) -> None:
    if await _resolves(report, "cryptopay", shop.settings.cryptopay.api_base):
        try:
            me = await provider.get_me()
        except PaymentError as error:
            _refused(report, "cryptopay", error, "the token of @CryptoBot → Crypto Pay → My Apps")
        else:
            say("cryptopay", f"the app {me.get('name', '?')} answers")


async def _yookassa(shop: OpenShop, provider: YooKassa, report: Report) -> None:
    if await _resolves(report, "yookassa", shop.settings.yookassa.api_base):
        try:
            await provider.charges_since(datetime.now(UTC) - timedelta(minutes=1))
        except PaymentError as error:
            _refused(
                report, "yookassa", error, "shop_id and the secret key of YooKassa → Integration → API keys"
            )
        else:
            say("yookassa", f"the shop {shop.settings.yookassa.shop_id} answers")


def _refused(report: Report, about: str, error: PaymentError, credential: str) -> None:
    if isinstance(error, PaymentForbidden):
        report.find(about, "critical", f"refuses the credential: {error}", f"compare it with {credential}")
    else:
        report.find(about, "critical", f"does not answer as it should: {error}", _NETWORK)


async def look_at_public_address(url: str, report: Report) -> None:
    """Shake hands with the address that customers and providers use, and see how long its certificate lasts."""
    if not await _resolves(report, "public_url", url):
        return
    parts = urlsplit(url)
    if parts.scheme != "https":
        return
    context = await trio.to_thread.run_sync(ssl.create_default_context)
    try:
        stream = await trio.open_ssl_over_tcp_stream(
            parts.hostname or "", parts.port or 443, https_compatible=True, ssl_context=context
        )
        try:
            await stream.do_handshake()
            certificate = stream.getpeercert()
        finally:
            await trio.aclose_forcefully(stream)
    except (OSError, trio.BrokenResourceError) as error:
        reason = error.__cause__ or error
        report.find(
            "public_url",
            "critical",
            f"{parts.hostname} cannot be reached by TLS: {reason}",
            "look at the reverse proxy and its certificate; a machine that cannot reach itself by its public name may be why",
        )
        return
    left = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86_400
    say("public_url", f"{parts.hostname} answers")
    if left < CERTIFICATE_DAYS:
        report.find(
            "public_url",
            "warning",
            f"the certificate of {parts.hostname} ends in {left:.0f} days",
            "renew it: certbot renew, or what the reverse proxy uses; look why it was not renewed by itself",
        )


async def _node(client: NodeClient, url: str, report: Report) -> None:
    about = f"way {client.name}"
    if not await _resolves(report, about, url):
        return
    try:
        status = await client.status()
    except NodeRefused as error:
        report.find(
            about, "critical", str(error), f"compare nodes.{client.name}.token with the node's agent.token"
        )
    except NodeError as error:
        report.find(about, "critical", str(error), _node_remedy(error))
    else:
        say(about, f"node {client.name} answers; open connections are ended by: {status.cut}")


def _node_remedy(error: NodeError) -> str:
    if isinstance(error.__cause__, FingerprintMismatch):
        return "compare `fingerprint` with what the agent prints at its start; if it was not exchanged by you, do not trust it"
    return "systemctl status vpnd-node on the node; its firewall must let this machine in"
