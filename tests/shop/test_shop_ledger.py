"""The ledger: two sides, one currency, no balance below zero, corrections by reversal."""

from __future__ import annotations

import pytest
import trio
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.database.errors import IntegrityError, UniqueViolation
from vpnd.shop import books, ledger
from vpnd.shop.ledger import Entry


def pay(customer_id: int, amount: int, reference: str) -> Entry:
    return Entry(
        ledger.clearing("cryptopay", "RUB"), ledger.customer(customer_id, "RUB"), amount, "payment", reference
    )


def spend(customer_id: int, amount: int, reference: str) -> Entry:
    return Entry(ledger.customer(customer_id, "RUB"), ledger.revenue("RUB"), amount, "sale", reference)


async def test_transfers_move_balances_as_one_set(shop: ShopWorld) -> None:
    """Accounts open by themselves; the cached balance is the net; an account's page shows both sides."""
    one = await shop.customer()
    ids = await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 500, "p"), spend(one.id, 300, "s")]))

    assert await ledger.balance_of(shop.db, one.id, "RUB") == 200
    assert await ledger.balance_of(shop.db, one.id, "XTR") == 0
    lines = await ledger.statement(shop.db, ledger.customer(one.id, "RUB"))
    assert [(line.id, line.amount, line.kind) for line in lines] == [
        (ids[1], -300, "sale"),
        (ids[0], 500, "payment"),
    ]
    older = await ledger.statement(shop.db, ledger.customer(one.id, "RUB"), before=ids[1])
    assert [line.id for line in older] == [ids[0]]
    assert await ledger.imbalance(shop.db) == {"RUB": 0}
    assert await books.balance_drift(shop.db) == []


async def test_a_page_of_history_is_no_walk_through_the_ledger(shop: ShopWorld) -> None:
    """Where one account stands in most lines, the page of another is still found by the indexes of its sides."""
    one, other = await shop.customer(), await shop.customer(telegram_id=2)
    pays = [pay(other.id, 1 + number, f"p{number}") for number in range(3000)]
    await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 500, "own"), *pays]))
    await shop.execute("analyze ledger")
    await shop.execute("analyze accounts")

    values = ("array['customer']", f"'{one.id}'", "'RUB'", "9", "null")
    statement = ledger._STATEMENT
    for number, value in enumerate(values, 1):
        statement = statement.replace(f"${number}", value)
    rows = await shop.do(lambda tx: tx.fetch(f"explain {statement}"))
    plan = "\n".join(row["QUERY PLAN"] for row in rows)

    assert "ledger_debit" in plan
    assert "ledger_credit" in plan
    assert "ledger_pkey" not in plan


async def test_a_statement_of_two_accounts_is_one_list(shop: ShopWorld) -> None:
    """The newest first, whichever of them it moved, each line by the account that it is of; pages go on where one ended."""
    one = await shop.customer()
    own, bonus = ledger.customer(one.id, "RUB"), ledger.bonus(one.id, "RUB")
    gift = Entry(ledger.promo("RUB"), bonus, 70, "promo", "g")
    moved = Entry(bonus, own, 20, "moved", "m")
    ids = [
        (await shop.do(lambda tx, e=entry: ledger.post(tx, [e])))[0]
        for entry in (pay(one.id, 500, "p"), gift, moved)
    ]

    first = await ledger.statement(shop.db, own, bonus, limit=3)
    rest = await ledger.statement(shop.db, own, bonus, limit=3, before=first[-1].id)

    assert [(line.id, line.amount, line.account) for line in (*first, *rest)] == [
        (ids[2], -20, "bonus"), (ids[2], 20, "customer"), (ids[1], 70, "bonus"), (ids[0], 500, "customer"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="one owner"):
        await ledger.statement(shop.db, own, ledger.bonus(one.id + 1, "RUB"))


async def test_nothing_below_zero_and_nothing_by_halves(shop: ShopWorld) -> None:
    """A set that would overdraw a balance writes nothing at all."""
    one = await shop.customer()
    with pytest.raises(ledger.InsufficientBalance):
        await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 100, "p"), spend(one.id, 101, "s")]))
    assert await shop.db.fetchval("test", "select count(*) from ledger") == 0


async def test_a_reference_is_posted_once(shop: ShopWorld) -> None:
    """A second transfer under one reference is refused, and so are half transfers and empty ones."""
    one = await shop.customer()
    await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 100, "p")]))
    with pytest.raises(UniqueViolation):
        await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 100, "p")]))
    with pytest.raises(ledger.LedgerError):
        pay(one.id, 0, "zero")
    mixed = Entry(ledger.clearing("stars", "XTR"), ledger.revenue("RUB"), 1, "x", "mixed")
    with pytest.raises(ledger.LedgerError):
        await shop.do(lambda tx: ledger.post(tx, [mixed]))


async def test_the_ledger_is_append_only(shop: ShopWorld) -> None:
    """The database itself refuses to change or delete a transfer."""
    one = await shop.customer()
    await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 100, "p")]))
    for sql in ("update ledger set amount = 1", "delete from ledger"):
        with pytest.raises(IntegrityError):
            await shop.execute(sql)


