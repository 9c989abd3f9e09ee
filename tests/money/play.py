"""One example: customers, what they and the providers may do, and after each step the books beside the oracle.

A step is a method `do_…`; whether it can be taken now says `can_…` (always, without one). It asks a `Choice` for
everything that is open, so that Hypothesis and a random walk play the same steps. What changes the database goes through
`Play.through`, which may let the connection die around COMMIT and then repeats the call, as the callers of the shop do.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, Protocol, TypeVar

from attrs import define, evolve, field
from database_kit import database_settings

from money.crashes import PLANS, Crash, CutProxy, open_cut_proxy
from money.oracle import DAY, HOUR, RUB, STARS, Access, Back, Buyer, Code, Deal, Oracle, Refused, Taking
from money.picture import EPOCH, STANDING_CLOCK, Marks, marks, read_picture
from vpnd.database import scope
from vpnd.database.database import Database, Transaction, open_database
from vpnd.database.errors import CommitUnknown, DatabaseUnavailable
from vpnd.database.outbox_rows import OutboxItem
from vpnd.payments.base import (
    ChargePage,
    PaymentUnavailable,
    ProviderRefund,
    RefundOrder,
    RefundPage,
    RefundState,
    RefundsUnavailable,
)
from vpnd.payments.reconcile import book_provider_refund, reconcile
from vpnd.payments.refunding import deliver_refund
from vpnd.payments.settle import settle_charge
from vpnd.runtime.limits import Limits
from vpnd.shop import books
from vpnd.shop.balance import charge_of
from vpnd.shop.charges import Charge
from vpnd.shop.discounts import remove_discount, set_discount
from vpnd.shop.ledger import InsufficientBalance
from vpnd.shop.opening import OfferUnavailable, open_purchase, open_topup
from vpnd.shop.plan_change import ChangeImpossible, change_plan
from vpnd.shop.plans import apply_plans, load_plans_file, offers_on_sale
from vpnd.shop.pricing import Terms
from vpnd.shop.promos import PromoUnavailable, enter_code, forget_code, retire_code
from vpnd.shop.purchases import (
    Purchase,
    attach_invoice,
    cancel_purchase,
    expire_purchases,
    reopen_purchase,
)
from vpnd.shop.referrals import apply_levels
from vpnd.shop.refund_plan import RefundImpossible, RefundRequest
from vpnd.shop.refund_requests import request_refund
from vpnd.shop.renewals import Due, due_renewals, renew
from vpnd.shop.settlement import PurchaseClosed, SettlementResult
from vpnd.shop.star_subscriptions import ask_to_cancel, note_state
from vpnd.shop.subscriptions import expire_due, set_renewal

T = TypeVar("T")

LEVELS: Final = {0: 10, 1: 15, 3: 30}
MINIMUM: Final = {"cryptopay": 3_000, "yookassa": 100}
OFFERS: Final = (("basic", 30), ("basic", 90), ("plus", 30))
METHODS: Final = ("cryptopay", "yookassa", "stars", "balance")
PROVIDERS: Final = ("cryptopay", "yookassa", "stars")
# Examples follow one another; what they leave is swept away now and then.
_RESET: Final = """
truncate customers, settlements, ledger, outbox, accounts, subscriptions, purchases, invoices, grants, access_log, promo_codes,
    promo_uses, personal_discounts, plan_changes, star_subscriptions, referral_rewards, refunds, account_sums, reconciliations,
    reconciliation_differences, provider_cursors cascade;
update ledger_checkpoint set through_id = 0;
"""


class Choice(Protocol):
    """Who decides what is open."""

    def __call__(self, what: str, options: Sequence[T]) -> T:
        """One of the options."""
        ...


@define
class Chance:
    """A choice by random numbers: a generator's, or those that Hypothesis draws and shrinks."""

    random: Random

    def __call__(self, what: str, options: Sequence[T]) -> T:
        """One of the options."""
        return self.random.choice(options)


@define(eq=False)
class Till:
    """A provider's side: which money it took and gave back. The same refund key gives money back once."""

    name: str
    mode: str = "done"
    given: dict[str, str] = field(factory=dict)
    listed: list[ProviderRefund] = field(factory=list)
    taken: list[Charge] = field(factory=list)
    returned: Counter[str] = field(factory=Counter)

    def left(self, charge_id: str) -> int:
        """What can still go back of a charge; Stars go back whole or not at all."""
        amount = sum(one.amount or 0 for one in self.taken if one.charge_id == charge_id)
        gone = self.returned[charge_id]
        return 0 if self.name == "stars" and gone else amount - gone

    def give(self, charge_id: str, amount: int, currency: str, key: str | None, external: str) -> None:
        """Money leaves the till."""
        self.returned[charge_id] += amount
        self.listed.append(
            ProviderRefund(
                external_id=external, charge_id=charge_id, key=key, amount=amount, currency=currency,
                amount_text=str(amount), at=None,
            )
        )  # fmt: skip

    async def refund(self, order: RefundOrder) -> RefundState:
        """As a provider does."""
        if self.name == "stars" and self.returned[order.charge_id]:
            self.given[order.key] = order.charge_id  # refused as refunded already, which is as good
        if order.key not in self.given:
            if order.amount > self.left(order.charge_id):
                return RefundState("", "refused", "more than is left")
            if self.mode in ("done", "lost"):
                external = order.charge_id if self.name == "stars" else f"ext-{order.key}"
                self.given[order.key] = external
                # Not every provider's list tells our key.
                key = order.key if self.name == "cryptopay" else None
                self.give(order.charge_id, order.amount, order.currency, key, external)
            if self.mode == "never":
                raise RefundsUnavailable("not this money", code=400, name="NEVER")
            if self.mode in ("away", "lost"):
                raise PaymentUnavailable("no answer")
            if self.mode in ("pending", "refused"):
                return RefundState("", self.mode)  # type: ignore[arg-type]
        return RefundState(self.given[order.key], "done")

    async def charges_since(self, since: datetime, cursor: str | None = None) -> ChargePage:
        """All there are, in pages."""
        at = int(cursor or 0)
        return ChargePage(
            tuple(self.taken[at : at + 5]), 0, str(at + 5) if len(self.taken) > at + 5 else None
        )

    async def refunds_since(self, since: datetime, cursor: str | None = None) -> RefundPage:
        """All there are."""
        return RefundPage(tuple(self.listed), None)


