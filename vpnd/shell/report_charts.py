"""Charts of the report as inline SVG: bars by day, lines by day, and bars by name. The page has the colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import floor, log10
from typing import Final

from attrs import frozen

__all__ = ["Series", "bars", "lines", "ranks", "ticks"]

#: Units of the drawing; as wide as a phone shows it, so that letters keep their size there.
WIDTH: Final = 420.0
HEIGHT: Final = 190.0
LEFT: Final = 46.0
RIGHT: Final = 8.0
TOP: Final = 10.0
BOTTOM: Final = 24.0
_LABELS: Final = 6  # below a chart, at most
_ROW: Final = 26.0  # of a rank
_MOST_RANKS: Final = 20

Say = Callable[[float], str]


@frozen
class Series:
    """A line or a set of bars: its name, its values (None: not known), and the number of its colour (1 to 4)."""

    name: str
    values: Sequence[float | None]
    colour: int = 1


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers from `low` to beyond `high`, zero among them, at most about `most`."""
    low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    step = 10.0 ** floor(log10(span / most))
    for factor in (1, 2, 2.5, 5, 10):
        if span / (step * factor) <= most:
            step *= factor
            break
    first, last = floor(low / step), -floor(-high / step)
    return [step * n for n in range(first, max(last, first + 1) + 1)]


def bars(labels: Sequence[str], series: Series, say: Say) -> str:
    """A bar for each label, from zero up or down."""
    area = _Area.of([series], len(labels), say)
    width = area.step * 0.76
    zero = area.y(0)
    drawn = []
    for place, (label, value) in enumerate(zip(labels, series.values, strict=True)):
        if value is None:
            continue
        top, height = min(area.y(value), zero), abs(area.y(value) - zero)
        title = f"<title>{escape(label)}: {escape(say(value))}</title>"
        drawn.append(
            f'<rect class="c{series.colour}" x="{area.x(place) - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}"'
            f' height="{max(height, 0.5 if value else 0):.1f}" rx="1.5">{title}</rect>'
        )
    return area.frame(labels, "".join(drawn), series.name)


def lines(labels: Sequence[str], several: Sequence[Series], say: Say) -> str:
    """A line for each series; where a value is not known there is a gap."""
    area = _Area.of(several, len(labels), say)
    drawn = []
    for series in several:
        for start, piece in _pieces(series.values):
            points = " ".join(f"{area.x(start + n):.1f},{area.y(value):.1f}" for n, value in enumerate(piece))
            drawn.append(f'<polyline class="l{series.colour}" points="{points}"/>')
        drawn += [
            f'<circle class="c{series.colour}" cx="{area.x(place):.1f}" cy="{area.y(value):.1f}" r="2.2">'
            f"<title>{escape(label)}: {escape(series.name)} {escape(say(value))}</title></circle>"
            for place, (label, value) in enumerate(zip(labels, series.values, strict=True))
            if value is not None
        ]
    return area.frame(labels, "".join(drawn), ", ".join(one.name for one in several))


def ranks(rows: Sequence[tuple[str, float]], name: str, say: Say) -> str:
    """A bar for each name, the longest first."""
    shown = sorted(rows, key=lambda row: -row[1])[:_MOST_RANKS]
    most = max((abs(value) for _, value in shown), default=0) or 1
    room = WIDTH - RIGHT
    drawn = []
    for place, (label, value) in enumerate(shown):
        y = place * _ROW
        drawn.append(
            f'<text class="name" x="0" y="{y + 10:.1f}">{escape(label)}</text>'
            f'<text class="value" x="{room:.1f}" y="{y + 10:.1f}">{escape(say(value))}</text>'
            f'<rect class="c1" x="0" y="{y + 14:.1f}" width="{max(room * max(value, 0) / most, 1):.1f}" height="6" rx="3"/>'
        )
    height = max(_ROW * len(shown), _ROW)
    return _svg("".join(drawn), height, name)


def _pieces(values: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    """The stretches of known values, each with the place where it begins."""
    found: list[tuple[int, list[float]]] = []
    before = False
    for place, value in enumerate(values):
        if value is not None:
            if not before:
                found.append((place, []))
            found[-1][1].append(value)
        before = value is not None
    return found


@frozen
class _Area:
    """Where values stand in the drawing."""

    marks: Sequence[float]
    count: int
    say: Say

    @classmethod
    def of(cls, several: Sequence[Series], count: int, say: Say) -> _Area:
        known = [value for one in several for value in one.values if value is not None]
        return cls(ticks(min(known, default=0.0), max(known, default=0.0)), max(count, 1), say)

    @property
    def step(self) -> float:
        return (WIDTH - LEFT - RIGHT) / self.count

    def x(self, place: int) -> float:
        return LEFT + self.step * (place + 0.5)

    def y(self, value: float) -> float:
        low, high = self.marks[0], self.marks[-1]
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    def frame(self, labels: Sequence[str], inside: str, name: str) -> str:
        grid = "".join(
            f'<line class="{"zero" if mark == 0 else "grid"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(mark):.1f}"'
            f' y2="{self.y(mark):.1f}"/><text class="tick" x="{LEFT - 5}" y="{self.y(mark) + 3.5:.1f}">'
            f"{escape(_short(mark))}</text>"
            for mark in self.marks
        )
        every = -(-len(labels) // _LABELS)
        below = "".join(
            f'<text class="label" x="{self.x(place):.1f}" y="{HEIGHT - 7}">{escape(label)}</text>'
            for place, label in enumerate(labels)
            if place % every == 0
        )
        return _svg(grid + inside + below, HEIGHT, name)


def _short(value: float) -> str:
    """A number beside an axis: 1.5k, 2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _svg(inside: str, height: float, name: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(name)}">{inside}</svg>'