async def test_a_reversal_undoes_once(shop: ShopWorld) -> None:
    """The mirror image, linked, and refused a second time."""
    one = await shop.customer()
    (booked,) = await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 100, "p")]))
    await shop.do(lambda tx: ledger.reverse(tx, booked, reference="r"))

    assert await ledger.balance_of(shop.db, one.id, "RUB") == 0
    with pytest.raises(ledger.AlreadyReversed):
        await shop.do(lambda tx: ledger.reverse(tx, booked, reference="r2"))
    with pytest.raises(ledger.LedgerError, match="does not exist"):
        await shop.do(lambda tx: ledger.reverse(tx, 10**9, reference="r3"))


async def test_what_was_spent_already_is_owed_and_repaid(shop: ShopWorld) -> None:
    """A reversal of money that is gone books the rest to the receivable; later credits repay it, never more."""
    one = await shop.customer()
    first, _ = await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 100, "p"), spend(one.id, 70, "s")]))
    await shop.do(lambda tx: ledger.reverse(tx, first, reference="chargeback"))
    owed = await ledger.statement(shop.db, ledger.receivable(one.id, "RUB"))
    assert [line.amount for line in owed] == [-70]
    assert await ledger.balance_of(shop.db, one.id, "RUB") == 0

    async def credit(tx, amount: int, reference: str) -> int:
        await ledger.post(tx, [pay(one.id, amount, reference)])
        return await ledger.repay_receivable(tx, one.id, "RUB", up_to=amount, reference=f"repay:{reference}")

    assert await shop.do(lambda tx: credit(tx, 50, "a")) == 50
    assert await shop.do(lambda tx: credit(tx, 50, "b")) == 20
    assert await shop.do(lambda tx: credit(tx, 50, "c")) == 0
    assert await ledger.balance_of(shop.db, one.id, "RUB") == 80
    assert await ledger.imbalance(shop.db) == {"RUB": 0}


async def test_a_repayment_takes_no_more_than_there_is(shop: ShopWorld) -> None:
    """A debt larger than the balance takes the balance and leaves the rest owed; it never fails a settlement."""
    one = await shop.customer()
    first, _ = await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 100, "p"), spend(one.id, 100, "s")]))
    await shop.do(lambda tx: ledger.reverse(tx, first, reference="chargeback"))
    await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 30, "p2")]))

    repaid = await shop.do(lambda tx: ledger.repay_receivable(tx, one.id, "RUB", up_to=90, reference="r"))

    assert repaid == 30
    await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 50, "p3")]))
    assert (
        await shop.do(lambda tx: ledger.repay_receivable(tx, one.id, "RUB", up_to=20, reference="r2")) == 20
    )
    assert await ledger.balance_of(shop.db, one.id, "RUB") == 30


async def test_two_spenders_of_one_balance_take_turns(shop: ShopWorld) -> None:
    """The second waits for the first's commit and is judged by what is left."""
    one = await shop.customer()
    # Both accounts exist, so that the second spender has nothing to wait for but the balance.
    await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 101, "p"), spend(one.id, 1, "s0")]))
    refused: list[bool] = []

    async def second() -> None:
        try:
            await shop.do(lambda tx: ledger.post(tx, [spend(one.id, 60, "s2")]))
        except ledger.InsufficientBalance:
            refused.append(True)

    async with trio.open_nursery() as nursery:
        first = await hold(nursery, shop.db, lambda tx: ledger.post(tx, [spend(one.id, 60, "s1")]))
        nursery.start_soon(second)
        await wait_for_lock(shop.db)
        await first.commit()

    assert refused == [True]
    assert await ledger.balance_of(shop.db, one.id, "RUB") == 40


async def test_crosswise_transfers_do_not_deadlock(shop: ShopWorld) -> None:
    """Accounts are locked by id, whichever side they stand on."""
    a, b = await shop.customer(), await shop.customer()
    await shop.do(lambda tx: ledger.post(tx, [pay(a.id, 1000, "pa"), pay(b.id, 1000, "pb")]))

    async def move(source: int, target: int, name: str) -> None:
        for step in range(10):
            entry = Entry(
                ledger.customer(source, "RUB"), ledger.customer(target, "RUB"), 7, "gift", f"{name}{step}"
            )
            await shop.do(lambda tx, entry=entry: ledger.post(tx, [entry]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(move, a.id, b.id, "ab")
        nursery.start_soon(move, b.id, a.id, "ba")

    assert await ledger.balance_of(shop.db, a.id, "RUB") == 1000
    assert (
        await shop.db.fetchval(
            "test", "select deadlocks from pg_stat_database where datname = current_database()"
        )
        == 0
    )


async def test_a_wrong_cached_balance_is_found(shop: ShopWorld) -> None:
    """The audit tells which account differs, and what the ledger says."""
    one = await shop.customer()
    await shop.do(lambda tx: ledger.post(tx, [pay(one.id, 100, "p")]))
    await shop.execute("update accounts set balance = 101 where kind = 'customer'")

    (wrong,) = await books.balance_drift(shop.db)
    assert (wrong.ref, wrong.cached, wrong.booked) == (ledger.customer(one.id, "RUB"), 101, 100)
