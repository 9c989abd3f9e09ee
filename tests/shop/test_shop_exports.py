"""Exports: pages of a table as harmless CSV, as of one moment, whole or not there at all."""

from __future__ import annotations

import csv
import io
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from shop_world import ShopWorld

from vpnd.shop.audit_log import Change, record
from vpnd.shop.export_cells import cell, csv_text, harmless
from vpnd.shop.export_tables import EXPORTS, TABLES
from vpnd.shop.exports import Exported, Progress, TooBig, export_csv, plan_export
from vpnd.shop.operators import Permission, shell_actor

EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "＠a", "=cmd|' /C calc'!A0"]

# ------------------------------------------------------------------------------------------ cells


@pytest.mark.parametrize("text", EVIL)
def test_no_text_is_a_formula(text: str) -> None:
    """Whatever a customer calls himself, a spreadsheet sees a text."""
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["Anna", "a=b", "1-2", "", "'", "p2k"])
def test_other_texts_stay(text: str) -> None:
    """Nothing is added where nothing is wrong."""
    assert cell(text) == text


def test_numbers_stay_numbers() -> None:
    """Also those below zero; moments are in UTC, and nothing is an empty cell."""
    moment = datetime.fromisoformat("2026-03-01T12:00:00+03:00")
    values = [-5, Decimal("-1.50"), Decimal("0E-9"), True, None, moment, {"a": "=1"}]

    assert [cell(value) for value in values] == [
        "-5", "-1.50", "0.000000000", "true", "", "2026-03-01T09:00:00Z", '{"a":"=1"}'
    ]  # fmt: skip


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2)))
def test_csv_is_read_back(rows: list[list[str]]) -> None:
    """Separators, quotes and line ends inside of texts break no row."""
    found = list(csv.reader(io.StringIO(csv_text(rows), newline="")))

    assert found == [[harmless(value) for value in row] for row in rows]


# ------------------------------------------------------------------------------------------ tables


pages = pytest.mark.postgres


async def exported(shop: ShopWorld, tmp_path: Path, what: Any, **options: Any) -> list[dict[str, str]]:
    """The rows of an export, read as a spreadsheet would."""
    since = options.pop("since", None)
    path = tmp_path / f"{what}.csv"
    plan = await plan_export(shop.db, what, since=since)
    done = await export_csv(shop.db, plan, path, **options)
    text = path.read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == done.rows
    assert path.stat().st_size == done.size
    return rows


async def filled(shop: ShopWorld) -> None:
    """Some of everything."""
    first = await shop.customer()
    second = await shop.customer(code=first.referral_code)
    await shop.execute(
        "update customers set first_name = '=HYPERLINK(1)', username = 'u,\"x' where id = $1", second.id
    )
    for method in ("cryptopay", "stars"):
        await shop.settle(shop.charge(await shop.buy(second, method)))
    await shop.fill(first, 12_345)
    await shop.do(
        lambda tx: record(
            tx,
            shell_actor("root"),
            Permission.SWITCH,
            Change(subject="switch:shop", after={"paused": True}),
            reason="@x",
        )
    )


@pages
@pytest.mark.parametrize("what", EXPORTS)
async def test_every_table_is_exported(shop: ShopWorld, tmp_path: Path, what: Any) -> None:
    """With its columns and all of its rows, however they fall into pages."""
    await filled(shop)

    whole = await exported(shop, tmp_path, what)
    small = await exported(shop, tmp_path, what, page=1)

    table = TABLES[what]
    assert whole == small
    assert list(whole[0]) == [name for name in table.columns if name not in table.secrets]
    if what != "plans":
        count = await shop.db.fetchval("test", f"select count(*) from {table.source}")  # noqa: S608 (a constant)
        assert len(whole) == count
    for row in whole:
        for name, value in row.items():
            is_number = name in ("amount", "refunded", "balance", "bonus", "price", "rate") or name.endswith(
                "id"
            )
            assert is_number or not value.startswith(("=", "+", "-", "@", "\t", "\r"))


@pages
async def test_what_is_exported_is_true(shop: ShopWorld, tmp_path: Path) -> None:
    """Amounts are decimal numbers of their currency, names are harmless texts, and the books sum to zero."""
    await filled(shop)

    payments = await exported(shop, tmp_path, "payments")
    customers = await exported(shop, tmp_path, "customers")
    ledger = await exported(shop, tmp_path, "ledger")
    plans = await exported(shop, tmp_path, "plans")
    (line,) = await exported(shop, tmp_path, "audit")

    assert [(p["amount"], p["currency"], p["provider"]) for p in payments] == [
        ("199.00", "RUB", "cryptopay"), ("150", "XTR", "stars"), ("123.45", "RUB", "cryptopay")
    ]  # fmt: skip
    assert [(p["plan"], p["days"], p["kind"]) for p in payments] == [
        ("basic", "30", "access"), ("basic", "30", "access"), ("", "", "topup")
    ]  # fmt: skip
    assert [(c["first_name"], c["username"], c["balance"]) for c in customers] == [
        ("U", "u", "123.45"), ("'=HYPERLINK(1)", 'u,"x', "0.00")
    ]  # fmt: skip
    assert {row["debit"] for row in ledger} >= {"clearing:cryptopay", "customer", "clearing:stars"}
    assert ("basic", "30", "RUB", "199.00") in {
        (p["plan"], p["days"], p["currency"], p["price"]) for p in plans
    }
    assert (line["actor"], line["reason"], line["after"]) == ("shell:root", "'@x", '{"paused":true}')


