"""The page of metrics, written in steps: nobody's button waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import trio
from attrs import frozen
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from vpnd.runtime.metrics import REGISTRY

__all__ = ["render_in_steps"]

#: Series written in one step: a few milliseconds of processor time.
SERIES_A_STEP: Final = 150
#: When a series began. The renderer makes a metric of its own of these, which cannot be written in pieces, and no dashboard
#: asks for them; they are a twentieth of the page.
_BEGINNING: Final = "_created"


@frozen
class _Family:
    """One metric with some of its series, in the shape that the renderer takes."""

    metric: Metric

    def collect(self) -> Iterator[Metric]:
        yield self.metric


async def render_in_steps() -> bytes:
    """Return what `render` returns, less the times at which series began, with a checkpoint after each few hundred series.

    A daemon that has lived for a while has thousands of series. To write them takes 80 ms of processor time, and nobody's
    button waits for that.
    """
    pieces: list[bytes] = []
    for metric in REGISTRY.collect():
        await trio.lowlevel.checkpoint()  # what was just collected is a step of its own
        series = [one for one in metric.samples if not one.name.endswith(_BEGINNING)]
        for start in range(0, max(1, len(series)), SERIES_A_STEP):
            metric.samples = series[start : start + SERIES_A_STEP]
            text = generate_latest(_Family(metric))
            # Its name and its kind are said once.
            pieces.append(text if start == 0 else b"".join(_without_head(text)))
            await trio.lowlevel.checkpoint()
    return b"".join(pieces)


def _without_head(text: bytes) -> Iterator[bytes]:
    return (line for line in text.splitlines(keepends=True) if not line.startswith(b"#"))
