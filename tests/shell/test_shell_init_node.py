"""`vpnd init --node`: questions, live checks against a real site and the real core, what it writes, and what is to be pasted."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import stat
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from shell_kit import vpnd
from terminal_kit import at_terminal

from vpnd.agent.identity import load_identity
from vpnd.config import load_settings
from vpnd.sandbox.ports import free_port
from vpnd.sandbox.targets import DECOY_NAME, Targets, make_certificate, open_targets
from vpnd.shell.init_arguments import _NODE_QUESTIONS
from vpnd.shell.init_node_checks import run_node_check
from vpnd.shell.init_node_questions import NODE_QUESTIONS, agent_url
from vpnd.shell.init_node_writing import compose_node, for_the_shop, next_steps_of_node
from vpnd.shell.init_questions import Answers
from vpnd.shell.init_writing import Layout

TOKEN = "0123456789abcdef0123456789abcdef"
PIN = "5f1c7e0a9b3d42868d0f6a1be24c97530f8e6d7cb5a49382716050f4e3d2c1b0"

LEAST = {
    "node.name": "Berlin",
    "agent.listen": "0.0.0.0:8443",
    "agent.public_host": "203.0.113.10",
    "inbound.port": "443",
    "inbound.sni": "www.example.org",
}


def having(texts: dict[str, str]) -> Answers:
    """Answers with these texts."""
    answers = Answers()
    for question in NODE_QUESTIONS:
        if question.name in texts:
            answers.put(question, texts[question.name])
    return answers


def layout(folder: Path) -> Layout:
    """Where a test's node has its files."""
    return Layout(folder / "etc" / "node.toml", folder / "etc" / "credentials")


def test_the_command_line_has_every_question_of_a_node() -> None:
    """The list that is read without loading the questions is the same."""
    assert [(question.name, question.secret) for question in NODE_QUESTIONS] == list(_NODE_QUESTIONS)


# ------------------------------------------------------------------ what is written


@pytest.mark.parametrize("by_the_unit", [True, False])
def test_what_is_written_is_what_the_agent_takes(tmp_path: Path, *, by_the_unit: bool) -> None:
    """Each key with a comment from its declaration; the token comes from systemd, or from the file that is named."""
    answers = having(LEAST | {"inbound.target": "127.0.0.1:9443", "agent.state": "/srv/state"})
    secret, config = compose_node(answers, layout(tmp_path), TOKEN, by_the_unit=by_the_unit)

    assert (secret.path.name, secret.mode, secret.text) == ("agent.token", 0o600, f"{TOKEN}\n")
    assert TOKEN not in config.text
    secret.path.parent.mkdir(parents=True)
    for file in (secret, config):
        file.path.write_text(file.text)
    environ = {"CREDENTIALS_DIRECTORY": str(secret.path.parent)} if by_the_unit else {}
    agent = load_settings(config.path, environ, role="agent").agent
    assert agent.token.reveal() == TOKEN
    assert (agent.listen, agent.public_host, agent.state) == (
        "0.0.0.0:8443",
        "203.0.113.10",
        Path("/srv/state"),
    )
    (inbound,) = agent.inbounds
    assert (inbound.port, inbound.sni, inbound.target) == (443, "www.example.org", "127.0.0.1:9443")
    lines = config.text.splitlines()
    keys = [
        number for number, line in enumerate(lines) if re.match(r"[a-z_]+ = ", line) and "tag" not in line
    ]
    assert all(lines[number - 1].startswith("# ") for number in keys)


@pytest.mark.parametrize(
    ("listen", "host", "url"),
    [
        ("0.0.0.0:8443", "203.0.113.10", "https://203.0.113.10:8443"),
        ("0.0.0.0:9000", "de1.example.com", "https://de1.example.com:9000"),
        ("[::]:8443", "2001:db8::7", "https://[2001:db8::7]:8443"),
        ("127.0.0.1:8443", "203.0.113.10", "https://127.0.0.1:8443"),
        ("[::1]:8443", "203.0.113.10", "https://[::1]:8443"),
    ],
)
def test_the_shop_reaches_the_agent_where_it_listens(listen: str, host: str, url: str) -> None:
    """On this machine by its own address, from elsewhere by the public one."""
    assert agent_url(having(LEAST | {"agent.listen": listen, "agent.public_host": host})) == url


