"""A provider's lists beside the books: each difference by name, mended where that is a settlement or a known refund."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import define, evolve, field
from money_world import balance, books_agree, only, refund, refusing
from shop_world import ShopWorld

from vpnd.payments.base import ChargePage, PaymentUnavailable, ProviderRefund, RefundPage
from vpnd.payments.reconcile import Report, book_provider_refund, reconcile
from vpnd.shop.charges import Charge, SettlementResult
from vpnd.shop.provider_lists import known_charges, last_reconciled, position_of, set_position
from vpnd.shop.refunds import finish_refund, refund_by_id, turn_to_balance

NOW = datetime.now(UTC)
SINCE = NOW - timedelta(days=3)


@define
class Lists:
    """A provider's lists, in pages of two; `away` is what the second page of charges fails with."""

    charges: list[Charge] = field(factory=list)
    refunds: list[ProviderRefund] = field(factory=list)
    unreadable: int = 0
    away: Exception | None = None
    asked: list[tuple[str, datetime]] = field(factory=list)
    name: str = "yookassa"

    async def charges_since(self, since: datetime, cursor: str | None = None) -> ChargePage:
        self.asked.append(("charges", since))
        at = int(cursor or 0)
        if at and self.away is not None:
            raise self.away
        return ChargePage(tuple(self.charges[at : at + 2]), self.unreadable, self._next(self.charges, at))

    async def refunds_since(self, since: datetime, cursor: str | None = None) -> RefundPage:
        self.asked.append(("refunds", since))
        at = int(cursor or 0)
        return RefundPage(tuple(self.refunds[at : at + 2]), self._next(self.refunds, at))

    @staticmethod
    def _next(items: list[Any], at: int) -> str | None:
        return str(at + 2) if len(items) > at + 2 else None


async def a_charge(shop: ShopWorld, **changes: Any) -> Charge:
    """A charge of a new customer's purchase by card, an hour ago."""
    bought = await shop.buy(await shop.customer(), "yookassa")
    return shop.charge(bought, **{"paid_at": NOW - timedelta(hours=1), **changes})


def given_back(charge: Charge, name: str = "rf-1", **changes: Any) -> ProviderRefund:
    """A refund of a charge as its provider lists it."""
    values: dict[str, Any] = {
        "external_id": name, "charge_id": charge.charge_id, "key": None, "amount": charge.amount,
        "currency": charge.currency, "amount_text": "199.00", "at": NOW,
    }  # fmt: skip
    return ProviderRefund(**(values | changes))


def found(report: Report) -> list[tuple[str, str, bool]]:
    return [(one.kind, one.name, one.mended) for one in report.differences]


async def test_what_agrees_is_no_difference(shop: ShopWorld) -> None:
    """Page by page; nothing is said to the admins, and it is noted when it ended."""
    charges = [await a_charge(shop) for _ in range(5)]
    for charge in charges:
        await shop.settle(charge)
    assert await last_reconciled(shop.db, "yookassa") is None
    lists = Lists(charges)

    report = await reconcile(shop.db, lists, since=SINCE)

    assert (report.charges, report.refunds, report.differences, report.mended) == (5, 0, (), 0)
    assert [what for what, _ in lists.asked] == ["charges"] * 3 + ["refunds"]
    assert {since for _, since in lists.asked} == {SINCE}
    assert await shop.outbox("reconciliation:") == []
    assert await last_reconciled(shop.db, "yookassa") is not None


