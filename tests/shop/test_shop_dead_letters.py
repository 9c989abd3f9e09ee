"""Dead letters, seen to by operators."""

from __future__ import annotations

import pytest
from shop_world import ShopWorld

from vpnd.shop.dead_letters import NoDeadLetter, dead_letter, dead_letters, drop, retry

pytestmark = pytest.mark.postgres


async def dead(shop: ShopWorld, key: str, error: str = "no") -> int:
    """A row that was given up."""
    return int(
        await shop.do(
            lambda tx: tx.fetchval(
                "insert into outbox (kind, key, payload, status, failures, last_error, finished_at)"
                " values ('message', $1, '{\"secret\": 1}', 'dead', 20, $2, clock_timestamp()) returning id",
                key,
                error,
            )
        )
    )


async def test_they_are_shown_without_secrets(shop: ShopWorld) -> None:
    """Kind, key and error of each, the newest first, in pages; links and tokens are taken out."""
    token = "123456789:" + "A" * 35
    ids = [await dead(shop, f"k{number}", f"{number} https://x/sub/abcdefgh {token}") for number in range(3)]

    first = await dead_letters(shop.db, limit=2)
    rest = await dead_letters(shop.db, before=first[-1].id, limit=2)

    assert [one.id for one in (*first, *rest)] == ids[::-1]
    assert "abcdefgh" not in first[0].error
    assert "AAAA" not in first[0].error
    assert await dead_letter(shop.db, ids[0]) == rest[0]


async def test_one_is_tried_again_or_dropped_once(shop: ShopWorld) -> None:
    """With all its attempts, or never again; whoever comes later is told that it was seen to."""
    one, other = await dead(shop, "a"), await dead(shop, "b")

    again = await shop.do(lambda tx: retry(tx, one))
    gone = await shop.do(lambda tx: drop(tx, other))

    assert (again.after, gone.after) == ({"status": "ready"}, {"status": "dropped"})
    rows = await shop.db.fetch("test", "select status, failures from outbox order by id")
    assert [(row["status"], row["failures"]) for row in rows] == [("ready", 0), ("dropped", 20)]
    for deed in (retry, drop):
        with pytest.raises(NoDeadLetter):
            await shop.do(lambda tx, deed=deed: deed(tx, one))  # type: ignore[misc]
    assert await dead_letter(shop.db, one) is None
