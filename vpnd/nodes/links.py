"""``vless://`` links: what a customer imports.

The form that client apps agree on, as their own code reads it: every value and the name after ``#`` percent-encoded, no
key twice, IPv6 addresses in brackets, international names in their ``xn--`` form. ``headerType=none`` is always said,
because an importer that misses it assumes HTTP camouflage; ``fp=chrome`` is the one browser handshake that every core
version accepts; a query must be there at all, or an app drops the link.

A link is a secret: whoever has it, has the access.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import attrs

from vpnd.nodes.model import PublicInbound
from vpnd.runtime.journal import get_journal

journal = get_journal("nodes")

_SCHEME: Final = "vless"


@attrs.frozen
class ParsedLink:
    """A link taken apart: `query` holds its decoded keys and values."""

    uuid: str = attrs.field(repr=False)
    host: str
    port: int
    name: str
    query: dict[str, str]


def vless_link(inbound: PublicInbound, uuid: str, name: str) -> str:
    """Return the link to `inbound` for the credential `uuid`, shown as `name` in apps.

    Raises `ValueError` for a host that is neither an address nor a name that can stand in a URL.
    """
    query = {
        "encryption": "none",
        "type": inbound.transport,
        "headerType": "none",
        "security": inbound.security,
        "sni": _ascii_host(inbound.sni),
        "fp": inbound.fingerprint,
    }
    if inbound.security == "reality":
        query |= {"pbk": inbound.public_key, "sid": inbound.short_id, "spx": inbound.spider_x}
    query["flow"] = inbound.flow
    pairs = "&".join(f"{key}={_encoded(value)}" for key, value in query.items() if value)
    return f"{_SCHEME}://{_encoded(uuid)}@{_authority(inbound.host)}:{inbound.port}?{pairs}#{_encoded(name)}"


def links_of(nodes: Iterable[tuple[str, Sequence[Any]]], uuid: str) -> list[str]:
    """Return the links to every inbound of some nodes for the credential `uuid`.

    `nodes` are names with their inbounds as JSON, the way a node told them. A node's only inbound is shown by the
    node's name, several are told apart by their tags. An inbound that no link can be made for is told in the journal
    and left out: one node of another version must not empty everybody's profile.
    """
    links = []
    for name, inbounds in nodes:
        for document in inbounds:
            try:
                inbound = PublicInbound.parse(document)
                links.append(
                    vless_link(inbound, uuid, name if len(inbounds) == 1 else f"{name} {inbound.tag}")
                )
            except ValueError as error:
                journal.warning(
                    "node.inbound_unreadable",
                    message=f"no link can be made for an inbound of node {name}: {error}",
                    node=name,
                )
    return links


def parse_vless_link(link: str) -> ParsedLink:
    """Take a link apart, the way a strict app does. Raises `ValueError`; its text never contains the link."""
    try:
        parts = urlsplit(link)
        host, port, uuid = parts.hostname, parts.port, parts.username
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise ValueError("the link is no URL with a query") from None
    if parts.scheme != _SCHEME or not host or not port or not uuid:
        raise ValueError("the link lacks its scheme, uuid, host or port")
    query = dict(pairs)
    if not query:
        raise ValueError("the link has no query")
    if len(query) != len(pairs):
        raise ValueError("the link says a key twice")
    return ParsedLink(unquote(uuid), host, port, unquote(parts.fragment), query)


def _encoded(value: str) -> str:
    return quote(value, safe="")


def _authority(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return _ascii_host(host)
    return f"[{address}]" if address.version == 6 else str(address)


def _ascii_host(host: str) -> str:
    """Return a name in ASCII, each international label in its ``xn--`` form."""
    if host.isascii():
        ascii_host = host
    else:
        try:
            ascii_host = host.encode("idna").decode()
        except UnicodeError:
            raise ValueError("the host is no name that DNS could know") from None
    if not ascii_host or any(not (c.isalnum() or c in "-._:") for c in ascii_host):
        raise ValueError("the host holds characters that cannot stand in a URL")
    return ascii_host
