"""Links: what an app reads out of them is what was put in."""

from __future__ import annotations

import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.nodes.links import links_of, parse_vless_link, vless_link
from vpnd.nodes.model import PublicInbound
from vpnd.runtime.journal import capture

UUID = "0b7f1c9e-7d2f-4c55-9a53-0d8f3f0a1b2c"
URL_CHARACTERS = set(string.ascii_letters + string.digits + "-._~%:/?#[]@&=")

REALITY = PublicInbound(
    tag="main",
    host="node.example.com",
    port=443,
    security="reality",
    sni="www.example.com",
    public_key="aB-_" * 10 + "abc",
    short_id="0123456789abcdef",
    spider_x="/",
)
TLS = PublicInbound(tag="tls", host="192.0.2.7", port=8443, security="tls", sni="vpn.example.com")


def test_a_reality_link_is_what_apps_expect():
    """Key by key, in the form that the apps' own parsers read."""
    assert vless_link(REALITY, UUID, "Berlin 1") == (
        f"vless://{UUID}@node.example.com:443?encryption=none&type=tcp&headerType=none&security=reality"
        f"&sni=www.example.com&fp=chrome&pbk={REALITY.public_key}&sid=0123456789abcdef&spx=%2F"
        "&flow=xtls-rprx-vision#Berlin%201"
    )


def test_a_tls_link_says_nothing_of_reality():
    """No key stands there empty."""
    assert vless_link(TLS, UUID, "n") == (
        f"vless://{UUID}@192.0.2.7:8443?encryption=none&type=tcp&headerType=none&security=tls"
        "&sni=vpn.example.com&fp=chrome&flow=xtls-rprx-vision#n"
    )


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    spider=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    uuid=st.uuids().map(str),
    port=st.integers(1, 65535),
)
def test_whatever_the_values_they_come_back(name, spider, uuid, port):
    """Every value is percent-encoded, so no character of one can be taken for a separator or another key."""
    inbound = PublicInbound(
        tag="t",
        host="n.example",
        port=port,
        security="reality",
        sni="s.example",
        public_key="k",
        spider_x=spider,
    )
    link = vless_link(inbound, uuid, name)
    parsed = parse_vless_link(link)

    assert set(link) <= URL_CHARACTERS
    assert (parsed.uuid, parsed.host, parsed.port, parsed.name) == (uuid, "n.example", port, name)
    assert parsed.query["spx"] == spider
    assert parsed.query["headerType"] == "none"
    assert parsed.query["fp"] == "chrome"
    assert parsed.query["encryption"] == "none"
    assert parsed.query["flow"] == "xtls-rprx-vision"


@given(st.ip_addresses(v=6).filter(lambda address: address.scope_id is None))
def test_an_ipv6_host_stands_in_brackets(address):
    """Otherwise its colons would be taken for the port's."""
    link = vless_link(PublicInbound(tag="t", host=str(address), port=443, security="tls", sni="s"), UUID, "n")

    assert f"@[{address}]:443?" in link
    assert urlsplit(link).port == 443
    assert parse_vless_link(link).host == str(address)


def test_an_international_host_is_written_in_ascii():
    """Apps hand the host to DNS as it stands."""
    link = vless_link(
        PublicInbound(tag="t", host="bücher.example", port=1, security="tls", sni="bücher.example"), UUID, "n"
    )

    assert "@xn--bcher-kva.example:1?" in link
    assert parse_vless_link(link).query["sni"] == "xn--bcher-kva.example"


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "a?b", "a#b", "\udcff", "a" * 70 + "ä.example"])
def test_a_host_that_cannot_stand_in_a_url_is_refused(host):
    """Rather no link than one that leads elsewhere."""
    with pytest.raises(ValueError, match="host"):
        vless_link(PublicInbound(tag="t", host=host, port=1, security="tls", sni="s"), UUID, "n")


@pytest.mark.parametrize(
    "link",
    [
        "",
        f"vmess://{UUID}@h:1?a=b",
        "vless://h:1?a=b",
        f"vless://{UUID}@h?a=b",
        f"vless://{UUID}@h:99999?a=b",
        f"vless://{UUID}@h:1",
        f"vless://{UUID}@h:1?a=b&a=c",
        f"vless://{UUID}@[::1:1?a=b",
    ],
)
def test_a_strict_app_refuses_what_is_no_link(link):
    """And the error never quotes the link, which is a secret."""
    with pytest.raises(ValueError, match="the link") as caught:
        parse_vless_link(link)

    assert UUID not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_parsed_link_does_not_show_its_uuid():
    """It may stand in a traceback."""
    assert UUID not in repr(parse_vless_link(vless_link(TLS, UUID, "n")))


def test_a_profile_has_a_link_for_every_door():
    """A node's only door bears its name, several are told apart by their tags."""
    links = links_of(
        [("Berlin", [REALITY.to_json()]), ("Oslo", [REALITY.to_json(), TLS.to_json()]), ("New", [])], UUID
    )

    assert [parse_vless_link(link).name for link in links] == ["Berlin", "Oslo main", "Oslo tls"]
    assert {parse_vless_link(link).uuid for link in links} == {UUID}


@pytest.mark.parametrize(
    "document", [None, {}, REALITY.to_json() | {"security": "novel"}, TLS.to_json() | {"host": "a b"}]
)
def test_one_unreadable_door_does_not_empty_the_profile(document):
    """It is told, without the credential, and the others are there."""
    with capture() as lines:
        links = links_of([("Berlin", [document, TLS.to_json()])], UUID)

    assert [parse_vless_link(link).name for link in links] == ["Berlin tls"]
    assert [line.event for line in lines] == ["node.inbound_unreadable"]
    assert UUID not in lines[0].message
