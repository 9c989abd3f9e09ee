"""The ledger: every unit of every currency, in append-only transfers that sum to zero.

A transfer is one row with two sides in one currency, so no sum can go wrong by half a transfer. An account
that is credited gains, one that is debited loses: money from a provider debits `clearing` (the provider owes
us that much more) and credits the customer. What a customer can spend (his own money, and the bonus he was given)
is the only cached balance, kept by the transaction that posts, under its row's lock, and never below zero. A
transfer is corrected by its reversal.

What was given to a customer and cannot be taken back (it was spent before the provider took its money back)
is booked to his `receivable`, and what of his own money comes next and stays repays it; a bonus does not.

Customers' accounts are locked in the order of their ids, after purchases and subscriptions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from attrs import field, frozen

from vpnd.database.scope import Transaction
from vpnd.shop.accounts import (
    Account,
    AccountRef,
    LedgerError,
    adjustments,
    bonus,
    clearing,
    customer,
    exchange,
    held,
    lock_balance,
    open_accounts,
    promo,
    receivable,
    referral,
    refunds,
    revenue,
)
from vpnd.shop.source import Source, fetch, fetchrow

__all__ = [
    "Account",
    "AccountRef",
    "AlreadyReversed",
    "Balance",
    "Entry",
    "InsufficientBalance",
    "LedgerError",
    "StatementLine",
    "adjustments",
    "balance_of",
    "balances_of",
    "bonus",
    "clearing",
    "customer",
    "exchange",
    "held",
    "imbalance",
    "lock_balance",
    "open_accounts",
    "post",
    "promo",
    "receivable",
    "referral",
    "refunds",
    "repay_receivable",
    "revenue",
    "reverse",
    "statement",
]

_AUDIT_DEADLINE: Final = 120.0  # seconds; a pass over the whole ledger


class InsufficientBalance(LedgerError):
    """A customer's balance would fall below zero."""


class AlreadyReversed(LedgerError):
    """The transfer has a reversal already."""


@frozen
class Entry:
    """One transfer: `amount` minor units leave `debit` and arrive at `credit`.

    Attributes:
        reference: says what this transfer is once and for all, "payment:cryptopay:17"; a second one is refused.
        rate: of an exchange: units of the other currency for one of this.
    """

    debit: AccountRef
    credit: AccountRef
    amount: int = field()
    kind: str
    reference: str
    settlement_id: int | None = None
    purchase_id: int | None = None
    rate: Decimal | None = None
    reverses_id: int | None = None
    note: str | None = None

    @amount.validator
    def _positive(self, _attribute: object, value: int) -> None:
        if value <= 0:
            raise LedgerError(f"transfer {self.reference} has no positive amount")

    @property
    def currency(self) -> str:
        """The currency of both sides. Raises LedgerError when they differ."""
        if self.debit.currency != self.credit.currency:
            raise LedgerError(f"transfer {self.reference} has sides in two currencies")
        return self.debit.currency


@frozen
class StatementLine:
    """One transfer as an account sees it: `amount` is positive when it gained; `account` is which one, by its kind."""

    id: int
    kind: str
    amount: int
    currency: str
    reference: str
    note: str | None
    created_at: datetime
    account: str


_POST: Final = """
with moved as (
    update accounts a set balance = a.balance + d.delta
    from unnest($12::bigint[], $13::bigint[]) as d (id, delta)
    where a.id = d.id
)
insert into ledger (debit_id, credit_id, currency, amount, kind, reference,
                    settlement_id, purchase_id, rate, reverses_id, note)
select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[],
                     $7::bigint[], $8::bigint[], $9::numeric[], $10::bigint[], $11::text[])
returning id, reference
"""


