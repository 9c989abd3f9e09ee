"""A small shop that lives some weeks, and what its figures must be, in plain Python.

The shop does real things (purchases, top-ups, refunds, trials, gifts) in a real database, at business times that the life's dice
choose; the oracle writes down what was done and when, and adds up by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from attrs import define, field
from shop_world import ShopWorld

from vpnd.shop.customers import Customer
from vpnd.shop.figures import Counts, Sum, added
from vpnd.shop.ledger import InsufficientBalance
from vpnd.shop.pricing import Method
from vpnd.shop.refund_plan import RefundImpossible, RefundRequest
from vpnd.shop.refund_requests import request_refund
from vpnd.shop.refunds import turn_to_balance
from vpnd.shop.settlement import SettlementResult
from vpnd.shop.subscriptions import grant
from vpnd.shop.trial import TrialTerms, TrialUnavailable, grant_trial

MONTH = timedelta(days=30)


@define
class Life:
    """The shop, its dice, and what the oracle has seen."""

    shop: ShopWorld
    dice: Random
    zone: str
    sums: list[tuple[datetime, Sum]] = field(factory=list)
    people: list[tuple[datetime, str]] = field(factory=list)
    customers: list[tuple[Customer, bool]] = field(factory=list)
    paid: dict[int, datetime] = field(factory=dict)
    trials: dict[int, datetime] = field(factory=dict)
    charges: list[dict[str, Any]] = field(factory=list)

    async def now(self) -> datetime:
        """Business time."""
        moment: datetime = await self.shop.db.fetchval("test", "select vpnd_now()")
        return moment

    def day(self, moment: datetime) -> date:
        """The day that a moment belongs to, by the clock of the zone."""
        return moment.astimezone(ZoneInfo(self.zone)).date()

    # ------------------------------------------------------------------ what happens

    async def live(self, steps: int) -> None:
        """Do so many things, some hours apart."""
        for _ in range(steps):
            await self.shop.advance(timedelta(minutes=self.dice.randrange(1, 1500)))
            await self.dice.choices(
                [
                    self.come,
                    self.buy,
                    self.fill,
                    self.spend,
                    self.twice,
                    self.give_back,
                    self.trial,
                    self.gift,
                ],
                [4, 6, 3, 4, 2, 4, 2, 1],
            )[0]()

    def anybody(self) -> Customer:
        return self.dice.choice(self.customers)[0]

    async def come(self) -> None:
        """Somebody comes, be it by an invitation."""
        host = self.dice.choice([None, *[one for one, _ in self.customers]])
        customer = await self.shop.customer(code=None if host is None else host.referral_code)
        self.customers.append((customer, host is not None))
        self.people += [(await self.now(), what) for what in ["new", *(["guest"] if host else [])]]

    async def buy(self) -> None:
        """A purchase, paid by its method."""
        method: Method = self.dice.choice(["cryptopay", "stars", "yookassa"])
        plan = self.dice.choice(["basic", "plus"])
        purchase = await self.shop.buy(
            self.anybody(), method, plan=plan, days=self.dice.choice([30, 90]), fresh=True
        )
        result = await self.shop.settle(self.shop.charge(purchase))
        now = await self.now()
        await self._sold(now, purchase, result, plan, method, purchase.amount)

    async def _sold(
        self, now: datetime, purchase: Any, result: SettlementResult, plan: str, method: str, paid: int
    ) -> None:
        if method != "balance":
            self._money(now, "revenue", purchase.currency, method, plan, paid, 0, 1)
        self._money(now, "sales", "RUB", method, plan, purchase.shop_amount, 0, 1)
        await self._first(now, purchase.customer_id, result)
        self.charges.append(
            {
                "id": await self._settlement(purchase),
                "method": method,
                "plan": plan,
                "currency": purchase.currency,
            }
        )

    async def _first(self, now: datetime, customer_id: int, result: SettlementResult) -> None:
        row = await self.shop.db.fetchrow(
            "test", "select first_paid_at, referrer_id from customers where id = $1", customer_id
        )
        assert row is not None
        if row["first_paid_at"] is not None and customer_id not in self.paid:
            self.paid[customer_id] = now
            self.people += [
                (now, what) for what in ["paying", *(["paying guest"] if row["referrer_id"] else [])]
            ]
        reward = await self.shop.db.fetchrow(
            "test",
            "select amount, currency from referral_rewards order by created_at desc, purchase_id desc limit 1",
        )
        count = await self.shop.db.fetchval("test", "select count(*) from referral_rewards")
        if count > self._rewards():
            assert reward is not None
            self._money(now, "rewards", reward["currency"], "", "", reward["amount"], 0, 1)

    def _rewards(self) -> int:
        return sum(one.count for _, one in self.sums if one.what == "rewards")

    async def _settlement(self, purchase: Any) -> int:
        found: int = await self.shop.db.fetchval(
            "test", "select max(id) from settlements where purchase_id = $1", purchase.id
        )
        return found

    async def fill(self) -> None:
        """A top-up: money from outside, for no plan."""
        amount = self.dice.randrange(100, 3000) * 100
        await self.shop.fill(self.anybody(), amount)
        self._money(await self.now(), "revenue", "RUB", "cryptopay", "", amount, 0, 1)

    async def spend(self) -> None:
        """A purchase from the balance: a sale, and no revenue."""
        plan = self.dice.choice(["basic", "plus"])
        purchase = await self.shop.buy(self.anybody(), "balance", plan=plan, fresh=True)
        try:
            result = await self.shop.spend(purchase)
        except InsufficientBalance:
            return
        await self._sold(await self.now(), purchase, result, plan, "balance", 0)

    async def twice(self) -> None:
        """A purchase that is paid twice: Stars go back and were never ours, other money stays on the balance."""
        method: Method = self.dice.choice(["cryptopay", "stars"])
        purchase = await self.shop.buy(self.anybody(), method, fresh=True)
        result = await self.shop.settle(self.shop.charge(purchase))
        now = await self.now()
        await self._sold(now, purchase, result, "basic", method, purchase.amount)
        await self.shop.settle(self.shop.charge(purchase))
        if method != "stars":
            self._money(await self.now(), "revenue", "RUB", method, "basic", purchase.amount, 0, 1)

    async def give_back(self) -> None:
        """A refund of some charge, whole or a part, by the provider or to the balance; some a provider will not pay."""
        if not self.charges:
            return
        charge = self.dice.choice(self.charges)
        before = await self.shop.db.fetchrow(
            "test", "select s.amount, s.refunded, p.refunded as sold_back from settlements s"
            " join purchases p on p.id = s.purchase_id where s.id = $1", charge["id"],
        )  # fmt: skip
        assert before is not None
        left = before["amount"] - before["refunded"]
        part = left if charge["method"] == "stars" or self.dice.random() < 0.5 else max(1, left // 3)
        to = "balance" if charge["method"] == "balance" else self.dice.choice(["provider", "balance"])
        rewards = await self.shop.db.fetchval(
            "test", "select coalesce(sum(reversed), 0)::bigint from referral_rewards"
        )
        request = RefundRequest(
            settlement_id=charge["id"], request_key=f"test:{self.shop.number()}", requested_by="test", amount=part, to=to,
        )  # fmt: skip
        try:
            asked = await self.shop.do(lambda tx: request_refund(tx, request))
        except RefundImpossible:
            return
        now = await self.now()
        undone = await self.shop.db.fetchval(
            "test", "select p.refunded from settlements s join purchases p on p.id = s.purchase_id where s.id = $1",
            charge["id"],
        ) - before["sold_back"]  # fmt: skip
        if undone:
            self._money(now, "sales", "RUB", charge["method"], charge["plan"], 0, undone, 0)
        if to == "provider":
            self._money(now, "revenue", charge["currency"], charge["method"], charge["plan"], 0, part, 0)
        back = await self.shop.db.fetchval("test", "select sum(reversed)::bigint from referral_rewards")
        if back is not None and back > rewards:
            self._money(now, "rewards", "RUB", "", "", 0, back - rewards, 0)
        if to == "provider" and self.dice.random() < 0.4:
            await self.shop.advance(timedelta(hours=self.dice.randrange(1, 40)))
            await self.shop.do(lambda tx: turn_to_balance(tx, asked.refund_id, "no"))
            self._money(
                await self.now(), "revenue", charge["currency"], charge["method"], charge["plan"], 0, -part, 0
            )

    async def trial(self) -> None:
        """A trial, for whoever may have one."""
        customer = self.anybody()
        key = f"update:{self.shop.number()}"
        try:
            await self.shop.do(
                lambda tx: grant_trial(tx, customer_id=customer.id, terms=TrialTerms(72), request_key=key)
            )
        except TrialUnavailable:
            return
        now = await self.now()
        self.trials[customer.id] = now + timedelta(hours=72)
        self.people.append((now, "trial"))

    async def gift(self) -> None:
        """Days for nothing: access, and no money."""
        customer, days = self.anybody(), self.dice.randrange(1, 40)
        await self.shop.do(
            lambda tx: grant(tx, customer_id=customer.id, plan_id="basic", days=days, kind="gift")
        )

    def _money(
        self,
        at: datetime,
        what: Any,
        currency: str,
        method: str,
        plan: str,
        gross: int,
        back: int,
        count: int,
    ) -> None:
        self.sums.append((at, Sum(what, currency, method, plan, gross, back, count)))

    # ------------------------------------------------------------------ what it comes to

    def sums_by_day(self) -> dict[date, list[Sum]]:
        """All money by the day on which it moved."""
        by_day: dict[date, list[Sum]] = defaultdict(list)
        for at, one in self.sums:
            by_day[self.day(at)].append(one)
        return {day: added(sums) for day, sums in by_day.items()}

    def counts_by_day(self) -> dict[date, Counts]:
        """People by day."""
        counted: dict[date, Counter[str]] = defaultdict(Counter)
        for at, what in self.people:
            counted[self.day(at)][what] += 1
        return {
            day: Counts(c["new"], c["paying"], c["guest"], c["paying guest"], c["trial"])
            for day, c in counted.items()
        }

    async def standing(self, moment: datetime) -> dict[str, Any]:
        """How the shop stands at a moment, from every single grant."""
        grants = await self.shop.db.fetch(
            "test", "select s.customer_id, g.kind, g.from_at, g.until_at, p.currency, p.amount, p.shop_amount, p.refunded"
            " from grants g join subscriptions s on s.id = g.subscription_id left join purchases p on p.id = g.purchase_id",
        )  # fmt: skip

        def who(at: datetime, kinds: tuple[str, ...] = ("purchase",)) -> set[int]:
            return {
                g["customer_id"] for g in grants if g["kind"] in kinds and g["from_at"] <= at < g["until_at"]
            }

        paying, before = who(moment), who(moment - MONTH)
        news = {one for one, at in self.paid.items() if moment - 2 * MONTH <= at < moment - MONTH}
        mrr: Counter[str] = Counter()
        for g in grants:
            if g["kind"] == "purchase" and g["from_at"] <= moment < g["until_at"]:
                left = Fraction(g["amount"] * (g["shop_amount"] - g["refunded"]), g["shop_amount"])
                length = g["until_at"] - g["from_at"]
                seconds = Fraction(length // timedelta(microseconds=1), 1_000_000)
                mrr[g["currency"]] += int(left * 30 * 86_400 / seconds)
        payers = {
            g["customer_id"]
            for g in grants
            if g["kind"] == "purchase"
            and g["from_at"] < moment
            and g["until_at"] > moment - MONTH
            and g["until_at"] > g["from_at"]
        }
        return {
            "access": len(who(moment, ("purchase", "gift", "promo", "trial"))),
            "paying": len(paying),
            "payers": len(payers),
            "before": len(before),
            "stayed": len(before & paying),
            "newcomers": len(news),
            "newcomers_stayed": len(news & paying),
            "mrr": dict(mrr),
        }

    def trials_in(self, began: datetime, ended: datetime) -> tuple[int, int]:
        """Trials that ended then, and how many of their owners have paid by then."""
        ends = [one for one, at in self.trials.items() if began <= at < ended]
        return len(ends), sum(one in self.paid and self.paid[one] < ended for one in ends)


async def open_life(shop: ShopWorld, seed: int, zone: str) -> Life:
    """A shop with a few customers, whose life begins at a dice's hour."""
    life = Life(shop, Random(seed), zone)
    await shop.execute("insert into referral_levels (paying, percent) values (0, 10)")
    for _ in range(3):
        await life.come()
    return life
