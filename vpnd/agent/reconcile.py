"""Once a minute: does the core hold what the durable copy holds?

It should, always. This is for what nobody foresaw: somebody with a client of his own at the core's API, a bug of the
core, a bug of ours. The copy is right and the core is mended, a stranger in it is cut off, and every difference is in
the journal, because each is a fault somewhere. Up to `FULL_UP_TO` credentials the whole lists are compared; beyond
that the numbers are, and the whole lists every tenth time.
"""

from collections.abc import Sequence
from typing import Final, NoReturn

import trio

from vpnd.agent.apply import Applier
from vpnd.agent.core import Core, Running
from vpnd.agent.model import Credential
from vpnd.agent.state import State
from vpnd.agent.xray_client import CoreError
from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal

journal = get_journal("agent")

#: Seconds between two comparisons.
INTERVAL: Final = 60.0
#: Credentials that are compared one by one each time; 10 000 take about a tenth of a second, in a thread.
FULL_UP_TO: Final = 50_000
#: Of comparisons beyond that size, each so-many-th is a full one.
FULL_EVERY: Final = 10


class Reconciler:
    """Compares the core with the durable copy, and has the applier mend it."""

    def __init__(self, core: Core, state: State, applier: Applier) -> None:
        self._core = core
        self._state = state
        self._applier = applier
        self._round = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Compare every `INTERVAL` seconds until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(INTERVAL)
            try:
                await self.compare()
            except CoreError as error:
                # The core's end is told and mended by its keeper; here there is only nothing to compare.
                journal.warning(
                    "core.not_compared", message=f"The core's users could not be compared: {error}"
                )

    async def compare(self) -> set[str]:
        """Compare once and mend what differs; return the names that differed.

        Raises `CoreError` when the core cannot be asked. A change that arrives meanwhile may be taken for a difference;
        that is harmless, since mending reads the copy afresh.
        """
        present = await self._core.running()
        self._round += 1
        watermark = await self._state.watermark()
        metrics.agent_users.set(watermark.active)
        suspects: set[str] = set()
        for tag in present.doors.tags:
            suspects |= await self._suspects(present, tag, watermark.active)
        if not suspects:
            return set()
        if self._core.current is not present:
            return set()  # compared with a life that is over
        journal.warning(
            "core.differed",
            message=f"The core differed from the node's own copy in {len(suspects)} credentials; they are mended now",
            count=len(suspects),
        )
        await self._applier.mend(suspects)
        return suspects

    async def _suspects(self, present: Running, tag: str, active: int) -> set[str]:
        if active > FULL_UP_TO and self._round % FULL_EVERY and await present.client.count(tag) == active:
            return set()
        held = await present.client.users(tag)
        differing: set[str] = set()
        after = ""
        while page := await self._state.active_page(after):
            differing |= await trio.to_thread.run_sync(_wrong, page, held)
            after = page[-1].name
        # What is left in `held` has no business there.
        return differing | held.keys()


def _wrong(page: Sequence[Credential], held: dict[str, str]) -> set[str]:
    """Take a page out of `held`; return the names that were missing there or had another uuid."""
    return {credential.name for credential in page if held.pop(credential.name, None) != credential.uuid}
