"""`vpnd broadcast`, as an operator types it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from shell_kit import several, shop_environment
from shop_world import ShopWorld

from vpnd.shop import broadcasts

pytestmark = pytest.mark.postgres


@pytest.fixture
def shell(database_url: str) -> dict[str, str]:
    """A shop whose clock is Moscow's."""
    return {**shop_environment(database_url), "VPND_SHOP__TIME_ZONE": "Europe/Moscow"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a text in two languages, buttons, and what is wrong with each."""
    for name, text in (
        ("en.html", "<b>Sale</b> &amp; more"), ("ru.html", "Скидки"), ("bad.html", "<b>never closed"),
        ("buttons", "Buy - https://example.org/buy\n"), ("wrong", "Buy example.org\n"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    return tmp_path


async def crowd(shop: ShopWorld) -> None:
    """Ten customers, half of them English."""
    await shop.execute(
        "insert into customers (telegram_id, language, referral_code)"
        " select n, case when n % 2 = 0 then 'en' else 'ru' end, 'c' || n from generate_series(1, 10) n"
    )


async def test_a_whole_life(shop: ShopWorld, shell: dict[str, str], files: Path) -> None:
    """Without --yes nothing is written; with it one runs; it is shown, paused, resumed, stopped, each in the audit log."""
    await crowd(shop)
    order = [
        "broadcast", "send", "--text", f"en={files}/en.html", "--text", f"ru={files}/ru.html", "--buttons", f"{files}/buttons",
        "--copy-b", "77:5", "--share-b", "20", "--segment", "language=en", "--segment", "access=no", "--title", "Sale",
    ]  # fmt: skip

    asked, done, listed, paused, again, resumed, stopped, shown = await several(
        shell,
        order,
        [*order, "--yes"],
        ["broadcast", "list"],
        ["broadcast", "pause", "1"],
        ["broadcast", "pause", "1"],
        ["broadcast", "resume", "1"],
        ["broadcast", "stop", "1"],
        ["broadcast", "show", "1"],
    )

    assert [one.code for one in (asked, done, listed, paused, again, resumed, stopped, shown)] == [
        0,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
    ]
    assert "two variants for 5 customers" in asked.out
    assert "Nothing was done" in asked.out
    assert "has begun" in done.out
    assert "running" in listed.out
    assert "is paused, so that cannot be done" in again.err
    assert "stopped" in shown.out
    assert "B: 0 sent of" in shown.out
    it = await broadcasts.progress(shop.db, 1)
    assert it is not None
    assert it.content["text"] == {"en": "<b>Sale</b> &amp; more", "ru": "Скидки"}
    assert it.content["buttons"][0][0]["url"] == "https://example.org/buy"
    assert it.content["b"] == {"copy": {"from_chat_id": 77, "message_id": 5}}
    assert (it.share_b, it.expected, it.title) == (20, 5, "Sale")
    rows = await shop.db.fetch("test", "select action, actor from audit_log order by id limit 20")
    assert [row["action"].rpartition(".")[2] for row in rows] == [
        "drafted", "started", "paused", "resumed", "stopped",
    ]  # fmt: skip
    assert all(row["actor"].startswith("shell:") for row in rows)


async def test_a_time_on_the_shops_clock(shop: ShopWorld, shell: dict[str, str], files: Path) -> None:
    """Scheduled at that moment, with what becomes of it if that is missed; a time that is over is refused."""
    await crowd(shop)
    day = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
    order = [
        "broadcast",
        "send",
        "--text",
        f"en={files}/en.html",
        "--on-missed",
        "skip",
        "--yes",
        "--schedule",
    ]

    done, past, none = await several(
        shell, [*order, f"{day} 10:00"], [*order, "2020-01-01 10:00"], [*order, "tomorrow"]
    )

    assert [one.code for one in (done, past, none)] == [0, 1, 1]
    assert f"{day} 07:00 UTC" in done.out
    assert "over already" in past.err
    assert "--schedule" in none.err
    (it,) = await broadcasts.listed(shop.db)
    assert (it.state, it.on_missed) == ("scheduled", "skip")


async def test_what_cannot_be_sent_is_said_with_the_option_and_the_remedy(
    shop: ShopWorld, shell: dict[str, str], files: Path
) -> None:
    """Each fault by its option; nothing is written."""
    good = ["--text", f"en={files}/en.html"]
    faults = {
        "--text LANGUAGE=FILE or --copy": [],
        "LANGUAGE=FILE": ["--text", "en"],
        "never closed": ["--text", f"en={files}/bad.html"],
        "No such file": ["--text", f"en={files}/none.html"],
        "exclude each other": [*good, "--copy", "1:2"],
        "CHAT:MESSAGE, two numbers": ["--copy", "somewhere"],
        "--buttons: line 1": [*good, "--buttons", f"{files}/wrong"],
        "--share-b": [*good, "--copy-b", "1:2", "--share-b", "100"],
        "--segment 'colour=red'": [*good, "--segment", "colour=red"],
        "--segment balance": [*good, "--segment", "balance=100"],
        "nobody is meant": [*good, "--yes"],
        "there is no broadcast 9": None,
    }
    said = await several(
        shell,
        *(
            ["broadcast", "show", "9"] if words is None else ["broadcast", "send", *words]
            for words in faults.values()
        ),
    )

    for words, one in zip(faults, said, strict=True):
        assert one.code in (1, 2), words
        assert words in one.err, (words, one.err)
    assert await shop.db.fetchval("test", "select count(*) from broadcasts") == 0
