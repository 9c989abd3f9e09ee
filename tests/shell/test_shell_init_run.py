"""`vpnd init` as a command: live checks of Telegram, providers, PostgreSQL and an agent; the terminal; what it leaves alone."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import trio
from money_sandbox import Town, open_town
from node_world import TOKEN as NODE_TOKEN
from node_world import fake_node
from shell_kit import TOKEN, vpnd
from shop_world import ShopWorld
from terminal_kit import at_terminal

from vpnd.agent.api import AgentApi
from vpnd.agent.identity import load_identity
from vpnd.runtime.serve import TlsFiles, serve_asgi
from vpnd.shell import init_checks
from vpnd.shell.init_checks import present_certificate, run_check
from vpnd.shell.init_database import ask_as, judge
from vpnd.shell.init_questions import Answers, question_named
from vpnd.shell.init_verdict import Verdict, good

pytestmark = pytest.mark.postgres


def having(texts: dict[str, str]) -> Answers:
    """Answers with these texts."""
    answers = Answers()
    for name, text in texts.items():
        answers.put(question_named(name), text)
    return answers


def of(town: Town, **others: str) -> Answers:
    """Answers of who has everything in this town."""
    sandbox = town.sandbox
    texts = {
        "telegram.api_base": sandbox.telegram_url,
        "telegram.token": sandbox.telegram.token,
        "shop.currency": "RUB",
        "cryptopay.api_base": f"{sandbox.cryptopay_url}/api",
        "cryptopay.token": sandbox.cryptopay.token,
        "yookassa.api_base": f"{sandbox.yookassa_url}/v3",
        "yookassa.shop_id": sandbox.yookassa.shop_id,
        "yookassa.secret_key": sandbox.yookassa.secret,
    }
    return having(texts | {name.replace("__", "."): text for name, text in others.items()})


# ------------------------------------------------------------------ Telegram and the providers


async def test_the_bot_is_shown_by_its_name() -> None:
    """A token is good when Telegram says whose it is; one that it refuses is wrong, and a Telegram that is away is neither."""
    async with open_town() as town:
        verdict = await run_check("telegram", of(town))
        assert verdict.kind == "good"
        assert verdict.text.startswith("@sandbox_vpn_bot “")
        assert verdict.learned == {"bot": "sandbox_vpn_bot"}
        assert verdict.notes == ()

        await town.bot("setWebhook", url="https://elsewhere.example/hook")
        assert "elsewhere.example is set" in (await run_check("telegram", of(town))).notes[0]

        verdict = await run_check("telegram", of(town, telegram__token=TOKEN))
        assert (verdict.kind, "@BotFather" in verdict.remedy) == ("wrong", True)
        assert TOKEN not in str(verdict)

    verdict = await run_check("telegram", of(town))
    assert (verdict.kind, "--telegram-proxy" in verdict.remedy) == ("doubt", True)


async def test_admins_are_shown_by_their_names() -> None:
    """Who has written to the bot is known to it; who has not is told to."""
    async with open_town() as town:
        await town.telegram(
            "message",
            chat_id=777,
            text="/start",
            **{"from": {"id": 777, "first_name": "Olga"}},
        )
        answers = of(town, telegram__admins="777, 778")
        answers.learned["bot"] = "my_bot"

        verdict = await run_check("admins", answers)

        assert (verdict.kind, verdict.text) == ("good", "Olga")
        assert verdict.notes == (
            "778 never wrote to @my_bot: write /start to it, else it cannot write to you",
        )
    assert (await run_check("admins", answers)).text == "taken as it is"


async def test_providers_say_whose_credentials_these_are() -> None:
    """Refused ones are wrong, with where the right ones are; a provider that is away is a doubt."""
    async with open_town() as town:
        assert (await run_check("cryptopay", of(town))).kind == "good"
        verdict = await run_check("yookassa", of(town, shop__currency="EUR"))
        assert (verdict.kind, verdict.notes) == (
            "good",
            ("YooKassa takes RUB, and the shop's currency is EUR",),
        )

        verdict = await run_check("cryptopay", of(town, cryptopay__token="500001:another-token"))
        assert (verdict.kind, "@CryptoBot" in verdict.remedy, verdict.again) == (
            "wrong",
            True,
            ("cryptopay.token",),
        )
        verdict = await run_check("yookassa", of(town, yookassa__secret_key="test_another-key"))
        assert (verdict.kind, verdict.again) == ("wrong", ("yookassa.shop_id", "yookassa.secret_key"))

        await town.crypto("fault", method="*", kind="5xx", count=10)
        assert (await run_check("cryptopay", of(town))).kind == "doubt"


async def test_a_check_ends_in_time_whatever_happens(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    """One that hangs, or fails in a way that nobody foresaw, is a doubt: the answer can be kept."""

    async def hangs(_answers: Answers) -> Verdict:
        await trio.sleep_forever()
        return good("never")

    async def breaks(_answers: Answers) -> Verdict:
        raise ZeroDivisionError("what nobody foresaw")

    monkeypatch.setattr(init_checks, "_CHECKS", {"telegram": hangs, "node": breaks})
    began = trio.current_time()
    assert (await run_check("telegram", Answers())).text == f"no answer within {init_checks.SECONDS:g} s"
    assert trio.current_time() - began == init_checks.SECONDS
    assert "what nobody foresaw" in (await run_check("node", Answers())).text


async def test_the_public_address() -> None:
    """None is fine, one that nobody answers at may be set up later."""
    assert (await run_check("public_url", having({"http.public_url": ""}))).kind == "good"
    assert (
        await run_check("public_url", having({"http.public_url": "http://127.0.0.1:8080"}))
    ).kind == "good"
    verdict = await run_check("public_url", having({"http.public_url": "https://shop.invalid"}))
    assert (verdict.kind, "does not resolve" in verdict.text) == ("doubt", True)


# ------------------------------------------------------------------ a node


@asynccontextmanager
async def an_agent(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """An agent's API behind TLS with a certificate that it made itself: address and fingerprint."""
    identity = await trio.to_thread.run_sync(load_identity, folder / "identity")
    async with fake_node(folder / "node") as node, trio.open_nursery() as nursery:
        api: AgentApi = node.api

        async def serve(*, task_status: trio.TaskStatus[list[str]]) -> None:
            await serve_asgi(
                api.application(), ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever,
                tls=TlsFiles(identity.certificate, identity.private_key), task_status=task_status,
            )  # fmt: skip

        (bound,) = await nursery.start(serve)
        yield f"https://{bound}", identity.fingerprint
        nursery.cancel_scope.cancel()


