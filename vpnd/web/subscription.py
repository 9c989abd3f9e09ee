"""`GET /sub/<token>`: the page that a customer's app downloads again and again.

The token is the secret; an unknown one is answered like any unknown page. An expired subscription still answers, with an entry
that says so, because an app that gets an error shows its owner nothing useful. So does that of somebody who is blocked: its entry
says that access is closed, and its end is the block and not what was paid for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.nodes.links import links_of
from vpnd.nodes.profiles import expired_body, subscription_body, subscription_headers
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.shop.nodes import known_nodes
from vpnd.shop.status import SubscriptionPage, subscription_page

#: How often an app should ask again: a day's renewal is seen within this many hours.
UPDATE_HOURS: Final = 12

#: Seconds after which an app should try again while the database is away.
RETRY_AFTER: Final = 30

#: What a token can look like at all. Anything else is nobody's, and is not worth a question to the database.
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)

#: Says "expired", or that access is closed, in the customer's language.
ExpiredNotice = Callable[[SubscriptionPage], str]


def subscription_route(
    db: Database, *, title: str, support_url: str | None, expired_notice: ExpiredNotice
) -> Route:
    """Return the route `/sub/{token}`.

    Args:
        db: read in the limit class of admin reads and links, so that no crowd of apps can keep a handler waiting.
        title: the shop's name as apps show it.
        support_url: where an app sends who needs help.
        expired_notice: names the entry of a subscription that gives no access.
    """

    async def show(request: Request) -> Response:
        token = request.path_params["token"]
        if not TOKEN.fullmatch(token):
            return PlainTextResponse("not found", 404)
        try:
            with as_class(LimitClass.ADMIN):
                page = await subscription_page(db, token)
                nodes = [] if page is None else await known_nodes(db)
        except DatabaseError:
            return PlainTextResponse("try again later", 503, {"Retry-After": str(RETRY_AFTER)})
        if page is None:
            return PlainTextResponse("not found", 404)
        headers: Mapping[str, Any] = subscription_headers(
            title=title,
            expires_at=page.until,
            update_hours=UPDATE_HOURS,
            support_url=support_url,
        )
        body = (
            subscription_body(links_of(((node.name, node.inbounds) for node in nodes), str(page.credential)))
            if page.active
            else expired_body(expired_notice(page))
        )
        return Response(body, headers=dict(headers))

    return Route("/sub/{token}", show)
