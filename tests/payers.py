"""Pays whatever a message of the bot asks for, as its customer would: a page's button, a Stars invoice, a link to one."""

from __future__ import annotations

from typing import Any

from vpnd.sandbox.customer import Customer, Message, buttons_of
from vpnd.sandbox.world import World
from vpnd.sandbox.yookassa_state import payment_of

#: What an invoice link in Stars begins with.
STARS_LINK = "https://t.me/$"


def bill_of(message: Message) -> tuple[str, str] | None:
    """How a message is paid: "invoice" and "", or "stars", "yookassa" or "cryptopay" and the address; None if it asks nothing."""
    if "invoice" in message:
        return "invoice", ""
    for button in buttons_of(message):
        url = str(button.get("url", ""))
        if url.startswith(STARS_LINK):
            return "stars", url
        if payment_of(url) is not None:
            return "yookassa", url
        if "start=IV" in url:
            return "cryptopay", url
    return None


async def pay(world: World, customer: Customer, message: Message, **options: Any) -> dict[str, Any]:
    """Pay it; return the provider's answer. Refusals of Telegram are in it, those of pages are raised (ProgramFailed).

    `options` go to the provider's control interface: `amount`, `deliver`.
    """
    bill = bill_of(message)
    assert bill is not None, message
    how, url = bill
    if how == "invoice":
        return await customer.pay_stars(message, **options)
    if how == "stars":
        return await customer.pay_link(url, **options)
    answer: dict[str, Any]
    if how == "yookassa":
        answer = await world.yookassa.post(
            "/sim/pay", payment_id=payment_of(url), **{"deliver": True, **options}
        )
        return answer
    answer = await world.cryptopay.post(
        "/sim/pay", hash=url.rpartition("start=")[2], **{"deliver": True, **options}
    )
    return answer
