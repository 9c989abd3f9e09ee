"""`vpnd doctor` as an expert: machine, configuration, database, queues and boundaries, each finding with its remedy."""

from __future__ import annotations

import datetime as dt
import json
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from money_sandbox import environment, open_town
from node_world import TOKEN, fake_node
from shell_kit import Said, shop_environment, vpnd
from shop_world import ShopWorld
from trio.testing import MockClock

from vpnd.config import HttpSettings, NodeSettings, Secret, Settings, TelegramSettings
from vpnd.database.database import Database
from vpnd.nodes.client import NodeUnavailable
from vpnd.runtime.http import FingerprintMismatch
from vpnd.runtime.serve import TlsFiles, serve_asgi
from vpnd.shell import doctor_boundaries, doctor_database
from vpnd.shell.doctor_arguments import _PARTS
from vpnd.shell.doctor_machine import fits
from vpnd.shell.doctor_report import PARTS, Check, Report, run_checks, say


def found(said: Said) -> dict[str, list[dict[str, str]]]:
    """The findings of a document, by what they are about; each says what to do."""
    document = json.loads(said.out)
    assert document["fine"] == (not document["findings"]) == (said.code == 0)
    about: dict[str, list[dict[str, str]]] = {}
    for one in document["findings"]:
        assert one["severity"] in ("critical", "warning")
        assert one["text"]
        assert one["remedy"]
        about.setdefault(one["about"], []).append(one)
    return about


async def doctor(shell: dict[str, str], *only: str, config: Path | None = None) -> Said:
    """Run it over these parts, for a document."""
    words = [word for part in only for word in ("--only", part)]
    return await vpnd(shell, "doctor", "--json", *words, *(("--config", str(config)) if config else ()))


# ------------------------------------------------------------------ how checks are run