@pages
async def test_secrets_are_left_out_unless_asked_for(shop: ShopWorld, tmp_path: Path) -> None:
    """No credential and no token stands in any export; with secrets they do."""
    await filled(shop)
    row = await shop.db.fetchrow("test", "select credential::text, link_token from subscriptions limit 1")
    assert row is not None

    for what in EXPORTS:
        await exported(shop, tmp_path, what)
        text = (tmp_path / f"{what}.csv").read_text()
        assert row["credential"] not in text
        assert row["link_token"] not in text
    (told, *_) = await exported(shop, tmp_path, "subscriptions", with_secrets=True)
    assert (told["credential"], told["link_token"]) == tuple(row.values())
    assert (tmp_path / "subscriptions.csv").stat().st_mode & 0o777 == 0o600


@pages
async def test_what_comes_later_is_left_out(shop: ShopWorld, tmp_path: Path) -> None:
    """An export is as of its start: rows that are made while it runs are not in it."""
    for _ in range(4):
        await shop.customer()
    plan = await plan_export(shop.db, "customers")
    late: list[int] = []

    async with trio.open_nursery() as nursery:

        async def one_more() -> None:
            late.append((await shop.customer()).id)

        done = await export_csv(
            shop.db, plan, tmp_path / "x", page=2, told=lambda _: nursery.start_soon(one_more)
        )
    again = await export_csv(shop.db, plan, tmp_path / "x", page=2)

    assert late
    assert (done.rows, again.rows) == (4, 4)


@pages
async def test_rows_since_a_moment(shop: ShopWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of them is found by halves, not by reading all that is older."""
    monkeypatch.setattr("vpnd.shop.exports.PAGE", 3)
    for _ in range(40):
        await shop.customer()
        await shop.advance(timedelta(hours=1))
    since = await shop.db.fetchval("test", "select created_at from customers order by id offset 30 limit 1")

    plan = await plan_export(shop.db, "customers", since=since)
    rows = await exported(shop, tmp_path, "customers", since=since)
    none = await exported(shop, tmp_path, "customers", since=datetime.now(UTC) + timedelta(days=400))

    assert len(rows) == 10
    assert 20 < plan.after < 31
    assert none == []


@pages
async def test_progress_is_told(shop: ShopWorld, tmp_path: Path) -> None:
    """Rows written, and how far of what there is."""
    for _ in range(5):
        await shop.customer()
    told: list[Progress] = []
    plan = await plan_export(shop.db, "customers")

    await export_csv(shop.db, plan, tmp_path / "x", page=2, told=told.append)

    assert [(one.rows, one.passed) for one in told] == [(2, 2), (4, 4), (5, 5)]
    assert {one.total for one in told} == {5}


# ------------------------------------------------------------------------------------------ whole or not there


@pages
async def test_an_export_that_is_cancelled_leaves_nothing(shop: ShopWorld, tmp_path: Path) -> None:
    """Neither a part under its own name nor the one it was written to; what stood there before stays."""
    for _ in range(6):
        await shop.customer()
    path = tmp_path / "customers.csv"
    path.write_text("the one of yesterday")
    plan = await plan_export(shop.db, "customers")
    seen: list[str] = []

    with trio.CancelScope() as scope:

        def told(_progress: Progress) -> None:
            seen.extend(sorted(one.name for one in tmp_path.iterdir()))
            scope.cancel()

        await export_csv(shop.db, plan, path, page=2, told=told)

    assert scope.cancelled_caught
    assert seen == [f".customers.csv.{os.getpid()}.part", "customers.csv"]
    assert [one.name for one in tmp_path.iterdir()] == ["customers.csv"]
    assert path.read_text() == "the one of yesterday"


@pages
async def test_what_is_too_big_is_not_made(shop: ShopWorld, tmp_path: Path) -> None:
    """The export ends when it is longer than it may be, and leaves nothing."""
    for _ in range(6):
        await shop.customer()

    with pytest.raises(TooBig):
        await export_csv(shop.db, await plan_export(shop.db, "customers"), tmp_path / "x", page=2, most=300)
    assert list(tmp_path.iterdir()) == []


@pages
async def test_an_empty_table_is_a_file_with_a_head(shop: ShopWorld, tmp_path: Path) -> None:
    """No rows are no error."""
    plan = await plan_export(shop.db, "audit")

    done = await export_csv(shop.db, plan, tmp_path / "x")

    assert done == Exported(0, (tmp_path / "x").stat().st_size, plan.as_of)
    assert (tmp_path / "x").read_text("utf-8-sig").startswith("id,at,actor")
