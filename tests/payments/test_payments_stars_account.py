"""The bot's account of Stars, over real sockets against the sandboxed Telegram: the statement, refunds, subscriptions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import trio
from money_sandbox import Town, open_town
from money_world import about, balance, booked, books_agree, now, only, owed, refund, refusing
from shop_world import ShopWorld

from vpnd.database.outbox_rows import BoundaryDown, Delivered, Drop, OutboxItem, Retry
from vpnd.payments.base import (
    PaymentBusy,
    PaymentForbidden,
    PaymentRejected,
    PaymentUnavailable,
    RefundOrder,
    RefundState,
)
from vpnd.payments.refunding import deliver_refund, deliver_star_cancel
from vpnd.payments.stars_account import StarsAccount
from vpnd.payments.stars_sweep import SweepReport, sweep_stars
from vpnd.shop.charges import SettlementResult
from vpnd.shop.provider_lists import position_of
from vpnd.shop.refunds import refund_by_id
from vpnd.shop.star_subscriptions import ask_to_cancel
from vpnd.telegram.errors import Blocked, Conflict, Rejected, RetryLater, TelegramUnavailable, Unauthorized


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with open_town() as opened:
        with trio.fail_after(30):
            yield opened


def counts(report: SweepReport) -> tuple[int, int, int]:
    return report.read, report.settled, report.booked


def order(charge_id: str, telegram_id: int) -> RefundOrder:
    return RefundOrder(
        key="k", charge_id=charge_id, amount=150, currency="XTR", whole=True, telegram_id=telegram_id, description="",
        details={},
    )  # fmt: skip


async def bought(shop: ShopWorld, town: Town, **options):
    """A person who has paid in Stars without our knowing it."""
    one = await shop.customer()
    purchase = await shop.buy(one, "stars", **options)
    return one, purchase, await town.pay_stars(purchase, one.telegram_id)


async def test_what_came_while_we_were_away_is_settled_once(shop: ShopWorld, town: Town) -> None:
    """Each charge of the statement that the books do not have, with its wake-ups; then there is nothing new."""
    first, purchase, charge_id = await bought(shop, town)
    second, other, _ = await bought(shop, town, days=90)
    woken: list[SettlementResult] = []

    swept = await sweep_stars(shop.db, town.stars, on_commit=(woken.append,))
    again = await sweep_stars(shop.db, town.stars, on_commit=(woken.append,))

    assert [counts(each) for each in (swept, again)] == [(2, 2, 0), (2, 0, 0)]
    assert {result.purchase_id for result in woken} == {purchase.id, other.id}
    assert (await shop.again(purchase)).status == (await shop.again(other)).status == "paid"
    row = await shop.db.fetchrow("test", "select * from settlements where charge_id = $1", charge_id)
    assert row is not None
    assert row["details"]["payer"] == first.telegram_id
    assert about(row["paid_at"], await now(shop))
    assert await position_of(shop.db, "stars", "transactions") == 2
    assert (await only(shop, second)).status == "active"
    await books_agree(shop)


async def test_a_charge_that_cannot_be_settled_is_come_back_to(shop: ShopWorld, town: Town) -> None:
    """What follows it in the statement is settled, and the position stays before it until it is, too."""
    _, purchase, charge_id = await bought(shop, town)
    _, other, _ = await bought(shop, town, days=90)

    async with refusing(shop, charge_id):
        swept = await sweep_stars(shop.db, town.stars)
        assert await position_of(shop.db, "stars", "transactions") == 0
    again = await sweep_stars(shop.db, town.stars)

    assert [counts(each) for each in (swept, again)] == [(2, 1, 0), (2, 1, 0)]
    assert (await shop.again(purchase)).status == (await shop.again(other)).status == "paid"
    assert await position_of(shop.db, "stars", "transactions") == 2


async def test_only_looking_changes_nothing(shop: ShopWorld, town: Town) -> None:
    """Without repair it says what there is, by name, and goes no further."""
    _, purchase, charge_id = await bought(shop, town)

    report = await sweep_stars(shop.db, town.stars, repair=False)

    assert counts(report) == (1, 1, 0)
    assert [(one.kind, one.name, one.mended) for one in report.differences] == [
        ("unsettled", charge_id, False)
    ]
    assert (await shop.again(purchase)).status == "pending"
    assert await position_of(shop.db, "stars", "transactions") == 0


async def test_refunds_and_charge_backs_are_booked(shop: ShopWorld, town: Town) -> None:
    """A charge-back that Telegram makes by itself: access off, and what was spent is owed; booked once."""
    one, purchase, charge_id = await bought(shop, town)
    await sweep_stars(shop.db, town.stars)
    await town.telegram("chargeback", charge_id=charge_id)

    looked = await sweep_stars(shop.db, town.stars, repair=False)
    swept = await sweep_stars(shop.db, town.stars)
    again = await sweep_stars(shop.db, town.stars)

    assert [counts(each) for each in (looked, swept, again)] == [(2, 0, 1), (2, 0, 1), (2, 0, 0)]
    assert [(d.kind, d.name, d.mended) for d in swept.differences] == [("refund_unknown", charge_id, True)]
    assert (await only(shop, one)).status == "expired"
    assert (await shop.again(purchase)).status == "refunded"
    assert await owed(shop, one) == 0
    await books_agree(shop)


async def test_a_charge_and_its_charge_back_on_one_page(shop: ShopWorld, town: Town) -> None:
    """Both unknown: settled and then booked back."""
    one, _, charge_id = await bought(shop, town)
    await town.telegram("chargeback", charge_id=charge_id)
    assert counts(await sweep_stars(shop.db, town.stars)) == (2, 1, 1)
    assert (await only(shop, one)).status == "expired"


async def test_what_cannot_be_booked_is_named_each_time(shop: ShopWorld, town: Town) -> None:
    """Already given to the balance, and charged back all the same: left for a person, not called mended."""
    one, _, charge_id = await bought(shop, town)
    await sweep_stars(shop.db, town.stars)
    settlement = await shop.db.fetchval("test", "select id from settlements")
    await refund(shop, settlement, to="balance")
    await town.telegram("chargeback", charge_id=charge_id)

    for _ in range(2):
        report = await sweep_stars(shop.db, town.stars)
        assert counts(report) == (2, 0, 0)
        assert [(d.kind, d.name, d.mended) for d in report.differences] == [
            ("refund_unknown", charge_id, False)
        ]
    assert (await balance(shop, one)).own == 19_900


async def test_a_stranger_is_held_and_withdrawals_are_no_refunds(shop: ShopWorld, town: Town) -> None:
    """Stars paid for what is none of ours are held once; what the owner takes out is nobody's refund."""
    from attrs import evolve

    one, purchase, _ = await bought(shop, town)
    await town.pay_stars(evolve(purchase, public_id="pnobody"), one.telegram_id)
    await town.telegram("withdraw", amount=100)

    assert counts(await sweep_stars(shop.db, town.stars)) == (3, 2, 0)
    assert counts(await sweep_stars(shop.db, town.stars)) == (3, 0, 0)
    assert await booked(shop, "held", "XTR") == 150
    assert len(await shop.outbox("held:")) == 1


