"""`vpnd maintenance`, as an operator types it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from shell_kit import several, shop_environment
from shop_world import ShopWorld

from vpnd.cli import main

#: Half an hour of some day that comes: the command reads the real clock.
SOON = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d} 02:30"
WORK = ["maintenance", "berlin", "--from", SOON, "--for", "2h"]


@pytest.fixture
def shell(database_url: str, tmp_path: Path) -> dict[str, str]:
    """A shop with two nodes whose clock is Moscow's."""
    nodes = {
        f"VPND_NODES__{name}__{key}": value
        for name in ("BERLIN", "OSLO")
        for key, value in (("URL", "https://127.0.0.1:9"), ("TOKEN", "a-token-that-is-long-enough"))
    }
    return {**shop_environment(database_url), **nodes, "VPND_SHOP__TIME_ZONE": "Europe/Moscow"}


async def test_it_says_what_it_will_do_and_does_it_once(shop: ShopWorld, shell: dict[str, str]) -> None:
    """Without --yes nothing is written; with it one broadcast runs; again, it tells how far that is."""
    for _ in range(3):
        await shop.grant(await shop.customer())
    await shop.customer()

    asked, done, again, forever, shown = await several(
        shell, WORK, [*WORK, "--yes"], [*WORK, "--yes"], [*WORK[:-1], "3h", "--yes"], WORK
    )

    assert [one.code for one in (asked, done, again, forever, shown)] == [0] * 5
    for words in (
        f"from {SOON} to ", "in Europe/Moscow", "3 customers with an active subscription", "At 30 messages a second",
        "Nothing was done. Say --yes",
    ):  # fmt: skip
        assert words in asked.out, words
    assert f"{SOON[:10]} 04:30" in asked.out
    assert "has begun" in done.out
    for later in (again, forever, shown):
        assert "announced already" in later.out
        assert "Nothing is sent twice" in later.out
    (row,) = await shop.db.fetch("test", "select state, content, created_by from broadcasts limit 2")
    assert row["state"] == "running"
    assert row["content"]["notice"]["others"] is True
    assert row["content"]["notice"]["starts_at"].endswith("+00:00")
    assert row["created_by"].startswith("shell:")


async def test_what_cannot_be_announced_is_said_with_the_remedy(
    shop: ShopWorld, shell: dict[str, str]
) -> None:
    """An unknown node, a time that is over or far away; nothing is written."""
    past, far = [f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d} 00:00" for days in (-2, 90)]

    said = await several(
        shell,
        ["maintenance", "berlim", *WORK[2:]],
        ["maintenance", "berlin", "--from", past, "--for", "2h", "--yes"],
        ["maintenance", "berlin", "--from", far, "--for", "2h", "--yes"],
    )

    assert [one.code for one in said] == [1, 1, 1]
    assert 'did you mean "berlin"?' in said[0].err
    assert "berlin, oslo" in said[0].err
    assert "--from is over" in said[1].err
    assert "Europe/Moscow" in said[1].err
    assert "60 days" in said[2].err
    assert await shop.db.fetchval("test", "select count(*) from broadcasts") == 0


async def test_a_pause_and_a_late_hour_are_told(shop: ShopWorld, shell: dict[str, str]) -> None:
    """Whoever announces while broadcasts are paused, or too late for all, hears it."""
    await shop.execute(
        "insert into switches (name, paused, changed_by, changed_at) values ('broadcast', true, 'x', now())"
        " on conflict (name) do update set paused = true"
    )
    await shop.grant(await shop.customer())
    soon = f"{datetime.now(UTC) + timedelta(hours=3, minutes=2):%Y-%m-%d %H:%M}"  # Moscow's clock: within two minutes

    (said,) = await several(
        {**shell, "VPND_LIMITS__TELEGRAM_PER_SECOND": "0.001"},
        ["maintenance", "berlin", "--from", soon, "--for", "30m", "--yes"],
    )

    assert said.code == 0
    assert "would be told after it has begun" in said.out
    assert "`vpnd resume broadcast`" in said.out


@pytest.mark.parametrize(
    "words",
    [
        ["--from", "tomorrow", "--for", "2h"],
        ["--from", "2026-02-30 02:00", "--for", "2h"],
        ["--from", "2026-12-01", "--for", "2h"],
        ["--from", SOON, "--for", "0h"],
        ["--from", SOON, "--for", "2 hours"],
        ["--from", SOON, "--for", "8d"],
        ["--from", SOON, "--for", "99999d"],
    ],
)
def test_a_wrong_word_ends_with_2(
    words: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence that says what to write; the database is not asked."""
    config = tmp_path / "vpnd.toml"
    config.write_text(
        f'[telegram]\ntoken = "123456:{"A" * 35}"\n[database]\nurl = "postgresql://x@127.0.0.1:9/x"\n'
    )

    assert main(["maintenance", "--config", str(config), "berlin", *words]) == 2
    assert "is a date" in (said := capsys.readouterr().err) or "is like 30m" in said