async def test_a_node_is_asked_as_the_daemon_asks_it(tmp_path: Path) -> None:
    """Pinned before a byte of the token is sent; what is wrong is told apart and asked for again: token, pin, address."""

    def node(url: str, **others: str) -> Answers:
        texts = {"node.name": "berlin", "node.url": url, "node.token": NODE_TOKEN, "node.fingerprint": pin}
        return having(texts | {f"node.{name}": text for name, text in others.items()})

    async with an_agent(tmp_path) as (url, pin):
        verdict = await run_check("node", node(url))
        assert (verdict.kind, "tls on port 443" in verdict.text) == ("good", True), verdict
        assert await present_certificate(url) == pin

        verdict = await run_check("node", node(url, token="another-token-than-the-agents"))
        assert (verdict.kind, verdict.again) == ("wrong", ("node.token",)), verdict
        verdict = await run_check("node", node(url, fingerprint="0" * 64))
        assert (verdict.kind, verdict.again) == ("wrong", ("node.fingerprint",)), verdict
        verdict = await run_check("node", node(url, fingerprint=""))
        assert (verdict.kind, verdict.again) == ("wrong", ("node.fingerprint",)), verdict
    verdict = await run_check("node", node(url))
    assert (verdict.kind, verdict.again) == ("doubt", ("node.url", "node.fingerprint")), verdict
    assert await present_certificate(url) is None


# ------------------------------------------------------------------ the database


def at(url: str, **parts: Any) -> str:
    """The URL with other parts."""
    return urlunsplit(urlsplit(url)._replace(**parts))


async def test_an_empty_database_and_a_shops_are_good(empty_database_url: str, database_url: str) -> None:
    """What is in it is said."""
    empty, full = await judge(empty_database_url), await judge(database_url)

    assert (empty.kind, full.kind) == ("good", "good"), (empty, full)
    assert "empty: the daemon makes its schema" in empty.text
    assert "UTF8, a shop's schema, up to date" in full.text


