"""A new link on a whole node: the shop makes the credential anew, and the real core lets the old one in no more."""

from __future__ import annotations

import attrs
import pytest
import trio
from agent_world import Download, world
from shop_world import open_world

from vpnd.agent import cutoff
from vpnd.nodes.model import AccessChange
from vpnd.sandbox.client_core import fetch_through
from vpnd.sandbox.targets import PAGE
from vpnd.shop import access_log
from vpnd.shop.rotation import rotate_link

pytestmark = [pytest.mark.core, pytest.mark.postgres]


async def change_of(shop) -> AccessChange:
    """The one credential of the shop, as nodes are told of it."""
    (one,) = await access_log.bucket_members(shop.db, range(256), 10)
    return AccessChange(one.name, one.uuid, one.version, one.active)


async def test_the_old_link_and_its_connections_die(tmp_path, db):
    """An open download by the old link ends when the node says so, the old link opens nothing, the new one does."""
    hindrance = cutoff.probe()
    shop = await open_world(db)
    mine = (await shop.grant(await shop.customer())).subscription
    before = await change_of(shop)
    async with world(tmp_path) as running:
        await running.push(before, adopt=True)
        async with running.app(before, "127.0.0.3") as old, trio.open_nursery() as nursery:
            download = Download(old, running.targets.secure_drip_url)
            nursery.start_soon(download.run)
            await download.flowing.wait()
            await shop.do(
                lambda tx: rotate_link(
                    tx, subscription_id=mine.id, customer_id=mine.customer_id, request_key="update:1"
                )
            )
            after = await change_of(shop)

            (removed,) = (await running.push(after)).removed
            with trio.fail_after(5):
                await download.ended.wait()
            through_old = await fetch_through(old, running.targets.page_url)
            async with running.app(after, "127.0.0.4") as new:
                through_new = await fetch_through(new, running.targets.page_url)

    assert attrs.evolve(after, uuid=before.uuid, version=before.version) == before
    assert (removed.name, removed.online_ips) == (before.name, 1)
    assert removed.how == ("restart" if hindrance else "sockets")
    assert through_old is None
    assert through_new == PAGE
