"""Messages that show how far a broadcast is, and are kept true for as long as it is not at its end.

They are rows, so that a restart leaves none behind with yesterday's figures. A chat has one for a broadcast: the last that
somebody looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from vpnd.database.scope import Transaction
from vpnd.shop.source import Source, fetch

__all__ = ["MOST", "Watcher", "forget", "leave", "watch", "watchers"]

#: Messages that are kept true at once; the newest, if there are more.
MOST: Final = 50


@frozen
class Watcher:
    """A message in a chat, in its reader's language."""

    broadcast_id: int
    chat_id: int
    message_id: int
    language: str


async def watch(tx: Transaction, watcher: Watcher) -> None:
    """Keep a message true from now on; an older one of this broadcast in the chat no more, nor what this one showed before."""
    await leave(tx, watcher.chat_id, watcher.message_id)
    await tx.execute(
        "insert into broadcast_watchers (broadcast_id, chat_id, message_id, language) values ($1, $2, $3, $4)"
        " on conflict (broadcast_id, chat_id) do update set message_id = excluded.message_id, language = excluded.language",
        watcher.broadcast_id,
        watcher.chat_id,
        watcher.message_id,
        watcher.language,
    )


async def leave(tx: Transaction, chat_id: int, message_id: int) -> bool:
    """A message shows something else now; whether it was watched."""
    return (
        await tx.execute(
            "delete from broadcast_watchers where chat_id = $1 and message_id = $2", chat_id, message_id
        )
        > 0
    )


async def forget(tx: Transaction, gone: Sequence[Watcher]) -> None:
    """These need not be kept true any more."""
    await tx.execute(
        "delete from broadcast_watchers w using unnest($1::bigint[], $2::bigint[], $3::bigint[]) g (b, c, m)"
        " where w.broadcast_id = g.b and w.chat_id = g.c and w.message_id = g.m",
        [one.broadcast_id for one in gone],
        [one.chat_id for one in gone],
        [one.message_id for one in gone],
    )


async def watchers(source: Source) -> list[Watcher]:
    """All of them, the newest broadcasts first."""
    rows = await fetch(
        source,
        "broadcasts.watchers",
        "select broadcast_id, chat_id, message_id, language from broadcast_watchers"
        " order by broadcast_id desc, chat_id limit $1",
        MOST,
    )
    return [Watcher(*row.values()) for row in rows]