async def post(tx: Transaction, entries: Sequence[Entry]) -> list[int]:
    """Post transfers as one set and return their ids, in the order given.

    Opens what accounts are missing, locks the customers', and moves their cached balances by the net of all
    entries. Raises InsufficientBalance (nothing is written then), LedgerError, and UniqueViolation for a
    reference that was posted before.
    """
    if not entries:
        return []
    currencies = [entry.currency for entry in entries]
    accounts = await open_accounts(tx, [ref for entry in entries for ref in (entry.debit, entry.credit)])
    deltas: dict[AccountRef, int] = defaultdict(int)
    for entry in entries:
        deltas[entry.debit] -= entry.amount
        deltas[entry.credit] += entry.amount
    moves: list[tuple[int, int]] = []
    for ref, delta in deltas.items():
        balance = accounts[ref].balance
        if balance is None or delta == 0:
            continue
        if balance + delta < 0:
            raise InsufficientBalance(
                f"customer {ref.owner} has {balance} of {-delta} minor units of {ref.currency}"
            )
        moves.append((accounts[ref].id, delta))
    rows = await tx.fetch(
        _POST,
        [accounts[entry.debit].id for entry in entries],
        [accounts[entry.credit].id for entry in entries],
        currencies,
        [entry.amount for entry in entries],
        [entry.kind for entry in entries],
        [entry.reference for entry in entries],
        [entry.settlement_id for entry in entries],
        [entry.purchase_id for entry in entries],
        [entry.rate for entry in entries],
        [entry.reverses_id for entry in entries],
        [entry.note for entry in entries],
        [account_id for account_id, _ in moves],
        [delta for _, delta in moves],
    )
    ids = {row["reference"]: row["id"] for row in rows}
    return [ids[entry.reference] for entry in entries]


async def reverse(tx: Transaction, ledger_id: int, *, reference: str, note: str | None = None) -> int:
    """Undo a transfer by its mirror image and return the new row's id.

    When the customer whose money it takes back has not enough left, the rest is booked to his receivable
    first, so that his balance ends at zero and he owes it. Raises AlreadyReversed, and LedgerError for a
    transfer that does not exist.
    """
    row = await tx.fetchrow(_TRANSFER, ledger_id)
    if row is None:
        raise LedgerError(f"transfer {ledger_id} does not exist")
    if row["reversed"]:
        raise AlreadyReversed(f"transfer {ledger_id} has a reversal already")
    gained = AccountRef(row["c_kind"], row["c_owner"], row["currency"], row["c_customer"])
    lost = AccountRef(row["d_kind"], row["d_owner"], row["currency"], row["d_customer"])
    entries: list[Entry] = []
    if gained.kind in ("customer", "bonus") and gained.customer_id is not None:
        balance = (await open_accounts(tx, [gained]))[gained].balance or 0
        if balance < row["amount"]:
            owes = receivable(gained.customer_id, gained.currency)
            short = row["amount"] - balance
            entries.append(Entry(owes, gained, short, "receivable", f"receivable:{reference}", note=note))
    mirror = Entry(
        gained,
        lost,
        row["amount"],
        "reversal",
        reference,
        settlement_id=row["settlement_id"],
        purchase_id=row["purchase_id"],
        rate=row["rate"],
        reverses_id=ledger_id,
        note=note,
    )
    return (await post(tx, [*entries, mirror]))[-1]


_TRANSFER: Final = """
select l.amount, l.currency, l.settlement_id, l.purchase_id, l.rate,
       d.kind as d_kind, d.owner as d_owner, d.customer_id as d_customer,
       c.kind as c_kind, c.owner as c_owner, c.customer_id as c_customer,
       exists (select from ledger r where r.reverses_id = l.id) as reversed
from ledger l
join accounts d on d.id = l.debit_id
join accounts c on c.id = l.credit_id
where l.id = $1
"""


async def repay_receivable(
    tx: Transaction, customer_id: int, currency: str, *, up_to: int, reference: str
) -> int:
    """Let a fresh credit of `up_to` minor units repay what the customer owes; returns what it took."""
    owed = await tx.fetchval(_OWED, str(customer_id), currency)
    if not owed or up_to <= 0:
        return 0
    amount = min(int(owed), up_to, await lock_balance(tx, customer_id, currency))
    if amount <= 0:
        return 0
    entry = Entry(
        customer(customer_id, currency), receivable(customer_id, currency), amount, "repayment", reference
    )
    await post(tx, [entry])
    return amount


