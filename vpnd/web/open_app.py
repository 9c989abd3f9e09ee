"""`GET /sub/<token>/open/<app>`: a page whose one button opens an app with the subscription in it.

A messenger's button leads to web addresses only, and an app is opened by an address of its own (`hiddify://…`); this page
stands between the two. It opens the app by itself where the browser lets it, loads nothing from anywhere, and is as secret
as the subscription's own page: an unknown token is answered like any unknown page.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Final

from attrs import frozen
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.nodes.profiles import IMPORTERS, import_links
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.shop.status import subscription_page
from vpnd.web.subscription import RETRY_AFTER, TOKEN

_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
_PAGE: Final = """<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="0; url={link}">
<title>{heading}</title>
<style>
body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 26em; margin: 12vh auto 0; padding: 0 1.2em; text-align: center;
  color: #1c1c1e; background: #f7f7f9 }}
a {{ display: block; margin: 1.5em 0; padding: .9em; border-radius: .7em; background: #2481cc; color: #fff;
  text-decoration: none; font-weight: 600 }}
p {{ color: #55585e }}
@media (prefers-color-scheme: dark) {{ body {{ color: #f2f2f7; background: #17212b }} p {{ color: #a3acb5 }} }}
</style>
<h1>{heading}</h1>
<a href="{link}">{button}</a>
<p>{hint}</p>
</html>
"""


@frozen
class OpenPage:
    """The words of the page, as plain text: what it is, its button, and what helps if nothing happens."""

    heading: str
    button: str
    hint: str


#: The words in a customer's language for an app, by the app's name in `IMPORTERS`.
OpenWords = Callable[[str, str], OpenPage]


def open_app_route(db: Database, *, public_url: str, title: str, words: OpenWords) -> Route:
    """Return the route `/sub/{token}/open/{app}`.

    Args:
        db: read in the limit class of links, so that no crowd can keep a handler waiting.
        public_url: the shop's address as customers know it, which the app is given; never what a request calls us.
        title: the shop's name as apps show it.
        words: says it in the customer's language.
    """

    async def show(request: Request) -> Response:
        token, app = request.path_params["token"], request.path_params["app"]
        if app not in IMPORTERS or not TOKEN.fullmatch(token):
            return PlainTextResponse("not found", 404)
        try:
            with as_class(LimitClass.ADMIN):
                page = await subscription_page(db, token)
        except DatabaseError:
            return PlainTextResponse("try again later", 503, {"Retry-After": str(RETRY_AFTER)})
        if page is None:
            return PlainTextResponse("not found", 404)
        link = import_links(f"{public_url.rstrip('/')}/sub/{token}", title)[app]
        said = words(page.language, app)
        body = _PAGE.format(
            language=escape(page.language),
            link=escape(link),
            heading=escape(said.heading),
            button=escape(said.button),
            hint=escape(said.hint),
        )
        return HTMLResponse(body, headers=_HEADERS)

    return Route("/sub/{token}/open/{app}", show)