@pytest.mark.parametrize("listen", ["0.0.0.0:8443", "127.0.0.1:8443"])
def test_what_is_pasted_makes_the_node_known_to_the_shop(tmp_path: Path, listen: str) -> None:
    """The table is one that the daemon takes at the end of its configuration; the token is not in the text."""
    answers = having(LEAST | {"agent.listen": listen})
    text = for_the_shop(answers, layout(tmp_path), PIN)

    table = re.search(r"cat >> /etc/vpnd/vpnd.toml <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    config = tmp_path / "vpnd.toml"
    config.write_text('[instance]\nname = "shop"\n\n[telegram]\nadmins = [7]\n' + table[1])
    environ = {
        "VPND_TELEGRAM__TOKEN": f"123456789:{'a' * 35}",
        "CREDENTIALS_DIRECTORY": str(tmp_path / "secrets"),
    }
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "nodes.berlin.token").write_text(TOKEN)
    (tmp_path / "secrets" / "database.url").write_text("postgresql://vpnd@/vpnd")
    (node,) = load_settings(config, environ, role="daemon").nodes
    assert (node.name, node.token.reveal(), node.fingerprint) == ("berlin", TOKEN, PIN)
    assert TOKEN not in text
    handed = "LoadCredential=nodes.berlin.token:/etc/vpnd/credentials/nodes.berlin.token"
    assert text.splitlines().count(handed) == 1
    # Beside the shop the token is copied; from elsewhere it is pasted, and never in a command's words.
    assert text.startswith("install -m 600 " if listen.startswith("127.") else "(umask 077 && cat > ")


def test_what_is_left_to_do_depends_on_where_the_shop_is(tmp_path: Path) -> None:
    """The agent's port is opened for a shop elsewhere alone; the script that installs starts the agent by itself."""
    steps = partial(next_steps_of_node, layout=layout(tmp_path))
    elsewhere = list(steps(having(LEAST), by_the_unit=True, started_by_installer=False))
    assert elsewhere[0] == "Open TCP port 443 to the world, and 8443 to the shop's address alone."
    assert "systemctl enable vpnd-node" in elsewhere[1]
    here = having(LEAST | {"agent.listen": "127.0.0.1:8443"})
    assert next(steps(here, by_the_unit=True, started_by_installer=True)) == "Open TCP port 443 to the world."
    assert not any("enable" in step for step in steps(here, by_the_unit=True, started_by_installer=True))
    assert any(
        "node run --config" in step for step in steps(here, by_the_unit=False, started_by_installer=False)
    )


# ------------------------------------------------------------------ live checks


async def test_a_place_to_listen_is_tried() -> None:
    """Free, taken, not of this machine: each told apart; a shop elsewhere is worth a word about the firewall."""
    port = free_port()
    verdict = await run_node_check("listen", having({"agent.listen": f"127.0.0.1:{port}"}))
    assert (verdict.kind, verdict.notes) == ("good", ())
    verdict = await run_node_check("listen", having({"agent.listen": f"0.0.0.0:{port}"}))
    assert (verdict.kind, "but the shop's address" in verdict.notes[0]) == ("good", True)
    verdict = await run_node_check("listen", having({"agent.listen": f"203.0.113.10:{port}"}))
    assert (verdict.kind, verdict.text) == ("wrong", "203.0.113.10 is no address of this machine")

    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        for name, texts in (
            ("listen", {"agent.listen": f"127.0.0.1:{port}"}),
            ("port", {"inbound.port": str(port), "inbound.listen": "127.0.0.1"}),
        ):
            verdict = await run_node_check(name, having(texts))  # type: ignore[arg-type]
            assert (verdict.kind, verdict.text) == ("doubt", f"port {port} is taken by another process")
            assert f"ss -ltnp 'sport = :{port}'" in verdict.remedy
    assert (await run_node_check("port", having({"inbound.port": str(port)}))).kind == "good"


async def test_the_address_in_links_is_looked_up() -> None:
    """One of this machine, one that is not, one that nobody outside can reach, and a name that leads nowhere."""
    verdict = await run_node_check("public_host", having({"agent.public_host": "127.0.0.1"}))
    assert (verdict.kind, len(verdict.notes), "private address" in verdict.notes[0]) == ("good", 1, True)
    verdict = await run_node_check("public_host", having({"agent.public_host": "8.8.4.4"}))
    assert (verdict.kind, len(verdict.notes), "no address of this machine" in verdict.notes[0]) == (
        "good",
        1,
        True,
    )
    verdict = await run_node_check("public_host", having({"agent.public_host": "localhost"}))
    assert verdict.text.startswith("leads to ")
    verdict = await run_node_check("public_host", having({"agent.public_host": "node.invalid"}))
    assert (verdict.kind, "does not resolve" in verdict.text) == ("doubt", True)


@asynccontextmanager
async def a_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Targets]:
    """A site with TLS 1.3 whose certificate this machine trusts."""
    async with open_targets(folder) as targets:
        monkeypatch.setenv("SSL_CERT_FILE", str(targets.certificate))
        yield targets


