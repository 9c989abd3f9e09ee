"""The page of metrics, written in steps: nobody's button waits for it."""

from __future__ import annotations

from collections.abc import Iterator

import trio
from attrs import frozen
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from vpnd.runtime.metrics import REGISTRY

__all__ = ["render_in_steps"]


@frozen
class _Family:
    """One metric with all its series, in the shape that the renderer takes."""

    metric: Metric

    def collect(self) -> Iterator[Metric]:
        yield self.metric


async def render_in_steps() -> bytes:
    """Return what `render` returns, with a checkpoint after each metric.

    A daemon that has lived for a while has thousands of series. To write them takes 80 ms of processor time, and nobody's
    button waits for that.
    """
    pieces = []
    for metric in REGISTRY.collect():
        pieces.append(generate_latest(_Family(metric)))
        await trio.lowlevel.checkpoint()
    return b"".join(pieces)
