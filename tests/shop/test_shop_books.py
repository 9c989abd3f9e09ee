"""The books: sums from a checkpoint that waits for older transactions, zero for each currency, balances verified."""

from __future__ import annotations

import trio
from money_world import balance, booked, give_bonus, guest_of, levels, recurring, refund
from shop_world import ShopWorld, hold, wait_for_lock

from vpnd.shop import books, ledger
from vpnd.shop.ledger import Entry


async def some_life(shop: ShopWorld) -> None:
    """Charges of all kinds: money, Stars, balance, rewards, refunds, held money."""
    await levels(shop, (0, 10))
    host = await shop.customer()
    one = await guest_of(shop, host)
    first = await shop.settle(shop.charge(await shop.buy(one), 25_000))
    await shop.settle(shop.charge(await shop.buy(one, "stars", days=90), 123))
    await shop.settle(recurring(shop, await shop.buy(one, "stars", recurring=True)))
    await shop.settle(shop.charge(await shop.buy(one), payload="pnobody"))
    await give_bonus(shop, one, 30_000)
    await shop.spend(await shop.buy(one, "balance"))
    await refund(shop, first.settlement_id, amount=3_333)


async def advance_all(shop: ShopWorld, limit: int = books.PAGE) -> int:
    """Bring the sums to the newest transfer."""
    mark, moved = await books.horizon(shop.db), 0
    with trio.fail_after(5):
        while not await books.passed(shop.db, mark):
            await trio.sleep(0.01)
    while True:
        done = await books.advance(shop.db, mark, limit)
        moved += done
        if done < limit:
            return moved


async def transfer(shop: ShopWorld, amount: int = 100) -> Entry:
    """A transfer between two of the house's accounts."""
    return Entry(ledger.promo("RUB"), ledger.revenue("RUB"), amount, "test", f"test:{shop.number()}")


async def test_the_sums_are_what_the_ledger_says(shop: ShopWorld) -> None:
    """In pages of any size: every transfer once, every currency at zero, nothing left to do."""
    await some_life(shop)
    rows = await shop.db.fetchval("test", "select count(*) from ledger")

    assert await advance_all(shop, 3) == rows
    assert await advance_all(shop) == 0
    assert await books.sums_by_currency(shop.db) == {"RUB": 0, "XTR": 0}
    house = await books.house_balances(shop.db)
    for ref in house:
        assert house[ref] == await booked(shop, ref.kind, ref.currency, ref.owner)
    assert house[ledger.revenue("RUB")] == await booked(shop, "revenue") > 0
    assert await books.balance_drift(shop.db) == []


async def test_what_came_since_is_added_to_the_sums(shop: ShopWorld) -> None:
    """House balances and the check of balances are of now, wherever the checkpoint stands."""
    await some_life(shop)
    before = await books.house_balances(shop.db)
    assert await books.balance_drift(shop.db) == []
    await advance_all(shop)
    assert await books.house_balances(shop.db) == before
    await some_life(shop)
    assert await books.balance_drift(shop.db) == []
    after = await books.house_balances(shop.db)
    assert after[ledger.revenue("RUB")] == 2 * before[ledger.revenue("RUB")]


async def test_the_checkpoint_waits_for_an_older_transaction(shop: ShopWorld) -> None:
    """Its transfer has a lower number than one that is seen already: moved past, it would never be added."""
    async with trio.open_nursery() as nursery:
        slow = await transfer(shop)
        held = await hold(nursery, shop.db, lambda tx: ledger.post(tx, [slow]))
        other = Entry(ledger.adjustments("RUB"), ledger.refunds("RUB"), 7, "test", "other")
        await shop.do(lambda tx: ledger.post(tx, [other]))

        mark = await books.horizon(shop.db)
        assert not await books.passed(shop.db, mark)
        await held.commit()
        assert await books.passed(shop.db, mark)

    assert await books.advance(shop.db, mark) == 2
    assert await books.sums_by_currency(shop.db) == {"RUB": 0}
    assert (await books.house_balances(shop.db))[ledger.revenue("RUB")] == 100