@define(eq=False)
class Ground:
    """One database for all examples, a way to it that can be cut, and what was counted."""

    db: Database
    cut: Database
    proxy: CutProxy
    offer_ids: dict[tuple[str, int], int]
    prices: dict[tuple[str, int], dict[str, int]]
    tally: Counter[tuple[str, str]] = field(factory=Counter)
    numbers: itertools.count[int] = field(factory=lambda: itertools.count(1))
    examples: int = 0

    def count(self, what: str, which: object) -> None:
        """Count for the table at the end."""
        self.tally[what, str(which)] += 1


@asynccontextmanager
async def open_ground(url: str) -> AsyncIterator[Ground]:
    """Prepare a database for examples: plans, levels, and a business clock that moves only when it is told to."""
    async with (
        open_database(database_settings(url), Limits(10, 10), instance_name="money") as db,
        open_cut_proxy(url) as (proxy, cut_url),
        open_database(database_settings(cut_url, pool_max=2), Limits(2, 2), instance_name="money-cut") as cut,
    ):
        await db.run("money.clock", lambda tx: tx.script(STANDING_CLOCK))
        # A caller that has nobody to ask what became of his COMMIT need not ask for long here.
        settle_time, scope.SETTLE_TIME = scope.SETTLE_TIME, 0.03  # type: ignore[misc]
        await apply_plans(db, load_plans_file(None))
        await apply_levels(db, list(LEVELS.items()))
        offers = {(one.plan_id, one.days): one for one in await offers_on_sale(db)}
        try:
            yield Ground(
                db,
                cut,
                proxy,
                {name: one.offer_id for name, one in offers.items()},
                {name: dict(one.prices) for name, one in offers.items()},
            )
        finally:
            scope.SETTLE_TIME = settle_time  # type: ignore[misc]