# What was lent less what was repaid. Callers have credited the customer in this transaction, so his balance's lock
# is theirs already and nobody repays beside them.
_OWED: Final = """
select coalesce((select sum(l.amount) from ledger l where l.debit_id = a.id), 0)
     - coalesce((select sum(l.amount) from ledger l where l.credit_id = a.id), 0)
from accounts a where a.kind = 'receivable' and a.owner = $1 and a.currency = $2
"""


@frozen
class Balance:
    """What a customer can spend, in minor units: his `own` money, and the `bonus` that the shop gave him."""

    own: int
    bonus: int

    @property
    def total(self) -> int:
        """Both together: what he is shown."""
        return self.own + self.bonus


async def balances_of(source: Source, customer_id: int, currency: str) -> Balance:
    """What a customer can spend, without a lock."""
    row = await fetchrow(source, "ledger.balance", _BALANCE, str(customer_id), currency)
    return Balance(0, 0) if row is None else Balance(int(row["own"]), int(row["bonus"]))


async def balance_of(source: Source, customer_id: int, currency: str) -> int:
    """All that a customer can spend, in minor units, without a lock."""
    return (await balances_of(source, customer_id, currency)).total


_BALANCE: Final = """
select coalesce(sum(balance) filter (where kind = 'customer'), 0) as own,
       coalesce(sum(balance) filter (where kind = 'bonus'), 0) as bonus
from accounts where kind in ('customer', 'bonus') and owner = $1 and currency = $2
"""


async def statement(
    source: Source, ref: AccountRef, *others: AccountRef, limit: int = 50, before: int | None = None
) -> list[StatementLine]:
    """The transfers of an account, or of several together, the newest first, at most `limit`; one read.

    `before` is the last id of the page before. Several have one owner and one currency; what goes from one of them to another
    is a line of both. Raises ValueError for accounts of several owners or currencies.
    """
    if any((other.owner, other.currency) != (ref.owner, ref.currency) for other in others):
        raise ValueError("a statement of several accounts is of one owner and one currency")
    kinds = [ref.kind, *(other.kind for other in others)]
    rows = await fetch(source, "ledger.statement", _STATEMENT, kinds, ref.owner, ref.currency, limit, before)
    return [
        StatementLine(
            id=row["id"],
            kind=row["kind"],
            amount=row["amount"],
            currency=row["currency"],
            reference=row["reference"],
            note=row["note"],
            created_at=row["created_at"],
            account=row["account"],
        )
        for row in rows
    ]


# Each side by its own index, so that a page costs a page however long the ledger is. By an equality the planner would take
# the account's place in the order for a constant, and where few accounts hold most lines (every top-up comes from the same one)
# walk the whole ledger backwards by its key, for an account that it believes to meet soon. A range leaves it no choice.
_STATEMENT: Final = """
select s.id, s.kind, s.signed as amount, s.currency, s.reference, s.note, s.created_at, a.kind as account
from accounts a cross join lateral (
    (select l.*, -l.amount as signed from ledger l
     where (l.debit_id, l.id) > (a.id, 0) and (l.debit_id, l.id) < (a.id, coalesce($5::bigint, 9223372036854775807))
     order by l.debit_id desc, l.id desc limit $4)
    union all
    (select l.*, l.amount as signed from ledger l
     where (l.credit_id, l.id) > (a.id, 0) and (l.credit_id, l.id) < (a.id, coalesce($5::bigint, 9223372036854775807))
     order by l.credit_id desc, l.id desc limit $4)
) s
where a.kind = any($1::text[]) and a.owner = $2 and a.currency = $3
order by s.id desc, a.kind limit $4
"""


async def imbalance(source: Source) -> dict[str, int]:
    """The sum over all accounts, by currency: zero for each, or the books are broken.

    A pass over the whole ledger: for a worker at night and for an audit.
    """
    rows = await fetch(source, "ledger.imbalance", _IMBALANCE, deadline=_AUDIT_DEADLINE)
    return {row["currency"]: int(row["total"]) for row in rows}


# By the accounts' own currency, each side on its own: a row whose sides were in two currencies would show.
_IMBALANCE: Final = """
select currency, sum(amount) as total
from (
    select a.currency, l.amount from ledger l join accounts a on a.id = l.credit_id
    union all
    select a.currency, -l.amount from ledger l join accounts a on a.id = l.debit_id
) sides
group by currency order by currency
"""