async def test_a_long_statement_is_read_page_by_page(
    shop: ShopWorld, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where it was left, with the last page once more, in case it was not settled when the position was noted."""
    monkeypatch.setattr("vpnd.payments.stars_account.PAGE", 2)
    monkeypatch.setattr("vpnd.payments.stars_sweep.PAGE", 2)
    for _ in range(5):
        await bought(shop, town)
    assert counts(await sweep_stars(shop.db, town.stars)) == (5, 5, 0)
    assert await position_of(shop.db, "stars", "transactions") == 5
    await bought(shop, town)
    assert counts(await sweep_stars(shop.db, town.stars)) == (3, 1, 0)

    await shop.execute("delete from outbox")
    monkeypatch.setattr("vpnd.payments.stars_sweep.MOST_PAGES", 2)
    await bought(shop, town)
    await bought(shop, town)
    reports = [counts(await sweep_stars(shop.db, town.stars)) for _ in range(3)]
    assert sum(settled for _, settled, _ in reports) == 2
    assert await position_of(shop.db, "stars", "transactions") == 8


async def test_renewals_in_the_statement_are_the_next_periods(shop: ShopWorld, town: Town) -> None:
    """A subscription that Telegram charged twice while we were away: two periods more, under the first payload."""
    one, purchase, _ = await bought(shop, town, recurring=True)
    await town.telegram("clock", advance=2 * 2_592_000)

    assert counts(await sweep_stars(shop.db, town.stars)) == (3, 3, 0)

    mine = await only(shop, one)
    assert mine.renews == "stars"
    assert about(mine.expires_at, await now(shop) + timedelta(days=90))
    kinds = await shop.db.fetch("test", "select origin, status from purchases order by id")
    assert [(row["origin"], row["status"]) for row in kinds] == [("customer", "paid")] + [
        ("recurring", "paid")
    ] * 2
    assert purchase.recurring


async def test_a_refund_that_is_repeated_is_done(shop: ShopWorld, town: Town) -> None:
    """Telegram refuses a second one, which is as good as the first."""
    one, _, charge_id = await bought(shop, town)
    for _ in range(2):
        assert await town.stars.refund(order(charge_id, one.telegram_id)) == RefundState(charge_id, "done")
    statement = await town.stars.statement(0)
    assert ([c.charge_id for c in statement.charges], [r.charge_id for r in statement.refunds]) == (
        [charge_id], [charge_id],
    )  # fmt: skip


async def test_a_lost_answer_pays_once(shop: ShopWorld, town: Town) -> None:
    """The whole way of a job: refunded, the answer lost, asked again, done; one refund at Telegram and in the books."""
    one, _, charge_id = await bought(shop, town)
    await sweep_stars(shop.db, town.stars)
    asked = await refund(shop, await shop.db.fetchval("test", "select id from settlements"))
    item = OutboxItem(1, "refund_stars", "k", "notice", None, {"refund": asked.refund_id}, 1, 0, False, False)
    await town.telegram("fault", method="refundStarPayment", kind="5xx_reply", count=1)

    first = await deliver_refund(shop.db, {"stars": town.stars}, item)
    second = await deliver_refund(shop.db, {"stars": town.stars}, item)

    assert isinstance(first, BoundaryDown)
    assert second == Delivered({"external_id": charge_id})
    assert counts(await sweep_stars(shop.db, town.stars)) == (2, 0, 0)
    assert await booked(shop, "clearing", "XTR") == 0
    assert (await only(shop, one)).status == "expired"
    await books_agree(shop)


async def test_too_few_stars_are_waited_for(shop: ShopWorld, town: Town) -> None:
    """While the bot owns less than is to go back the job is tried again; the refund stays open and then goes."""
    await bought(shop, town)
    await sweep_stars(shop.db, town.stars)
    asked = await refund(shop, await shop.db.fetchval("test", "select id from settlements"))
    item = OutboxItem(1, "refund_stars", "k", "notice", None, {"refund": asked.refund_id}, 1, 0, False, False)
    await town.telegram("withdraw")

    answer = await deliver_refund(shop.db, {"stars": town.stars}, item)
    assert isinstance(answer, Retry)
    assert "BALANCE_TOO_LOW" in answer.error.upper()
    waiting = await refund_by_id(shop.db, asked.refund_id)
    assert waiting is not None
    assert waiting.status == "requested"
    await bought(shop, town)
    assert isinstance(await deliver_refund(shop.db, {"stars": town.stars}, item), Delivered)


async def test_a_subscription_is_ended_at_telegram(shop: ShopWorld, town: Town) -> None:
    """By the job that the shop has written; then nothing is charged any more, and a repeat does no harm."""
    one, _, charge_id = await bought(shop, town, recurring=True)
    await sweep_stars(shop.db, town.stars)
    mine = await only(shop, one)
    await shop.do(lambda tx: ask_to_cancel(tx, mine.id, one.id))
    (row,) = await shop.outbox("star_cancel:")
    item = OutboxItem(1, "star_cancel", "k", "notice", None, row["payload"], 1, 0, False, False)

    assert await deliver_star_cancel(town.stars, item) == Delivered()
    assert await deliver_star_cancel(town.stars, item) == Delivered()
    await town.telegram("clock", advance=2 * 2_592_000)

    assert counts(await sweep_stars(shop.db, town.stars))[1] == 0
    assert isinstance(await deliver_star_cancel(town.stars, item), Drop)  # it is over
    assert not await town.stars.cancel_subscription(one.telegram_id, "unknown")
    assert charge_id == row["payload"]["charge_id"]


@pytest.mark.parametrize(
    ("kind", "error"), [("5xx", PaymentUnavailable), ("401", PaymentForbidden), ("400", PaymentRejected)]
)
async def test_a_sweep_that_fails_goes_on_where_it_was(
    shop: ShopWorld, town: Town, kind: str, error: type[Exception]
) -> None:
    """Nothing is noted as read that was not."""
    await bought(shop, town)
    await town.telegram("fault", method="getStarTransactions", kind=kind, count=1)
    with pytest.raises(error):
        await sweep_stars(shop.db, town.stars)
    assert await position_of(shop.db, "stars", "transactions") == 0
    assert counts(await sweep_stars(shop.db, town.stars)) == (1, 1, 0)


class Away:
    """A way to Telegram that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def call(self, *_: object, **__: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RetryLater(7.0), PaymentBusy),
        (TelegramUnavailable("away"), PaymentUnavailable),
        (Conflict("another getUpdates"), PaymentUnavailable),
        (Unauthorized("bad token"), PaymentForbidden),
        (Blocked("USER_IS_BLOCKED"), PaymentRejected),
        (Rejected("PEER_ID_INVALID"), PaymentRejected),
    ],
)
async def test_telegrams_failures_have_our_names(error: Exception, expected: type[Exception]) -> None:
    """So that a job and a sweep know whether to wait, to give up, or to call an operator."""
    account = StarsAccount(Away(error))  # type: ignore[arg-type]  # stands for a sender
    for call in (lambda: account.statement(0), lambda: account.refund(order("c", 1))):
        with pytest.raises(expected) as caught:
            await call()
        assert type(caught.value) is expected
        if isinstance(caught.value, PaymentBusy):
            assert caught.value.retry_after == 7.0
