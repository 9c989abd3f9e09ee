"""Where the group that alerts are posted to is: it may have become a supergroup since its id was configured, or be lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import Factory, frozen

from vpnd.database import outbox
from vpnd.database.scope import Transaction
from vpnd.monitors.alarms import KEY
from vpnd.shop.notices import ALERT_POST
from vpnd.shop.source import Source, fetchrow, from_json

__all__ = [
    "AlertGroup",
    "group_found",
    "group_lost",
    "group_moved",
    "group_of",
    "key_about_alerts",
    "posted",
    "put_posts",
]


@frozen
class AlertGroup:
    """The group as it is now; `lost`: why it cannot be written to, by topic ("0": none)."""

    configured: int
    chat_id: int
    lost: Mapping[str, str] = Factory(dict)


async def group_of(source: Source, configured: int) -> AlertGroup:
    """The group that was configured by this id, where it is now."""
    row = await fetchrow(
        source, "alerts.group", "select chat_id, lost from alert_groups where configured = $1", configured
    )
    if row is None:
        return AlertGroup(configured, configured)
    return AlertGroup(configured, row["chat_id"], from_json(row["lost"]))


async def group_moved(tx: Transaction, configured: int, chat_id: int) -> bool:
    """Remember the group's new id; False if it is known. Its messages of before have no ids there, so alerts are posted anew."""
    moved = await tx.execute(
        "insert into alert_groups (configured, chat_id, moved_at) values ($1, $2, vpnd_now())"
        " on conflict (configured) do update set chat_id = excluded.chat_id, moved_at = excluded.moved_at, lost = '{}'"
        " where alert_groups.chat_id <> excluded.chat_id",
        configured,
        chat_id,
    )
    return moved > 0


async def group_lost(tx: Transaction, configured: int, topic: int, reason: str) -> bool:
    """Note that a topic of the group (0: none) cannot be written to; False if that is known."""
    await tx.execute(
        "insert into alert_groups (configured, chat_id) values ($1, $1) on conflict (configured) do nothing",
        configured,
    )
    noted = await tx.execute(
        "update alert_groups set lost = lost || jsonb_build_object($2::text, $3::text)"
        " where configured = $1 and not lost ? $2::text",
        configured,
        str(topic),
        reason,
    )
    return noted > 0


async def group_found(tx: Transaction, configured: int, topic: int) -> bool:
    """Note that a topic can be written to again; False if it could."""
    noted = await tx.execute(
        "update alert_groups set lost = lost - $2::text where configured = $1 and lost ? $2::text",
        configured,
        str(topic),
    )
    return noted > 0


async def posted(tx: Transaction, alert_id: int, chat_id: int, message_id: int) -> None:
    """Remember the message that tells of an alert in the group."""
    await tx.execute(
        "update alerts set chat_id = $2, message_id = $3, told_at = vpnd_now() where id = $1",
        alert_id,
        chat_id,
        message_id,
    )


def key_about_alerts(*parts: object) -> str:
    """The key of a row that tells operators of something: the monitors of the queues pass over it."""
    text = ":".join(map(str, parts))
    return text if text.startswith(KEY) else KEY + text


async def put_posts(
    tx: Transaction, chat: int | None, ids: Sequence[int], key: str, *, again: bool = False
) -> None:
    """Have the messages of the group `chat` say what these alerts say now; `key` names the cause.

    Without a group operators are told in private. `again`: also who was told already, since he heard nothing for a while.
    """
    for alert_id in ids:
        name = key_about_alerts("post", alert_id, key)
        payload: dict[str, Any] = {"alert": alert_id} | ({"again": key} if again else {})
        await outbox.put(tx, ALERT_POST, name, payload, order_key=f"alerts:{chat or 'private'}")
