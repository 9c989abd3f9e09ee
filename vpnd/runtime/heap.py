"""The garbage collector, kept from stopping the loop.

A full collection looks at every container object there is. Imported modules alone are some hundred thousand of them, never
garbage, and looking at them takes 50 to 80 ms on a small machine, about once a second under load: longer than anything
else in the loop. What exists when a service has been built lives as long as the process, so it is taken out of the
collector's sight; a full collection then sees what requests have left behind, and takes a millisecond or two.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["settle_heap"]


#: Allocations between two young collections, and how many of those make an older one. An update makes a few thousand objects and
#: hardly any cycle: Python's own rhythm (700 to 2000) looks at them several times an update, which is a tenth of its cost.
#: A full collection comes about once a minute under load: what waits for it is memory that nobody gets back.
THRESHOLDS: Final = (50_000, 10, 10)


def settle_heap() -> None:
    """Exempt every object that exists now from garbage collection, and collect less often from now on.

    Call it once, when the service has been built. Takes about 0.1 s of the calling thread, so it belongs before the loop
    has anything to do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
