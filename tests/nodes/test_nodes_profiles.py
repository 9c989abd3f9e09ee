"""Subscription profiles: the body and the headers around it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.nodes.links import parse_vless_link
from vpnd.nodes.profiles import (
    IMPORTERS,
    expired_body,
    import_links,
    subscription_body,
    subscription_headers,
)

END = datetime(2027, 3, 1, 12, tzinfo=UTC)


def headers(**other):
    return subscription_headers(**{"title": "My VPN", "expires_at": END} | other)


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)))
def test_the_body_is_a_base64_list(links):
    """Standard alphabet, padded, a link a line: what every app decodes."""
    decoded = base64.b64decode(subscription_body(links), validate=True).decode()

    assert decoded.split("\n") == (links or [""])


def test_who_expired_reads_why():
    """One entry with the notice for a name, in a form apps can list, which leads nowhere."""
    (link,) = base64.b64decode(expired_body("Срок истёк: renew in the bot")).decode().split("\n")
    parsed = parse_vless_link(link)

    assert parsed.name == "Срок истёк: renew in the bot"
    assert (parsed.host, parsed.port) == ("127.0.0.1", 9)


def test_the_traffic_line_has_all_four_keys():
    """An app ignores the line, and then the support address too, unless all are there."""
    assert (
        headers(upload=1, download=2)["subscription-userinfo"]
        == "upload=1; download=2; total=0; expire=1803902400"
    )


def test_never_is_zero():
    """That is how apps write "no end"."""
    assert headers(expires_at=None)["subscription-userinfo"].endswith("expire=0")


def test_a_time_without_a_zone_is_refused():
    """It would be off by the host's zone."""
    with pytest.raises(ValueError, match="time zone"):
        headers(expires_at=END.replace(tzinfo=None))


@pytest.mark.parametrize(("hours", "told"), [(0, "1"), (0.5, "1"), (1, "1"), (12, "12"), (12.1, "13")])
def test_the_interval_is_whole_hours(hours, told):
    """A fraction breaks an app's parser."""
    assert headers(update_hours=hours)["profile-update-interval"] == told


def test_the_title_is_short_and_any_text():
    """Base64, because headers are ASCII; cut where an app would cut it."""
    told = headers(title="Быстрый и надёжный VPN для всех")["profile-title"]

    assert base64.b64decode(told.removeprefix("base64:")).decode() == "Быстрый и надёжный VPN для всех"[:25]


def test_the_file_name_is_read_by_both_kinds_of_apps():
    """A plain one for the old form, the real one for the new."""
    told = Message()
    told["content-disposition"] = headers(filename='мой "vpn"')["content-disposition"]

    assert 'filename="vpn"' in told["content-disposition"]
    assert told.get_filename() is not None
    assert "filename*=UTF-8''%D0%BC%D0%BE%D0%B9%20%22vpn%22" in told["content-disposition"]


def test_addresses_and_announcements_are_told_when_there_are_any():
    """Absent ones leave no empty header."""
    bare = headers()
    full = headers(
        web_page_url="https://vpn.example/me", support_url="https://t.me/help", announce="Новый узел"
    )

    assert {"profile-web-page-url", "support-url", "announce"}.isdisjoint(bare)
    assert full["profile-web-page-url"] == "https://vpn.example/me"
    assert full["support-url"] == "https://t.me/help"
    assert base64.b64decode(full["announce"].removeprefix("base64:")).decode() == "Новый узел"


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=300))
def test_no_text_breaks_out_of_a_header(title, filename, announce):
    """Whatever an operator types, headers stay single lines of ASCII."""
    try:
        told = headers(title=title, filename=filename, announce=announce)
    except UnicodeEncodeError:
        return  # a lone surrogate is no text

    for name, value in told.items():
        assert f"{name}: {value}".isascii()
        assert f"{name}: {value}".isprintable()


@pytest.mark.parametrize(
    "url", ["", "t.me/x", "javascript:alert(1)", "https://", "https://x/\r\nset-cookie: a=b"]
)
def test_only_web_addresses_are_told(url):
    """An app opens them."""
    with pytest.raises(ValueError, match="URL"):
        headers(support_url=url)


def test_a_profile_is_not_kept_by_anybody_between():
    """It is a secret of its owner."""
    assert headers()["cache-control"] == "no-store"


def test_an_apps_own_address_carries_the_page():
    """Each app in its own form; only what is a web address."""
    links = import_links("https://vpn.example/sub/abc", "My VPN")

    assert links == {
        "happ": "happ://add/https://vpn.example/sub/abc",
        "hiddify": "hiddify://import/https://vpn.example/sub/abc#My%20VPN",
        "streisand": "streisand://import/https://vpn.example/sub/abc#My%20VPN",
        "v2rayng": "v2rayng://install-sub?url=https%3A%2F%2Fvpn.example%2Fsub%2Fabc#My%20VPN",
        "v2raytun": "v2raytun://import/https://vpn.example/sub/abc",
    }
    assert set(links) == set(IMPORTERS)
    with pytest.raises(ValueError, match="URL"):
        import_links("javascript:alert(1)", "x")
