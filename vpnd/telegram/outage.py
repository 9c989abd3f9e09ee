"""What people are told while there is no database to keep their updates in.

Everybody is told once in an outage. Who was told is forgotten when the database is back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import trio

from vpnd.runtime import metrics
from vpnd.runtime.journal import get_journal
from vpnd.telegram.update import StoredUpdate, private_chat_of

__all__ = ["Outage", "RefusePreCheckout", "RepairNotice"]

journal = get_journal("telegram")

#: Called with a chat and an update that could not be kept: tell them that we are being repaired.
RepairNotice = Callable[[int, dict[str, Any]], Awaitable[None]]
#: Called with the id of a pre-checkout query that cannot be checked: answer it with a refusal.
RefusePreCheckout = Callable[[str], Awaitable[None]]

#: Seconds in which the people of one batch are told.
TELLING_TIME: Final = 5.0
#: Chats and queries remembered as told. An outage with more of them than this repeats itself to some.
MOST_TOLD: Final = 10_000


class Outage:
    """Whether updates can be kept at the moment, and who knows that they cannot."""

    def __init__(self, repair_notice: RepairNotice, refuse_pre_checkout: RefusePreCheckout) -> None:
        self._repair_notice = repair_notice
        self._refuse_pre_checkout = refuse_pre_checkout
        self._told: dict[int | str, None] = {}
        self.under_way = False

    def began(self, error: Exception) -> None:
        """Note that updates cannot be kept."""
        if not self.under_way:
            self.under_way = True
            journal.error("telegram.inbox_unavailable", message=f"updates cannot be kept: {error}")

    def ended(self) -> None:
        """Note that an update was kept."""
        if self.under_way:
            self.under_way = False
            journal.info("telegram.inbox_back", message="updates are kept again", chats_told=len(self._told))
            self._told.clear()

    async def tell(self, updates: Iterable[StoredUpdate]) -> None:
        """Refuse the pre-checkouts and tell the chats of `updates`, all at once, within `TELLING_TIME`.

        A failure to tell is written to the journal and otherwise left alone.
        """
        with trio.move_on_after(TELLING_TIME):
            async with trio.open_nursery() as nursery:
                for update in updates:
                    if update.kind == "pre_checkout_query":
                        query_id = str(update.payload["pre_checkout_query"].get("id", ""))
                        if self._first_time(query_id):
                            metrics.telegram_updates_total.labels(update.kind, "refused").inc()
                            nursery.start_soon(self._guard, self._refuse_pre_checkout, query_id)
                    elif not update.carries_money:
                        chat_id = private_chat_of(update.payload)
                        if (
                            chat_id is not None
                            and update.kind != "my_chat_member"
                            and self._first_time(chat_id)
                        ):
                            nursery.start_soon(self._guard, self._repair_notice, chat_id, update.payload)

    def _first_time(self, whom: int | str) -> bool:
        if whom in self._told:
            return False
        if len(self._told) >= MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._told[whom] = None
        return True

    async def _guard(self, function: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        try:
            await function(*arguments)
        # Telling is a courtesy; Telegram may be as far away as the database is.
        except Exception as error:
            journal.warning(
                "telegram.repair_not_told",
                message=f"a chat could not be told: {type(error).__name__}: {error}",
            )
