"""Segments: who of the customers is meant, counted and read a range of customers at a time.

A segment is a set of conditions that all have to hold. Each becomes SQL over one range of customer ids: what his own row says, or
whether he is in a set of ids that is read from another table, bounded by the same range, once a statement. So a page is
one pass over a few ranges of indexes, whatever the planner expects. Whoever goes through all customers does it page by page, each
statement by itself and in its turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from attrs import asdict, evolve, fields_dict, frozen

from vpnd.database import Row
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.shop.source import Source, fetch, fetchrow, turn_of

__all__ = ["LAST", "Conditions", "Member", "Segment", "conditions", "members", "reach"]

#: Customers that one statement of a count looks at: a million is some sixty statements of a hundredth or three of a second. A
#: hash table of so many ids is expected to take half a megabyte, an eighth of what a server gives a statement by default.
COUNT_PAGE: Final = 16_384
#: Customers that one statement of an export looks at.
MEMBERS_PAGE: Final = 4_000
#: A customer id beyond all others.
LAST: Final = 2**63 - 1

_MOST_DAYS: Final = 36_500
_MOST_NAMED: Final = 100  # languages or plans in one segment


@frozen(kw_only=True)
class Segment:
    """Who is meant: customers for whom all that is set is true. Who cannot be reached never is.

    Attributes:
        languages: he speaks one of these.
        active: he has access now, or has none.
        trial: he is trying now, or is not.
        bought: he has bought before, or never has.
        plans: he has access by one of these.
        expired_days: he has no access, and the last he had ended at least so many days ago.
        balance_over, balance_under: his balance, bonus included, is more or less than this; minor units of `currency`.
        currency: of the balance; needed with one.
        came: he came by somebody's link, or by himself.
        brought: somebody came by his link, or nobody did.
        idle_days: he has neither written nor pressed for so many days, as far as that is known.
    """

    languages: Sequence[str] | None = None
    active: bool | None = None
    trial: bool | None = None
    bought: bool | None = None
    plans: Sequence[str] | None = None
    expired_days: int | None = None
    balance_over: int | None = None
    balance_under: int | None = None
    currency: str | None = None
    came: bool | None = None
    brought: bool | None = None
    idle_days: int | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what could mean nothing. Raises ValueError with the field's name."""
        for name in ("expired_days", "idle_days"):
            days = getattr(self, name)
            if days is not None and not 0 <= days <= _MOST_DAYS:
                raise ValueError(f"{name} is a number of days from 0 to {_MOST_DAYS}, and not {days}")
        for name in ("languages", "plans"):
            named = getattr(self, name)
            if named is not None and len(named) > _MOST_NAMED:
                raise ValueError(f"{name} are at most {_MOST_NAMED}, and not {len(named)}")
        for name in ("balance_over", "balance_under"):
            amount = getattr(self, name)
            if amount is not None and not (-LAST < amount < LAST and self.currency):
                raise ValueError(f"{name} is an amount of a currency")

    @property
    def everybody(self) -> bool:
        """Whether nothing is asked of a customer but that he can be reached."""
        return not self.to_json()

    def to_json(self) -> dict[str, Any]:
        """What is set, as plain values."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        if "balance_over" not in found and "balance_under" not in found:
            found.pop("currency", None)
        return found

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Segment:
        """What `to_json` gave. Raises ValueError for what it never gave."""
        unknown = set(values) - set(fields_dict(cls))
        if unknown:
            raise ValueError(f"a segment has no {', '.join(sorted(unknown))}")
        return cls(**values)

    def but(self, **changes: Any) -> Segment:
        """The same with other values."""
        return evolve(self, **changes)


@frozen
class Conditions:
    """SQL about a customer `c` within the ids from $1 (exclusive) to $2 (inclusive), and its arguments from $3 on."""

    sql: str
    arguments: tuple[object, ...]


@frozen
class Member:
    """A customer of a segment, as an export shows him."""

    id: int
    telegram_id: int
    username: str | None
    first_name: str
    language: str


# What other tables say of the customers of the range, each in one pass over the same range of its index.
_ACTIVE: Final = """select s.customer_id from subscriptions s
    where s.customer_id > $1 and s.customer_id <= $2 and s.status = 'active'"""
_TRIAL: Final = f"{_ACTIVE} and s.trial"
# Both are in one table, which is read once.
_ACTIVE_WITHOUT_TRIAL: Final = f"{_ACTIVE} group by s.customer_id having not bool_or(s.trial)"
_BY_PLAN: Final = f"{_ACTIVE} and s.plan_id = any({{plans}})"
# Whoever has access now has no last end.
_ENDED: Final = """select s.customer_id from subscriptions s where s.customer_id > $1 and s.customer_id <= $2
    group by s.customer_id having max(case when s.status = 'active' then 'infinity' else s.expires_at end) <= {moment}"""
_BALANCES: Final = """select a.customer_id from accounts a where a.customer_id > $1 and a.customer_id <= $2
    and a.kind in ('customer', 'bonus') and a.currency = {currency}
    group by a.customer_id having {terms}"""
# One row a customer, however many he has: what the planner expects not to fit in its memory is not kept in a hash table.
_BOUGHT: Final = """select b.customer_id from purchases b where b.customer_id > $1 and b.customer_id <= $2
    and b.kind = 'access' and b.status in ('paid', 'refunded')
    group by b.customer_id"""
_BROUGHT: Final = """select r.referrer_id from customers r where r.referrer_id > $1 and r.referrer_id <= $2
    group by r.referrer_id"""


class _Arguments:
    """Collects arguments behind the two of the range."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def add(self, value: object, kind: str) -> str:
        self.values.append(value)
        return f"${len(self.values) + 2}::{kind}"

    def ago(self, days: int) -> str:
        # A query of its own is asked once. The function alone would be called for every row, and that took longer than all else.
        return f"(select vpnd_now() - make_interval(days => {self.add(days, 'integer')}))"


