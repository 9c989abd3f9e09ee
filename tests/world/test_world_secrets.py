"""Nothing that opens a door is ever in a line that a program of ours wrote, however much it was asked to say."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from world_kit import a_world, books_of, choose, first_screen, invoice_of, vpnd

from vpnd.bot import callbacks
from vpnd.sandbox.customer import Customer, code_of, links_behind
from vpnd.sandbox.world import BOT_TOKEN, CRYPTO_TOKEN, WEBHOOK_SECRET, YOOKASSA_SECRET

pytestmark = pytest.mark.world

PASSWORD = "planted-Pa55word"


async def test_no_secret_is_ever_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A life with a purchase, a link, and faults on every boundary, at the debug level: no planted secret is in any line, on the
    page of the metrics, in the audit log, in an export, or in what a command says that fails."""
    monkeypatch.setenv("VPND_LOG__LEVEL", "debug")
    async with a_world(mode="webhook") as (world, lines), books_of(world) as db:
        text = world.config_path.read_text()
        # The server trusts whoever can reach its socket; the password is there to be looked for.
        world.config_path.write_text(text.replace("postgresql://vpnd@", f"postgresql://vpnd:{PASSWORD}@"))
        assert world.agent is not None
        assert world.node is not None
        world.agent.listeners.append(lines.append)
        await world.agent.kill()
        await world.agent.start()
        await world.start_daemon()
        customer = Customer(world, 1001)
        invoice = await invoice_of(world, await choose(customer, "cryptopay"))
        await world.cryptopay.post("/sim/pay", invoice_id=invoice["invoice_id"], deliver=True)
        receipt = await customer.wait_for("the receipt", lambda m: bool(code_of(m)))
        links = await links_behind(world.http, code_of(receipt)[0])
        assert (await world.http.get(f"{world.daemon_http}/sub/{'x' * 32}")).status_code == 404

        # Now everything goes wrong, since that is when programs become talkative.
        for kind in ("5xx", "garbage", "drop_reply", "401", "429"):
            await world.telegram.post("/sim/fault", method="*", kind=kind, count=2)
        for provider in (world.cryptopay, world.yookassa):
            for kind in ("garbage", "401", "5xx"):
                await provider.post("/sim/fault", kind=kind, count=2)
        await world.agent.kill()
        await world.postgres.restart()
        for _ in range(3):
            await customer.say("/start")
        await world.telegram.post("/sim/reset")
        await world.agent.start()
        await world.daemon_ready()
        await first_screen(Customer(world, 1002))
        await customer.say("/start")
        await customer.press("see the subscription", lambda a: isinstance(a, callbacks.Subscriptions))
        for path in ("telegram", "cryptopay", "yookassa"):
            await world.http.post(f"{world.daemon_http}/webhooks/{path}", content=b'{"update_id": "x"')
        row = await db.fetchrow("test.keys", "select credential, link_token from subscriptions limit 1")
        places = {"metrics": (await world.http.get(world.metrics_url)).text}
        config = ["--config", str(world.config_path)]

        async def command(*words: str) -> None:
            done = await trio.to_thread.run_sync(vpnd, *words)
            places[words[0]] = places.get(words[0], "") + done.stdout + done.stderr

        for what in ("customers", "subscriptions", "payments", "audit"):
            await command("export", what, *config, "--out", str(tmp_path / what))
            places[f"export of {what}"] = (tmp_path / what).read_text()
        await command("doctor", *config)
        await command("refund", f"cryptopay:{invoice['invoice_id']}", *config, "--yes", "--reason", "a test")
        broken = tmp_path / "broken.toml"
        broken.write_text(
            world.config_path.read_text().replace(BOT_TOKEN, f"{BOT_TOKEN} x").replace(":0/", ":x/")
        )
        await command("check-config", "--config", str(broken))
        audit = await db.fetch(
            "test.audit", "select row_to_json(a)::text as line from audit_log a limit 1000"
        )
        places["audit log"] = "\n".join(one["line"] for one in audit)
        assert places["audit log"]
        await world.daemon.terminate()
        await world.agent.terminate()

        secrets = {
            "the bot's token": BOT_TOKEN.split(":")[1],
            "Crypto Pay's token": CRYPTO_TOKEN.split(":")[1],
            "YooKassa's key": YOOKASSA_SECRET,
            "the webhook's secret": WEBHOOK_SECRET,
            "the node's token": world.node.token.reveal(),
            "the database's password": PASSWORD,
            "a customer's credential": str(row["credential"]),
            "a customer's link": row["link_token"],
            "a link to the node": links[0].split("?")[0].removeprefix("vless://"),
        }
        assert any('"level": "debug"' in line for line in lines)
        assert len(lines) > 50
        assert any("Traceback" in line for line in lines)
        told = {name: line for line in lines for name, secret in secrets.items() if secret in line}
        assert told == {}
        shown = [
            (place, name)
            for place, text in places.items()
            for name, secret in secrets.items()
            if secret in text
        ]
        assert shown == []
