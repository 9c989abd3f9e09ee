"""Draws one picture of charts: panels as JSON on standard input (`vpnd.bot.charts.Panel`), the PNG on standard output.

Run as `python -m vpnd.bot.chart_child`, never imported by the daemon: drawing costs a tenth of a second of CPU.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from math import floor, log10
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

CPU_SECONDS: Final = 5
MEMORY: Final = 768 << 20  # bytes of address space
NICENESS: Final = 10
MAX_INPUT: Final = 256 << 10  # bytes
MOST_PANELS: Final = 4
MOST_POINTS: Final = 400

#: Pixels of the picture; it is drawn twice as large, so that lines are smooth.
WIDTH: Final = 1200
PANEL: Final = 460
FINE: Final = 2
LEFT, RIGHT, TOP, BOTTOM = 120, 36, 70, 56
ROW: Final = 74  # of a rank

BACK, INK, SOFT, GRID = "#ffffff", "#1c2330", "#667085", "#e4e8ee"
COLOURS: Final = ("#2f6fde", "#e0862b", "#1f9d6b", "#8a5bd6")


class _Pen:
    """Draws in pixels of the finished picture."""

    def __init__(self, height: int) -> None:
        self.height = height
        self._image = Image.new("RGB", (WIDTH * FINE, height * FINE), BACK)
        self._draw = ImageDraw.Draw(self._image)
        self._fonts: dict[int, Any] = {}

    def text(
        self, x: float, y: float, words: str, *, size: int = 24, fill: str = SOFT, anchor: str = "la"
    ) -> None:
        if size not in self._fonts:
            self._fonts[size] = ImageFont.load_default(size * FINE)
        self._draw.text((x * FINE, y * FINE), words, font=self._fonts[size], fill=fill, anchor=anchor)

    def line(self, points: list[tuple[float, float]], fill: str, width: float) -> None:
        scaled = [(x * FINE, y * FINE) for x, y in points]
        self._draw.line(scaled, fill=fill, width=round(width * FINE), joint="curve")

    def box(
        self, left: float, top: float, right: float, bottom: float, fill: str, round_by: float = 4
    ) -> None:
        if right - left < 1 or bottom - top < 1:
            return
        edges = (left * FINE, top * FINE, right * FINE, bottom * FINE)
        radius = min(round_by, (right - left) / 2, (bottom - top) / 2) * FINE
        self._draw.rounded_rectangle(edges, radius=radius, fill=fill)

    def dot(self, x: float, y: float, fill: str, size: float = 5) -> None:
        self._draw.ellipse(
            ((x - size) * FINE, (y - size) * FINE, (x + size) * FINE, (y + size) * FINE), fill=fill
        )

    def png(self) -> bytes:
        out = io.BytesIO()
        # Few colours: a palette makes a picture of some tens of kB.
        small = self._image.resize((WIDTH, self.height), Image.Resampling.BOX)
        small.quantize(64).save(out, "PNG", optimize=True)
        return out.getvalue()


def marks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers from `low` to beyond `high`, zero among them."""
    low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    step = 10.0 ** floor(log10(span / most))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if span / (step * factor) <= most)
    first, last = floor(low / step), -floor(-high / step)
    return [step * n for n in range(first, max(last, first + 1) + 1)]


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _plot(pen: _Pen, top: float, panel: dict[str, Any]) -> None:
    """Bars or lines over days."""
    labels, series = panel["labels"], panel["series"]
    values = [value for one in series for value in one]
    ticks = marks(min(values, default=0), max(values, default=0))
    low, high = ticks[0], ticks[-1]
    bottom = top + PANEL - BOTTOM
    step = (WIDTH - LEFT - RIGHT) / max(len(labels), 1)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (PANEL - BOTTOM - TOP)

    pen.text(36, top + 18, panel["head"], size=30, fill=INK)
    for tick in ticks:
        pen.line([(LEFT, y(tick)), (WIDTH - RIGHT, y(tick))], SOFT if tick == 0 else GRID, 1.5)
        pen.text(LEFT - 14, y(tick), _short(tick), anchor="rm")
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        points = [(LEFT + step * (place + 0.5), y(value)) for place, value in enumerate(one)]
        if panel["kind"] == "bars":
            for x, at in points:
                pen.box(x - step * 0.38, min(at, y(0)), x + step * 0.38, max(at, y(0)), colour)
        elif points:
            pen.line(points, colour, 4)
            for x, at in points:
                pen.dot(x, at, colour)
    every = -(-len(labels) // 8) if labels else 1
    for place, label in enumerate(labels):
        if place % every == 0:
            pen.text(LEFT + step * (place + 0.5), bottom + 16, label, anchor="ma")


def _ranks(pen: _Pen, top: float, panel: dict[str, Any]) -> None:
    """A bar for each name, with its value behind it."""
    pen.text(36, top + 18, panel["head"], size=30, fill=INK)
    values = panel["series"][0]
    most = max((value for value in values if value > 0), default=1)
    for place, (label, value, words) in enumerate(zip(panel["labels"], values, panel["words"], strict=True)):
        y = top + TOP + place * ROW
        pen.text(36, y, label, fill=INK)
        pen.text(WIDTH - RIGHT, y, words, fill=INK, anchor="ra")
        pen.box(36, y + 34, WIDTH - RIGHT, y + 50, GRID, 8)
        pen.box(36, y + 34, 36 + (WIDTH - RIGHT - 36) * max(value, 0) / most, y + 50, COLOURS[0], 8)


def _height(panel: dict[str, Any]) -> int:
    return TOP + ROW * len(panel["labels"]) + 10 if panel["kind"] == "ranks" else PANEL


def draw(panels: list[dict[str, Any]]) -> bytes:
    """The panels below each other, as a PNG.

    Raises:
        ValueError: there is none, or too much.
    """
    if not 0 < len(panels) <= MOST_PANELS or any(len(one["labels"]) > MOST_POINTS for one in panels):
        raise ValueError("nothing to draw, or too much")
    pen = _Pen(sum(map(_height, panels)) + 20)
    top = 10.0
    for panel in panels:
        (_ranks if panel["kind"] == "ranks" else _plot)(pen, top, panel)
        top += _height(panel)
    return pen.png()


def main() -> int:
    """Read, draw, write; 0 when the picture was written, 2 when it cannot be drawn."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        png = draw(json.loads(sys.stdin.buffer.read(MAX_INPUT)))
    except (ValueError, KeyError, TypeError):
        return 2
    sys.stdout.buffer.write(png)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
