"""The live checks of `vpnd init --node`: addresses and ports of this machine, the site that strangers see, and the core itself.

The last one is the whole node for a moment: the very core that the agent will run is started with the inbound that was answered,
and a stranger knocks at it. What REALITY needs of a site is not guessed: he sees that site, or he does not.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio

from vpnd.config import AgentSettings, InboundSettings, Secret, split_host_port
from vpnd.config.kinds import is_public_bind
from vpnd.runtime import journal
from vpnd.shell.doctor_report import described
from vpnd.shell.init_checks import bounded
from vpnd.shell.init_node_questions import TAG
from vpnd.shell.init_questions import Answers, CheckName
from vpnd.shell.init_verdict import Verdict, doubt, good, wrong

if TYPE_CHECKING:
    from vpnd.agent.model import Credential

__all__ = ["inbound_of", "run_node_check"]

#: The addresses that stand for every address of this machine.
_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
#: Seconds for the core to answer; it needs less than one.
_CORE: Final = 8.0
#: Seconds for a site to answer.
_SITE: Final = 8.0


async def run_node_check(name: CheckName, answers: Answers) -> Verdict:
    """Make one check, as `vpnd.shell.init_checks.bounded` does."""
    return await bounded(_CHECKS[name], answers)


# ------------------------------------------------------------------ this machine


def _refusal(host: str, port: int) -> int:
    """Try to listen; return 0, or the number of the error."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        family = socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
            attempt.listen(1)
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def _any_is_ours(addresses: Sequence[str]) -> bool:
    """Whether one of these is an address of this machine."""
    return any(_refusal(one, 0) == 0 for one in addresses)


def _listening(host: str, port: int) -> Verdict | None:
    """What keeps this machine from listening there; None if nothing does."""
    code = _refusal(host, port)
    if code == errno.EADDRINUSE:
        return doubt(
            f"port {port} is taken by another process",
            f"ss -ltnp 'sport = :{port}' says by which; of a node that runs already: systemctl stop vpnd-node, then Enter",
        )
    if code == errno.EADDRNOTAVAIL:
        return wrong(f"{host} is no address of this machine", "ip -brief address shows those that are")
    if code == errno.EACCES:
        return doubt(f"only root may listen on port {port}, and this is not root", "the unit may: keep it")
    if code:
        return doubt(f"cannot listen on {host}:{port}: {os.strerror(code)}", "ip -brief address; ss -ltnp")
    return None


async def _listen(answers: Answers) -> Verdict:
    listen = answers.value("agent.listen")
    host, port = split_host_port(listen)
    hindrance = await trio.to_thread.run_sync(_listening, host, port)
    if hindrance is not None:
        return hindrance
    if not is_public_bind(listen):
        return good("free; only a shop on this machine reaches it")
    return good("free", f"let nobody but the shop's address in to port {port}")


async def _public_host(answers: Answers) -> Verdict:
    host = answers.value("agent.public_host")
    try:
        found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return doubt(
            f"the name {host} does not resolve: {error.strerror or error}",
            "set an A record for it, or take the IP address",
        )
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    notes = []
    if not any(ipaddress.ip_address(one.partition("%")[0]).is_global for one in addresses):
        notes.append("it is a private address: customers elsewhere cannot reach it")
    if not await trio.to_thread.run_sync(_any_is_ours, addresses):
        notes.append("it is no address of this machine: whatever stands before it has to lead the port here")
    leads = "taken as it is" if host in addresses else f"leads to {', '.join(addresses)}"
    return good(leads, *notes)


async def _port(answers: Answers) -> Verdict:
    host = answers.value("inbound.listen") or InboundSettings(tag=TAG, sni=TAG).listen
    hindrance = await trio.to_thread.run_sync(_listening, host, answers.value("inbound.port"))
    return hindrance or good("free", f"open it to the world: TCP, port {answers.value('inbound.port')}")


# ------------------------------------------------------------------ the site, and the core before it


async def _site(answers: Answers) -> Verdict:
    sni, target = answers.value("inbound.sni"), answers.value("inbound.target")
    host, port = split_host_port(target) if target else (sni, 443)
    seen = await _knock(host, port, sni)
    if isinstance(seen, Verdict):
        return seen
    notes = (
        []
        if seen == "h2"
        else [f"{sni} does not offer HTTP/2, which REALITY's borrowed handshake should have"]
    )
    return await _core(answers, notes)