def at_site(targets: Targets, **others: str) -> dict[str, str]:
    """Answers for a node on loopback in front of that site."""
    return LEAST | {
        "agent.listen": f"127.0.0.1:{free_port()}",
        "inbound.listen": "127.0.0.1",
        "inbound.port": str(free_port()),
        "inbound.target": targets.decoy,
        "inbound.sni": DECOY_NAME,
        **{name.replace("__", "."): text for name, text in others.items()},
    }


async def test_the_core_is_tried_and_a_stranger_sees_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real core runs with the answers, and whoever knocks without being a customer gets the site's own certificate."""
    async with a_site(tmp_path, monkeypatch) as targets:
        texts = at_site(targets)
        verdict = await run_node_check("site", having(texts))
        assert verdict.kind == "good", verdict
        assert verdict.text.startswith("Xray ")
        assert verdict.text.endswith(f"a stranger at port {texts['inbound.port']} sees {DECOY_NAME}")

        # A node that runs already has the port: its site is looked at, the core is left alone.
        with socket.socket() as other:
            other.bind(("127.0.0.1", int(texts["inbound.port"])))
            other.listen()
            verdict = await run_node_check("site", having(texts))
            assert (verdict.kind, "was not tried: its port is taken" in verdict.notes[0]) == ("good", True), (
                verdict
            )

        verdict = await run_node_check("site", having(texts | {"agent.core": "/nonexistent/xray"}))
        assert (verdict.kind, "there is no core to run" in verdict.text) == ("doubt", True), verdict
        verdict = await run_node_check("site", having(texts | {"inbound.sni": "another.example.com"}))
        assert (verdict.kind, verdict.again) == ("wrong", ("inbound.sni",)), verdict
        assert "certificate there is not good for another.example.com" in verdict.text


async def test_a_core_that_does_not_start_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same words that the agent's journal would have."""
    program = tmp_path / "xray"
    program.write_text(
        '#!/bin/sh\n[ "$1" = version ] && echo "Xray 1.0" && exit\necho "no such door"; exit 23\n'
    )
    program.chmod(0o755)
    async with a_site(tmp_path, monkeypatch) as targets:
        verdict = await run_node_check("site", having(at_site(targets, agent__core=str(program))))
    assert (verdict.kind, "refuses its configuration" in verdict.text) == ("doubt", True), verdict
    assert "no such door" in verdict.text


async def test_a_site_that_cannot_be_borrowed_from_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TLS 1.3 REALITY has no handshake to borrow; one that is away, or hangs up, is a doubt."""
    certificate, key = make_certificate(DECOY_NAME, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(certificate, key)
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    def refuse(plain: socket.socket) -> None:
        plain.setblocking(True)
        with plain, suppress(ssl.SSLError), old.wrap_socket(plain, server_side=True):
            pass

    async def handshake(stream: trio.SocketStream) -> None:
        # By the standard library, which tells the other side why; trio's stream hangs up.
        await trio.to_thread.run_sync(
            refuse, socket.fromfd(stream.socket.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        )

    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async def verdict_of(handler: Any) -> tuple[str, str]:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            texts = LEAST | {"inbound.target": f"127.0.0.1:{port}", "inbound.sni": DECOY_NAME}
            verdict = await run_node_check("site", having(texts))
            nursery.cancel_scope.cancel()
        return verdict.kind, verdict.text

    kind, text = await verdict_of(handshake)
    assert (kind, "does not speak TLS 1.3" in text) == ("wrong", True), text
    kind, text = await verdict_of(hang_up)
    assert (kind, "hangs up" in text) == ("doubt", True), text
    verdict = await run_node_check("site", having(LEAST | {"inbound.target": f"127.0.0.1:{free_port()}"}))
    assert (verdict.kind, "cannot be reached" in verdict.text) == ("doubt", True), verdict


# ------------------------------------------------------------------ the command


def words(folder: Path, texts: dict[str, str]) -> list[str]:
    """The command with each answer as an option."""
    options = [f"--{re.sub('[._]', '-', name)}={text}" for name, text in texts.items()]
    return ["init", "--node", "--config", str(folder / "etc" / "node.toml"), *options]


async def test_a_script_makes_a_node_that_the_agent_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token, certificate and configuration; asked for anew, they are kept, since the shop and customers' links know them."""
    config, state = tmp_path / "etc" / "node.toml", tmp_path / "etc" / "node-state"
    async with a_site(tmp_path, monkeypatch) as targets:
        texts = at_site(targets)
        environ = {"SSL_CERT_FILE": str(targets.certificate)}
        said = await vpnd(environ, *words(tmp_path, texts))
        assert said.code == 0, said
        assert f"sees {DECOY_NAME}" in said.out
        token = tmp_path / "etc" / "credentials" / "agent.token"
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert token.read_text().strip() not in said.out + said.err
        pin = (await trio.to_thread.run_sync(load_identity, state)).fingerprint
        assert said.out.count(pin) == 2
        assert (await vpnd({}, "check-config", "--node", "--config", str(config))).code == 0

        first = token.read_text()
        said = await vpnd(environ, *words(tmp_path, texts))
        assert (said.code, "--force replaces it" in said.err) == (1, True)
        said = await vpnd(
            environ, *words(tmp_path, texts | {"agent.public_host": "de1.invalid"}), "--no-checks", "--force"
        )
        assert said.code == 0, said
        assert (token.read_text(), said.out.count(pin)) == (first, 2)
        assert tomllib.loads(config.read_text())["agent"]["public_host"] == "de1.invalid"
        assert len(list(config.parent.glob(".node.toml.*.old"))) == 1


