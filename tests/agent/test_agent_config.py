"""The core's configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vpnd.agent.config_render import Doors, UnusableSettings, build_doors, render
from vpnd.agent.identity import load_identity, public_key_of
from vpnd.agent.model import Credential
from vpnd.config import AgentSettings, InboundSettings, Secret

UUID = "0b7f1c9e-7d2f-4c55-9a53-0d8f3f0a1b2c"


def reality(**other):
    return InboundSettings(**{"tag": "main", "sni": "www.example.com"} | other)


def tls(**other):
    return InboundSettings(
        **{
            "tag": "tls",
            "port": 8443,
            "security": "tls",
            "sni": "vpn.example.com",
            "certificate": Path("/c"),
            "key": Path("/k"),
        }
        | other
    )


@pytest.fixture
def identity(tmp_path):
    return load_identity(tmp_path)


@pytest.fixture
def settings(tmp_path):
    def build(*inbounds, **other):
        return AgentSettings(
            **{
                "token": Secret("t" * 20),
                "state": tmp_path,
                "public_host": "node.example.com",
                "inbounds": inbounds,
            }
            | other
        )

    return build


def test_the_users_stand_in_every_inbound(settings, identity):
    """A core starts with everybody in it, in each inbound, with the flow of Vision."""
    doors = build_doors(settings(reality(), tls()), identity)
    pages = [
        [Credential("a", UUID, 1, active=True)],
        [],
        [Credential("b", UUID.replace("0b", "0c"), 1, active=True)],
    ]
    config = json.loads(render(doors, "/run/x.sock", pages))

    expected = [
        {"id": UUID, "email": "a", "flow": "xtls-rprx-vision"},
        {"id": UUID.replace("0b", "0c"), "email": "b", "flow": "xtls-rprx-vision"},
    ]
    assert [inbound["settings"]["clients"] for inbound in config["inbounds"]] == [expected, expected]
    assert config["api"]["listen"] == "/run/x.sock"
    assert json.loads(render(doors, "/s", []))["inbounds"][0]["settings"]["clients"] == []


def test_reality_lets_every_client_version_in(settings, identity):
    """Without a lowest client version these cores turn apps away by their version number."""
    config = json.loads(render(build_doors(settings(reality()), identity), "/s", []))
    own = config["inbounds"][0]["streamSettings"]["realitySettings"]

    assert own["minClientVer"] == "1.0.0"
    assert own["target"] == "www.example.com:443"
    assert own["privateKey"] == identity.reality.private_key


def test_an_operators_own_keys_win_over_the_kept_ones(settings, identity, tmp_path):
    """Settings that name a key and short ids are followed, and links get the matching public key."""
    other = load_identity(tmp_path / "other").reality
    doors = build_doors(
        settings(reality(private_key=Secret(other.private_key), short_ids=("ab", "cd"))), identity
    )

    assert doors.public[0]["public_key"] == other.public_key == public_key_of(other.private_key)
    assert doors.public[0]["short_id"] == "ab"


def test_what_the_world_sees_holds_no_private_key(settings, identity):
    """Neither the public description nor a repr of the doors."""
    doors = build_doors(settings(reality(), tls()), identity)

    assert identity.reality.private_key not in json.dumps(doors.public)
    assert identity.reality.private_key not in repr(doors)
    assert identity.reality.private_key in doors.template


def test_private_networks_are_closed_unless_a_sandbox_opens_them(settings, identity):
    """A customer must not reach the node's own network through it."""
    closed = json.loads(build_doors(settings(reality()), identity).template)
    opened = json.loads(build_doors(settings(reality(), allow_private_targets=True), identity).template)

    rule = closed["routing"]["rules"][0]
    assert rule["outboundTag"] == "block"
    assert {"127.0.0.0/8", "10.0.0.0/8", "169.254.0.0/16", "fc00::/7"} <= set(rule["ip"])
    assert "settings" not in closed["outbounds"][0]
    assert opened["outbounds"][0]["settings"]["finalRules"][0]["action"] == "allow"


@pytest.mark.parametrize(
    ("inbounds", "other", "named"),
    [
        ((), {}, "agent.inbounds"),
        ((reality(),), {"public_host": None}, "public_host"),
        ((tls(certificate=None),), {}, "certificate"),
        ((reality(private_key=Secret("short")),), {}, "private_key"),
        ((reality(), reality(port=444)), {}, "same tag"),
    ],
)
def test_unusable_settings_name_their_key(settings, identity, inbounds, other, named):
    """The operator is told which key to mend."""
    with pytest.raises(UnusableSettings, match=named):
        build_doors(settings(*inbounds, **other), identity)


def test_doors_survive_the_disk(settings, identity):
    """The last doors that worked are read back as they were written."""
    doors = build_doors(settings(reality(), tls()), identity)

    assert Doors.from_json(doors.to_json()) == doors
