"""The worker that ends mutes of alerts by the clock, and has told what stands then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from vpnd.database.database import Database
from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.runtime.worker import Job
from vpnd.shop.alert_groups import put_posts
from vpnd.shop.alerts import EndedMute, end_mutes

__all__ = ["alert_mutes"]

journal = get_journal("workers")

#: Alerts of one kind that are told at once: in a group each has its message already, in private each is one more for everybody.
_IN_GROUP: Final = 200
_IN_PRIVATE: Final = 10


def alert_mutes(db: Database, chat: int | None, *, wake: Callable[[], None]) -> Job:
    """End the mutes whose time is over. `chat` is the group of alerts, if there is one; `wake` is for what posts to it.

    A mute and what is told for it are one transaction, so a kill in between neither loses nor repeats a post.
    """
    most = _IN_PRIVATE if chat is None else _IN_GROUP

    async def body(tx: Transaction) -> Sequence[EndedMute]:
        ended = await end_mutes(tx, most)
        for one in ended:
            await put_posts(tx, chat, one.alerts, f"unmuted:{one.until.isoformat()}", again=True)
        return ended

    async def work() -> int:
        ended = await db.run("alerts.end_mutes", body)
        for one in ended:
            journal.info(
                "alerts.mute_ended",
                message=f"alerts of the kind {one.kind} are told again; {len(one.alerts)} are open",
                kind=one.kind,
                open=len(one.alerts),
            )
        if ended:
            wake()
        return len(ended)

    return Job("alert_mutes", interval=60, deadline=30, work=work)