def _browser() -> ssl.SSLContext:
    """What a browser offers, and whom it trusts."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def _knock(host: str, port: int, sni: str) -> Verdict | str:
    """Shake hands with a site as a browser does; return the protocol that it chose ("" for none), or what is wrong."""
    context = await trio.to_thread.run_sync(_browser)
    way = f"curl -v --tlsv1.3 https://{sni}/"
    with trio.move_on_after(_SITE):
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            return doubt(
                f"{host}:{port} cannot be reached: {described(error)}",
                f"{way}; getent hosts {host}",
                "inbound.sni",
            )
        secured = trio.SSLStream(stream, context, server_hostname=sni, https_compatible=True)
        try:
            await secured.do_handshake()
            return str(secured.selected_alpn_protocol() or "")
        except trio.BrokenResourceError as error:
            return _not_such_a_site(sni, error.__cause__ if isinstance(error.__cause__, Exception) else error)
        finally:
            await trio.aclose_forcefully(secured)
    return doubt(f"{host}:{port} gave no answer within {_SITE:g} s", way, "inbound.sni")


def _not_such_a_site(sni: str, error: Exception) -> Verdict:
    another = "take another site"
    if isinstance(error, ssl.SSLCertVerificationError):
        return wrong(
            f"the certificate there is not good for {sni}: {error.verify_message}", another, "inbound.sni"
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return wrong(f"{sni} does not speak TLS 1.3: {error.reason or error}", another, "inbound.sni")
    return doubt(f"{sni} hangs up in the handshake: {described(error)}", another, "inbound.sni")


def inbound_of(answers: Answers) -> InboundSettings:
    """Return the inbound that was answered."""
    declared = InboundSettings(tag=TAG, sni=answers.value("inbound.sni"))
    return InboundSettings(
        tag=TAG,
        listen=answers.value("inbound.listen") or declared.listen,
        port=answers.value("inbound.port"),
        sni=answers.value("inbound.sni"),
        target=answers.value("inbound.target"),
    )


async def _core(answers: Answers, notes: list[str]) -> Verdict:
    """Run the core with the answers for a moment, and knock at it as a stranger does."""
    # The core's client comes with the extra "node", which a shop's server need not have.
    try:
        from vpnd.agent import cutoff
        from vpnd.agent.config_render import build_doors
        from vpnd.agent.core import Core
        from vpnd.agent.core_program import CoreMissing, find_core
        from vpnd.agent.identity import load_identity
    except ImportError as error:
        return doubt(f"the core cannot be tried: {error}", 'pip install "vpnd[node]"')
    wanted = answers.value("agent.core") or AgentSettings().core
    try:
        program = await trio.to_thread.run_sync(find_core, wanted)
    except CoreMissing as error:
        return doubt(f"there is no core to run: {error}", 'pip install "vpnd[node]"')
    inbound = inbound_of(answers)
    agent = AgentSettings(
        token=Secret(""), public_host=answers.value("agent.public_host"), inbounds=(inbound,)
    )
    hindrance = await trio.to_thread.run_sync(cutoff.probe)
    if hindrance is not None and os.geteuid() == 0:
        notes = [*notes, f"who is turned off while connected will cost a restart of the core: {hindrance}"]
    if await trio.to_thread.run_sync(_refusal, inbound.listen, inbound.port):
        return good(
            f"{inbound.sni} answers over TLS 1.3",
            f"{program.version} was not tried: its port is taken",
            *notes,
        )
    with TemporaryDirectory(prefix="vpnd-node-") as folder, journal.capture() as said:
        identity = await trio.to_thread.run_sync(load_identity, Path(folder))
        core = Core(program, build_doors(agent, identity), Path(folder), _nobody)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(core.run)
            with trio.move_on_after(_CORE) as patience:
                await core.running()
            here = "127.0.0.1" if inbound.listen in _ANY else inbound.listen
            seen = None if patience.cancelled_caught else await _knock(here, inbound.port, inbound.sni)
            nursery.cancel_scope.cancel()
    if seen is None:
        why = next((entry.message for entry in said if entry.level == "error"), "it says nothing")
        return doubt(f"{program.version} does not start with these answers: {why}", "change the answer")
    if isinstance(seen, Verdict):
        return doubt(
            f"{program.version} runs, and a stranger at port {inbound.port} does not see {inbound.sni}: {seen.text}",
            "take another site",
            "inbound.sni",
        )
    return good(f"{program.version} runs, and a stranger at port {inbound.port} sees {inbound.sni}", *notes)


async def _nobody() -> tuple[int, Sequence[Sequence[Credential]]]:
    """The copy of a node that serves nobody yet."""
    await trio.lowlevel.checkpoint()
    return 0, []


_CHECKS: Final[Mapping[str, Callable[[Answers], Awaitable[Verdict]]]] = {
    "listen": _listen,
    "public_host": _public_host,
    "port": _port,
    "site": _site,
}