@pytest.mark.parametrize("repair", [False, True])
async def test_an_unsettled_charge(shop: ShopWorld, repair: bool) -> None:
    """Named; and with repair settled as by everybody, with its wake-ups, once for ever."""
    charges = [await a_charge(shop) for _ in range(3)]
    await shop.settle(charges[1])
    woken: list[SettlementResult] = []

    report = await reconcile(shop.db, Lists(charges), since=SINCE, repair=repair, on_commit=(woken.append,))

    assert found(report) == [
        ("unsettled", charges[0].charge_id, repair),
        ("unsettled", charges[2].charge_id, repair),
    ]
    assert (report.mended, len(woken)) == ((2, 2) if repair else (0, 0))
    assert await shop.db.fetchval("test", "select count(*) from settlements") == (3 if repair else 1)
    (alert,) = await shop.outbox("reconciliation:")
    assert alert["kind"] == "admin_alert"
    args = alert["payload"]["args"]
    assert (args["provider"], args["differences"], args["mended"]) == ("yookassa", 2, report.mended)
    rows = await shop.db.fetch(
        "test", "select kind, name, mended from reconciliation_differences order by id"
    )
    assert [(row["kind"], row["name"], row["mended"]) for row in rows] == found(report)
    again = await reconcile(shop.db, Lists(charges), since=SINCE, repair=repair)
    assert found(again) == ([] if repair else found(report))
    await books_agree(shop)


async def test_another_amount_is_named_and_left(shop: ShopWorld) -> None:
    """Nothing is mended that is no settlement: a person decides. Another currency, and an amount that cannot be read, too."""
    charges = [await a_charge(shop) for _ in range(3)]
    for charge in charges:
        await shop.settle(charge)
    lists = Lists([
        evolve(charges[0], amount=1, amount_text="0.01"),
        evolve(charges[1], currency="USD"),
        evolve(charges[2], amount=None, amount_text="1.23456"),
    ])  # fmt: skip

    report = await reconcile(shop.db, lists, since=SINCE)

    assert found(report) == [("other_amount", charge.charge_id, False) for charge in charges]
    assert report.differences[0].details == {"theirs": "0.01 RUB", "ours": "19900 minor units of RUB"}


async def test_what_the_provider_does_not_list(shop: ShopWorld) -> None:
    """Only of the window: what is older than it, and what is so new that it may be missing yet, is not asked about."""
    listed, old, missing, fresh = [
        await a_charge(shop, paid_at=NOW - age)
        for age in (timedelta(hours=1), timedelta(days=4), timedelta(hours=2), timedelta(minutes=5))
    ]
    for charge in (listed, old, missing, fresh):
        await shop.settle(charge)

    report = await reconcile(shop.db, Lists([listed]), since=SINCE)

    assert found(report) == [("unknown_there", missing.charge_id, False)]
    everything = await reconcile(shop.db, Lists([listed]), since=SINCE, until=NOW + timedelta(hours=1))
    assert [one.name for one in everything.differences] == [missing.charge_id, fresh.charge_id]


async def test_unreadable_is_named(shop: ShopWorld) -> None:
    """With how many; the others are compared all the same."""
    charge = await a_charge(shop)
    report = await reconcile(shop.db, Lists([charge], unreadable=2), since=SINCE)
    assert found(report) == [("unreadable", "2 charges", False), ("unsettled", charge.charge_id, True)]


@pytest.mark.parametrize("repair", [False, True])
async def test_a_refund_made_in_the_cabinet(shop: ShopWorld, repair: bool) -> None:
    """Booked as the provider's own: access shortened, what was spent is owed; a second one by its own name."""
    charge = await a_charge(shop)
    await shop.settle(charge)
    customer_id = await shop.db.fetchval("test", "select id from customers")
    lists = Lists(
        [charge], [given_back(charge, "rf-1", amount=9_950), given_back(charge, "rf-2", amount=9_950)]
    )

    report = await reconcile(shop.db, lists, since=SINCE, repair=repair)

    assert found(report) == [("refund_unknown", "rf-1", repair), ("refund_unknown", "rf-2", repair)]
    assert report.differences[0].details["charge"] == charge.charge_id
    status = await shop.db.fetchval(
        "test", "select status from subscriptions where customer_id = $1", customer_id
    )
    assert status == ("expired" if repair else "active")
    again = await reconcile(shop.db, lists, since=SINCE, repair=repair)
    assert found(again) == ([] if repair else found(report))
    await books_agree(shop)


