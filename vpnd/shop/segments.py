"""Segments: who of the customers is meant, counted and read a range of customers at a time.

A segment is a set of conditions that all have to hold. Each becomes SQL over one range of customer ids, and bounds what it reads
of other tables by the same range, so that a page of fifty thousand is one pass over three or four ranges of indexes and not
fifty thousand look-ups. Whoever goes through all customers does it page by page, each statement by itself and in its turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from attrs import asdict, evolve, fields_dict, frozen

from vpnd.database import Row
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.shop.source import Source, fetch, fetchrow, turn_of

__all__ = ["LAST", "Conditions", "Member", "Segment", "conditions", "members", "reach"]

#: Customers that one statement of a count looks at. A million is some thirty statements of a few hundredths of a second.
COUNT_PAGE: Final = 32_768
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


# What another table says of the customers of the range: its rows are bounded by the range, too.
_ACTIVE: Final = (
    "select from subscriptions s where s.customer_id = c.id and s.customer_id > $1 and s.customer_id <= $2"
    " and s.status = 'active'"
)
_BOUGHT: Final = (
    "select from purchases b where b.customer_id = c.id and b.customer_id > $1 and b.customer_id <= $2"
    " and b.kind = 'access' and b.status in ('paid', 'refunded')"
)
_BROUGHT: Final = (
    "select from customers r where r.referrer_id = c.id and r.referrer_id > $1 and r.referrer_id <= $2"
)
# Whoever has access now has rows that end later than any moment in the past.
_ENDED_BEFORE: Final = """c.id in (
    select s.customer_id from subscriptions s where s.customer_id > $1 and s.customer_id <= $2
    group by s.customer_id
    having not bool_or(s.status = 'active') and max(s.expires_at) <= vpnd_now() - make_interval(days => {days}))"""
_RICHER: Final = """c.id in (
    select a.customer_id from accounts a where a.customer_id > $1 and a.customer_id <= $2
      and a.kind in ('customer', 'bonus') and a.currency = {currency}
    group by a.customer_id having sum(a.balance) {sign} {amount})"""


class _Arguments:
    """Collects arguments behind the two of the range."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def add(self, value: object, kind: str) -> str:
        self.values.append(value)
        return f"${len(self.values) + 2}::{kind}"


def conditions(segment: Segment) -> Conditions:
    """What has to hold for a customer to be meant."""
    given = _Arguments()
    parts = ["c.reachable and c.blocked_at is null"]
    if segment.languages is not None:
        parts.append(f"c.language = any({given.add(list(segment.languages), 'text[]')})")
    for asked, sql in (
        (segment.active, _ACTIVE),
        (segment.trial, f"{_ACTIVE} and s.trial"),
        (segment.bought, _BOUGHT),
        (segment.brought, _BROUGHT),
    ):
        if asked is not None:
            parts.append(f"{'' if asked else 'not '}exists ({sql})")
    if segment.plans is not None:
        parts.append(f"exists ({_ACTIVE} and s.plan_id = any({given.add(list(segment.plans), 'text[]')}))")
    if segment.expired_days is not None:
        parts.append(_ENDED_BEFORE.format(days=given.add(segment.expired_days, "integer")))
    for amount, sign in ((segment.balance_over, ">"), (segment.balance_under, "<")):
        if amount is not None:
            parts.append(_balance(given, str(segment.currency), amount, sign))
    if segment.came is not None:
        parts.append(f"c.referrer_id is {'not ' if segment.came else ''}null")
    if segment.idle_days is not None:
        days = given.add(segment.idle_days, "integer")
        parts.append(f"coalesce(c.seen_at, c.created_at) <= vpnd_now() - make_interval(days => {days})")
    return Conditions("\n  and ".join(parts), tuple(given.values))


def _balance(given: _Arguments, currency: str, amount: int, sign: str) -> str:
    """Who has no account has nothing on it."""
    has_nothing = amount < 0 if sign == ">" else amount > 0
    # With nothing among what is meant, those are looked for who are not.
    wanted = {">": "<=", "<": ">="}[sign] if has_nothing else sign
    sql = _RICHER.format(
        currency=given.add(currency, "text"), sign=wanted, amount=given.add(amount, "numeric")
    )
    return f"not ({sql})" if has_nothing else sql


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