async def test_a_database_that_the_daemon_could_not_use(
    shop: ShopWorld, database_url: str, empty_database_url: str
) -> None:
    """Each with a command that helps: not there, no such role, nobody listens, a foreign or newer or a sandbox's schema."""
    verdict = await judge(at(empty_database_url, path="/not_there"))
    assert (verdict.kind, verdict.text) == ("wrong", "there is no database not_there")
    assert "createdb --owner vpnd --encoding UTF8 --template template0 not_there" in verdict.remedy

    query = urlsplit(empty_database_url)
    verdict = await judge(at(empty_database_url, netloc=query.netloc.replace("vpnd", "no_such_role")))
    assert (verdict.kind, "createuser no_such_role" in verdict.remedy) == ("wrong", True), verdict

    verdict = await judge("postgresql://vpnd@127.0.0.1:9/vpnd")
    assert (verdict.kind, verdict.text) == ("doubt", "nobody listens there")
    verdict = await judge("postgresql://vpnd@/vpnd?host=/nonexistent")
    assert (verdict.kind, "apt install postgresql" in verdict.remedy) == ("doubt", True), verdict
    verdict = await judge("postgresql://vpnd:hidden-word@db.invalid/vpnd")
    assert (verdict.kind, verdict.text) == ("wrong", "the name db.invalid does not resolve")

    await shop.execute(
        "insert into schema_migrations (version, name, sha256) values (9999, 'of_tomorrow', 'x')"
    )
    verdict = await judge(database_url)
    assert (verdict.kind, "upgrade it" in verdict.text) == ("wrong", True), verdict
    await shop.execute("delete from schema_migrations where version = 9999")
    await shop.execute("insert into sandbox_clock default values")
    assert "a sandbox's database" in (await judge(database_url)).text
    await shop.execute("alter table schema_migrations rename to something_else")
    verdict = await judge(database_url)
    assert (verdict.kind, "tables of something else" in verdict.text) == ("doubt", True), verdict


async def test_encoding_and_rights_are_looked_at(
    shop: ShopWorld,
    database_url: str,
    _admin: Any,  # noqa: PT019 - its value is used
) -> None:
    """A database that cannot hold every name, one that takes no writes, and one whose role may not make the schema, are wrong."""
    name = urlsplit(database_url).path.lstrip("/")
    _admin.run(
        "create database bytes_only encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0"
    )
    await shop.execute("create role a_guest login")
    await shop.execute("create role a_reader login")
    await shop.execute("alter role a_reader set default_transaction_read_only = on")
    try:
        verdict = await judge(at(database_url, path="/bytes_only"))
        assert (verdict.kind, "has the encoding SQL_ASCII" in verdict.text) == ("wrong", True), verdict
        assert "--encoding UTF8 --template template0 bytes_only" in verdict.remedy

        there = urlsplit(database_url).netloc
        verdict = await judge(at(database_url, netloc=there.replace("vpnd", "a_reader")))
        assert (verdict.kind, "takes no writes" in verdict.text) == ("wrong", True), verdict
        verdict = await judge(at(database_url, netloc=there.replace("vpnd", "a_guest")))
        assert verdict.kind == "wrong", verdict
        assert f'alter database "{name}" owner to "a_guest"' in verdict.remedy
    finally:
        await shop.execute("drop role a_guest")
        await shop.execute("drop role a_reader")
        _admin.run("drop database bytes_only with (force)")


async def test_the_question_is_asked_as_the_daemons_account(empty_database_url: str) -> None:
    """The PostgreSQL of this machine knows a user by the account that asks; where there is no such account, as ourselves."""
    assert (await ask_as(empty_database_url, "no-such-account")).kind == "good"
    if os.geteuid() == 0:
        pwd.getpwnam("nobody")
        verdict = await ask_as(empty_database_url, "nobody")
        # Whether that account may read this checkout is the machine's affair; that it was asked as is not.
        assert verdict.kind == "good" or "as nobody" in verdict.text, verdict


# ------------------------------------------------------------------ the command


def arguments(town: Town, folder: Path, database_url: str) -> list[str]:
    """Words that answer as much as a shop of this town needs, with secrets in files."""
    for name, text in (("token", town.sandbox.telegram.token), ("url", database_url)):
        (folder / name).write_text(text)
    return [
        *(
            "init",
            "--config",
            str(folder / "etc" / "vpnd.toml"),
            "--telegram-api-base",
            town.sandbox.telegram_url,
        ),
        *("--telegram-token-file", str(folder / "token"), "--telegram-admins", "777"),
        *("--database-url-file", str(folder / "url")),
    ]


async def test_a_script_writes_what_the_daemon_takes(tmp_path: Path, empty_database_url: str) -> None:
    """Then it is not written over; with --force it is, and the former one is kept."""
    config = tmp_path / "etc" / "vpnd.toml"
    async with open_town() as town:
        words = arguments(town, tmp_path, empty_database_url)
        said = await vpnd({}, *words)
        assert said.code == 0, said
        assert "ok     telegram.token: @sandbox_vpn_bot" in said.out
        assert "note   777 never wrote to @sandbox_vpn_bot" in said.out
        assert town.sandbox.telegram.token not in said.out + said.err
        assert (await vpnd({}, "check-config", "--config", str(config))).code == 0

        first = config.read_text()
        said = await vpnd({}, *words, "--shop-currency", "EUR")
        assert (said.code, "--force replaces it" in said.err) == (1, True)
        assert config.read_text() == first
        said = await vpnd({}, *words, "--shop-currency", "EUR", "--force")
        assert said.code == 0, said
        assert 'currency = "EUR"' in config.read_text()
        (copy,) = config.parent.glob(".vpnd.toml.*.old")
        assert copy.read_text() == first