async def test_a_charge_and_its_refund_both_unknown(shop: ShopWorld) -> None:
    """The charge is settled first, so its refund has something to be of."""
    charge = await a_charge(shop)
    report = await reconcile(shop.db, Lists([charge], [given_back(charge)]), since=SINCE)
    assert found(report) == [("unsettled", charge.charge_id, True), ("refund_unknown", "rf-1", True)]
    assert await shop.db.fetchval("test", "select status from purchases") == "refunded"
    await books_agree(shop)


@pytest.mark.parametrize("repair", [False, True])
async def test_a_refund_whose_answer_was_lost(shop: ShopWorld, repair: bool) -> None:
    """The provider lists it under our key while ours still waits: it is finished, and not booked twice."""
    charge = await a_charge(shop)
    result = await shop.settle(charge)
    asked = await refund(shop, result.settlement_id)
    waiting = await refund_by_id(shop.db, asked.refund_id)
    assert waiting is not None
    lists = Lists([charge], [given_back(charge, key=waiting.key)])

    report = await reconcile(shop.db, lists, since=SINCE, repair=repair)

    assert found(report) == [("refund_open", "rf-1", repair)]
    after = await refund_by_id(shop.db, asked.refund_id)
    assert after is not None
    assert (after.status, after.external_id) == (("done", "rf-1") if repair else ("requested", None))
    assert await shop.db.fetchval("test", "select count(*) from refunds") == 1
    await books_agree(shop)


async def test_a_refund_that_fits_nothing_is_left_to_a_person(shop: ShopWorld) -> None:
    """Of an unknown charge, of none, in another currency, of no exact amount, or more than came: named, not booked."""
    charge = await a_charge(shop)
    await shop.settle(charge)
    strange = [
        given_back(charge, "a", charge_id="unknown"),
        given_back(charge, "b", charge_id=None),
        given_back(charge, "c", currency="USD"),
        given_back(charge, "d", amount=None),
        given_back(charge, "e", amount=19_901),
    ]
    report = await reconcile(shop.db, Lists([charge], strange), since=SINCE)
    assert found(report) == [("refund_unknown", name, False) for name in "abcde"]
    assert await shop.db.fetchval("test", "select count(*) from refunds") == 0


async def test_a_part_given_back_by_hand_is_not_ours_that_waits(shop: ShopWorld) -> None:
    """Another amount, and no key of ours: it is booked by itself, and ours goes on waiting for its own answer."""
    charge = await a_charge(shop)
    result = await shop.settle(charge)
    asked = await refund(shop, result.settlement_id, amount=5_000)

    assert await book_provider_refund(shop.db, "yookassa", given_back(charge, amount=3_000))

    ours = await refund_by_id(shop.db, asked.refund_id)
    assert ours is not None
    assert (ours.status, ours.external_id) == ("requested", None)
    assert await shop.db.fetchval("test", "select refunded from settlements") == 8_000
    await books_agree(shop)


async def test_ours_that_waits_and_has_no_key_there_is_the_one(shop: ShopWorld) -> None:
    """A provider that keeps no keys (Telegram) lists it by the charge: the same amount is the same refund."""
    bought = await shop.buy(await shop.customer(), "stars")
    charge = shop.charge(bought)
    result = await shop.settle(charge)
    asked = await refund(shop, result.settlement_id)

    told = given_back(charge, charge.charge_id)
    assert [await book_provider_refund(shop.db, "stars", told) for _ in range(2)] == [True, True]
    ours = await refund_by_id(shop.db, asked.refund_id)
    assert ours is not None
    assert (ours.status, ours.external_id) == ("done", charge.charge_id)


