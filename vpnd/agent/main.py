"""The agent, put together: identity, durable copy, core, applier, comparison and API, under one supervisor."""

from collections.abc import Sequence
from typing import NoReturn

import attrs
import trio

from vpnd.agent import cutoff
from vpnd.agent.api import AgentApi
from vpnd.agent.apply import Applier
from vpnd.agent.config_render import build_doors
from vpnd.agent.core import Core
from vpnd.agent.core_program import find_core
from vpnd.agent.identity import Identity, load_identity
from vpnd.agent.reconcile import Reconciler
from vpnd.agent.state import State, open_state
from vpnd.config import AgentSettings, Settings, is_loopback, split_host_port
from vpnd.runtime.journal import get_journal
from vpnd.runtime.serve import TlsFiles, serve_asgi
from vpnd.runtime.supervisor import ChildSpec, Supervisor

journal = get_journal("agent")


class AgentUnsafe(Exception):
    """The settings would let strangers read the token on its way."""


@attrs.frozen
class AgentStanding:
    """What whoever started an agent may want to know: where it listens, and what a daemon pins (None without TLS)."""

    addresses: tuple[str, ...]
    fingerprint: str | None
    core: Core
    state: State
    reconciler: Reconciler


async def run_agent(
    settings: Settings, *, task_status: trio.TaskStatus[AgentStanding] = trio.TASK_STATUS_IGNORED
) -> NoReturn:
    """Run a node until cancelled.

    `task_status` is told when the API listens; the core may still be starting then, or be broken, which
    ``GET /v1/status`` tells.

    Raises before that: `AgentUnsafe`, `vpnd.agent.state.StateError`, `vpnd.agent.identity.IdentityError`,
    `vpnd.agent.core_program.CoreMissing`, `vpnd.agent.config_render.UnusableSettings`, or `OSError` when it cannot
    listen. Later `vpnd.runtime.supervisor.RestartIntensityExceeded` when its parts keep dying.

    On cancellation the API stops first, then the core is asked to end and, after three seconds, killed.
    """
    agent = settings.agent
    _refuse_plain(agent)
    identity = await trio.to_thread.run_sync(load_identity, agent.state)
    program = await trio.to_thread.run_sync(find_core, agent.core)
    doors = build_doors(agent, identity)
    hindrance = await trio.to_thread.run_sync(cutoff.probe)
    _introduce(agent, identity, program.version, hindrance)
    async with open_state(agent.state) as state:
        core = Core(program, doors, agent.state, state.active_snapshot)
        applier = Applier(core, state, sockets_can_be_cut=hindrance is None)
        reconciler = Reconciler(core, state, applier)
        api = AgentApi(agent.token, core, state, applier, settled=await state.watermark())
        listening: trio.MemorySendChannel[Sequence[str]]
        listening, bound = trio.open_memory_channel(1)

        async def serve(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            tls = TlsFiles(identity.certificate, identity.private_key) if agent.tls else None
            async with trio.open_nursery() as nursery:
                addresses = await nursery.start(_serve, api, agent.listen, tls)
                task_status.started()
                try:
                    listening.send_nowait(addresses)
                except trio.WouldBlock:
                    pass  # a later life of the server: it was told where the first one listens

        supervisor = Supervisor(
            [
                ChildSpec("core", core.run),
                ChildSpec("applier", applier.run),
                ChildSpec("comparison", reconciler.run),
                ChildSpec("api", serve),
            ]
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            addresses = tuple(await bound.receive())
            journal.info(
                "agent.listening", message=f"The agent listens on {', '.join(addresses)}", addresses=addresses
            )
            task_status.started(
                AgentStanding(addresses, identity.fingerprint if agent.tls else None, core, state, reconciler)
            )
    raise AssertionError("a supervisor of children that never finish has ended in order")


async def _serve(
    api: AgentApi,
    listen: str,
    tls: TlsFiles | None,
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve_asgi(
        api.application(), [listen], shutdown_trigger=trio.sleep_forever, tls=tls, task_status=task_status
    )


def _refuse_plain(agent: AgentSettings) -> None:
    if agent.tls or agent.listen.startswith(("unix:", "fd://")):
        return
    host, _port = split_host_port(agent.listen)
    if not is_loopback(host):
        raise AgentUnsafe(f"agent.listen: {agent.listen} is reachable from outside, and agent.tls is off")


def _introduce(agent: AgentSettings, identity: Identity, version: str, hindrance: str | None) -> None:
    if agent.tls:
        journal.info(
            "agent.identity",
            message=f'Pin this certificate in the daemon\'s settings: fingerprint = "{identity.fingerprint}"',
            fingerprint=identity.fingerprint,
        )
    journal.info("agent.core", message=f"The core is {version}", version=version)
    if hindrance is not None:
        journal.warning(
            "agent.cut_by_restart",
            message=f"Sockets cannot be destroyed here ({hindrance}): a customer who is turned off while connected costs"
            " a restart of the core, which interrupts everybody for a moment",
            reason=hindrance,
        )
    if agent.allow_private_targets:
        journal.warning(
            "agent.private_targets",
            message="Customers can reach this machine's own network: allow_private_targets is for a sandbox only",
        )