def conditions(segment: Segment) -> Conditions:
    """What has to hold for a customer to be meant; what his own row says comes first, since the others cost more."""
    given = _Arguments()
    parts = ["c.reachable and c.blocked_at is null"]
    if segment.came is not None:
        parts.append(f"c.referrer_id is {'not ' if segment.came else ''}null")
    if segment.languages is not None:
        parts.append(f"c.language = any({given.add(list(segment.languages), 'text[]')})")
    if segment.idle_days is not None:
        parts.append(f"coalesce(c.seen_at, c.created_at) <= {given.ago(segment.idle_days)}")
    if segment.brought is not None:
        parts.append(_among(_BROUGHT, segment.brought))
    if segment.balance_over is not None or segment.balance_under is not None:
        parts.append(_balance(segment, given))
    if segment.bought is not None:
        parts.append(_among(_BOUGHT, segment.bought))
    parts += [_among(customers, wanted) for customers, wanted in _access(segment, given)]
    return Conditions("\n  and ".join(parts), tuple(given.values))


def _among(customers: str, wanted: bool) -> str:
    """Whether he is one of these, who are looked for once a statement and kept in a hash table.

    Without "is true" the planner makes a join of it, and where it expects few rows, one that looks for them again for every
    customer: a page then took seconds.
    """
    return f"(c.id in ({customers})) is {'' if wanted else 'not '}true"


def _access(segment: Segment, given: _Arguments) -> list[tuple[str, bool]]:
    """What his subscriptions say; what follows from another condition is not looked for."""
    sets: list[tuple[str, bool]] = []
    if segment.plans is not None:
        sets.append((_BY_PLAN.format(plans=given.add(list(segment.plans), "text[]")), True))
    if segment.expired_days is not None:
        sets.append((_ENDED.format(moment=given.ago(segment.expired_days)), True))
    if segment.active and segment.trial is False and segment.plans is None:
        return [*sets, (_ACTIVE_WITHOUT_TRIAL, True)]
    has_access, has_none = bool(segment.trial) or segment.plans is not None, segment.expired_days is not None
    if segment.trial or (segment.trial is False and not has_none and segment.active is not False):
        sets.append((_TRIAL, segment.trial))
    if segment.active is not None and not (has_access if segment.active else has_none):
        sets.append((_ACTIVE, segment.active))
    return sets


def _balance(segment: Segment, given: _Arguments) -> str:
    """Who has no account has nothing on it."""
    over, under = segment.balance_over, segment.balance_under
    currency = given.add(segment.currency, "text")
    terms = " and ".join(
        f"sum(a.balance) {sign} {given.add(amount, 'numeric')}"
        for amount, sign in ((over, ">"), (under, "<"))
        if amount is not None
    )
    # With nothing among what is meant, those are looked for who are not.
    if (over is None or over < 0) and (under is None or under > 0):
        return _among(_BALANCES.format(currency=currency, terms=f"not ({terms})"), False)
    return _among(_BALANCES.format(currency=currency, terms=terms), True)


async def _pages(source: Source, size: int) -> AsyncIterator[tuple[int, int]]:
    """The ranges of ids (exclusive, inclusive) that hold `size` customers each, in order."""
    after = 0
    while after < LAST:
        row = await fetchrow(
            source,
            "segments.page",
            "select id from customers where id > $1 order by id offset $2 limit 1",
            after,
            size - 1,
        )
        through = LAST if row is None else int(row["id"])
        yield after, through
        after = through


async def reach(source: Source, segment: Segment, *, page: int = COUNT_PAGE) -> int:
    """How many customers are meant now: exact, page by page, each in its turn."""
    meant = conditions(segment)
    sql = f"select count(*) as meant from customers c where c.id > $1 and c.id <= $2 and {meant.sql}"  # noqa: S608 (constants)
    found = 0
    async for after, through in _pages(source, page):
        # A reading of its own would count as people being served, for whom a turn is followed by a rest.
        with as_class(LimitClass.ADMIN):
            async with turn_of(source):
                row = await fetchrow(source, "segments.reach", sql, after, through, *meant.arguments)
        found += 0 if row is None else int(row["meant"])
    return found


async def members(
    source: Source, segment: Segment, *, page: int = MEMBERS_PAGE
) -> AsyncIterator[list[Member]]:
    """Who is meant, in pages in the order of their ids; none of them is empty."""
    meant = conditions(segment)
    sql = f"""
        select c.id, c.telegram_id, c.username, c.first_name, c.language from customers c
        where c.id > $1 and c.id <= $2 and {meant.sql}
        order by c.id limit {page}
        """  # noqa: S608 (constants)
    async for after, through in _pages(source, page):
        with as_class(LimitClass.ADMIN):
            async with turn_of(source):
                rows: list[Row] = await fetch(
                    source, "segments.members", sql, after, through, *meant.arguments
                )
        if rows:
            yield [Member(*row.values()) for row in rows]