async def test_a_stuck_refund_that_went_after_all_is_finished(shop: ShopWorld) -> None:
    """By hand of an operator: the books have it, and it is named no more."""
    bought = await shop.buy(await shop.customer(), "stars")
    await shop.settle(shop.charge(bought))
    second = shop.charge(bought)
    await shop.settle(second)
    refund_id = await shop.db.fetchval("test", "select id from refunds")
    await shop.do(lambda tx: turn_to_balance(tx, refund_id, "USER_NOT_FOUND"))

    assert await book_provider_refund(shop.db, "stars", given_back(second, second.charge_id))
    after = await refund_by_id(shop.db, refund_id)
    assert after is not None
    assert after.status == "done"
    await books_agree(shop)


async def test_money_that_went_twice_is_not_called_mended(shop: ShopWorld) -> None:
    """On the balance by our decision, and given back by the provider all the same: a person has to see it, each time."""
    charge = await a_charge(shop)
    result = await shop.settle(charge)
    asked = await refund(shop, result.settlement_id)
    ours = await refund_by_id(shop.db, asked.refund_id)
    assert ours is not None
    await shop.do(lambda tx: turn_to_balance(tx, asked.refund_id, "refused"))
    lists = Lists([charge], [given_back(charge, key=ours.key)])

    for _ in range(2):
        assert found(await reconcile(shop.db, lists, since=SINCE)) == [("refund_open", "rf-1", False)]


async def test_a_provider_that_goes_away_in_the_middle(shop: ShopWorld) -> None:
    """It is raised, what was mended stays, and it does not count as compared."""
    charges = [await a_charge(shop) for _ in range(3)]
    lists = Lists(charges, away=PaymentUnavailable("away"))

    with pytest.raises(PaymentUnavailable):
        await reconcile(shop.db, lists, since=SINCE)

    assert await shop.db.fetchval("test", "select count(*) from settlements") == 2
    assert await last_reconciled(shop.db, "yookassa") is None
    lists.away = None
    assert found(await reconcile(shop.db, lists, since=SINCE)) == [("unsettled", charges[2].charge_id, True)]


async def test_a_charge_that_cannot_be_settled_keeps_nobody_else_waiting(shop: ShopWorld) -> None:
    """It is named and not called mended, everything behind it is settled, and the next comparison comes back to it."""
    charges = [await a_charge(shop) for _ in range(3)]
    async with refusing(shop, charges[0].charge_id):
        report = await reconcile(shop.db, Lists(charges), since=SINCE)
    later = await reconcile(shop.db, Lists(charges), since=SINCE)

    assert found(report) == [("unsettled", charge.charge_id, charge is not charges[0]) for charge in charges]
    assert found(later) == [("unsettled", charges[0].charge_id, True)]


async def test_a_refund_told_twice_at_once_is_booked_once(shop: ShopWorld) -> None:
    """By the webhook and the comparison: one of them books it, the other finds it booked."""
    import trio

    charge = await a_charge(shop)
    await shop.settle(charge)
    answers: list[bool] = []

    async def book() -> None:
        answers.append(await book_provider_refund(shop.db, "yookassa", given_back(charge)))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(book)

    assert answers == [True] * 3
    assert await shop.db.fetchval("test", "select count(*) from refunds") == 1
    customer = await shop.db.fetchval("test", "select telegram_id from customers")
    assert (await only(shop, await shop.customer(customer))).status == "expired"
    assert (await balance(shop, await shop.customer(customer))).total == 0


async def test_a_position_never_goes_back(shop: ShopWorld) -> None:
    """Two that read the same list at once; and what is not ours is not known."""
    assert await position_of(shop.db, "stars", "transactions") == 0
    for position in (5, 200, 100):
        await set_position(shop.db, "stars", "transactions", position)
    assert await position_of(shop.db, "stars", "transactions") == 200
    assert await position_of(shop.db, "stars", "other") == 0
    assert await known_charges(shop.db, "stars", ["x"]) == {}
    assert not await shop.do(lambda tx: finish_refund(tx, 1, None))
