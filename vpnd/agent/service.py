"""`vpnd node run`: the agent as a service."""

from __future__ import annotations

import trio

from vpnd.agent.main import AgentStanding, run_agent
from vpnd.config import Settings
from vpnd.runtime.service import Service, run_service


def run(settings: Settings) -> int:
    """Run the agent until it is told to stop; return the exit code."""

    async def main(service: Service) -> None:
        async with trio.open_nursery() as nursery:
            standing: AgentStanding = await nursery.start(run_agent, settings)
            service.manager.ready(
                f"listening on {', '.join(standing.addresses)}; core {standing.core.state.value}"
            )
            nursery.start_soon(service.manager.watchdog, trio.lowlevel.checkpoint)
            await service.stopping.wait()
            nursery.cancel_scope.cancel()

    return run_service(main, log_format=settings.log.format)