async def test_a_check_that_hangs_or_breaks_hides_no_other(
    capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    """All are run at once, each within its own time; what they say comes in their order."""

    async def hangs(_report: Report) -> None:
        say("first", "begins")
        await trio.sleep_forever()

    async def breaks(_report: Report) -> None:
        raise ZeroDivisionError("what nobody foresaw")

    async def works(report: Report) -> None:
        say("third", "a fact")
        report.find("third", "warning", "a finding", "a remedy")

    report = Report()
    began = trio.current_time()
    await run_checks(
        report, [Check("first", hangs, seconds=7), Check("second", breaks), Check("third", works)]
    )

    assert trio.current_time() - began == 7
    assert [(one.about, one.severity) for one in report.findings] == [
        ("first", "critical"),
        ("second", "critical"),
        ("third", "warning"),
    ]
    assert report.code == 1
    out = capsys.readouterr().out
    assert out.index("begins") < out.index("no answer within 7 s") < out.index("what nobody foresaw")
    assert out.endswith("third       a fact\nthird       WARNING: a finding\n            remedy: a remedy\n")


def test_the_command_line_knows_every_part() -> None:
    """The list that the command line reads is the one that is looked at."""
    assert _PARTS == PARTS


@pytest.mark.parametrize(
    ("version", "wanted", "fit"),
    [
        ("0.35.1", "<0.36,>=0.35", True),
        ("0.36.0", "<0.36,>=0.35", False),
        ("22.8", "==22.8", True),
        ("22.9", "==22.8", False),
        ("1.10", ">=1.9", True),
        ("26.1.0", ">=26.1", True),
        ("2.0b1", "<2", False),
    ],
)
def test_versions_are_numbers(version: str, wanted: str, fit: bool) -> None:
    """1.10 is newer than 1.9, and what pip would take fits."""
    assert fits(version, wanted) is fit


# ------------------------------------------------------------------ machine and configuration


async def test_a_shop_that_can_sell_nothing_is_told_what_is_missing(
    shop: ShopWorld, database_url: str, tmp_path: Path
) -> None:
    """No admins, no node, no way to pay, a plans file with a fault: each by name; the installed packages fit."""
    plans = tmp_path / "plans.toml"
    plans.write_text("[[plans]]\nid = 7\n")
    shell = {
        **shop_environment(database_url),
        "VPND_STARS__ENABLED": "false",
        "VPND_SHOP__PLANS": str(plans),
    }

    said = await doctor(shell, "machine", "config")
    about = found(said)

    assert "versions" not in about
    texts = [one["text"] for one in about["config"]]
    assert any("no way to pay" in text for text in texts)
    assert any("admins is empty" in text for text in texts)
    assert any("there is no node" in text for text in texts)
    assert "plans" in about
    lines = json.loads(said.out)["lines"]
    assert any(line["text"].startswith("vpnd ") and "Python 3." in line["text"] for line in lines)


# ------------------------------------------------------------------ the database


class Faked:
    """A database that answers one query of the doctor otherwise than the server does."""

    def __init__(self, db: Database, name: str, change: Any) -> None:
        self._db, self._name, self._change = db, name, change

    async def fetch(self, name: str, sql: str, *args: object) -> Any:
        rows = await self._db.fetch(name, sql, *args)
        return self._change([dict(row) for row in rows]) if name == self._name else rows

    async def fetchval(self, name: str, sql: str, *args: object) -> Any:
        value = await self._db.fetchval(name, sql, *args)
        return self._change(value) if name == self._name else value


SETTINGS = Settings(telegram=TelegramSettings(token=Secret("1:a")))


async def looked(db: Any, about: str, settings: Settings = SETTINGS) -> list[str]:
    """What one check of the database finds."""
    report = Report()
    checks = [*doctor_database.database_checks(db, settings), *doctor_database.queue_checks(db, settings)]
    wanted = "acks" if about.startswith("node ") else about
    await run_checks(report, [check for check in checks if check.about == wanted])
    return [f"{one.severity}: {one.text}" for one in report.findings]


async def test_the_settings_of_the_server_are_judged(db: Database) -> None:
    """Whatever would lose money, grow without an end or refuse writes is named; a good server is not."""
    good = {
        "encoding": "UTF8", "zone": "UTC", "fsync": "on", "full_page_writes": "on", "durable": "yes", "autovacuum": "on",
        "track_counts": "on", "read_only": "off", "recovery": False, "places": 97, "used": 5, "most_here": -1, "most_mine": -1,
    }  # fmt: skip

    def server(**changed: Any) -> Faked:
        return Faked(db, "doctor.server", lambda rows: [{**rows[0], **good, **changed}])

    assert await looked(server(), "database") == []
    for name, bad, word in [
        ("encoding", "SQL_ASCII", "encoding is SQL_ASCII"),
        ("zone", "Europe/Moscow", "Europe/Moscow"),
        ("fsync", "off", "fsync is off"),
        ("full_page_writes", "off", "full_page_writes is off"),
        ("durable", "no", "synchronous_commit is off"),
        ("autovacuum", "off", "autovacuum is off"),
        ("track_counts", "off", "track_counts is off"),
        ("read_only", "on", "read_only is on"),
        ("recovery", True, "a standby"),
        ("places", 17, "17 connections are permitted"),
        ("most_mine", 10, "10 connections are permitted"),
        ("used", 95, "95 of 97"),
        ("number", 130_000, "too old"),
        ("age", 1_500_000_000, "transactions old"),
    ]:
        (text,) = await looked(server(**{name: bad}), "database")
        assert word in text


async def test_a_clock_that_is_wrong_is_told(db: Database) -> None:
    """Compared within the time that the question took."""
    assert await looked(db, "clock") == []
    (text,) = await looked(Faked(db, "doctor.clock", lambda value: value + 90), "clock")
    assert text.startswith("critical: the database's clock is +90")


async def test_bloat_slots_and_long_transactions(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds the server back is named with what it is; a server at rest has none."""
    assert await looked(db, "bloat") == []
    assert await looked(db, "slots") == []
    dead = [{"name": "outbox", "dead": 90_000, "live": 1_000, "cleared": None}]
    assert (
        "outbox has 90000 dead rows"
        in (await looked(Faked(db, "doctor.dead_rows", lambda _: dead), "bloat"))[0]
    )
    slots = [
        {"name": "gone", "active": False, "held": 2**20},
        {"name": "slow", "active": True, "held": 2**32},
        {"name": "good", "active": True, "held": 0},
    ]
    idle, slow = await looked(Faked(db, "doctor.slots", lambda _: slots), "slots")
    assert idle.startswith("warning: the replication slot gone is not in use")
    assert slow.startswith("critical: the replication slot slow is active")

    monkeypatch.setattr(doctor_database, "LONG", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(_holding, db)
        texts = await looked(db, "long")
        nursery.cancel_scope.cancel()
    assert any("has had a transaction open" in text for text in texts)


async def _holding(db: Database, *, task_status: trio.TaskStatus[None]) -> None:
    """Hold a transaction open until cancelled."""
    async with db.transaction("test.long", deadline=30) as tx:
        await tx.fetchval("select 1")
        task_status.started()
        await trio.sleep_forever()


async def test_a_schema_that_is_old_or_away(shop: ShopWorld, database_url: str) -> None:
    """It is named and nothing is compared; a server that is away hides nothing of the rest."""
    await shop.execute("delete from schema_migrations where version = 10")
    shell = shop_environment(database_url)
    about = found(await doctor(shell, "database", "books"))
    assert "0010" in about["schema"][0]["text"]
    assert "vpnd migrate" in about["schema"][0]["remedy"]
    assert about["not compared"][0]["text"].startswith("books: ")

    away = {**shell, "VPND_DATABASE__URL": "postgresql://vpnd@127.0.0.1:9/vpnd"}
    about = found(await doctor(away, "config", "database", "books"))
    assert {"config", "database", "schema", "clock", "not compared"} <= set(about)


# ------------------------------------------------------------------ queues


async def test_what_waits_for_a_person_or_for_too_long(shop: ShopWorld, db: Database) -> None:
    """Dead letters by kind, money among them first; old updates and receipts; acknowledgements; pauses; stuck refunds."""
    for about in ("outbox", "inbox", "switches", "refunds"):
        assert await looked(db, about) == []
    await shop.execute(
        """insert into outbox (kind, key, lane, payload, status) values
           ('message', 'a', 'receipt', '{}', 'dead'), ('refund_stars', 'b', 'receipt', '{}', 'dead')"""
    )
    await shop.execute(
        """insert into outbox (kind, key, lane, payload, available_at)
           values ('message', 'c', 'receipt', '{}', clock_timestamp() - interval '1 hour')"""
    )
    await shop.execute(
        """insert into inbox (update_id, queue_key, kind, payload, received_at)
           values (1, 1, 'message', '{}', clock_timestamp() - interval '5 minutes')"""
    )
    await shop.execute("update switches set paused = true, reason = 'a fair' where name = 'trial'")

    outbox = await looked(db, "outbox")
    assert [text.partition(":")[0] for text in outbox] == ["warning", "critical", "critical"]
    assert "refund_stars" in outbox[1]
    assert "are due" in outbox[2]
    assert "1 updates are not done" in (await looked(db, "inbox"))[0]
    assert await looked(db, "switches") == ["warning: trial is paused: a fair"]


async def test_what_a_node_has_not_acknowledged(shop: ShopWorld, db: Database) -> None:
    """Never, of another epoch, behind, or up to date."""
    node = NodeSettings(name="oslo", url="https://127.0.0.1:9", token=Secret(TOKEN))
    look = partial(looked, db, "node oslo", evolve(SETTINGS, nodes=(node,)))

    assert "never acknowledged" in (await look())[0]
    await shop.execute(
        "insert into nodes (name, seen_at, acked_at, epoch) values ('oslo', now(), now(), 'other')"
    )
    assert "another epoch" in (await look())[0]
    await shop.execute("update nodes set epoch = h.epoch, seq = h.last_seq from access_head h")
    assert await look() == []
    await shop.execute("update access_head set last_seq = last_seq + 3")
    assert "3 changes are not acknowledged" in (await look())[0]


# ------------------------------------------------------------------ boundaries


async def test_every_other_side_is_asked(shop: ShopWorld, database_url: str, tmp_path: Path) -> None:
    """Telegram, both providers and a node answer: facts and no finding. Each of them ill: a finding of its own."""
    async with open_town() as town, fake_node(tmp_path / "node") as node:
        (tmp_path / "token").write_text(TOKEN)
        config = tmp_path / "vpnd.toml"
        config.write_text(
            f'[[nodes]]\nname = "oslo"\nurl = "{node.client._base}"\ntoken_file = "{tmp_path / "token"}"\n'
        )
        shell = environment(town, database_url)

        said = await doctor(shell, "boundaries", config=config)
        assert found(said) == {}
        heads = {line["about"] for line in json.loads(said.out)["lines"]}
        assert {"telegram", "cryptopay", "yookassa", "way oslo"} <= heads

        node.fail("/v1/status", "away")
        await town.crypto("fault", method="*", kind="5xx", count=100)
        wrong = {
            **shell,
            "VPND_YOOKASSA__SECRET_KEY": "test_another-key-than-the-shop-has-00000",
            "VPND_TELEGRAM__TOKEN": "123456789:AAH-another-token-than-the-bots-000",
        }
        about = found(await doctor(wrong, "boundaries", config=config))

        assert "refuses the token" in about["telegram"][0]["text"]
        assert "@BotFather" in about["telegram"][0]["remedy"]
        assert "refuses the credential" in about["yookassa"][0]["text"]
        assert set(about) == {"telegram", "yookassa", "cryptopay", "way oslo"}
        assert "another-token" not in str(about)


async def test_a_name_that_does_not_resolve(shop: ShopWorld, database_url: str) -> None:
    """It is said so, with the name; what is reachable is looked at all the same."""
    shell = {
        **shop_environment(database_url),
        "VPND_TELEGRAM__API_BASE": "https://api.telegram.invalid",
        "VPND_HTTP__PUBLIC_URL": "https://shop.invalid",
    }

    about = found(await doctor(shell, "boundaries"))

    assert "api.telegram.invalid does not resolve" in about["telegram"][0]["text"]
    assert "shop.invalid does not resolve" in about["public_url"][0]["text"]


async def test_a_webhook_that_is_not_ours(shop: ShopWorld, database_url: str) -> None:
    """Polling gets nothing while one is set; the doctor says so."""
    async with open_town() as town:
        await town.bot("setWebhook", url="https://elsewhere.example/hook")
        said = await doctor(environment(town, database_url), "boundaries")

    assert "a webhook is set" in found(said)["telegram"][0]["text"]


def hook_of(mode: str, answer: dict[str, Any]) -> list[str]:
    """What is found in Telegram's word about a webhook."""
    report = Report()
    settings = Settings(
        telegram=TelegramSettings(token=Secret("1:a"), mode=mode),  # type: ignore[arg-type]  # one of two
        http=HttpSettings(public_url="https://shop.example"),
    )
    doctor_boundaries._webhook(SimpleNamespace(settings=settings), answer, report)  # type: ignore[arg-type]
    return [one.text for one in report.findings]


def test_what_telegram_says_of_the_way_of_updates() -> None:
    """Somebody else's address, deliveries that fail, updates that wait; an old failure is over."""
    ours = {"url": "https://shop.example/webhooks/telegram", "pending_update_count": 3}
    assert hook_of("webhook", ours) == []
    assert hook_of("polling", {"url": ""}) == []
    assert (
        hook_of("webhook", ours | {"last_error_date": int(time.time()) - 7200, "last_error_message": "x"})
        == []
    )
    (text,) = hook_of(
        "webhook", ours | {"last_error_date": int(time.time()) - 5, "last_error_message": "expired"}
    )
    assert text.endswith("s ago: expired")
    assert hook_of("webhook", ours | {"pending_update_count": 500}) == ["500 updates wait at Telegram"]
    (text,) = hook_of("webhook", {"url": "https://elsewhere.example/x"})
    assert "delivered to elsewhere.example" in text


def test_a_strange_certificate_is_not_to_be_trusted() -> None:
    """A node whose fingerprint differs is no node that is away."""
    error = NodeUnavailable("oslo", "a stranger")
    error.__cause__ = FingerprintMismatch("node", "status", "another certificate")
    assert "do not trust it" in doctor_boundaries._node_remedy(error)
    assert "firewall" in doctor_boundaries._node_remedy(NodeUnavailable("oslo", "away"))


async def test_the_public_address_and_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends soon is told, one that nobody vouches for is a fault, and so is a port where nothing listens."""
    files = certificate(tmp_path, days=5)

    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body"})

    async with trio.open_nursery() as nursery:
        serve = partial(serve_asgi, answer, ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever, tls=files)
        (address,) = await nursery.start(serve)
        url = f"https://localhost:{address.rpartition(':')[2]}"

        async def seen(at: str) -> list[str]:
            report = Report()
            await doctor_boundaries.look_at_public_address(at, report)
            return [one.text for one in report.findings]

        assert "cannot be reached by TLS" in (await seen(url))[0]
        monkeypatch.setenv("SSL_CERT_FILE", str(files.certificate))
        assert await seen(url) == ["the certificate of localhost ends in 5 days"]
        assert "cannot be reached by TLS" in (await seen("https://localhost:9"))[0]
        nursery.cancel_scope.cancel()


def certificate(folder: Path, *, days: int) -> TlsFiles:
    """A certificate for localhost that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(folder / "crt.pem", folder / "key.pem")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
