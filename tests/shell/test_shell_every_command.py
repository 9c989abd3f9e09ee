"""Every command of the shell: one that changes the shop leaves its line in the audit log, in the name of the server's account.

The tables are held against the command line itself, so that a command that is added can't be forgotten here.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import frozen
from shell_kit import several, shop_environment
from shop_world import ShopWorld

from vpnd import cli
from vpnd.shop.audit_log import entries
from vpnd.shop.operators import Permission
from vpnd.shop.switches import register_switches

pytestmark = pytest.mark.postgres

BUYER, OTHER = "{buyer}", "{other}"
WHY = ("--reason", "because")
SOON = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d} 02:30"


@frozen
class Act:
    """A command that changes something: its words, what it needs, and whether it is done only when `--yes` is said."""

    command: str
    words: tuple[str, ...]
    needs: Permission
    asked: bool = False
    lines: int = 1

    def argv(self, *, yes: bool) -> list[str]:
        """What is typed."""
        return [*self.command.split(), *self.words, *(("--yes",) if self.asked and yes else ())]


#: In this order: what comes later may rest on what came before.
ACTS: tuple[Act, ...] = (
    Act("give", (BUYER, "--days", "3", *WHY), Permission.GIVE_DAYS, asked=True),
    Act("give", (BUYER, "--money", "10", *WHY), Permission.BALANCE, asked=True),
    Act("give", (BUYER, "--plan", "plus", *WHY), Permission.CHANGE_PLAN, asked=True),
    Act("block", (OTHER, *WHY), Permission.BLOCK, asked=True),
    Act("unblock", (OTHER, *WHY), Permission.BLOCK, asked=True),
    Act("operator set", (OTHER, "support", *WHY), Permission.OPERATORS, asked=True),
    Act("operator remove", (OTHER, *WHY), Permission.OPERATORS, asked=True),
    Act("refund", ("cryptopay:17", "--amount", "10", "--to-balance", *WHY), Permission.REFUND, asked=True),
    Act("promo add", ("SPRING", "percent", "10"), Permission.EDIT_CATALOGUE),
    Act("promo off", ("SPRING",), Permission.EDIT_CATALOGUE),
    Act("discount", (OTHER, "15"), Permission.EDIT_CATALOGUE),
    Act("pause", ("expiry", *WHY), Permission.SWITCH),
    Act("resume", ("expiry",), Permission.SWITCH),
    Act("banner", ("Back soon",), Permission.SWITCH),
    Act("maintenance", ("berlin", "--from", SOON, "--for", "2h"), Permission.BROADCAST, asked=True),
    Act("broadcast send", ("--text", "en={folder}/en.html"), Permission.BROADCAST, asked=True, lines=2),
    Act("broadcast pause", ("2",), Permission.BROADCAST),
    Act("broadcast resume", ("2",), Permission.BROADCAST),
    Act("broadcast stop", ("2",), Permission.BROADCAST),
    Act("export", ("customers", "--out", "{folder}/c.csv"), Permission.EXPORT),
    Act("export", ("subscriptions", "--with-secrets", "--out", "{folder}/s.csv"), Permission.EXPORT_SECRETS),
    Act("doctor", ("--repair", "--only", "books"), Permission.REPAIR, lines=2),
)  # fmt: skip

#: Commands that change nothing of the shop, or are the program itself.
LOOKS = frozenset({
    "demo", "run", "node run", "migrate", "promo list", "status", "audit", "report", "operator list", "broadcast list",
    "broadcast show", "check-config", "init",
})  # fmt: skip


def commands(parser: argparse.ArgumentParser, before: str = "") -> Iterator[str]:
    """Every command of a command line, by its words."""
    below = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not below:
        yield before
    for action in below:
        for name, one in action.choices.items():
            yield from commands(one, f"{before} {name}".strip())


def test_no_command_is_forgotten() -> None:
    """Each is an act with a case here, or said to change nothing."""
    acts = {act.command for act in ACTS}

    assert acts | LOOKS == set(commands(cli._parser()))
    assert not acts & LOOKS


async def test_each_act_is_in_the_audit_log(shop: ShopWorld, database_url: str, tmp_path: Path) -> None:
    """Who typed it, as an owner, what it was and about what; where `--yes` is asked for, nothing is done without it."""
    (tmp_path / "en.html").write_text("<b>Sale</b>")
    buyer, other = await shop.customer(), await shop.customer()
    await shop.settle(shop.charge(await shop.buy(buyer), charge_id="17"))
    await register_switches(shop.db, ["expiry"])
    node = {"URL": "https://127.0.0.1:9", "TOKEN": "a-token-that-is-long-enough"}
    environment = {
        **shop_environment(database_url),
        **{f"VPND_NODES__BERLIN__{key}": value for key, value in node.items()},
    }
    names = {"buyer": str(buyer.telegram_id), "other": str(other.telegram_id), "folder": str(tmp_path)}

    def typed(act: Act, *, yes: bool) -> list[str]:
        return [word.format(**names) for word in act.argv(yes=yes)]

    asked = [act for act in ACTS if act.asked and act.command not in ("unblock", "operator remove")]
    looked = await several(environment, *(typed(act, yes=False) for act in asked))
    assert [(act.command, said.code, said.err) for act, said in zip(asked, looked, strict=True)] == [
        (act.command, 0, "") for act in asked
    ]
    assert await entries(shop.db, limit=10) == []

    done = await several(environment, *(typed(act, yes=True) for act in ACTS))

    assert [
        (act.command, said.code, said.err) for act, said in zip(ACTS, done, strict=True) if said.code
    ] == []
    lines = list(reversed(await entries(shop.db, limit=100)))
    expected = [act.needs.value for act in ACTS for _ in range(act.lines)]
    assert [".".join(line.action.split(".")[:2]) for line in lines] == expected
    for line in lines:
        assert (line.actor, line.role) == (f"shell:{getpass.getuser()}", "owner")
        assert line.subject, line
        assert line.before or line.after, line
