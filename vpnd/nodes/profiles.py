"""Subscription profiles: what an app downloads again and again from a customer's page.

The body that every app reads is base64 (standard alphabet, padded) of the links, one a line. Everything an app shows
around them (traffic, end, name, where to get help) travels in headers, which the apps learned from each other; who
reads which stands in docs/nodes.md. An expired customer gets one entry that cannot connect and says so by its name:
an empty list would look like a fault of the app.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

#: Happ cuts a longer title.
MAX_TITLE: Final = 25
#: Happ cuts a longer announcement.
MAX_ANNOUNCE: Final = 200
#: Discard port of the loopback address: an app can list the entry, and never connects anywhere.
_NOWHERE: Final = "127.0.0.1:9"
_NOBODY: Final = "00000000-0000-4000-8000-000000000000"


def subscription_body(links: Sequence[str]) -> bytes:
    """Return the body for a list of links."""
    return base64.b64encode("\n".join(links).encode())


def expired_body(notice: str) -> bytes:
    """Return the body of a subscription that has ended: one entry named `notice` that leads nowhere."""
    return subscription_body([stub_link(notice)])


def stub_link(notice: str) -> str:
    """Return a well-formed link that cannot connect and is only there for its name, `notice`."""
    query = "encryption=none&type=tcp&headerType=none&security=none"
    return f"vless://{_NOBODY}@{_NOWHERE}?{query}#{quote(notice, safe='')}"


def subscription_headers(
    *,
    title: str,
    expires_at: datetime | None,
    upload: int = 0,
    download: int = 0,
    total: int = 0,
    update_hours: float = 12,
    filename: str = "vpn",
    web_page_url: str | None = None,
    support_url: str | None = None,
    announce: str | None = None,
) -> dict[str, str]:
    """Return the headers that go with a profile.

    `upload`, `download` and `total` are bytes, 0 for a `total` without limit; `expires_at` None means never;
    `update_hours` is rounded up to whole hours, at least one, because an app fails on a fraction. Raises `ValueError`
    for a time without a zone or an address that is no http(s) URL.
    """
    if expires_at is not None and expires_at.tzinfo is None:
        raise ValueError("expires_at has no time zone")
    expire = 0 if expires_at is None else max(1, int(expires_at.timestamp()))
    headers = {
        "content-type": "text/plain; charset=utf-8",
        # One app ignores the line unless all four are there; 0 stands for "no limit" and "never".
        "subscription-userinfo": f"upload={upload}; download={download}; total={total}; expire={expire}",
        "profile-title": _base64_text(title[:MAX_TITLE]),
        "profile-update-interval": str(max(1, math.ceil(update_hours))),
        "content-disposition": _disposition(filename),
        # A profile is a secret of its owner, and changes when he renews.
        "cache-control": "no-store",
    }
    if web_page_url is not None:
        headers["profile-web-page-url"] = _url(web_page_url)
    if support_url is not None:
        headers["support-url"] = _url(support_url)
    if announce:
        headers["announce"] = _base64_text(announce[:MAX_ANNOUNCE])
    return headers


#: Apps that read what a subscription page serves, and that an address of their own opens with a subscription in it.
IMPORTERS: Final = ("happ", "hiddify", "streisand", "v2rayng", "v2raytun")


def import_links(subscription_url: str, name: str) -> Mapping[str, str]:
    """Return the addresses that open an app with the subscription in it, for each of `IMPORTERS`.

    `name` is what the app calls the subscription, where its address can say so. Raises `ValueError` for an address that is no
    http(s) URL.
    """
    plain, label = _url(subscription_url), quote(name, safe="")
    return {
        "happ": f"happ://add/{plain}",
        "hiddify": f"hiddify://import/{plain}#{label}",
        "streisand": f"streisand://import/{plain}#{label}",
        # What stands behind the # becomes the name there.
        "v2rayng": f"v2rayng://install-sub?url={quote(plain, safe='')}#{label}",
        "v2raytun": f"v2raytun://import/{plain}",
    }


def _base64_text(text: str) -> str:
    return "base64:" + base64.b64encode(text.encode()).decode()


def _disposition(filename: str) -> str:
    plain = "".join(c for c in filename if c.isascii() and (c.isalnum() or c in "-_.")) or "vpn"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _url(url: str) -> str:
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or not url.isascii()
        or not url.isprintable()
    ):
        raise ValueError("not an http(s) URL")
    return url
