"""A customer's own name for a subscription: "Mum's phone" says more than the plan does when there are three of them."""

from __future__ import annotations

import unicodedata
from typing import Final

from vpnd.database.scope import Transaction

__all__ = ["LONGEST", "clean_title", "set_title", "title_what_was_asked_about"]

#: Characters of a name; as many as fit on a button of a phone.
LONGEST: Final = 32

#: Joins the parts of one picture: the only letter without a shape of its own that a name may hold.
_JOINER: Final = "\u200d"

# The subscription is the one that the question was about, and still its owner's.
_TITLE_ASKED: Final = """
update subscriptions s set title = $2 from customers c
where c.id = $1 and c.expects = 'subscription_title' and s.id = c.expects_about and s.customer_id = c.id
returning s.id
"""


def clean_title(text: str) -> str:
    """A name without line breaks, marks of writing direction and other letters that nobody sees; "" if nothing is left.

    It may be longer than `LONGEST`: whoever asks says so, and does not cut it.
    """
    seen = (
        letter if letter == _JOINER or unicodedata.category(letter)[0] != "C" else " "
        for letter in unicodedata.normalize("NFC", text)
    )
    name = " ".join("".join(seen).split())
    return name if name.strip(_JOINER + " ") else ""


async def set_title(tx: Transaction, subscription_id: int, customer_id: int, title: str | None) -> bool:
    """Name a customer's own subscription, None: by its plan again. False if it is no such subscription.

    `title` is clean and not longer than `LONGEST`.
    """
    changed = await tx.execute(
        "update subscriptions set title = $3 where id = $1 and customer_id = $2",
        subscription_id,
        customer_id,
        title,
    )
    return changed > 0


async def title_what_was_asked_about(tx: Transaction, customer_id: int, title: str | None) -> int | None:
    """Name the subscription that the customer was asked to name; returns its id, or None if it was none of his."""
    found: int | None = await tx.fetchval(_TITLE_ASKED, customer_id, title)
    return found
