"""Switches: what is paused stays so, whoever runs, and what must not be wrong asks the database itself."""

from __future__ import annotations

import pytest
from shop_world import ShopWorld

from vpnd.runtime.journal import capture
from vpnd.shop.charges import Outcome
from vpnd.shop.opening import ShopPaused
from vpnd.shop.switches import (
    Snapshot,
    Switchboard,
    UnknownSwitch,
    list_switches,
    register_switches,
    set_banner,
    set_switch,
)


class Worker:
    """Something that can be paused."""

    def __init__(self) -> None:
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


async def test_a_switch_tells_who_when_and_why(shop: ShopWorld) -> None:
    """And what is so already is not changed; what is unknown is refused with what there is."""
    await register_switches(shop.db, ["expiry", "reminders"])
    assert (await list_switches(shop.db)).all_paused == ()
    with capture() as lines:
        assert await set_switch(shop.db, "expiry", paused=True, by="admin:777", reason="  a\x00 test ")
        assert not await set_switch(shop.db, "expiry", paused=True, by="admin:778")
    (paused,) = (await list_switches(shop.db)).all_paused
    assert (paused.name, paused.reason, paused.changed_by) == ("expiry", "a test", "admin:777")
    assert paused.changed_at is not None
    assert [line.event for line in lines] == ["switch.paused"]

    with pytest.raises(UnknownSwitch) as caught:
        await set_switch(shop.db, "expirry", paused=True, by="x")
    ways = ["pay_balance", "pay_cryptopay", "pay_stars", "pay_yookassa"]
    assert caught.value.known == ["expiry", *ways, "reminders", "shop", "trial"]
    assert await set_switch(shop.db, "expiry", paused=False, by="shell:root")
    assert (await list_switches(shop.db)).all_paused == ()


async def test_a_board_pauses_and_resumes_workers(shop: ShopWorld) -> None:
    """A daemon that starts finds what was paused before, makes its workers known, and forgets no pause."""
    expiry, reminders = Worker(), Worker()
    board = Switchboard(shop.db, {"expiry": expiry, "reminders": reminders})
    seen: list[Snapshot] = []
    board.tell(seen.append)
    assert not board.loaded.is_set()
    await board.refresh()
    assert board.loaded.is_set()
    assert (expiry.paused, reminders.paused) == (False, False)
    await set_switch(shop.db, "expiry", paused=True, by="x")
    await board.refresh()
    assert (expiry.paused, reminders.paused) == (True, False)

    later = Worker()
    await Switchboard(shop.db, {"expiry": later}).refresh()
    assert later.paused
    await set_switch(shop.db, "expiry", paused=False, by="x")
    await board.refresh()
    assert not expiry.paused
    assert [snapshot.paused("expiry") for snapshot in seen] == [False, True, False]


async def test_a_paused_shop_opens_nothing_and_takes_what_is_paid(shop: ShopWorld) -> None:
    """No purchase, no top-up; a replayed update finds its own, a payment of what was open is settled, a renewal renews."""
    customer = await shop.customer()
    open_already = await shop.buy(customer, key="update:1")
    await set_switch(shop.db, "shop", paused=True, by="x")
    for attempt in (lambda: shop.buy(customer), lambda: shop.topup(customer, 10_000)):
        with pytest.raises(ShopPaused):
            await attempt()

    assert (await shop.buy(customer, key="update:1")).id == open_already.id
    assert (await shop.settle(shop.charge(open_already))).outcome is Outcome.SETTLED
    renewal = await shop.buy(customer, "balance", origin="renewal")
    assert renewal.origin == "renewal"
    await set_switch(shop.db, "shop", paused=False, by="x")
    assert (await shop.topup(customer, 10_000)).status == "pending"


async def test_the_banner(shop: ShopWorld) -> None:
    """One at a time, by whoever set it last; nothing but spaces is none."""
    assert (await list_switches(shop.db)).banner is None
    assert not await set_banner(shop.db, None, by="x")
    assert not await set_banner(shop.db, "  ", by="x")
    assert await set_banner(shop.db, "slow today", by="admin:1")
    assert await set_banner(shop.db, "slower", by="admin:2")
    banner = (await list_switches(shop.db)).banner
    assert banner is not None
    assert (banner.text, banner.set_by) == ("slower", "admin:2")
    assert await set_banner(shop.db, None, by="x")

    assert (await list_switches(shop.db)).banner is None
