"""The two web applications: what the world reaches, and what the monitoring system reaches."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from vpnd.config import Secret, Settings, contact_link
from vpnd.database.database import Database
from vpnd.payments.yookassa import YooKassa
from vpnd.web.health import Checks, health_routes, metrics_routes
from vpnd.web.measured import Measured
from vpnd.web.open_app import OpenWords, open_app_route
from vpnd.web.subscription import ExpiredNotice, subscription_route
from vpnd.web.webhooks import (
    AcceptsUpdates,
    Refunded,
    Settle,
    cryptopay_webhook,
    telegram_webhook,
    yookassa_webhook,
)


def public_app(
    settings: Settings,
    db: Database,
    *,
    intake: AcceptsUpdates,
    settle: Settle,
    checks: Checks,
    expired_notice: ExpiredNotice,
    open_words: OpenWords,
    yookassa: YooKassa | None = None,
    refunded: Refunded | None = None,
) -> Starlette:
    """Return the application on `[http] listen`: health, subscription pages, and the webhooks that are configured.

    Pages that open an app are there when customers know an address of ours (`[http] public_url`).
    `yookassa` is the client that asks about notifications, None when YooKassa is not set up; `refunded` notes a refund
    that a provider reports.
    """
    support = settings.shop.support
    routes: list[Route] = [
        *health_routes(checks),
        subscription_route(
            db,
            title=settings.instance.name,
            support_url=contact_link(support),
            expired_notice=expired_notice,
        ),
    ]
    if settings.http.public_url is not None:
        routes.append(
            open_app_route(
                db, public_url=settings.http.public_url, title=settings.instance.name, words=open_words
            )
        )
    telegram: Secret | None = settings.telegram.webhook_secret
    if settings.telegram.mode == "webhook" and telegram is not None:
        routes.append(telegram_webhook(telegram, intake))
    if settings.cryptopay.token:
        routes.append(cryptopay_webhook(settings.cryptopay.token, settle))
    if yookassa is not None:
        routes.append(yookassa_webhook(yookassa, settle, refunded))
    return Starlette(routes=routes, middleware=[Middleware(Measured)])


def metrics_app() -> Starlette:
    """Return the application on `[http] metrics_listen`."""
    return Starlette(routes=list(metrics_routes()))
