"""What `vpnd init --node` writes, and what it tells to do next: pure, from answers to texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vpnd.config.kinds import is_public_bind, split_host_port
from vpnd.config.reader import keys_of
from vpnd.config.settings import AgentSettings, InboundSettings
from vpnd.shell.arguments import DAEMON_CONFIG
from vpnd.shell.init_node_questions import TAG, agent_url
from vpnd.shell.init_questions import Answers
from vpnd.shell.init_writing import Layout, Planned

__all__ = ["AGENT_TOKEN", "compose_node", "for_the_shop", "next_steps_of_node"]

#: The file of the secret, which contrib/systemd/vpnd-node.service hands to the agent.
AGENT_TOKEN: Final = "agent.token"  # noqa: S105 - a name

#: Where a shop has its secrets, and what hands them to its unit.
_SHOP_SECRETS: Final = DAEMON_CONFIG.parent / "credentials"
_SHOP_DROP_INS: Final = Path("/etc/systemd/system/vpnd.service.d")


def compose_node(answers: Answers, layout: Layout, token: str, *, by_the_unit: bool) -> list[Planned]:
    """Return the files in the order in which they are written.

    Args:
        token: the agent's.
        by_the_unit: systemd hands the secret over; else the configuration names its file.
    """
    text = "\n".join(_lines(answers, layout, by_the_unit=by_the_unit)) + "\n"
    return [
        Planned(layout.secrets / AGENT_TOKEN, token + "\n", 0o600),
        Planned(layout.config, text, 0o644 if by_the_unit else 0o600),
    ]


def _lines(answers: Answers, layout: Layout, *, by_the_unit: bool) -> Iterator[str]:
    agent, inbound = keys_of(AgentSettings), keys_of(InboundSettings)
    yield "# Configuration of a node of vpnd, begun by `vpnd init --node`. docs/configuration.md has every key, and its default."
    yield "# After a change: vpnd check-config --node; then restart the agent."
    yield "[agent]"
    for name in ("listen", "public_host", "core", "state"):
        value = answers.value(f"agent.{name}")
        if value is not None:
            yield f"# {agent[name].doc}"
            yield f"{name} = {_toml(str(value))}"
    yield f"# {agent['token'].doc}"
    if by_the_unit:
        yield f"# It is in {layout.secrets / AGENT_TOKEN}; systemd hands it to the service."
    else:
        yield f"token_file = {_toml(layout.named(AGENT_TOKEN))}"
    yield ""
    yield f"# {agent['inbounds'].doc} docs/nodes.md has the kinds."
    yield "[[agent.inbounds]]"
    yield f"tag = {_toml(TAG)}"
    for name in ("listen", "port", "sni", "target"):
        value = answers.value(f"inbound.{name}")
        if value is not None:
            yield f"# {inbound[name].doc}"
            yield f"{name} = {_toml(value)}"
    yield ""
    yield "# A second one, with a certificate of your own, for apps that have trouble with REALITY:"
    yield "# [[agent.inbounds]]"
    yield '# tag = "tls"'
    yield "# port = 2053"
    yield '# security = "tls"'
    yield '# sni = "de1.example.com"'
    yield '# certificate = "/etc/vpnd/tls/fullchain.pem"'
    yield '# key = "/etc/vpnd/tls/privkey.pem"'


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def for_the_shop(answers: Answers, layout: Layout, fingerprint: str) -> str:
    """Return the commands that make the node known to the shop, to be pasted into a root's shell there."""
    name = answers.value("node.name")
    secret = f"nodes.{name}.token"
    here = not is_public_bind(answers.value("agent.listen"))
    token = (
        f"install -m 600 {layout.secrets / AGENT_TOKEN} {_SHOP_SECRETS / secret}"
        if here
        else f"(umask 077 && cat > {_SHOP_SECRETS / secret})    # paste the token, Enter, Ctrl-D"
    )
    return f"""\
{token}
install -d {_SHOP_DROP_INS}
cat > {_SHOP_DROP_INS}/node-{name}.conf <<'END'
[Service]
LoadCredential={secret}:{_SHOP_SECRETS / secret}
END
cat >> {DAEMON_CONFIG} <<'END'

[[nodes]]
name = {_toml(name)}
url = {_toml(agent_url(answers))}
fingerprint = {_toml(fingerprint)}
END
systemctl daemon-reload && systemctl restart vpnd
"""


def next_steps_of_node(
    answers: Answers, layout: Layout, *, by_the_unit: bool, started_by_installer: bool
) -> Iterator[str]:
    """Yield what is left to do here, a paragraph each.

    Args:
        by_the_unit: systemd starts the agent.
        started_by_installer: contrib/install.sh goes on, and starts the agent by itself.
    """
    listen, port = answers.value("agent.listen"), answers.value("inbound.port")
    if is_public_bind(listen):
        agents = split_host_port(listen)[1]
        yield f"Open TCP port {port} to the world, and {agents} to the shop's address alone."
    else:
        yield f"Open TCP port {port} to the world."
    if not by_the_unit:
        yield f"vpnd check-config --node --config {layout.config}"
        yield f"vpnd node run --config {layout.config}"
    elif not started_by_installer:
        yield "systemctl daemon-reload && systemctl enable vpnd-node && systemctl restart vpnd-node"
    if by_the_unit:
        yield "systemctl status vpnd-node says what runs; journalctl -u vpnd-node is its journal."
