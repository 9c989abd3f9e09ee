"""`vpnd export`, as a user runs it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from shell_kit import shop_environment, vpnd
from shop_world import ShopWorld

from vpnd.shop.plans_file import load_plans_file

pytestmark = pytest.mark.postgres

#: The same as `vpnd …`, but it kills itself in the midst of writing, as a machine that loses power does.
KILLED = """
import os, signal, sys
from vpnd.shell import export
from vpnd.cli import main
export.PAGE = 2
def die(self, progress):
    os.kill(os.getpid(), signal.SIGKILL)
export._bar = lambda what: __import__("contextlib").nullcontext(lambda progress: die(None, progress))
sys.exit(main(sys.argv[1:]))
"""


async def test_a_table_is_written(shop: ShopWorld, database_url: str, tmp_path: Path) -> None:
    """The file, a line that says what it is, and a line in the audit log; the terminal's bar is not in a pipe."""
    for _ in range(5):
        await shop.customer()
    env = shop_environment(database_url)
    path = tmp_path / "all.csv"

    said = await vpnd(env, "export", "customers", "--out", str(path))

    assert said.code == 0, said.err
    assert "5 rows" in said.out
    assert said.err == ""
    assert len(list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))) == 5
    row = await shop.db.fetchrow("test", "select actor, action, subject, after from audit_log")
    assert row is not None
    assert row["actor"].startswith("shell:")
    assert (row["action"], row["subject"], row["after"]["file"]) == (
        "exports.make",
        "export:customers",
        "all.csv",
    )


async def test_secrets_are_another_line(shop: ShopWorld, database_url: str, tmp_path: Path) -> None:
    """Who took the secrets along is told apart from who did not."""
    env = shop_environment(database_url)

    said = await vpnd(
        env,
        "export",
        "subscriptions",
        "--with-secrets",
        "--since",
        "2026-01-01 10:00",
        "--out",
        str(tmp_path / "s"),
    )

    assert said.code == 0, said.err
    assert "link_token" in (tmp_path / "s").read_text()
    row = await shop.db.fetchrow("test", "select action, after from audit_log")
    assert row is not None
    assert row["action"] == "exports.secrets"
    assert row["after"]["since"] == "2026-01-01T10:00:00+00:00"


async def test_plans_are_the_file_that_they_are_applied_from(
    shop: ShopWorld, database_url: str, tmp_path: Path
) -> None:
    """Read back, it is what the shop sells; as CSV where that is said. Nothing else is TOML."""
    shell = shop_environment(database_url)
    file, table = tmp_path / "plans.toml", tmp_path / "plans.csv"

    written = await vpnd(shell, "export", "plans", "--out", str(file))
    as_csv = await vpnd(shell, "export", "plans", "--format", "csv", "--out", str(table))
    refused = await vpnd(shell, "export", "ledger", "--format", "toml")

    assert (written.code, written.err) == (0, ""), written
    assert load_plans_file(file, currency="RUB") == load_plans_file(None)
    assert as_csv.code == 0
    assert table.read_text("utf-8-sig").startswith("plan,titles")
    assert (refused.code, "is for plans" in refused.err) == (2, True)
    assert await shop.db.fetchval("test", "select count(*) from audit_log") == 2


async def test_a_killed_export_leaves_no_half_file(
    shop: ShopWorld, database_url: str, tmp_path: Path
) -> None:
    """Under its own name there is nothing, or what was there before."""
    for _ in range(6):
        await shop.customer()
    env = {**os.environ, **shop_environment(database_url)}
    path = tmp_path / "all.csv"
    path.write_text("the one of yesterday")

    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-c", KILLED, "export", "customers", "--out", str(path)],
            env=env, check=False, capture_stderr=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    assert done.returncode == -signal.SIGKILL, done.stderr
    assert path.read_text() == "the one of yesterday"
    assert [one.suffix for one in tmp_path.iterdir() if one != path] == [".part"]


async def test_faults_are_told(shop: ShopWorld, database_url: str, tmp_path: Path) -> None:
    """A folder that is not there, and words that mean nothing."""
    env = shop_environment(database_url)

    missing = await vpnd(env, "export", "ledger", "--out", str(tmp_path / "no" / "file"))
    unknown = await vpnd(env, "export", "everything")
    when = await vpnd(env, "export", "ledger", "--since", "yesterday")

    assert (missing.code, "cannot be written: No such file" in missing.err) == (1, True)
    assert (unknown.code, "invalid choice" in unknown.err) == (2, True)
    assert (when.code, "is no time like" in when.err) == (2, True)