async def test_a_transaction_that_was_rolled_back_is_waited_for_and_forgotten(shop: ShopWorld) -> None:
    """The number it took is never used; nothing is missing."""

    async def post_and_fail(tx) -> None:
        await ledger.post(tx, [await transfer(shop)])
        raise RuntimeError("killed")

    try:
        await shop.do(post_and_fail)
    except RuntimeError:
        pass
    one = await transfer(shop)
    await shop.do(lambda tx: ledger.post(tx, [one]))

    assert await advance_all(shop) == 1
    assert (await books.house_balances(shop.db))[ledger.revenue("RUB")] == 100


async def test_a_younger_transaction_is_not_waited_for(shop: ShopWorld) -> None:
    """It can only bring transfers beyond the mark."""
    one = await transfer(shop)
    await shop.do(lambda tx: ledger.post(tx, [one]))
    mark = await books.horizon(shop.db)
    async with trio.open_nursery() as nursery:
        late = Entry(ledger.adjustments("RUB"), ledger.refunds("RUB"), 7, "test", "late")
        held = await hold(nursery, shop.db, lambda tx: ledger.post(tx, [late]))
        assert await books.passed(shop.db, mark)
        assert await books.advance(shop.db, mark) == 1
        await held.commit()
    assert await advance_all(shop) == 1


async def test_two_that_advance_at_once_add_nothing_twice(shop: ShopWorld) -> None:
    """The second waits for the checkpoint and goes on where the first has moved it."""
    await some_life(shop)
    rows = await shop.db.fetchval("test", "select count(*) from ledger")
    mark = await books.horizon(shop.db)
    counts: list[int] = []

    async def second() -> None:
        counts.append(await books.advance(shop.db, mark, 5))

    async with trio.open_nursery() as nursery:
        first = await hold(nursery, shop.db, lambda tx: books.advance(tx, mark, 5))
        nursery.start_soon(second)
        await wait_for_lock(shop.db)
        await first.commit()

    assert counts == [5]
    assert await shop.db.fetchval(
        "test", "select through_id from ledger_checkpoint"
    ) == await shop.db.fetchval("test", "select id from ledger order by id offset 9 limit 1")
    assert await advance_all(shop) == rows - 10
    assert await books.sums_by_currency(shop.db) == {"RUB": 0, "XTR": 0}


async def test_an_empty_ledger_is_right(shop: ShopWorld) -> None:
    """Nothing to add, nothing to say."""
    assert await advance_all(shop) == 0
    assert await books.sums_by_currency(shop.db) == {}
    assert await books.house_balances(shop.db) == {}
    assert await books.balance_drift(shop.db) == []
    assert await books.cached_accounts(shop.db, 0, 10) == []


async def test_a_balance_that_drifted_is_found(shop: ShopWorld) -> None:
    """By name, with both figures; before and behind the checkpoint; the others are right."""
    one, two = await shop.customer(), await shop.customer()
    await shop.fill(one, 5_000)
    await shop.fill(two, 7_000)
    await advance_all(shop)
    await shop.fill(two, 1_000)
    await shop.execute(
        "update accounts set balance = balance + 1 where kind = 'customer' and owner = $1", str(two.id)
    )

    (drift,) = await books.balance_drift(shop.db)

    assert (drift.ref, drift.cached, drift.booked) == (ledger.customer(two.id, "RUB"), 8_001, 8_000)
    accounts = await books.cached_accounts(shop.db, 0, 10)
    assert drift.account_id in accounts
    assert await books.balance_drift(shop.db, [each for each in accounts if each != drift.account_id]) == []
    assert await books.cached_accounts(shop.db, accounts[0], 1) == accounts[1:2]
    assert (await balance(shop, one)).own == 5_000


async def test_sums_that_do_not_agree_are_seen(shop: ShopWorld) -> None:
    """A sum that somebody has spoiled shows as a currency that is not at zero."""
    await some_life(shop)
    await advance_all(shop)
    await shop.execute(
        "update account_sums s set balance = s.balance + 5 from accounts a where a.id = s.account_id and a.kind = 'revenue'"
    )
    assert await books.sums_by_currency(shop.db) == {"RUB": 5, "XTR": 0}
