"""The core's configuration: what the settings ask for, with every credential that is on.

`Doors` is the part that only the settings decide: a JSON text with one marker where each inbound's users go, and what
the outside must know about the inbounds. It is small, so it can be kept on disk as the last one the core accepted.
`render` puts the users in, in pages, so that a long list never keeps the event loop from the interpreter.

Private addresses are closed to customers twice: by a rule of our own for addresses written as numbers, and, for names
that resolve to one, by the core itself (from 26.5.3 on). Both are lifted only by ``allow_private_targets``, which a
sandbox on one machine needs.
"""

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from vpnd.agent.identity import Identity, RealityKeys, public_key_of
from vpnd.agent.model import Credential
from vpnd.agent.xray_client import FLOW
from vpnd.config import AgentSettings, InboundSettings

#: Cores 26.7.11 to 26.7.28 turn clients away by their version unless a lowest one is named.
MIN_CLIENT_VERSION: Final = "1.0.0"
#: The browser whose handshake clients imitate: the only one that every core takes.
FINGERPRINT: Final = "chrome"
SPIDER_X: Final = "/"
PRIVATE_NETWORKS: Final = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3", "::/127", "fc00::/7", "fe80::/10", "ff00::/8",
)  # fmt: skip
_API_MARK: Final = "@api-socket@"
_USERS_MARK: Final = "@users@"


class UnusableSettings(Exception):
    """The agent's settings cannot be made into a configuration; the sentence names the key."""


@attrs.frozen
class Doors:
    """The inbounds as the core and the outside see them.

    `template` is the configuration with markers (it holds REALITY private keys), `ports` maps each tag to its port,
    `public` is what links are made of, ready for JSON and without anything private.
    """

    template: str = attrs.field(repr=False)
    ports: dict[str, int]
    public: tuple[dict[str, Any], ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of all inbounds, in the order of the settings."""
        return tuple(self.ports)

    def to_json(self) -> bytes:
        """Return the doors as text for `from_json`."""
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Doors":
        """Read what `to_json` wrote. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
        document = json.loads(data)
        return cls(str(document["template"]), dict(document["ports"]), tuple(document["public"]))


def build_doors(settings: AgentSettings, identity: Identity) -> Doors:
    """Work out the doors. Raises `UnusableSettings`."""
    if not settings.inbounds:
        raise UnusableSettings("agent.inbounds is empty: without a door no customer can connect")
    inbounds, public = [], []
    for position, inbound in enumerate(settings.inbounds):
        keys = _reality_keys(inbound, identity)
        inbounds.append(_inbound(inbound, keys, position))
        public.append(_public(inbound, keys, settings))
    config = {
        "log": {"loglevel": "warning", "access": "none"},
        "api": {"tag": "api", "listen": _API_MARK, "services": ["HandlerService", "StatsService"]},
        "stats": {},
        "policy": {
            "levels": {"0": {"statsUserUplink": True, "statsUserDownlink": True, "statsUserOnline": True}},
        },
        "inbounds": inbounds,
        **_ways_out(private=settings.allow_private_targets),
    }
    ports = {inbound.tag: inbound.port for inbound in settings.inbounds}
    if len(ports) != len(settings.inbounds):
        raise UnusableSettings("agent.inbounds: two inbounds have the same tag")
    return Doors(json.dumps(config), ports, tuple(public))


def render(doors: Doors, api_socket: str, pages: Sequence[Sequence[Credential]]) -> bytes:
    """Return the whole configuration with its users. Takes a second for a million: run it in a thread."""
    users = [_users_text(page) for page in pages if page]
    head, *tails = doors.template.replace(json.dumps(_API_MARK), json.dumps(api_socket)).split(
        json.dumps(_USERS_MARK)
    )
    pieces = [head.encode()]
    for tail in tails:
        pieces.append(b"[")
        for number, page in enumerate(users):
            pieces += [b",", page] if number else [page]
        pieces += [b"]", tail.encode()]
    return b"".join(pieces)


def _users_text(page: Iterable[Credential]) -> bytes:
    return json.dumps([{"id": c.uuid, "email": c.name, "flow": FLOW} for c in page])[1:-1].encode()


def _inbound(inbound: InboundSettings, keys: RealityKeys | None, position: int) -> dict[str, Any]:
    stream: dict[str, Any] = {"network": "tcp", "security": inbound.security}
    if keys is not None:
        stream["realitySettings"] = {
            "target": inbound.target or f"{inbound.sni}:443",
            "serverNames": [inbound.sni],
            "privateKey": keys.private_key,
            "shortIds": list(keys.short_ids),
            "minClientVer": MIN_CLIENT_VERSION,
        }
    else:
        if inbound.certificate is None or inbound.key is None:
            field = f"agent.inbounds[{position}]"
            raise UnusableSettings(f'{field}: security = "tls" needs certificate and key')
        pair = {"certificateFile": str(inbound.certificate), "keyFile": str(inbound.key)}
        # Vision works inside TLS 1.3 only.
        stream["tlsSettings"] = {"certificates": [pair], "minVersion": "1.3"}
    return {
        "tag": inbound.tag,
        "listen": inbound.listen,
        "port": inbound.port,
        "protocol": "vless",
        "settings": {"clients": _USERS_MARK, "decryption": "none"},
        "streamSettings": stream,
    }


def _public(inbound: InboundSettings, keys: RealityKeys | None, settings: AgentSettings) -> dict[str, Any]:
    host = inbound.host or settings.public_host
    if not host:
        raise UnusableSettings(
            f"agent.public_host is missing, and the inbound {inbound.tag} has no host of its own"
        )
    return {
        "tag": inbound.tag,
        "protocol": "vless",
        "transport": "tcp",
        "security": inbound.security,
        "host": host,
        "port": inbound.port,
        "sni": inbound.sni,
        "flow": FLOW,
        "fingerprint": FINGERPRINT,
        "public_key": "" if keys is None else keys.public_key,
        "short_id": "" if keys is None else keys.short_ids[0],
        "spider_x": "" if keys is None else SPIDER_X,
    }


def _reality_keys(inbound: InboundSettings, identity: Identity) -> RealityKeys | None:
    """Return the keys of an inbound: its own where the settings give them, the node's kept ones otherwise."""
    if inbound.security != "reality":
        return None
    private = inbound.private_key.reveal() if inbound.private_key else identity.reality.private_key
    try:
        public = public_key_of(private)
    except ValueError:
        raise UnusableSettings(f"agent.inbounds: the private_key of {inbound.tag} is no X25519 key") from None
    return RealityKeys(private, public, inbound.short_ids or identity.reality.short_ids)


def _ways_out(*, private: bool) -> Mapping[str, Any]:
    direct: dict[str, Any] = {"protocol": "freedom", "tag": "direct"}
    if private:
        networks = [n for n in PRIVATE_NETWORKS if not ipaddress.ip_network(n).is_multicast]
        direct["settings"] = {"finalRules": [{"action": "allow", "network": "tcp,udp", "ip": networks}]}
        return {"outbounds": [direct]}
    block = {"protocol": "blackhole", "tag": "block"}
    rule = {"type": "field", "ip": list(PRIVATE_NETWORKS), "outboundTag": "block"}
    return {"outbounds": [direct, block], "routing": {"domainStrategy": "AsIs", "rules": [rule]}}