async def test_a_script_is_told_what_is_missing_or_wrong(tmp_path: Path, empty_database_url: str) -> None:
    """Missing and malformed answers end with 2, before anybody is asked; what a check refuses with 1; nothing is written."""
    said = await vpnd({}, "init", "--config", str(tmp_path / "etc" / "vpnd.toml"))
    assert said.code == 2
    assert "telegram.token is missing" in said.err
    assert "telegram.admins is missing" in said.err

    async with open_town() as town:
        words = arguments(town, tmp_path, at(empty_database_url, path="/not_there"))
        said = await vpnd({"VPND_SHOP__CURRENCY": "GBX"}, *words)
        assert (said.code, "VPND_SHOP__CURRENCY" in said.err) == (2, True)
        (tmp_path / "token").write_text(TOKEN)
        said = await vpnd({}, *words)
        assert said.code == 1
        assert "Telegram refuses the token" in said.err
        assert "there is no database not_there" in said.err
        assert not (tmp_path / "etc").exists()

        said = await vpnd({}, *words, "--no-checks")
        assert said.code == 0, said


async def test_other_secrets_are_not_written_over(tmp_path: Path) -> None:
    """One that is there is the answer, unless another was given: then it has to be said."""
    secrets, config = tmp_path / "etc" / "credentials", tmp_path / "etc" / "vpnd.toml"
    secrets.mkdir(parents=True)
    (secrets / "telegram.token").write_text(f"{TOKEN}\n")
    (tmp_path / "other").write_text(TOKEN.replace("secret", "Secret"))
    words = ["init", "--config", str(config), "--telegram-admins", "777", "--no-checks"]

    said = await vpnd({}, *words, "--telegram-token-file", str(tmp_path / "other"))
    assert (said.code, "telegram.token is there already, with another content" in said.err) == (1, True), said
    assert not config.exists()
    said = await vpnd({}, *words)
    assert said.code == 0, said
    assert (secrets / "telegram.token").read_text() == f"{TOKEN}\n"


async def test_a_person_may_leave_at_any_time(tmp_path: Path) -> None:
    """Ctrl-C ends as shells expect, the end of the input with 1; nothing was written, and no secret was shown."""
    for key, code in (("\x03", 130), ("\x04", 1)):
        async with at_terminal(
            "init", "--config", str(tmp_path / "etc" / "vpnd.toml"), "--no-checks"
        ) as terminal:
            await terminal.answer("Token of the bot (not shown): ", "?")
            await terminal.until("/newbot to @BotFather")
            await terminal.answer("Token of the bot (not shown): ", TOKEN[:20])
            await terminal.until("must be a bot token")
            await terminal.answer("Token of the bot (not shown): ", TOKEN)
            await terminal.until("Your Telegram id, a number (several: with commas): ")
            await terminal.waits()
            await terminal.type(key, end="")
            assert await terminal.end() in (code, -signal.SIGINT)
            assert "nothing was written" in terminal.screen
            assert TOKEN[:20] not in terminal.screen
    assert list(tmp_path.iterdir()) == []


async def test_a_person_decides_what_is_replaced(tmp_path: Path) -> None:
    """A file that stands in the way is asked about when all else is answered: no answer was for nothing."""
    config, drop_in = tmp_path / "etc" / "vpnd.toml", tmp_path / "credentials.conf"
    drop_in.write_text("[Service]\n")
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "crypto").write_text("500001:AAanother-secret-that-nobody-may-see")
    words = [
        "init",
        "--config",
        str(config),
        "--drop-in",
        str(drop_in),
        "--no-checks",
        "--telegram-admins",
        "777",
    ]
    words += [
        "--telegram-token-file",
        str(tmp_path / "token"),
        "--cryptopay-token-file",
        str(tmp_path / "crypto"),
    ]
    for answer, code in (("", 1), ("y", 0)):
        async with at_terminal(*words) as terminal:
            for _ in range(8):
                await terminal.answer("]: " if _ not in (5, 7) else "): ", "")
            await terminal.answer("): ", "")
            await terminal.until(str(drop_in))
            await terminal.answer("y or n [n]: ", answer)
            assert await terminal.end() == code, terminal.screen
    assert "LoadCredential=cryptopay.token:" in drop_in.read_text()
    assert len(list(tmp_path.glob(".credentials.conf.*.old"))) == 1
