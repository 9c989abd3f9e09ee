"""What a customer connects with: the page of the subscription, and the links of its nodes.

Read when it is shown or sent, and never stored: nodes come and go, and a link is a secret.
"""

from __future__ import annotations

from attrs import field, frozen

from vpnd.bot.apps import importer_name
from vpnd.bot.texts import Texts
from vpnd.database.coalesce import Shared
from vpnd.nodes.links import links_of
from vpnd.shop.nodes import KnownNode
from vpnd.shop.subscriptions import Subscription


@frozen
class ConnectInfo:
    """How to connect. `page_url` is the subscription page, if this shop has one; `links` lead straight to the nodes."""

    page_url: str | None = field(default=None, repr=False)
    links: tuple[str, ...] = field(default=(), repr=False)

    @property
    def best(self) -> str | None:
        """The one to copy or to scan: the page, which stays right when nodes change, else the first link."""
        return self.page_url or next(iter(self.links), None)


def open_url(page: str, importer: str) -> str:
    """Where a button leads that opens an app with the subscription of this page in it (`vpnd.web.open_app`)."""
    return f"{page}/open/{importer}"


def page_url(public_url: str | None, subscription: Subscription) -> str | None:
    """The subscription's page under the shop's public address, if it has one."""
    return f"{public_url.rstrip('/')}/sub/{subscription.link_token}" if public_url else None


async def connect_info(
    nodes: Shared[list[KnownNode]], subscription: Subscription, public_url: str | None
) -> ConnectInfo:
    """The page and the links of one subscription, by the nodes that are known."""
    known = await nodes.get()
    links = tuple(links_of(((node.name, node.inbounds) for node in known), str(subscription.credential)))
    # A page that leads nowhere yet is no help: it is offered once a node can be reached through it.
    return ConnectInfo(page_url(public_url, subscription) if links else None, links)


def open_words(texts: Texts, language: str, importer: str) -> tuple[str, str, str]:
    """Heading, button and hint of the page that opens an app, as plain text."""
    app = importer_name(importer)
    return (
        texts.plain(language, "page-open", app=app),
        texts.plain(language, "page-open-button", app=app),
        texts.plain(language, "page-open-hint", app=app),
    )


def expired_entry(texts: Texts, language: str, *, blocked: bool = False) -> str:
    """The name of the one entry that an app shows for a subscription that has ended, or whose owner is blocked."""
    return texts.plain(language, "profile-blocked" if blocked else "profile-expired")
