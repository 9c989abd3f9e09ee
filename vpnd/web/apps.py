"""The two web applications: what the world reaches, and what the monitoring system reaches."""

from __future__ import annotations

import re
from typing import Final

from starlette.applications import Starlette
from starlette.routing import Route

from vpnd.config import Secret, Settings
from vpnd.database.database import Database
from vpnd.payments.yookassa import YooKassa
from vpnd.web.health import Checks, health_routes, metrics_routes
from vpnd.web.subscription import ExpiredNotice, subscription_route
from vpnd.web.webhooks import (
    AcceptsUpdates,
    Refunded,
    Settle,
    cryptopay_webhook,
    telegram_webhook,
    yookassa_webhook,
)

#: What may stand in a header that apps open: a web address, or a Telegram name.
_WEB_ADDRESS: Final = re.compile(r"https?://[!-~]+")
_TELEGRAM_NAME: Final = re.compile(r"@?([A-Za-z][A-Za-z0-9_]{3,31})")


def public_app(
    settings: Settings,
    db: Database,
    *,
    intake: AcceptsUpdates,
    settle: Settle,
    checks: Checks,
    expired_notice: ExpiredNotice,
    yookassa: YooKassa | None = None,
    refunded: Refunded | None = None,
) -> Starlette:
    """Return the application on `[http] listen`: health, subscription pages, and the webhooks that are configured.

    `yookassa` is the client that asks about notifications, None when YooKassa is not set up; `refunded` notes a refund
    that a provider reports.
    """
    support = settings.shop.support
    routes: list[Route] = [
        *health_routes(checks),
        subscription_route(
            db,
            title=settings.instance.name,
            support_url=_support_url(support),
            expired_notice=expired_notice,
        ),
    ]
    telegram: Secret | None = settings.telegram.webhook_secret
    if settings.telegram.mode == "webhook" and telegram is not None:
        routes.append(telegram_webhook(telegram, intake))
    if settings.cryptopay.token:
        routes.append(cryptopay_webhook(settings.cryptopay.token, settle))
    if yookassa is not None:
        routes.append(yookassa_webhook(yookassa, settle, refunded))
    return Starlette(routes=routes)


def metrics_app() -> Starlette:
    """Return the application on `[http] metrics_listen`."""
    return Starlette(routes=list(metrics_routes()))


def _support_url(support: str | None) -> str | None:
    """Return where an app sends who needs help: a link as it is, a @name as its t.me address; None for other words."""
    if support is None or _WEB_ADDRESS.fullmatch(support):
        return support
    name = _TELEGRAM_NAME.fullmatch(support)
    return f"https://t.me/{name[1]}" if name else None
