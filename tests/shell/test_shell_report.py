"""`vpnd report`: one HTML file that needs nothing from outside, with true figures in it."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from figures_oracle import open_life
from shell_kit import shop_environment, vpnd
from shop_world import ShopWorld

from vpnd.shell.report_charts import Series, bars, lines, ranks, ticks
from vpnd.shop.figures import total

pytestmark = pytest.mark.postgres


class Tags(HTMLParser):
    """Counts elements, and remembers whatever is loaded from somewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [(tag, value) for name, value in attrs if name in ("src", "href", "xlink:href")]


async def test_the_report_of_a_shop_that_lives(shop: ShopWorld, database_url: str, tmp_path: Path) -> None:
    """The revenue of its days is what the oracle has; charts are drawn, nothing is loaded, nobody else may read it."""
    life = await open_life(shop, 11, "UTC")
    await life.live(70)
    await shop.advance(timedelta(days=1, hours=2))
    shell, path = shop_environment(database_url), tmp_path / "report.html"

    said = await vpnd(shell, "report", "--days", "30", "--out", str(path))

    assert (said.code, said.err) == (0, ""), said
    text = path.read_text()
    seen = Tags(text)
    today = life.day(await life.now())
    money = [
        one
        for day, sums in life.sums_by_day().items()
        if today - timedelta(days=30) <= day < today
        for one in sums
    ]
    plain = text.replace("\u202f", "")
    for currency, one in total(money, "revenue").items():
        amount = f"{one.net / 100:.2f}".removesuffix(".00") if currency == "RUB" else str(one.net)
        assert f"<b>{amount} {currency}" in plain
    assert seen.tags.count("svg") >= 5
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert seen.loaded == []
    assert not re.search(r"@import|url\(", text)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


async def test_a_new_shop_has_a_report_too(shop: ShopWorld, database_url: str, tmp_path: Path) -> None:
    """Nothing to divide by, nothing to draw: dashes, and no error; for a year as for a day."""
    shell = shop_environment(database_url)
    for days in ("1", "365"):
        said = await vpnd(shell, "report", "--days", days, "--out", str(tmp_path / days))
        assert (said.code, said.err) == (0, ""), said
        assert "Paying customers" in (tmp_path / days).read_text()


async def test_faults_of_the_command_are_told(shop: ShopWorld, database_url: str, tmp_path: Path) -> None:
    """Days that are to come, more than fit, and words that contradict each other."""
    shell = shop_environment(database_url)
    future = await vpnd(shell, "report", "--from", "2999-01-01", "--out", str(tmp_path / "x"))
    long = await vpnd(shell, "report", "--from", "2001-01-01", "--out", str(tmp_path / "x"))
    both = await vpnd(shell, "report", "--from", "2026-01-01", "--days", "3")
    order = await vpnd(shell, "report", "--from", "2026-02-01", "--to", "2026-01-01")
    place = await vpnd(shell, "report", "--days", "1", "--out", os.fspath(tmp_path / "no" / "x"))

    assert (future.code, "nothing to tell" in future.err) == (1, True)
    assert (long.code, "days fit into one report" in long.err) == (1, True)
    assert (both.code, "give one" in both.err) == (2, True)
    assert (order.code, "--from is after --to" in order.err) == (2, True)
    assert (place.code, "cannot be written" in place.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 0, [0, 0.25]), (0, 100, [0, 25, 50, 75, 100]), (0, 7, [0, 2, 4, 6, 8]), (-30, 60, [-50, -25, 0, 25, 50, 75]),
        (0, 0.04, [0, 0.01, 0.02, 0.03, 0.04]),
    ],
)  # fmt: skip
def test_axes_have_round_numbers(low: float, high: float, found: list[float]) -> None:
    """From below the least to beyond the most, with zero among them."""
    marks = ticks(low, high)

    assert marks[0] <= low
    assert marks[-1] >= high
    assert any(abs(mark) < 1e-9 for mark in marks)
    assert marks == pytest.approx(found)


def test_charts_of_anything() -> None:
    """Names are escaped, gaps are gaps, below zero is below zero, and none at all is an empty chart."""
    say = "{:g}".format

    assert "<b>" not in ranks([("<b>&", -5.0), ("x", 0.0)], "<b>", say)
    assert lines(["a", "b", "c"], [Series("n", [1, None, 2])], say).count("<polyline") == 2
    assert bars(["a", "b"], Series("n", [-1.5, 3.0]), say).count("<rect") == 2
    assert "svg" in bars([], Series("n", []), say) + ranks([], "n", say) + lines([], [], say)
