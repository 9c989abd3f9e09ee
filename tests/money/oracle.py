"""What the shop's money must be: a model in plain Python that knows no table and none of the shop's code.

It is written from the rules as the shop's docstrings and documents tell them. It is given what was asked of the shop,
says what must come of it (or raises `Refused`), and holds what everybody must have afterwards: `Oracle.picture` is
compared with the same picture read from the database.

Time is whole seconds from the beginning of the example. Amounts are minor units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from attrs import define, field

RUB = "RUB"
STARS = "XTR"
DAY = 86_400
HOUR = 3_600
GRACE = HOUR  # what Telegram charges by itself stays on for so long
WINDOW = 6 * HOUR  # of a renewal
LIFETIME = HOUR  # of a price


class Refused(Exception):
    """The shop has to say no, for this reason, and nothing may change."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def part_of(total: int, whole: int, before: int, part: int) -> int:
    """What `part` of `whole` is worth of `total` after `before`, so that all parts are worth the total."""
    return total * (before + part) // whole - total * before // whole


@define(eq=False)
class Buyer:
    """A customer: his own money, what the shop gave him, what he owes."""

    number: int
    host: Buyer | None = None
    own: int = 0
    bonus: int = 0
    owed: int = 0
    has_paid: bool = False
    code: Code | None = None
    percent: int = 0
    percent_until: int | None = None

    def __repr__(self) -> str:
        return f"buyer {self.number}"


@define(eq=False)
class Use:
    """One use of a code: reserved, consumed or returned."""

    buyer: Buyer
    deal: Deal | None
    state: str
    late: bool = False


@define(eq=False)
class Code:
    """A promo code. Its counters count what is reserved and consumed, and what came late."""

    name: str
    kind: str
    value: int
    cap: int | None = None
    each: int = 1
    starts: int | None = None
    ends: int | None = None
    active: bool = True
    used: int = 0
    late: int = 0
    uses: list[Use] = field(factory=list)

    def __repr__(self) -> str:
        return f"code {self.name}"

    def count(self, buyer: Buyer, state: str) -> int:
        """How many uses a customer has in a state."""
        return sum(use.buyer is buyer and use.state == state for use in self.uses)


@define(eq=False)
class Slice:
    """A stretch of access that something gave."""

    why: str
    start: int
    end: int
    removed: int = 0


@define(eq=False)
class Access:
    """A subscription."""

    number: int
    buyer: Buyer
    plan: str
    on: bool
    begins: int
    ends: int
    renews: str = "off"
    offer: tuple[str, int] | None = None
    slices: list[Slice] = field(factory=list)
    stretched: bool = False  # its plan was changed, so that its slices are no whole seconds any more

    def __repr__(self) -> str:
        return f"access {self.number} of {self.buyer}"


@define(eq=False)
class Deal:
    """A purchase. `key` is the request that opened it."""

    key: str
    buyer: Buyer
    method: str
    currency: str
    price: int
    worth: int
    expires: int
    kind: str = "access"
    origin: str = "customer"
    offer: tuple[str, int] | None = None
    into: Access | None = None
    fresh: bool = False
    recurring: bool = False
    bonus_days: int = 0
    status: str = "pending"
    received: int = 0
    refunded: int = 0
    from_bonus: int = 0
    use: Use | None = None
    got: Access | None = None

    def __repr__(self) -> str:
        return f"deal {self.key}"


@define(eq=False)
class Taking:
    """A charge that was settled. `worth` is what it brought in the shop's currency."""

    provider: str
    name: str
    amount: int
    currency: str
    outcome: str
    reason: str | None
    deal: Deal | None
    worth: int = 0
    refunded: int = 0

    def __repr__(self) -> str:
        return f"charge {self.name}"


@define(eq=False)
class Back:
    """A refund."""

    key: str
    taking: Taking
    amount: int
    worth: int
    source: str
    route: str
    status: str
    external: str | None = None

    def __repr__(self) -> str:
        return f"refund {self.key}"


@define(eq=False)
class Reward:
    """What a host got for a purchase of his guest."""

    host: Buyer
    base: int
    percent: int
    amount: int
    reversed: int = 0


@define(eq=False)
class Run:
    """A subscription that Telegram charges by itself."""

    deal: Deal
    access: Access
    state: str = "active"


