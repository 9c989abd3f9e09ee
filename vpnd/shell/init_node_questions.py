"""What `vpnd init --node` asks on a node's server, and what may be answered: pure, with the kinds of the configuration itself."""

from __future__ import annotations

from typing import Any, Final

from vpnd.config.kinds import Kind, is_public_bind, split_host_port
from vpnd.config.reader import keys_of
from vpnd.config.settings import AgentSettings, InboundSettings, NodeSettings
from vpnd.shell.init_questions import Answers, Question

__all__ = ["LISTEN_BESIDE_THE_SHOP", "LISTEN_FOR_ANOTHER", "NODE_QUESTIONS", "TAG", "agent_url"]

#: Where the agent listens: for a shop on this machine, and for one elsewhere.
LISTEN_BESIDE_THE_SHOP: Final = "127.0.0.1:8443"
LISTEN_FOR_ANOTHER: Final = "0.0.0.0:8443"

#: The name of the one inbound that is made.
TAG: Final = "reality"

_AGENT: Final = keys_of(AgentSettings)
_INBOUND: Final = keys_of(InboundSettings)


def _address(value: Any, _textual: bool) -> str:
    """A TCP address: a shop on this machine could use a unix socket too, which no question is worth."""
    split_host_port(value)
    return str(value)


NODE_QUESTIONS: Final[tuple[Question, ...]] = (
    Question(
        name="node.name",
        words="Name of this node in the shop, like berlin",
        hint="Small letters, digits and hyphens. Customers see it in their apps.",
        kind=keys_of(NodeSettings)["name"].kind,
        default=lambda answers: answers.learned.get("name"),
        tidy=lambda given: given.strip().lower(),
    ),
    Question(
        name="agent.listen",
        words="Where the agent listens for the shop",
        hint=f"{LISTEN_BESIDE_THE_SHOP} if the shop is on this machine, else {LISTEN_FOR_ANOTHER} and a firewall that lets in the"
        " shop's address alone.",
        kind=Kind("host:port", _address),
        default=lambda answers: answers.learned.get("listen", LISTEN_FOR_ANOTHER),
        check="listen",
    ),
    Question(
        name="agent.public_host",
        words="Address of this node in customers' links",
        hint="Its public IP address, or a name that leads to it.",
        kind=_AGENT["public_host"].kind,
        default=lambda answers: answers.learned.get("address"),
        check="public_host",
    ),
    Question(
        name="inbound.listen",
        words="Address that the core listens on",
        kind=_INBOUND["listen"].kind,
        asked=False,
    ),
    Question(
        name="inbound.port",
        words="Port that customers connect to",
        hint="443 draws the least attention; where a web server has it, another one, like 2053.",
        kind=_INBOUND["port"].kind,
        default=lambda _answers: "443",
        check="port",
    ),
    Question(
        name="inbound.target",
        words="Where that site answers, if not at port 443 of its name",
        kind=_INBOUND["target"].kind,
        asked=False,
    ),
    Question(
        name="agent.core",
        words="The VPN core",
        kind=_AGENT["core"].kind,
        asked=False,
    ),
    Question(
        name="agent.state",
        words="Folder of the agent's state",
        kind=_AGENT["state"].kind,
        asked=False,
    ),
    Question(
        name="agent.token",
        words="Token of the agent",
        kind=_AGENT["token"].kind,
        asked=False,
        secret=True,
    ),
    Question(
        name="inbound.sni",
        words="A site with TLS 1.3 that strangers at this port shall see, like www.example.org",
        hint="Somebody else's, well known, not blocked where your customers are, and near to this server: REALITY borrows its"
        " handshake.",
        kind=_INBOUND["sni"].kind,
        tidy=lambda given: given.strip().lower(),
        check="site",
    ),
)


def agent_url(answers: Answers) -> str:
    """Return the address by which the shop reaches the agent."""
    listen = answers.value("agent.listen")
    host, port = split_host_port(listen)
    if is_public_bind(listen):
        host = answers.value("agent.public_host")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