async def test_a_script_is_told_what_is_missing_wrong_or_needless(tmp_path: Path) -> None:
    """Missing and malformed answers, and those of a shop, end with 2; what a check refuses with 1; nothing is written."""
    said = await vpnd({}, "init", "--node", "--config", str(tmp_path / "etc" / "node.toml"))
    assert said.code == 2
    assert "inbound.sni is missing" in said.err
    said = await vpnd(
        {"VPND_AGENT__LISTEN": "unix:/run/x"}, *words(tmp_path, {"inbound.sni": "www.example.org"})
    )
    assert (said.code, 'agent.listen must look like "host:port"' in said.err) == (2, True), said
    said = await vpnd({}, *words(tmp_path, LEAST), "--telegram-admins", "7")
    assert (said.code, "nobody asks for telegram.admins with --node" in said.err) == (2, True), said
    said = await vpnd({}, "init", "--config", str(tmp_path / "x.toml"), "--inbound-port", "7")
    assert (said.code, "nobody asks for inbound.port without --node" in said.err) == (2, True), said

    texts = LEAST | {"agent.listen": "203.0.113.10:8443"}
    said = await vpnd({}, *words(tmp_path, texts | {"inbound.target": f"127.0.0.1:{free_port()}"}))
    assert said.code == 1
    assert "203.0.113.10 is no address of this machine" in said.err
    assert "cannot be reached" in said.err
    assert list(tmp_path.iterdir()) == []


async def test_keys_that_cannot_be_read_are_left_alone(tmp_path: Path) -> None:
    """Every customer's link depends on them: it is said, and no configuration is written."""
    keys = tmp_path / "etc" / "node-state" / "reality.json"
    keys.parent.mkdir(parents=True)
    keys.write_text("{ half")
    said = await vpnd({}, *words(tmp_path, LEAST), "--no-checks")

    assert (said.code, "restore it. No configuration was written" in said.err) == (1, True), said
    assert keys.read_text() == "{ half"
    assert not (tmp_path / "etc" / "node.toml").exists()


async def test_a_person_at_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question with what helps; an answer that does not hold is asked again; Ctrl-C before the last leaves nothing."""
    async with a_site(tmp_path, monkeypatch) as targets:
        environ, agent, door = {"SSL_CERT_FILE": str(targets.certificate)}, free_port(), free_port()
        given = {"inbound.listen": "127.0.0.1", "inbound.target": targets.decoy}
        for leaves in (True, False):
            async with at_terminal(*words(tmp_path, given), env=environ) as terminal:
                await terminal.answer("Name of this node in the shop, like berlin", "Berlin_1")
                await terminal.until("must be 1 to 32 lower-case letters")
                await terminal.answer("Name of this node in the shop, like berlin", "Berlin")
                await terminal.answer("Where the agent listens for the shop", "203.0.113.10:8443")
                await terminal.until("is no address of this machine")
                await terminal.answer("Where the agent listens for the shop", f"127.0.0.1:{agent}")
                await terminal.until("ok: free; only a shop on this machine")
                await terminal.answer("Address of this node in customers' links", "127.0.0.1")
                await terminal.answer("Port that customers connect to [443]", str(door))
                await terminal.until("ok: free")
                await terminal.until("A site with TLS 1.3")
                if leaves:
                    await terminal.waits()
                    await terminal.type("\x03", end="")
                    assert await terminal.end() in (130, -signal.SIGINT)
                    assert not (tmp_path / "etc").exists()
                    continue
                await terminal.type("?")
                await terminal.until("REALITY borrows its handshake")
                await terminal.answer("A site with TLS 1.3", DECOY_NAME)
                await terminal.until(f"sees {DECOY_NAME}")
                await terminal.until("And for the shop")
                await terminal.until("[[nodes]]")
                assert await terminal.end() == 0, terminal.screen
    assert tomllib.loads((tmp_path / "etc" / "node.toml").read_text())["agent"]["inbounds"][0]["port"] == door
