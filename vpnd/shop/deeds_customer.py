"""What operators do to a customer beside giving: another plan, a new link, a block and its end, a message."""

from __future__ import annotations

from typing import Final

from vpnd.shop import notices
from vpnd.shop.audit_log import Change
from vpnd.shop.blocking import block, unblock
from vpnd.shop.deed import MOST_TEXT, SUBSCRIPTION, DeedRefused, Doing, access, refuse
from vpnd.shop.plan_change import ChangeImpossible, change_plan
from vpnd.shop.rotation import RotationImpossible, RotationTooSoon, rotate_link

__all__ = ["block_customer", "change_his_plan", "renew_link", "unblock_customer", "write_to"]

#: What the audit log keeps of a message, in letters.
_BEGINNING: Final = 24


# ------------------------------------------------------------------------------------------ plan and link


async def change_his_plan(doing: Doing) -> Change:
    """What is left of one plan becomes time of another, worth the same, as when a customer does it."""
    deed = doing.deed
    if doing.customer["blocked_at"] is not None:
        refuse("blocked", "he is blocked: unblock him first")
    before = await doing.tx.fetchrow(SUBSCRIPTION, deed.customer_id, deed.subscription_id or 0, None)
    if before is None or deed.plan is None:
        refuse("no_subscription", "this subscription is not his: open his card again")
    try:
        changed = await change_plan(
            doing.tx,
            subscription_id=before["id"],
            customer_id=deed.customer_id,
            to_plan=deed.plan,
            shop_currency=doing.currency,
            request_key=f"operator:{doing.key}",
        )
    except ChangeImpossible as error:
        raise DeedRefused("plan_impossible", f"the plan cannot be changed: {error}") from None
    if changed is None:
        refuse("as_it_was", "this was done before")
    after = await doing.tx.fetchrow(SUBSCRIPTION, deed.customer_id, before["id"], None)
    if after is None:
        raise RuntimeError("a locked subscription vanished while its plan was changed")
    return Change(subject=doing.subject, before=access(before), after=access(after))


async def renew_link(doing: Doing) -> Change:
    """Another credential and another page for one of his subscriptions."""
    deed = doing.deed
    row = await doing.tx.fetchrow(SUBSCRIPTION, deed.customer_id, deed.subscription_id or 0, None)
    if row is None:
        refuse("no_subscription", "this subscription is not his: open his card again")
    try:
        await rotate_link(
            doing.tx,
            subscription_id=row["id"],
            customer_id=deed.customer_id,
            request_key=f"operator:{doing.key}",
        )
    except RotationImpossible:
        raise DeedRefused("link_off", "the subscription is off: give days or unblock him first") from None
    except RotationTooSoon as error:
        minutes = max(1, round(error.wait.total_seconds() / 60))
        raise DeedRefused(
            "link_too_soon", f"the link was made anew a moment ago: wait {minutes} more minutes"
        ) from None
    await doing.tell("link_renewed", {"subscription_id": row["id"], "plan_id": row["plan_id"]})
    return Change(subject=doing.subject, after={"subscription": row["id"], "plan": row["plan_id"]})


# ------------------------------------------------------------------------------------------ block and words


async def block_customer(doing: Doing) -> Change:
    """Shut him out; see `vpnd.shop.blocking`."""
    telegram_id = doing.customer["telegram_id"]
    listed = await doing.tx.fetchval(
        "select exists (select from operators where telegram_id = $1)", telegram_id
    )
    if listed or doing.to_himself or telegram_id in doing.owners:
        refuse("operator", "whoever runs the shop cannot be blocked: take the role away first")
    done = await block(doing.tx, doing.deed.customer_id)
    if not done.changed:
        refuse("as_it_was", "he is blocked already")
    return Change(
        subject=doing.subject,
        before={"blocked": False},
        after={"blocked": True, "switched_off": done.ended, "charged_no_more": done.charged_by_stars},
    )


async def unblock_customer(doing: Doing) -> Change:
    """Let him in again."""
    done = await unblock(doing.tx, doing.deed.customer_id)
    if not done.changed:
        refuse("as_it_was", "he is not blocked")
    if doing.customer["reachable"]:
        notice = notices.message(
            f"unblocked:{doing.key}",
            doing.customer["telegram_id"],
            "unblocked",
            {"back": done.back},
            doing.customer["language"],
        )
        await notices.put_all(doing.tx, [notice])
    return Change(
        subject=doing.subject,
        before={"blocked": True},
        after={"blocked": False, "switched_on": done.back},
        detail="lifted",
    )


async def write_to(doing: Doing) -> Change:
    """A message of the operator's; the audit log keeps its length and its beginning."""
    text = doing.deed.text.replace("\x00", "").strip()
    if not text or len(text) > MOST_TEXT:
        refuse("no_words", f"a message has from 1 to {MOST_TEXT} letters")
    if not doing.customer["reachable"]:
        refuse(
            "unreachable",
            "nothing reaches him: he has blocked the bot, or has not written since his data was deleted",
        )
    # Also to somebody who is blocked: an operator may have to tell him why.
    notice = notices.message(
        f"operator_message:{doing.key}",
        doing.customer["telegram_id"],
        "operator_message",
        {"text": text},
        doing.customer["language"],
    )
    await notices.put_all(doing.tx, [notice])
    begins = text if len(text) <= _BEGINNING else text[:_BEGINNING] + "…"
    return Change(subject=doing.subject, after={"letters": len(text), "begins": begins})
