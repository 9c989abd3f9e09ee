"""What operators do with broadcasts, as deeds for `vpnd.shop.audit_log.perform`: the same from the bot and from the shell.

A deed looks at the broadcast under its row's lock, and refuses what its state does not allow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from vpnd.database.scope import Transaction
from vpnd.shop import broadcasts
from vpnd.shop.audit_log import Change
from vpnd.shop.broadcasts import OnMissed, State
from vpnd.shop.segments import Segment

__all__ = [
    "Deed",
    "NotNow",
    "composing",
    "discarding",
    "drafting",
    "editing",
    "pausing",
    "resuming",
    "scheduling",
    "starting",
    "stopping",
    "unscheduling",
]

Deed = Callable[[Transaction], Awaitable[Change]]


class NotNow(Exception):
    """The broadcast's state does not allow it; `state` is the present one, None if there is no such broadcast."""

    def __init__(self, broadcast_id: int, state: str | None) -> None:
        self.broadcast_id = broadcast_id
        self.state = state
        super().__init__(
            f"there is no broadcast {broadcast_id}"
            if state is None
            else f"broadcast {broadcast_id} is {state}, so that cannot be done"
        )


def drafting(*, by: str, request_key: str, made: list[int]) -> Deed:
    """Begin an empty draft; its id is put into `made`."""

    async def deed(tx: Transaction) -> Change:
        broadcast_id = await broadcasts.draft(tx, created_by=by, request_key=request_key)
        made.append(broadcast_id)
        return Change(subject=_subject(broadcast_id), after={"state": "draft"}, detail="drafted")

    return deed


def composing(
    *, content: Mapping[str, Any], segment: Segment, title: str, share_b: int, by: str, made: list[int]
) -> Deed:
    """Keep a complete draft; its id is put into `made`. The deed raises ValueError for content that is none."""

    async def deed(tx: Transaction) -> Change:
        broadcast_id = await broadcasts.create(
            tx, content=content, segment=segment, created_by=by, title=title, share_b=share_b
        )
        made.append(broadcast_id)
        return Change(
            subject=_subject(broadcast_id),
            after={"title": title, "segment": segment.to_json()},
            detail="drafted",
        )

    return deed


def editing(broadcast_id: int, *, after: Mapping[str, Any], **changes: Any) -> Deed:
    """Change a draft; `changes` are those of `broadcasts.edit`, `after` is what the log says of them."""

    async def deed(tx: Transaction) -> Change:
        state = await _state(tx, broadcast_id)
        if not await broadcasts.edit(tx, broadcast_id, **changes):
            raise NotNow(broadcast_id, state)
        return Change(subject=_subject(broadcast_id), after=after, detail="edited")

    return deed


def starting(broadcast_id: int, *, expected: int | None) -> Deed:
    """Begin to send; `expected` customers were counted and shown."""

    async def move(tx: Transaction) -> bool:
        found = await broadcasts.progress(tx, broadcast_id)
        return (
            found is not None and found.ready and await broadcasts.start(tx, broadcast_id, expected=expected)
        )

    return _moving(broadcast_id, "started", move, {"expected": expected})


def scheduling(broadcast_id: int, at: datetime, *, expected: int | None, on_missed: OnMissed) -> Deed:
    """Have it begin at a moment of business time."""

    async def move(tx: Transaction) -> bool:
        found = await broadcasts.progress(tx, broadcast_id)
        return (
            found is not None
            and found.ready
            and await broadcasts.edit(tx, broadcast_id, on_missed=on_missed)
            and await broadcasts.schedule(tx, broadcast_id, at, expected=expected)
        )

    told = {"at": at.isoformat(), "on_missed": on_missed, "expected": expected}
    return _moving(broadcast_id, "scheduled", move, told)


def unscheduling(broadcast_id: int) -> Deed:
    """Make it a draft again."""
    return _moving(broadcast_id, "unscheduled", lambda tx: broadcasts.unschedule(tx, broadcast_id))


def pausing(broadcast_id: int) -> Deed:
    """Send no more until it is resumed."""
    return _moving(broadcast_id, "paused", lambda tx: broadcasts.pause(tx, broadcast_id))


def resuming(broadcast_id: int) -> Deed:
    """Go on."""
    return _moving(broadcast_id, "resumed", lambda tx: broadcasts.resume(tx, broadcast_id))


def stopping(broadcast_id: int) -> Deed:
    """End it for good."""
    return _moving(broadcast_id, "stopped", lambda tx: broadcasts.stop(tx, broadcast_id))


def discarding(broadcast_id: int) -> Deed:
    """Throw a draft away."""
    return _moving(broadcast_id, "discarded", lambda tx: broadcasts.discard(tx, broadcast_id))


def _moving(
    broadcast_id: int,
    detail: str,
    move: Callable[[Transaction], Awaitable[bool]],
    told: Mapping[str, Any] | None = None,
) -> Deed:
    async def deed(tx: Transaction) -> Change:
        before = await _state(tx, broadcast_id)
        if not await move(tx):
            raise NotNow(broadcast_id, before)
        after = await _state(tx, broadcast_id)
        return Change(
            subject=_subject(broadcast_id),
            before={"state": before},
            after={"state": after, **(told or {})},
            detail=detail,
        )

    return deed


async def _state(tx: Transaction, broadcast_id: int) -> State | None:
    state: State | None = await tx.fetchval(
        "select state from broadcasts where id = $1 for no key update", broadcast_id
    )
    return state


def _subject(broadcast_id: int) -> str:
    return f"broadcast:{broadcast_id}"