@define(eq=False)
class Oracle:
    """The whole shop. `offers` are prices by currency; `levels` percent by paying guests."""

    offers: Mapping[tuple[str, int], Mapping[str, int]]
    levels: Mapping[int, int]
    minimum: Mapping[str, int]
    now: int = 0
    buyers: list[Buyer] = field(factory=list)
    codes: dict[str, Code] = field(factory=dict)
    deals: dict[str, Deal] = field(factory=dict)
    accesses: list[Access] = field(factory=list)
    takings: dict[tuple[str, str], Taking] = field(factory=dict)
    backs: dict[str, Back] = field(factory=dict)
    rewards: dict[str, Reward] = field(factory=dict)
    runs: dict[str, Run] = field(factory=dict)
    house: Counter[str] = field(factory=Counter)
    receipts: set[str] = field(factory=set)

    # ------------------------------------------------------------------ opening

    def _percent(self, buyer: Buyer) -> int:
        """The personal discount that counts now."""
        over = buyer.percent_until is not None and buyer.percent_until <= self.now
        return 0 if over else buyer.percent

    def _why_not(self, code: Code, buyer: Buyer) -> str | None:
        if not code.active:
            return "unknown"
        if code.starts is not None and code.starts > self.now:
            return "early"
        if code.ends is not None and code.ends <= self.now:
            return "over"
        if code.count(buyer, "consumed") >= code.each:
            return "already_used"
        # His own reservation is not in his way: he takes it along when he chooses anew.
        if code.cap is not None and code.used >= code.cap and not code.count(buyer, "reserved"):
            return "used_up"
        return None

    def _priced(self, offer: tuple[str, int], method: str, percent: int) -> tuple[str, int, int]:
        """Currency, price asked and price booked: less a discount that is rounded in the shop's favour."""
        currency = STARS if method == "stars" else RUB
        asked, booked = self.offers[offer][currency], self.offers[offer][RUB]
        if asked < self.minimum.get(method, 1):
            raise Refused("offer")
        price = max(-(-asked * (100 - percent) // 100), self.minimum.get(method, 1))
        return currency, price, price if currency == RUB else -(-booked * (100 - percent) // 100)

    def open(
        self,
        key: str,
        buyer: Buyer,
        offer: tuple[str, int],
        method: str,
        *,
        into: Access | None = None,
        fresh: bool = False,
        recurring: bool = False,
    ) -> Deal:
        """Open a purchase of access, or find the one that is open."""
        if key in self.deals:
            return self.deals[key]
        if into is not None and (into.buyer is not buyer or into.plan != offer[0]):
            raise Refused("offer")
        percent, bonus_days, code = (0 if recurring else self._percent(buyer)), 0, None
        if buyer.code is not None and not recurring:
            larger = buyer.code.kind == "percent" and buyer.code.value > percent
            if larger or buyer.code.kind == "days":
                code = buyer.code
                reason = self._why_not(code, buyer)
                if reason is not None:
                    raise Refused(reason)
                percent = max(percent, code.value) if larger else percent
                bonus_days = code.value if code.kind == "days" else 0
        currency, price, worth = self._priced(offer, method, percent)
        wanted = (buyer, "access", offer, method, price, worth, bonus_days, into, fresh, recurring)
        same = self._same(wanted, code)
        if same is not None:
            return same
        deal = Deal(key, buyer, method, currency, price, worth, self.now + LIFETIME, offer=offer, into=into, fresh=fresh,
                    recurring=recurring, bonus_days=bonus_days)  # fmt: skip
        if code is not None:
            self._reserve(code, deal)
        self.deals[key] = deal
        return deal

    def _same(self, wanted: tuple[Any, ...], code: Code | None) -> Deal | None:
        found = None
        for deal in self.deals.values():
            is_open = deal.status == "pending" and deal.expires > self.now and deal.received == 0
            shape = (deal.buyer, deal.kind, deal.offer, deal.method, deal.price, deal.worth, deal.bonus_days, deal.into,
                     deal.fresh, deal.recurring)  # fmt: skip
            if not is_open or shape != wanted or deal.origin != "customer":
                continue
            if code is not None and not any(
                use.deal is deal and use.state == "reserved" for use in code.uses
            ):
                continue
            found = deal  # the newest
        return found

    def _reserve(self, code: Code, deal: Deal) -> None:
        self._take_along(code, deal.buyer)
        deal.use = Use(deal.buyer, deal, "reserved")
        code.uses.append(deal.use)
        code.used += 1

    def _take_along(self, code: Code, buyer: Buyer) -> None:
        """Where one use more would be too many, the one that an open purchase of his holds is given back for it."""
        mine = [use for use in code.uses if use.buyer is buyer and use.state == "reserved"]
        capped = code.count(buyer, "consumed") + len(mine) >= code.each
        full = code.cap is not None and code.used >= code.cap
        if mine and (capped or full):
            mine[0].state = "returned"
            code.used -= 1

    def top_up(self, key: str, buyer: Buyer, method: str, amount: int, worth: int) -> Deal:
        """Open a top-up, or find the one that is open."""
        if key in self.deals:
            return self.deals[key]
        if amount < self.minimum.get(method, 1):
            raise Refused("offer")
        same = self._same((buyer, "topup", None, method, amount, worth, 0, None, False, False), None)
        if same is not None:
            return same
        currency = STARS if method == "stars" else RUB
        deal = Deal(key, buyer, method, currency, amount, worth, self.now + LIFETIME, kind="topup")
        self.deals[key] = deal
        return deal

    # ------------------------------------------------------------------ codes and time

    def enter(self, buyer: Buyer, name: str) -> str:
        """A customer types a code: "credited", "granted" or "waits"."""
        code = self.codes.get(name)
        if code is None or not code.active:
            raise Refused("unknown")
        reason = self._why_not(code, buyer)
        if reason is not None:
            raise Refused(reason)
        if code.kind == "money":
            self._take_now(code, buyer)
            buyer.bonus += code.value
            self.house["promo: RUB"] -= code.value
            return "credited"
        running = [one for one in self.accesses if one.buyer is buyer and one.on]
        if code.kind == "days" and running:
            self._take_now(code, buyer)
            last = max(running, key=lambda one: (one.ends, -one.number))
            self._give(last, code.value, "code")
            return "granted"
        buyer.code = code
        return "waits"

    def _take_now(self, code: Code, buyer: Buyer) -> None:
        self._take_along(code, buyer)
        code.uses.append(Use(buyer, None, "consumed"))
        code.used += 1
        if buyer.code is code:
            buyer.code = None  # it waits for no purchase any more

    def close(self, deal: Deal, status: str) -> None:
        """A purchase ran out or was cancelled; its use of a code is free again."""
        deal.status = status
        if deal.use is not None and deal.use.state == "reserved":
            deal.use.state = "returned"
            self._code_of(deal.use).used -= 1

    def _code_of(self, use: Use) -> Code:
        return next(code for code in self.codes.values() if use in code.uses)

    def overdue(self) -> list[Deal]:
        """Purchases that a sweep closes now."""
        return [one for one in self.deals.values() if one.status == "pending" and one.expires <= self.now]

    def due(self) -> list[Access]:
        """Subscriptions that a sweep switches off now."""
        return [
            one
            for one in self.accesses
            if one.on and one.ends + (GRACE if one.renews == "stars" else 0) <= self.now
        ]

    def reopen(self, deal: Deal) -> bool:
        """Time to complete what was paid in part."""
        if not 0 < deal.received < deal.price or deal.status not in ("pending", "expired", "cancelled"):
            return False
        deal.status, deal.expires = "pending", max(deal.expires, self.now + LIFETIME)
        return True

    # ------------------------------------------------------------------ settlement

    def settle(self, charge: Any, deal: Deal | None) -> str:
        """A charge is reported; `deal` is the purchase that its invoice, or else its payload, names."""
        provider, amount = charge.provider, charge.amount or 0
        if (provider, charge.charge_id) in self.takings:
            return "already_settled"
        taking = Taking(provider, charge.charge_id, amount, charge.currency, "", None, deal)
        if deal is None:
            reason = "no_purchase"
        elif provider != deal.method:
            reason = "other_method"
        elif charge.currency != deal.currency:
            reason = "other_currency"
        elif amount <= 0:
            reason = "unreadable_amount"
        else:
            taking.outcome = self._judge(taking, deal, charge)
            self.takings[provider, charge.charge_id] = taking
            return taking.outcome
        taking.outcome, taking.reason = "held", reason
        self.takings[provider, charge.charge_id] = taking
        self._to_held(taking)
        return "held"

    def _to_held(self, taking: Taking) -> None:
        self.house[f"clearing:{taking.provider} {taking.currency}"] -= taking.amount
        self.house[f"held:{taking.provider} {taking.currency}"] += taking.amount

    def _judge(self, taking: Taking, deal: Deal, charge: Any) -> str:
        amount = taking.amount
        if taking.provider == "balance":
            self._sell_from_balance(taking, deal)
            return "settled"
        if deal.status in ("paid", "refunded"):
            if charge.recurring and deal.recurring and amount >= deal.price:
                return self._charged_again(taking, deal)
            return self._second(taking, deal)
        before = deal.received
        if deal.kind == "topup":
            before = 0
        worth = part_of(deal.worth, deal.price, before, amount)
        enough = amount >= deal.price or (
            before + amount >= deal.price and deal.buyer.own + worth >= deal.worth
        )
        self._income(taking, deal, worth)
        deal.received += amount
        if deal.kind == "topup":
            deal.status = "paid"
            self._repay(deal.buyer, worth)
            return "settled"
        if not enough:
            return "underpaid"
        self._sell(taking, deal, (before + amount) * deal.worth // deal.price - deal.worth, charge.recurring)
        return "settled"

    def _income(self, taking: Taking, deal: Deal, worth: int) -> None:
        taking.worth = worth
        self.house[f"clearing:{taking.provider} {taking.currency}"] -= taking.amount
        if taking.currency != RUB:
            self.house[f"exchange: {taking.currency}"] += taking.amount
            self.house["exchange: RUB"] -= worth
        deal.buyer.own += worth

    def _repay(self, buyer: Buyer, credited: int) -> None:
        amount = max(min(buyer.owed, credited, buyer.own), 0)
        buyer.own -= amount
        buyer.owed -= amount

    def _sell(self, taking: Taking, deal: Deal, rest: int, recurring: bool) -> None:
        """The price leaves the balance, access is given, the host is rewarded, what is over repays a debt."""
        buyer = deal.buyer
        buyer.own -= deal.worth
        self.house["revenue: RUB"] += deal.worth
        self._deliver(deal, recurring)
        self._reward(deal, deal.worth)
        buyer.has_paid = True
        self._repay(buyer, rest)
        self.receipts.add(taking.name)

    def _sell_from_balance(self, taking: Taking, deal: Deal) -> None:
        buyer = deal.buyer
        if deal.status != "pending":
            raise Refused("closed")
        own = min(deal.worth, buyer.own)
        if deal.worth - own > buyer.bonus:
            raise Refused("balance")
        deal.from_bonus = deal.worth - own
        buyer.own -= own
        buyer.bonus -= deal.from_bonus
        self.house["revenue: RUB"] += deal.worth
        deal.received += deal.worth
        taking.worth = deal.worth
        self._deliver(deal, False)
        self._reward(deal, own)
        if own:
            buyer.has_paid = True
        self.receipts.add(taking.name)

    def _deliver(self, deal: Deal, recurring: bool) -> None:
        """Access from the later of now and the present end; what a code was reserved for is consumed."""
        deal.status = "paid"
        access = self._target(deal, recurring)
        if access is None:
            access = Access(len(self.accesses) + 1, deal.buyer, deal.offer[0], True, self.now, self.now)
            self.accesses.append(access)
        self._give(access, deal.offer[1] + deal.bonus_days, deal.key)
        access.offer = deal.offer
        deal.got = access
        if deal.use is not None and deal.use.state != "consumed":
            code = self._code_of(deal.use)
            if deal.use.state == "returned":
                deal.use.late = True
                code.used += 1
                code.late += 1
            deal.use.state = "consumed"
        if deal.use is not None and deal.buyer.code is self._code_of(deal.use):
            deal.buyer.code = None
        if recurring and deal.recurring:
            self._note_run(deal, access)

    def _target(self, deal: Deal, recurring: bool) -> Access | None:
        into = (deal.got if recurring else None) or deal.into
        if into is not None and into.plan == deal.offer[0]:
            return into  # of another plan by now, it is not what was paid for
        if deal.fresh:
            return None
        mine = [one for one in self.accesses if one.buyer is deal.buyer and one.plan == deal.offer[0]]
        return max(mine, key=lambda one: (one.on, one.ends, -one.number), default=None)

    def _give(self, access: Access, days: int, why: str) -> None:
        start = max(self.now, access.ends)
        if not access.on:
            access.begins = start
        access.on, access.ends = True, start + days * DAY
        access.slices.append(Slice(why, start, access.ends))

    def _reward(self, deal: Deal, base: int) -> None:
        host = deal.buyer.host
        if host is None:
            return
        paying = sum(one.host is host and one.has_paid for one in self.buyers)
        percent = self.levels[max(level for level in self.levels if level <= paying)]
        amount = base * percent // 100
        if amount > 0:
            self.rewards[deal.key] = Reward(host, base, percent, amount)
            host.bonus += amount
            self.house["referral: RUB"] -= amount

    def _charged_again(self, taking: Taking, first: Deal) -> str:
        """Telegram has charged by itself: a purchase of its own that goes on with what the first one bought."""
        deal = Deal(f"recurring:stars:{taking.name}", first.buyer, "stars", STARS, first.price, first.worth, self.now,
                    origin="recurring", offer=first.offer, into=first.got, fresh=first.fresh)  # fmt: skip
        self.deals[deal.key] = deal
        taking.deal = deal
        worth = part_of(deal.worth, deal.price, 0, taking.amount)
        self._income(taking, deal, worth)
        deal.received = taking.amount
        self._sell(taking, deal, worth - deal.worth, False)
        self._note_run(first, deal.got)
        return "settled"

    def _note_run(self, first: Deal, access: Access) -> None:
        for run in self.runs.values():
            if run.access is access and run.deal is not first and run.state == "active":
                run.state = "canceled"
        run = self.runs.setdefault(first.key, Run(first, access))
        run.state, run.access = "active", access
        access.renews = "stars"

    def _second(self, taking: Taking, deal: Deal) -> str:
        if taking.provider == "stars":
            self._to_held(taking)
            taking.refunded = taking.amount
            key = f"second:{taking.name}"
            self.backs[key] = Back(key, taking, taking.amount, 0, "held", "provider", "requested")
        else:
            self._income(taking, deal, part_of(deal.worth, deal.price, 0, taking.amount))
            self._repay(deal.buyer, taking.worth)
        return "second_charge"

    # ------------------------------------------------------------------ refunds

    def refund(
        self,
        key: str,
        taking: Taking,
        amount: int | None,
        to: str,
        *,
        made: bool = False,
        external: str | None = None,
    ) -> Back:
        """A refund is asked for, or was `made` by the provider itself."""
        if key in self.backs:
            return self.backs[key]
        left = taking.amount - taking.refunded
        asked = left if amount is None else amount
        if left <= 0:
            raise Refused("nothing_left")
        if not 0 < asked <= left:
            raise Refused("too_much")
        if to == "provider" and taking.provider == "stars" and asked != taking.amount:
            raise Refused("whole_only")
        if to == "provider" and taking.provider == "balance":
            raise Refused("no_route")
        deal = taking.deal
        back = Back(
            key, taking, asked, 0, "held", to, "done" if made or to == "balance" else "requested", external
        )
        if taking.outcome == "held":
            ours = deal is not None and taking.currency == RUB
            if to == "balance" and not ours:
                raise Refused("no_route")
            back.worth = asked if ours else 0
            if to == "balance":
                self.house[f"held:{taking.provider} {taking.currency}"] -= asked
                deal.buyer.own += asked
                self._repay(deal.buyer, asked)
        else:
            self._undo(back, taking, deal, made=made)
        if made:
            self._paid_out(back)
        taking.refunded += asked
        self.backs[key] = back
        return back

    def _undo(self, back: Back, taking: Taking, deal: Deal, *, made: bool) -> None:
        buyer = deal.buyer
        back.worth = part_of(taking.worth, taking.amount, taking.refunded, back.amount)
        sold = (
            deal.kind == "access"
            and deal.status in ("paid", "refunded")
            and taking.outcome != "second_charge"
        )
        left = deal.worth - deal.refunded if sold else 0
        sale = min(back.worth, left)
        back.source = "sale" if sale else "credit"
        if back.route == "balance" and not sale:
            raise Refused("on_balance")
        bonus = part_of(deal.from_bonus, deal.worth, deal.refunded, sale) if sale else 0
        short = back.worth - (sale - bonus) - buyer.own if back.route == "provider" else 0
        if short > 0 and not made:
            raise Refused("spent")
        if sale:
            self._shorten(deal, sale, last=sale == left)
            self._take_reward_back(deal, sale)
            deal.refunded += sale
            if deal.refunded >= deal.worth:
                deal.status = "refunded"
            self.house["refunds: RUB"] -= sale
            buyer.own += sale - bonus
            buyer.bonus += bonus
            if sale == left:
                self._end_run(deal.got)
                if deal.origin == "renewal" and deal.got.renews == "balance":
                    deal.got.renews = "off"
        if not sold and taking.outcome == "underpaid":
            deal.received = max(deal.received - back.amount, 0)  # that part is missing again
        if back.route == "balance":
            self._repay(buyer, sale - bonus)
        if back.route == "provider":
            if short > 0:
                buyer.owed += short
                buyer.own += short
            buyer.own -= back.worth
            if taking.currency != RUB:
                self.house["exchange: RUB"] += back.worth
                self.house[f"exchange: {taking.currency}"] -= back.amount
            self.house[f"held:{taking.provider} {taking.currency}"] += back.amount

    def _shorten(self, deal: Deal, part: int, *, last: bool) -> None:
        access = deal.got
        cut = next(one for one in access.slices if one.why == deal.key)
        left = cut.end - max(self.now, cut.start)
        whole = cut.end - cut.start + cut.removed
        length = left if last else min(left, whole * part // deal.worth)
        if length <= 0:
            return
        was = cut.end
        for one in access.slices:
            if one is not cut and one.start >= was:
                one.start -= length
                one.end -= length
        cut.end -= length
        cut.removed += length
        access.ends = max(access.ends - length, access.begins)
        if access.on and access.ends <= self.now:
            access.on = False
            if access.renews == "balance":
                access.renews = "off"

    def _take_reward_back(self, deal: Deal, sale: int) -> None:
        reward = self.rewards.get(deal.key)
        if reward is None:
            return
        back = reward.amount * (deal.refunded + sale) // deal.worth - reward.reversed
        reward.reversed += back
        short = max(back - reward.host.bonus, 0)
        reward.host.owed += short
        reward.host.bonus += short - back
        self.house["referral: RUB"] += back

    def _end_run(self, access: Access) -> None:
        for run in self.runs.values():
            if run.access is access and run.state == "active":
                run.state, access.renews = "canceled", "off"

    def telegram_says(self, run: Run, state: str) -> None:
        """A subscription at Telegram goes on, was ended, or could not be charged."""
        if state == "active":
            self._note_run(run.deal, run.access)
            return
        run.state = state
        goes_on = any(one.access is run.access and one.state == "active" for one in self.runs.values())
        if not goes_on and run.access.renews == "stars":
            run.access.renews = "off"

    def _paid_out(self, back: Back) -> None:
        taking = back.taking
        self.house[f"held:{taking.provider} {taking.currency}"] -= back.amount
        self.house[f"clearing:{taking.provider} {taking.currency}"] += back.amount

    def provider_gave(self, taking: Taking, amount: int, external: str, back: Back | None) -> bool:
        """A provider says it gave money back; `back` is the refund whose key it carries. Whether the books have it.

        Without a key it is that of ours which waits with this amount, else one that the provider made by itself.
        """
        of_it = [one for one in self.backs.values() if one.taking is taking and one.route == "provider"]
        known = back or next((one for one in of_it if one.external == external), None)
        waits = known or next(
            (
                one
                for one in of_it
                if one.external is None and one.amount == amount and one.status in ("requested", "stuck")
            ),
            None,
        )
        if waits is not None:
            self.given_back(waits, external)
            return waits.status == "done"
        try:
            key = f"provider:{taking.provider}:{external}"
            self.refund(key, taking, amount, "provider", made=True, external=external)
        except Refused:
            return False
        return True

    def given_back(self, back: Back, external: str | None) -> None:
        """The provider has given the money back."""
        if back.status in ("requested", "stuck"):
            back.status, back.external = "done", external
            self._paid_out(back)

    def not_given_back(self, back: Back) -> None:
        """The provider will not: to the balance, or to a person if it is nobody's."""
        if back.status not in ("requested", "stuck"):
            return
        deal, taking = back.taking.deal, back.taking
        if deal is None or not back.worth:
            back.status = "stuck"
            return
        back.status = "to_balance"
        self.house[f"held:{taking.provider} {taking.currency}"] -= back.amount
        if taking.currency != RUB:
            self.house[f"exchange: {taking.currency}"] += back.amount
            self.house["exchange: RUB"] -= back.worth
        deal.buyer.own += back.worth
        self._repay(deal.buyer, back.worth)

    # ------------------------------------------------------------------ renewals

    def can_renew(self, access: Access) -> bool:
        """Whether a subscription's end is near and its customer's balance can pay it."""
        if not access.on or access.renews != "balance" or access.ends > self.now + WINDOW:
            return False
        _, _, worth = self._priced(access.offer, "balance", self._percent(access.buyer))
        return access.buyer.own + access.buyer.bonus >= worth

    def renew(self, access: Access, key: str) -> Deal:
        """Renew from the balance, at today's price and without a code."""
        currency, price, worth = self._priced(access.offer, "balance", self._percent(access.buyer))
        deal = Deal(key, access.buyer, "balance", currency, price, worth, self.now + LIFETIME, origin="renewal",
                    offer=access.offer, into=access)  # fmt: skip
        taking = Taking("balance", key, price, currency, "settled", None, deal)
        self._sell_from_balance(taking, deal)
        self.deals[key] = deal
        self.takings["balance", key] = taking
        return deal

    def change_plan(self, access: Access, plan: str) -> None:
        """What is left of one plan becomes time of another, worth the same by the price of a day."""
        left = access.ends - self.now
        if not access.on or left <= 0 or access.plan == plan or access.renews == "stars":
            raise Refused("impossible")
        period = access.offer[1] if access.offer else 30

        def nearest(name: str) -> tuple[str, int]:
            own = [offer for offer in self.offers if offer[0] == name]
            return min(own, key=lambda offer: (abs(offer[1] - period), offer[1]))

        old, new = nearest(access.plan), nearest(plan)
        rate = Fraction(self.offers[old][RUB] * new[1], old[1] * self.offers[new][RUB])
        for one in access.slices:
            one.start = one.start if one.start <= self.now else self.now + int((one.start - self.now) * rate)
            one.end = one.end if one.end <= self.now else self.now + int((one.end - self.now) * rate)
        access.plan, access.offer, access.ends = plan, new, self.now + int(left * rate)
        access.stretched = True

    # ------------------------------------------------------------------ the picture

    def picture(self) -> dict[str, Any]:
        """All that must stand in the database now."""
        return {
            "customers": {
                one.number: [one.own, one.bonus, one.owed, one.has_paid, one.code.name if one.code else None]
                for one in self.buyers
            },
            "purchases": {
                one.key: [
                    one.buyer.number, one.status, one.price, one.worth, one.received, one.refunded, one.bonus_days,
                    one.got.number if one.got else None,
                ]
                for one in self.deals.values()
            },
            "codes": {
                one.name: [one.used, one.late, *(sum(use.state == state for use in one.uses)
                                                 for state in ("reserved", "consumed", "returned"))]
                for one in self.codes.values()
            },
            "charges": {
                f"{one.provider}:{one.name}": [one.outcome, one.reason, one.amount, one.refunded]
                for one in self.takings.values()
            },
            "accesses": {
                one.number: [
                    one.buyer.number, one.plan, one.on, one.ends, one.renews,
                    sorted([each.start, each.end, each.removed] for each in one.slices),
                ]
                for one in self.accesses
            },
            "refunds": {
                one.key: [one.status, one.route, one.source, one.amount, one.worth, one.external]
                for one in self.backs.values()
            },
            "rewards": {
                key: [one.host.number, one.base, one.percent, one.amount, one.reversed]
                for key, one in self.rewards.items()
            },
            "runs": {key: [one.access.number, one.state] for key, one in self.runs.items()},
            "house": {name: amount for name, amount in self.house.items() if amount},
            "receipts": dict.fromkeys(self.receipts, 1),
        }  # fmt: skip