@define(eq=False)
class Play:
    """One example. `steps` are what was done, for people."""

    ground: Ground
    number: int
    begin: Marks
    oracle: Oracle
    customer_ids: list[int]
    telegram_ids: list[int]
    code_ids: list[int]
    tills: dict[str, Till] = field(factory=lambda: {name: Till(name) for name in PROVIDERS})
    purchases: dict[str, Purchase] = field(factory=dict)
    asked: dict[str, dict[str, Any]] = field(factory=dict)
    deals: dict[str, Deal] = field(factory=dict)  # by public id
    invoices: dict[tuple[str, str], Deal] = field(factory=dict)
    waiting: list[Charge] = field(factory=list)
    told: list[Charge] = field(factory=list)
    requests: list[RefundRequest] = field(factory=list)
    renewed: list[Due] = field(factory=list)
    access_ids: dict[int, int] = field(factory=dict)
    refund_ids: dict[str, list[Any]] = field(factory=dict)
    steps: list[str] = field(factory=list)

    @property
    def db(self) -> Database:
        """The uncut way."""
        return self.ground.db

    def fresh(self) -> int:
        """A number nobody had yet."""
        return next(self.ground.numbers)

    def note(self, text: str) -> None:
        """Remember what is done."""
        self.steps.append(text)

    # ------------------------------------------------------------------ the way to the database

    async def through(
        self, choose: Choice, operation: Callable[[Database], Awaitable[T]], *, whole: bool = True
    ) -> tuple[T, bool] | None:
        """Run an operation, perhaps over a connection that dies, and then again. None: it did not happen at all.

        Also tells whether it may be the repetition of one that had happened. `whole`: it is one transaction.
        """
        plan: Crash | None = choose("crash", (*(None,) * 90, *PLANS))
        if plan is None:
            return await operation(self.db), False
        ground = self.ground
        self.note(f"  a crash: {plan}")
        await self._warm()
        ground.proxy.arm(plan)
        try:
            value = await operation(ground.cut)
        except (DatabaseUnavailable, CommitUnknown):
            heard = False
        else:
            heard = True
        finally:
            fired = ground.proxy.disarm()
            if fired:
                ground.count("crash", plan.at + (", nobody to ask" if plan.alone else ""))
        if heard:
            return value, False
        if whole and plan.nothing_happened and choose("give up", (False, False, True)):
            self.note("  never repeated")
            return None
        return await operation(self.db), True

    async def _warm(self) -> None:
        """Have a connection behind the proxy. The server was never away, so nobody is to be told so."""
        bridge = self.ground.cut._bridge
        for attempt in range(100):
            bridge._failures, bridge._not_before = 0, 0.0
            try:
                await self.ground.cut.fetchval("money.warm", "select 1")
            except DatabaseUnavailable:
                if attempt == 99:
                    raise
            else:
                return

    async def run(self, choose: Choice, body: Callable[[Transaction], Awaitable[T]]) -> tuple[T, bool] | None:
        """`through`, for a body in a transaction."""
        return await self.through(choose, lambda db: db.run("money.step", body))

    def expect(self, foretell: Callable[[], T]) -> T | str:
        """What the oracle says: a value, or why not."""
        try:
            return foretell()
        except Refused as refused:
            return refused.reason

    async def answer(self, call: Awaitable[T]) -> T | str:
        """What the shop says: a value, or why not."""
        try:
            return await call
        except RefundImpossible as error:
            return error.why
        except PromoUnavailable as error:
            return error.reason
        except OfferUnavailable:
            return "offer"
        except InsufficientBalance:
            return "balance"
        except PurchaseClosed:
            return "closed"

    # ------------------------------------------------------------------ opening

    async def do_open(self, choose: Choice) -> None:
        """A customer opens a purchase."""
        buyer = choose("buyer", self.oracle.buyers)
        offer = choose("offer", OFFERS)
        method = choose("method", METHODS)
        into: Access | None = None
        fresh = recurring = False
        how = choose("how", ("plain", "plain", "into", "fresh", "recurring", "recurring"))
        mine = [one for one in self.oracle.accesses if one.buyer is buyer]
        if how == "into" and mine:
            into = choose("into", mine)
        elif how == "fresh":
            fresh = True
        elif how == "recurring" and method == "stars" and offer[1] == 30:
            recurring = True
            into = choose("into", [None, *(one for one in mine if one.plan == offer[0])])
        key = f"open:{self.fresh()}"
        self.asked[key] = {
            "buyer": buyer, "offer": offer, "method": method, "into": into, "fresh": fresh, "recurring": recurring,
        }  # fmt: skip
        await self._open(choose, key)

    async def _open(self, choose: Choice, key: str) -> None:
        asked = self.asked[key]
        buyer, offer, method = asked["buyer"], asked["offer"], asked["method"]
        self.note(f"open {key}: {asked}")
        terms = Terms(method, STARS if method == "stars" else RUB, MINIMUM.get(method, 1))
        into = asked["into"]

        async def body(tx: Transaction) -> Purchase:
            return await open_purchase(
                tx, customer_id=self.customer_ids[buyer.number - 1], offer_id=self.ground.offer_ids[offer],
                terms=terms, request_key=key, shop_currency=RUB, fresh=asked["fresh"], recurring=asked["recurring"],
                subscription_id=None if into is None else self.access_ids[into.number],
            )  # fmt: skip

        got = await self.answer(self.run(choose, body))
        if got is None:
            return
        options = {name: asked[name] for name in ("into", "fresh", "recurring")}
        deal = self.expect(lambda: self.oracle.open(key, buyer, offer, method, **options))
        self._opened(key, got, deal)

    def _opened(self, key: str, got: Any, deal: Any) -> None:
        if isinstance(got, str) or isinstance(deal, str):
            assert got == deal, f"{key}: the shop says {got}, the oracle {deal}"
            self.asked.pop(key, None)
            return
        purchase, _ = got
        if deal.key not in self.purchases:
            self.purchases[deal.key] = purchase
            self.deals[purchase.public_id] = deal
        known = self.purchases[deal.key]
        assert purchase.public_id == known.public_id, f"{key}: another purchase than the one that was open"
        assert (purchase.amount, purchase.currency, purchase.shop_amount) == (
            deal.price,
            deal.currency,
            deal.worth,
        ), f"{key}: {purchase} for {deal.price} {deal.currency}, worth {deal.worth}"

    def can_ask_again(self) -> bool:
        """Whether something was asked for."""
        return bool(self.asked)

    async def do_ask_again(self, choose: Choice) -> None:
        """An update is played again, or a button is pressed a second time."""
        key = choose("request", list(self.asked))
        if self.asked[key].get("amount") is not None:
            await self._top_up(choose, key)
        elif choose("tap", (False, True)):
            again = f"open:{self.fresh()}"
            self.asked[again] = self.asked[key]
            await self._open(choose, again)
        else:
            await self._open(choose, key)

    async def do_top_up(self, choose: Choice) -> None:
        """A customer fills his balance."""
        buyer = choose("buyer", self.oracle.buyers)
        method = choose("method", PROVIDERS)
        amount = choose("amount", (20, 150, 1_000) if method == "stars" else (2_999, 19_900, 60_000, 150_000))
        key = f"topup:{self.fresh()}"
        self.asked[key] = {"buyer": buyer, "method": method, "amount": amount}
        await self._top_up(choose, key)

    async def _top_up(self, choose: Choice, key: str) -> None:
        asked = self.asked[key]
        buyer, method, amount = asked["buyer"], asked["method"], asked["amount"]
        worth = amount * 133 if method == "stars" else amount
        self.note(f"top up {key}: {asked}")
        terms = Terms(method, STARS if method == "stars" else RUB, MINIMUM.get(method, 1))

        async def body(tx: Transaction) -> Purchase:
            return await open_topup(
                tx, customer_id=self.customer_ids[buyer.number - 1], terms=terms, amount=amount, shop_amount=worth,
                shop_currency=RUB, request_key=key,
            )  # fmt: skip

        got = await self.answer(self.run(choose, body))
        if got is not None:
            self._opened(key, got, self.expect(lambda: self.oracle.top_up(key, buyer, method, amount, worth)))

    def can_cancel(self) -> bool:
        """Whether there is a purchase."""
        return bool(self.purchases)

    async def do_cancel(self, choose: Choice) -> None:
        """A customer cancels, or asks for time to complete what he has paid in part."""
        deal = choose("deal", [self.oracle.deals[key] for key in self.purchases])
        purchase, telegram_id = self.purchases[deal.key], self.telegram_ids[deal.buyer.number - 1]
        if choose("reopen", (False, True)):
            self.note(f"reopen {deal}")
            got = await self.run(choose, lambda tx: reopen_purchase(tx, purchase.public_id, telegram_id))
            if got is not None:
                assert got[0] == self.oracle.reopen(deal)
            return
        self.note(f"cancel {deal}")
        got = await self.run(choose, lambda tx: cancel_purchase(tx, purchase.public_id, telegram_id))
        if got is not None:
            assert got[0] == (deal.status == "pending") or got[1]
            if deal.status == "pending":
                self.oracle.close(deal, "cancelled")

    # ------------------------------------------------------------------ charges

    def _payable(self) -> list[Deal]:
        return [self.oracle.deals[key] for key, one in self.purchases.items() if one.method != "balance"]

    def can_pay(self) -> bool:
        """Whether there is something a provider can be paid for."""
        return bool(self._payable())

    async def do_pay(self, choose: Choice) -> None:
        """A provider takes money; we hear of it now or later."""
        payable = self._payable()
        # Mostly for what is open.
        deal = choose("deal", (*payable, *[one for one in payable if one.status == "pending"] * 4))
        percent = choose("percent", (100, 100, 100, 100, 100, 100, 1, 33, 50, 67, 99, 101, 250))
        charge = self._charge(choose, deal, max(deal.price * percent // 100, 1))
        self.tills[deal.method].taken.append(charge)
        self.ground.count("charge", "taken")
        if choose("late", (False, False, False, True)):
            self.note(f"taken, not told: {charge}")
            self.waiting.append(charge)
            return
        await self._settle(choose, charge)

    def _incomplete(self) -> list[Deal]:
        return [
            one
            for one in self._payable()
            if 0 < one.received < one.price and one.status not in ("paid", "refunded")
        ]

    def can_complete(self) -> bool:
        """Whether something was paid in part."""
        return bool(self._incomplete())

    async def do_complete(self, choose: Choice) -> None:
        """What is missing is paid; what came before may have been spent meanwhile."""
        deal = choose("deal", self._incomplete())
        buyer = deal.buyer
        if choose("spend before", (False, True)) and buyer in self._rich():
            key = f"open:{self.fresh()}"
            self.asked[key] = {
                "buyer": buyer, "offer": ("basic", 30), "method": "balance",
                "into": None, "fresh": True, "recurring": False,
            }  # fmt: skip
            await self._open(choose, key)
            if self._spendable():
                await self.do_spend(choose)
            await self.check()
        charge = self._charge(choose, deal, max(deal.price - deal.received, 1))
        self.tills[deal.method].taken.append(charge)
        self.ground.count("charge", "the rest")
        await self._settle(choose, charge)

    def _charge(self, choose: Choice, deal: Deal, amount: int) -> Charge:
        purchase = self.purchases[deal.key]
        charge = Charge(
            provider=deal.method, charge_id=f"c{self.fresh()}", amount=amount, currency=deal.currency,
            amount_text=str(amount), payload=purchase.public_id, recurring=deal.recurring,
        )  # fmt: skip
        if deal.method != "stars" and choose("invoice", (False, False, True)):
            # Noted by us under its number; what it carries then matters no more.
            external = f"i{self.fresh()}"
            self.invoices[deal.method, external] = deal
            payload = choose("payload", (purchase.public_id, None, "pnobody"))
            charge = evolve(charge, invoice_external_id=external, payload=payload)
        elif choose("stranger", (False, False, True)):
            payer = choose("payer", self.telegram_ids)  # a forwarded invoice
            charge = evolve(charge, payer_telegram_id=payer, invoice_external_id=f"unknown{self.fresh()}")
        return charge

    async def _note_invoice(self, charge: Charge) -> None:
        deal = self.invoices.get((charge.provider, charge.invoice_external_id or ""))
        if deal is None or charge in self.told:
            return
        purchase, external = self.purchases[deal.key], charge.invoice_external_id or ""

        async def body(tx: Transaction) -> int:
            return await attach_invoice(
                tx, purchase, provider=charge.provider, external_id=external, url="u", amount=purchase.amount,
                currency=purchase.currency, expires_at=purchase.expires_at,
            )  # fmt: skip

        await self.db.run("money.invoice", body)

    def _named(self, charge: Charge) -> Deal | None:
        """Our own note of an invoice goes before the payload it carries."""
        noted = self.invoices.get((charge.provider, charge.invoice_external_id or ""))
        return noted or self.deals.get(charge.payload or "")

    async def _settle(self, choose: Choice, charge: Charge) -> None:
        await self._note_invoice(charge)
        deal = self._named(charge)
        self.note(f"settle {charge.provider} {charge.charge_id}: {charge.amount} {charge.currency} for {deal}"
                  f"{' again and again' if charge.recurring else ''}")  # fmt: skip
        got = await self.through(choose, lambda db: settle_charge(db, charge))
        if got is None:
            if charge not in self.told:
                self.waiting.append(charge)
            return
        if charge not in self.told:
            self.told.append(charge)
        self._settled(charge, deal, *got)

    def _settled(self, charge: Charge, deal: Deal | None, result: SettlementResult, repeated: bool) -> None:
        accesses = len(self.oracle.accesses)
        outcome = self.oracle.settle(charge, deal)
        said = result.outcome.value
        assert said == outcome or (repeated and said == "already_settled"), (
            f"{charge}: {said}, oracle {outcome}"
        )
        self.ground.count("settled as", said)
        if repeated:
            self.ground.count("repeated after a crash", said)
        if said == "held":
            assert result.reason == self.oracle.takings[charge.provider, charge.charge_id].reason
        if said == "settled" and result.granted is not None:
            assert result.granted.renewed == (len(self.oracle.accesses) == accesses)

    async def do_pay_strangely(self, choose: Choice) -> None:
        """Money that fits nothing: another currency or provider, an amount that cannot be read, no purchase of ours."""
        payable = self._payable()
        provider = choose("provider", PROVIDERS)
        charge = Charge(
            provider=provider, charge_id=f"c{self.fresh()}", amount=choose("amount", (1, 500, 19_900)),
            currency=STARS if provider == "stars" else RUB, amount_text="?",
            payload=choose("payload", (None, "pnobody", "p\x00")),
        )  # fmt: skip
        if payable:
            deal = choose("deal", payable)
            fault = choose("fault", ("none of ours", "currency", "provider", "amount", "nothing"))
            if fault != "none of ours":
                charge = evolve(charge, provider=deal.method, currency=deal.currency,
                                payload=self.purchases[deal.key].public_id)  # fmt: skip
            if fault == "currency":
                charge = evolve(charge, currency="USD")
            elif fault == "provider":
                charge = evolve(
                    charge, provider=choose("other", [one for one in PROVIDERS if one != deal.method])
                )
            elif fault == "amount":
                charge = evolve(charge, amount=None, amount_text="1.23456")
            elif fault == "nothing":
                charge = evolve(charge, amount=0, amount_text="0")
        self.tills[charge.provider].taken.append(charge)
        self.ground.count("charge", "strange")
        await self._settle(choose, charge)

    def can_hear(self) -> bool:
        """Whether money was taken that we have not heard of."""
        return bool(self.waiting)

    async def do_hear(self, choose: Choice) -> None:
        """A late notification, in any order."""
        charge = choose("charge", list(self.waiting))
        self.waiting.remove(charge)
        await self._settle(choose, charge)

    def can_hear_again(self) -> bool:
        """Whether something was told."""
        return bool(self.told)

    async def do_hear_again(self, choose: Choice) -> None:
        """A duplicate, perhaps from elsewhere, where it looks different."""
        charge = choose("charge", list(self.told))
        changes = choose("as", ({}, {}, {"payload": None}, {"payload": "pother"}, {"amount_text": "other"}))
        self.note(f"again {charge.charge_id} {changes}")
        got = await self.through(choose, lambda db: settle_charge(db, evolve(charge, **changes)))
        assert got is None or got[0].outcome.value == "already_settled"
        self.ground.count("settled as", "already_settled")

    def _runs(self) -> list[Deal]:
        return [run.deal for run in self.oracle.runs.values()]

    def can_charge_again(self) -> bool:
        """Whether Telegram charges something by itself."""
        return bool(self._runs())

    async def do_charge_again(self, choose: Choice) -> None:
        """Telegram charges a subscription for its next period."""
        deal = choose("run", self._runs())
        charge = Charge(
            provider="stars", charge_id=f"c{self.fresh()}", amount=deal.price, currency=STARS, amount_text="?",
            payload=self.purchases[deal.key].public_id, recurring=True,
        )  # fmt: skip
        self.tills["stars"].taken.append(charge)
        self.ground.count("charge", "recurring")
        await self._settle(choose, charge)

    async def do_stop_charging(self, choose: Choice) -> None:
        """A customer ends a subscription at Telegram."""
        access = choose("access", self.oracle.accesses)
        self.note(f"stop charging for {access}")
        running = [run for run in self.oracle.runs.values() if run.access is access and run.state == "active"]
        real, owner = self.access_ids[access.number], self.customer_ids[access.buyer.number - 1]
        got = await self.run(choose, lambda tx: ask_to_cancel(tx, real, owner))
        if got is None:
            return
        assert got[0] == bool(running) or got[1]
        self.oracle._end_run(access)

    def can_telegram_says(self) -> bool:
        """Whether Telegram charges, or has charged, something by itself."""
        return bool(self.oracle.runs)

    async def do_telegram_says(self, choose: Choice) -> None:
        """Telegram tells how a subscription stands."""
        run = choose("run", list(self.oracle.runs.values()))
        state = choose("state", ("active", "canceled", "failed"))
        self.note(f"Telegram says {run.deal} is {state}")
        payload, telegram_id = (
            self.purchases[run.deal.key].public_id,
            self.telegram_ids[run.deal.buyer.number - 1],
        )
        got = await self.run(choose, lambda tx: note_state(tx, payload, telegram_id, state))
        if got is not None:
            assert got[0]
            self.oracle.telegram_says(run, state)

    def can_stop_charging(self) -> bool:
        """Whether anybody has access."""
        return bool(self.oracle.accesses)

    # ------------------------------------------------------------------ the balance

    def _from_balance(self) -> list[Deal]:
        return [self.oracle.deals[key] for key, one in self.purchases.items() if one.method == "balance"]

    def _rich(self) -> list[Buyer]:
        rich = [one for one in self.oracle.buyers if one.own + one.bonus >= 17_000]
        # Mostly with what the shop gave them.
        return [*rich, *[one for one in rich if one.bonus] * 3]

    def can_buy_from_balance(self) -> bool:
        """Whether anybody has money here."""
        return bool(self._rich())

    async def do_buy_from_balance(self, choose: Choice) -> None:
        """Who has money here buys with it."""
        key = f"open:{self.fresh()}"
        self.asked[key] = {
            "buyer": choose("buyer", self._rich()), "offer": choose("offer", OFFERS), "method": "balance",
            "into": None, "fresh": choose("fresh", (False, False, True)), "recurring": False,
        }  # fmt: skip
        await self._open(choose, key)
        if self._spendable():
            await self.do_spend(choose)

    async def do_subscribe(self, choose: Choice) -> None:
        """A customer has Telegram charge him by itself."""
        buyer = choose("buyer", self.oracle.buyers)
        mine = [one for one in self.oracle.accesses if one.buyer is buyer and one.plan == "basic"]
        key = f"open:{self.fresh()}"
        self.asked[key] = {
            "buyer": buyer, "offer": ("basic", 30), "method": "stars", "into": choose("into", [None, *mine]),
            "fresh": False, "recurring": True,
        }  # fmt: skip
        await self._open(choose, key)
        if key in self.purchases:
            deal = self.oracle.deals[key]
            charge = self._charge(choose, deal, deal.price)
            self.tills["stars"].taken.append(charge)
            await self._settle(choose, charge)

    def _spendable(self) -> list[Deal]:
        deals = self._from_balance()
        # Mostly those that can be paid.
        able = [
            one for one in deals if one.status == "pending" and one.buyer.own + one.buyer.bonus >= one.worth
        ]
        return [*deals, *able * 8]

    def can_spend(self) -> bool:
        """Whether there is something to be paid from a balance."""
        return bool(self._from_balance())

    async def do_spend(self, choose: Choice) -> None:
        """A customer pays from his balance."""
        deal = choose("deal", self._spendable())
        charge = charge_of(self.purchases[deal.key])
        self.note(f"spend on {deal}")
        got = await self.answer(self.through(choose, lambda db: settle_charge(db, charge)))
        if got is None:
            return
        before = deal.status
        outcome = self.expect(lambda: self.oracle.settle(evolve(charge, charge_id=deal.key), deal))
        if isinstance(got, str):
            assert got == outcome, f"{deal}: the shop says {got}, the oracle {outcome} ({before})"
            return
        said = got[0].outcome.value
        assert said == outcome or (got[1] and said == "already_settled"), f"{deal}: {said}, oracle {outcome}"
        self.ground.count("settled as", f"{said} from a balance")

    def can_set_renewal(self) -> bool:
        """Whether anybody has access that can be renewed."""
        return bool(self.oracle.accesses)

    async def do_set_renewal(self, choose: Choice) -> None:
        """A customer has his subscription renewed from his balance, or not."""
        access = choose("access", self.oracle.accesses)
        wanted = choose("on", (True, True, False))
        self.note(f"renew {access}: {wanted}")
        real, owner = self.access_ids[access.number], self.customer_ids[access.buyer.number - 1]
        got = await self.run(choose, lambda tx: set_renewal(tx, real, owner, from_balance=wanted))
        if got is None:
            return
        possible = access.renews != "stars" and access.offer is not None
        assert got[0] == possible
        if possible:
            access.renews = "balance" if wanted else "off"

    def can_renew(self) -> bool:
        """Whether a renewal may be due."""
        return any(one.renews == "balance" for one in self.oracle.accesses) or bool(self.renewed)

    async def do_renew(self, choose: Choice) -> None:
        """The worker renews what is due; one that it has renewed is renewed no more."""
        if self.renewed and choose("again", (False, True)):
            due = choose("due", self.renewed)
            number = next(one for one, real in self.access_ids.items() if real == due.subscription_id)
            if not self._is_due(self.oracle.accesses[number - 1], due):
                self.note(f"renew {number} again")
                got = await self.run(choose, lambda tx: renew(tx, due, RUB))
                assert got is None or got[0] is None
                return
        found = await due_renewals(self.db, RUB, 1000)
        ours = {one.subscription_id: one for one in found if one.customer_id in self.customer_ids}
        wanted = [one for one in self.oracle.accesses if self.oracle.can_renew(one)]
        assert set(ours) == {self.access_ids[one.number] for one in wanted}
        for access in wanted:
            due = ours[self.access_ids[access.number]]
            if not self.oracle.can_renew(access):
                continue  # another one of his was renewed from the same balance
            key = await self._renewal_key(due.subscription_id)
            self.note(f"renew {access}")
            got = await self.run(choose, lambda tx, due=due: renew(tx, due, RUB))
            if got is None:
                continue
            result, repeated = got
            assert repeated or (result is not None and result.outcome.value == "settled")
            self.oracle.renew(access, key)
            self.renewed.append(due)
            self.ground.count("settled as", "renewed from a balance")

    async def _renewal_key(self, subscription_id: int) -> str:
        """A renewal is named after the grant that it follows."""
        last = await self.db.fetchval(
            "play", "select max(id) from grants where subscription_id = $1", subscription_id
        )
        return f"renewal:{subscription_id}:{last}"

    def _renewing(self) -> list[Access]:
        return [
            one
            for one in self.oracle.accesses
            if one.on and one.renews == "balance" and one.ends > self.oracle.now + 6 * HOUR
        ]

    def can_come_to_an_end(self) -> bool:
        """Whether something will be renewed from a balance."""
        return bool(self._renewing())

    async def do_come_to_an_end(self, choose: Choice) -> None:
        """Time passes until a renewal is due, and the worker comes."""
        await self._pass(choose("access", self._renewing()).ends - 3 * HOUR - self.oracle.now)
        await self.do_renew(choose)

    def _is_due(self, access: Access, due: Due) -> bool:
        offer = access.offer is not None and self.ground.offer_ids[access.offer] == due.offer_id
        return (
            offer and access.on and access.renews == "balance" and access.ends <= self.oracle.now + 6 * HOUR
        )

    # ------------------------------------------------------------------ codes and discounts

    async def do_enter_code(self, choose: Choice) -> None:
        """A customer types a code."""
        buyer = choose("buyer", self.oracle.buyers)
        code = choose("code", [*self.oracle.codes.values(), None])
        name = "NOBODY" if code is None else code.name
        key = f"code:{self.fresh()}"
        self.note(f"{buyer} enters {name}")
        owner = self.customer_ids[buyer.number - 1]
        got = await self.answer(
            self.run(choose, lambda tx: enter_code(tx, customer_id=owner, text=name.lower(), request_key=key))
        )
        if got is None:
            return
        outcome = self.expect(lambda: self.oracle.enter(buyer, name))
        if isinstance(got, str):
            assert got == outcome, f"{name}: the shop says {got}, the oracle {outcome}"
            return
        entered, repeated = got
        said = "credited" if entered.credited else "granted" if entered.granted else "waits"
        assert said == outcome or (repeated and said == "waits"), f"{name}: {said}, oracle {outcome}"
        self.ground.count("code", outcome)

    async def do_change_terms(self, choose: Choice) -> None:
        """An admin gives or takes a discount or switches a code off; a customer takes his code back."""
        buyer = choose("buyer", self.oracle.buyers)
        owner = self.customer_ids[buyer.number - 1]
        what = choose("what", ("discount", "discount", "none", "forget", "forget", "retire"))
        self.note(f"{what} for {buyer}")
        if what == "discount":
            percent, until = choose("percent", (5, 20, 60)), choose("until", (None, DAY))
            moment = None if until is None else self._moment(until)
            if await self.run(choose, lambda tx: set_discount(tx, owner, percent, until=moment)):
                buyer.percent = percent
                buyer.percent_until = None if until is None else self.oracle.now + until
        elif what == "none":
            if await self.run(choose, lambda tx: remove_discount(tx, owner)):
                buyer.percent, buyer.percent_until = 0, None
        elif what == "forget":
            if await self.run(choose, lambda tx: forget_code(tx, owner)):
                buyer.code = None
        else:
            code = choose("code", list(self.oracle.codes.values()))
            if await self.through(choose, lambda db: retire_code(db, code.name)):
                code.active = False

    def _moment(self, later: int) -> datetime:
        return datetime.fromtimestamp(EPOCH + self.oracle.now + later, UTC)

    # ------------------------------------------------------------------ time

    async def do_wait(self, choose: Choice) -> None:
        """Business time passes."""
        spans: list[int] = [60, HOUR + 60, 5 * HOUR, DAY, 10 * DAY, 31 * DAY]
        near = [
            one.ends - self.oracle.now
            for one in self.oracle.accesses
            if one.on and one.ends > self.oracle.now and not one.stretched
        ]
        if near:
            spans += [min(near), max(min(near) - 5 * HOUR, 1), max(near)]
        span = choose("span", spans)
        await self._pass(span)
        if choose("sweep", (True, True, False)):
            await self.do_sweep(choose)

    async def _pass(self, span: int) -> None:
        self.note(f"{span} s pass")
        await self.db.run(
            "money.clock",
            lambda tx: tx.execute("update sandbox_clock set offset_seconds = offset_seconds + $1", span),
        )
        self.oracle.now += span

    async def do_sweep(self, choose: Choice) -> None:
        """The workers close purchases and switch subscriptions off."""
        self.note("sweep")
        # Of this example only: those before it left what is still open.
        bought, given = [one.id for one in self.purchases.values()], list(self.access_ids.values())
        got = await self.through(choose, lambda db: expire_purchases(db, 1_000, keys=bought))
        if got is not None:
            overdue = self.oracle.overdue()
            assert got[0] == len(overdue) or got[1]
            for deal in overdue:
                self.oracle.close(deal, "expired")
        got = await self.through(choose, lambda db: expire_due(db, 1_000, keys=given))
        if got is not None:
            due = self.oracle.due()
            assert got[0] == len(due) or got[1]
            for access in due:
                access.on = False

    def can_change_plan(self) -> bool:
        """Whether anybody has access."""
        return bool(self.oracle.accesses)

    async def do_change_plan(self, choose: Choice) -> None:
        """A customer changes his plan in mid-term."""
        access = choose("access", self.oracle.accesses)
        plan, key = choose("plan", ("basic", "plus")), f"plan:{self.fresh()}"
        self.note(f"{access} to {plan}")
        real, owner = self.access_ids[access.number], self.customer_ids[access.buyer.number - 1]

        async def body(tx: Transaction) -> Any:
            return await change_plan(
                tx, subscription_id=real, customer_id=owner, to_plan=plan, shop_currency=RUB, request_key=key
            )

        try:
            got: Any = await self.run(choose, body)
        except ChangeImpossible:
            got = "impossible"
        if got is None:
            return
        said = self.expect(lambda: self.oracle.change_plan(access, plan))
        assert (got == "impossible") == (said == "impossible"), f"{access}: {got}, oracle {said}"

    # ------------------------------------------------------------------ refunds

    def can_refund(self) -> bool:
        """Whether a charge was settled."""
        return bool(self.oracle.takings)

    async def do_refund(self, choose: Choice) -> None:
        """An admin gives money back."""
        if self.requests and choose("again", (False, False, False, True)):
            request = choose("request", self.requests)
            self.note(f"ask again for {request.request_key}")
            got = await self.run(choose, lambda tx: request_refund(tx, request))
            assert got is None or not got[0].created
            return
        takings = list(self.oracle.takings.values())
        # Mostly what can go back in another measure than it came in, and what has gone back in part.
        odd = [one for one in takings if one.provider in ("stars", "balance") and one.outcome == "settled"]
        begun = [one for one in takings if 0 < one.refunded < one.amount]
        taking = choose("taking", [*takings, *odd, *begun * 3])
        left = taking.amount - taking.refunded
        amount = choose(
            "amount", (None, None, max(left // 2, 1), max(left // 3, 1), max(left // 7, 1), left + 1, left)
        )
        to = choose("to", ("provider", "provider", "balance"))
        settlement_id = await self._settlement_id(taking)
        request = RefundRequest(
            settlement_id=settlement_id, request_key=f"refund:{self.fresh()}", requested_by="admin:1",
            amount=amount, to=to,
        )  # fmt: skip
        self.note(f"refund {amount} of {taking} to {to}")
        got = await self.answer(self.run(choose, lambda tx: request_refund(tx, request)))
        if got is None:
            return
        back = self.expect(lambda: self.oracle.refund(request.request_key, taking, amount, to))
        if isinstance(got, str) or isinstance(back, str):
            assert got == back, f"{taking}: the shop says {got}, the oracle {back}"
            self.ground.count("refund", f"impossible: {got}")
            return
        assert got[0].created or got[1]
        self.requests.append(request)
        self.ground.count("refund", f"asked, to the {to}")

    async def _settlement_id(self, taking: Taking) -> int:
        name = taking.name
        if taking.provider == "balance":
            found = await self.db.fetchval(
                "money.settlement",
                "select s.id from settlements s join purchases p on p.id = s.purchase_id"
                " where p.request_key = $1 and s.provider = 'balance'",
                name,
            )
        else:
            found = await self.db.fetchval(
                "money.settlement",
                "select id from settlements where provider = $1 and charge_id = $2",
                taking.provider,
                name,
            )
        assert found is not None
        return int(found)

    def _open_backs(self) -> list[Back]:
        return [one for one in self.oracle.backs.values() if one.status in ("requested", "stuck")]

    def can_pay_out(self) -> bool:
        """Whether a provider has to pay."""
        return bool(self._open_backs())

    async def do_pay_out(self, choose: Choice) -> None:
        """The relay asks a provider to give money back; it may be in any mood."""
        back = choose("refund", self._open_backs())
        till = self.tills[back.taking.provider]
        till.mode = choose("mood", ("done", "done", "done", "lost", "away", "pending", "refused", "never"))
        refund_id, key = self.refund_ids[back.key]
        item = OutboxItem(
            id=1, kind=f"refund_{till.name}", key=f"refund_job:{key}", lane="notice", order_key=None,
            payload={"refund": refund_id}, attempt=1, failures=0, repeat=False, stale=False,
        )  # fmt: skip
        self.note(f"pay {back} out: {till.mode}, given {key in till.given}")
        given = key in till.given
        if not given and till.name == "stars" and till.returned[back.taking.name]:
            given = True
        elif not given and back.amount > till.left(back.taking.name):
            till.mode = "refused"
        got = await self.through(choose, lambda db: deliver_refund(db, self.tills, item))
        if got is None:
            # What the provider said was lost with us; it has said it all the same.
            return
        if given or till.mode == "done" or (got[1] and key in till.given):
            self.oracle.given_back(back, till.given[key])
        elif till.mode in ("refused", "never"):
            self.oracle.not_given_back(back)
        self.ground.count("refund", back.status)

    def _at_provider(self) -> list[Taking]:
        """Charges of which a provider can give something back by itself."""
        return [
            one
            for one in self.oracle.takings.values()
            if one.provider in self.tills and self.tills[one.provider].left(one.name)
        ]

    def can_provider_refunds(self) -> bool:
        """Whether there is such money."""
        return bool(self._at_provider())

    async def do_provider_refunds(self, choose: Choice) -> None:
        """Money is given back in the provider's own cabinet, or charged back; we hear of it, once or twice."""
        takings = self._at_provider()
        # Often of what was spent, so that it has to be owed.
        spent = [
            one for one in takings if one.deal and one.outcome != "held" and one.deal.buyer.own < one.worth
        ]
        taking = choose("taking", [*takings, *spent * 2])
        till = self.tills[taking.provider]
        left = till.left(taking.name)
        waits = [one.amount for one in self._open_backs() if one.taking is taking and one.amount <= left]
        amount = left if till.name == "stars" else choose("amount", (left, left, max(left // 3, 1), *waits))
        external = taking.name if till.name == "stars" else f"own{self.fresh()}"
        till.give(taking.name, amount, taking.currency, None, external)
        self.note(f"{till.name} gives {amount} of {taking} back by itself")
        await self._book(choose, till, till.listed[-1])

    async def _book(self, choose: Choice, till: Till, listed: ProviderRefund) -> None:
        taking = self.oracle.takings[till.name, listed.charge_id or ""]
        got = await self.through(choose, lambda db: book_provider_refund(db, till.name, listed))
        if got is None:
            return
        self._booked(till, listed, taking, said=got[0])

    def _booked(self, till: Till, listed: ProviderRefund, taking: Taking, said: bool | None) -> None:
        name = next((name for name, (_, key) in self.refund_ids.items() if key == listed.key), None)
        ours = None if name is None else self.oracle.backs[name]
        booked = self.oracle.provider_gave(taking, listed.amount or 0, listed.external_id, ours)
        assert said is None or said == booked, f"{taking}: {listed} booked {said}, oracle {booked}"
        self.ground.count(
            "refund", "told by the provider" if booked else "told by the provider, does not fit"
        )

    async def do_reconcile(self, choose: Choice) -> None:
        """A provider's lists are compared with the books, and what can be mended is."""
        till = self.tills[choose("provider", PROVIDERS)]
        self.note(f"reconcile {till.name}")
        for charge in self.waiting:
            await self._note_invoice(charge)
        got = await self.through(
            choose, lambda db: reconcile(db, till, since=datetime(2030, 1, 1, tzinfo=UTC)), whole=False
        )
        if got is None:
            return
        report, repeated = got
        missing = [one for one in till.taken if (till.name, one.charge_id) not in self.oracle.takings]
        found = [one.name for one in report.differences if one.kind == "unsettled"]
        assert repeated or found == [one.charge_id for one in missing]
        for charge in missing:
            self.oracle.settle(charge, self._named(charge))
            self.told.append(charge)
            self.waiting = [one for one in self.waiting if one is not charge]
            self.ground.count("settled as", "found by a comparison")
        for listed in till.listed:
            self._booked(till, listed, self.oracle.takings[till.name, listed.charge_id or ""], None)

    async def do_close_the_books(self, choose: Choice) -> None:
        """The sums are brought forward, and all of them checked."""
        self.note("check the books")
        mark = await books.horizon(self.db)
        if await books.passed(self.db, mark):
            while await books.advance(self.db, mark) == books.PAGE:
                pass
        assert set((await books.sums_by_currency(self.db)).values()) <= {0}
        assert await books.balance_drift(self.db) == []

    # ------------------------------------------------------------------ after each step

    async def check(self) -> None:
        """The books are what the oracle says."""
        seen, ids = await read_picture(self.db, self.begin, self.customer_ids, self.code_ids)
        self.access_ids, self.refund_ids = ids["accesses"], ids["refunds"]
        for access in self.oracle.accesses:
            if access.stretched and access.number in seen["accesses"]:
                self._adopt(access, seen["accesses"][access.number])
        wanted = self.oracle.picture()
        for part, values in wanted.items():
            if values != seen[part]:
                differences = {
                    name: (values.get(name), seen[part].get(name))
                    for name in {*values, *seen[part]}
                    if values.get(name) != seen[part].get(name)
                }
                raise AssertionError(f"{part}: (oracle, books) {differences}")

    def finish(self) -> None:
        """Count what the example came to."""
        for code in self.oracle.codes.values():
            for use in code.uses:
                self.ground.count("promo use", use.state + (", late" if use.late else ""))
        for reward in self.oracle.rewards.values():
            self.ground.count("reward", "taken back" if reward.reversed else "kept")
        self.ground.tally["debt", "customers who owe"] += sum(one.owed > 0 for one in self.oracle.buyers)
        for access in self.oracle.accesses:
            self.ground.count("access", "at the end on" if access.on else "at the end off")
        self.ground.count("run", "examples")

    def _adopt(self, access: Access, seen: list[Any]) -> None:
        """After a change of plan ends are parts of a second: what is as good as the oracle's is taken for it."""
        mine = sorted(access.slices, key=lambda one: (one.start, one.end, one.removed))
        pairs = [(access.ends, seen[3])]
        for one, (start, end, removed) in zip(mine, seen[5], strict=True):
            pairs += [(one.start, start), (one.end, end), (one.removed, removed)]
        assert all(abs(here - there) <= 2 for here, there in pairs), f"{access}: (oracle, books) {pairs}"
        access.ends = seen[3]
        for one, (start, end, removed) in zip(mine, seen[5], strict=True):
            one.start, one.end, one.removed = start, end, removed


async def reset(db: Database) -> None:
    """Sweep away what was played."""
    await db.run("money.reset", lambda tx: tx.script(_RESET), deadline=30)


async def begin_play(ground: Ground) -> Play:
    """A new example: five customers, of whom three were referred, and codes of every kind."""
    ground.examples += 1
    number = ground.examples
    if number % 50 == 1:
        await reset(ground.db)
    oracle = Oracle(offers=ground.prices, levels=LEVELS, minimum=MINIMUM)
    first = Buyer(1)
    second = Buyer(2, first)
    oracle.buyers = [first, second, Buyer(3, first), Buyer(4, second), Buyer(5)]
    oracle.codes = {
        one.name: one
        for one in (
            Code(f"P20-{number}", "percent", 20, cap=2),
            Code(f"P50-{number}", "percent", 50, cap=1, each=2),
            Code(f"P30-{number}", "percent", 30, cap=None, each=2, ends=20 * DAY),
            Code(f"P99-{number}", "percent", 99, cap=3, starts=DAY),
            Code(f"DAYS-{number}", "days", 7, cap=3),
            Code(f"MONEY-{number}", "money", 17_333, cap=6, each=2),
        )
    }
    telegram_ids = [1_000_000 + 10 * number + one.number for one in oracle.buyers]
    customer_ids: list[int] = []
    code_ids: list[int] = []

    async def body(tx: Transaction) -> None:
        await tx.execute(
            "insert into sandbox_clock (offset_seconds) values (0) on conflict (only_row) do update set offset_seconds = 0"
        )
        customer_ids.clear()
        for one, telegram_id in zip(oracle.buyers, telegram_ids, strict=True):
            host = None if one.host is None else customer_ids[one.host.number - 1]
            customer_ids.append(
                await tx.fetchval(
                    "insert into customers (telegram_id, language, referral_code, referrer_id) values ($1, 'en', $2, $3)"
                    " returning id",
                    telegram_id,
                    f"R{telegram_id}",
                    host,
                )
            )
        start = datetime.fromtimestamp(EPOCH, UTC)
        rows = await tx.fetch(
            "insert into promo_codes (code, kind, value, currency, total_cap, customer_cap, starts_at, ends_at)"
            " select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::int[], $6::int[],"
            " $7::timestamptz[], $8::timestamptz[]) returning id",
            [one.name for one in oracle.codes.values()],
            [one.kind for one in oracle.codes.values()],
            [one.value for one in oracle.codes.values()],
            [RUB if one.kind == "money" else None for one in oracle.codes.values()],
            [one.cap for one in oracle.codes.values()],
            [one.each for one in oracle.codes.values()],
            [
                None if one.starts is None else start + timedelta(seconds=one.starts)
                for one in oracle.codes.values()
            ],
            [
                None if one.ends is None else start + timedelta(seconds=one.ends)
                for one in oracle.codes.values()
            ],
        )
        code_ids[:] = [row["id"] for row in rows]

    begin = await marks(ground.db)
    await ground.db.run("money.begin", body)
    return Play(ground, number, begin, oracle, customer_ids, telegram_ids, code_ids)


#: Every step, and how often a random walk takes it.
STEPS: Final = {
    "open": 14, "ask_again": 3, "top_up": 6, "cancel": 3, "pay": 22, "complete": 5, "pay_strangely": 2, "hear": 6,
    "hear_again": 4, "charge_again": 4, "stop_charging": 1, "telegram_says": 3, "change_plan": 2, "spend": 6,
    "buy_from_balance": 9, "subscribe": 2, "come_to_an_end": 4, "set_renewal": 6, "renew": 5, "enter_code": 8,
    "change_terms": 2, "wait": 8, "sweep": 2, "refund": 10, "pay_out": 9, "provider_refunds": 5, "reconcile": 2,
    "close_the_books": 1,
}  # fmt: skip


def next_step(play: Play, random: Random) -> str:
    """One of the steps that can be taken now."""
    names = [name for name in STEPS if getattr(play, f"can_{name}", lambda: True)()]
    return random.choices(names, [STEPS[name] for name in names])[0]
