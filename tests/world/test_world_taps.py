"""How many taps a stranger needs until a page comes through his VPN, in the whole world with a real node and a real client."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import unquote

import pytest
import trio
from attrs import define
from world_kit import a_world, is_a

from vpnd.bot import callbacks, own_callbacks
from vpnd.sandbox.client_core import client_core, fetch_through
from vpnd.sandbox.customer import Customer, Message, buttons_of, links_behind
from vpnd.sandbox.targets import PAGE
from vpnd.sandbox.tour import CLIENT_ADDRESS
from vpnd.sandbox.world import World

pytestmark = pytest.mark.world

_IMPORTED = re.compile(r'<a href="hiddify://import/([^"#]+)')


@define
class Newcomer:
    """A person who counts his taps."""

    customer: Customer
    taps: int = 0
    event: int = 0

    async def tap(self, what: str, fits: Callable[[Any], bool]) -> None:
        """Press a button of what came since the last press."""
        self.event = await self.customer.press(what, fits, since=self.event)
        self.taps += 1

    async def tap_link(self, part: str) -> str:
        """Press a button that opens a page; return its address."""

        def leads(message: Message) -> list[str]:
            return [b["url"] for b in buttons_of(message) if "url" in b and part in b["url"]]

        message = await self.customer.wait_for(part, lambda m: bool(leads(m)), since=self.event)
        self.taps += 1
        return str(leads(message)[0])

    async def connect(self, world: World) -> bytes | None:
        """Choose the device, open the app by the page, which does so by itself, and fetch a page through the VPN."""
        await self.tap(
            "choose a device", lambda a: isinstance(a, own_callbacks.ConnectBy) and a.app == "android"
        )
        opened = await world.http.get(await self.tap_link("/open/hiddify"))
        assert 'http-equiv="refresh"' in opened.text
        found = _IMPORTED.search(opened.text)
        assert found is not None, opened.text
        (link,) = await links_behind(world.http, unquote(unescape(found[1])))
        async with client_core(link, source_ip=CLIENT_ADDRESS) as socks:
            with trio.fail_after(20):
                while (body := await fetch_through(socks, world.targets.page_url)) is None:
                    await trio.sleep(0.05)  # the node is told within a moment
        return body


async def test_a_trial_is_five_taps_away() -> None:
    """From /start to a page through the VPN: try it, begin, the device, the app."""
    async with a_world(daemon_extra="\n[trial]\nhours = 72\n") as (world, _lines):
        await world.start_daemon()
        one = Newcomer(Customer(world, 4711))
        await one.customer.say("/start")
        await one.tap("try it", is_a(callbacks.Trial))
        await one.tap("begin", is_a(callbacks.StartTrial))

        assert await one.connect(world) == PAGE
        assert one.taps <= 5


async def test_a_purchase_is_seven_taps_away() -> None:
    """From /start to a page through the VPN: get it, plan, period, way to pay, pay, the device, the app."""
    async with a_world() as (world, _lines):
        await world.start_daemon()
        one = Newcomer(Customer(world, 4712))
        await one.customer.say("/start")
        for kind in (callbacks.Plans, callbacks.Periods, callbacks.Methods):
            await one.tap("go on", is_a(kind))
        await one.tap("pay by Stars", lambda a: isinstance(a, callbacks.Pay) and a.method == "stars")
        invoice = await one.customer.wait_for("the invoice", lambda m: "invoice" in m, since=one.event)
        assert (await one.customer.pay_stars(invoice))["ok"]
        one.taps += 1

        assert await one.connect(world) == PAGE
        assert one.taps <= 7
