"""The ledger's accounts: what each is for, and how they are opened and locked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from attrs import frozen

from vpnd.database.scope import Transaction

__all__ = [
    "Account",
    "AccountRef",
    "LedgerError",
    "adjustments",
    "bonus",
    "clearing",
    "customer",
    "exchange",
    "held",
    "lock_balance",
    "open_accounts",
    "promo",
    "receivable",
    "referral",
    "refunds",
    "revenue",
]

AccountKind = Literal[
    "clearing",
    "customer",
    "bonus",
    "receivable",
    "exchange",
    "revenue",
    "referral",
    "promo",
    "refunds",
    "adjustments",
    "held",
]


class LedgerError(Exception):
    """The ledger refuses the transfer."""


@frozen
class AccountRef:
    """An account by what it is for; it is opened by the first transfer that names it."""

    kind: AccountKind
    owner: str
    currency: str
    customer_id: int | None = None


def clearing(provider: str, currency: str) -> AccountRef:
    """What a provider holds for us."""
    return AccountRef("clearing", provider, currency)


def held(provider: str, currency: str) -> AccountRef:
    """Money that belongs to nobody yet: an admin decides."""
    return AccountRef("held", provider, currency)


def customer(customer_id: int, currency: str) -> AccountRef:
    """What a customer has paid in and not spent: his own money."""
    return AccountRef("customer", str(customer_id), currency, customer_id)


def bonus(customer_id: int, currency: str) -> AccountRef:
    """What the shop gave a customer to spend (rewards, promo codes): part of his balance, but not his own money.

    Kept apart so that a reward can never earn another one, and money is only given back to who paid it.
    """
    return AccountRef("bonus", str(customer_id), currency, customer_id)


def receivable(customer_id: int, currency: str) -> AccountRef:
    """What a customer owes us."""
    return AccountRef("receivable", str(customer_id), currency, customer_id)


def exchange(currency: str) -> AccountRef:
    """Where one currency leaves and another enters; the rate stands in the rows."""
    return AccountRef("exchange", "", currency)


def revenue(currency: str) -> AccountRef:
    """What was sold."""
    return AccountRef("revenue", "", currency)


def referral(currency: str) -> AccountRef:
    """What rewards for referrals have cost."""
    return AccountRef("referral", "", currency)


def promo(currency: str) -> AccountRef:
    """What promo codes that give money have cost."""
    return AccountRef("promo", "", currency)


def refunds(currency: str) -> AccountRef:
    """What was sold and given back."""
    return AccountRef("refunds", "", currency)


def adjustments(currency: str) -> AccountRef:
    """What an admin gave or took by hand."""
    return AccountRef("adjustments", "", currency)


@frozen
class Account:
    """An open account. `balance` is cached for what customers can spend, locked for the rest of the transaction."""

    id: int
    ref: AccountRef
    balance: int | None


# Finds all and locks the customers' in one round trip. A balance comes from the locked version of its row, which may
# be newer than the statement's view. Accounts that everybody shares are not locked: nothing is cached in them.
_FIND: Final = """
with wanted as (
    select * from unnest($1::text[], $2::text[], $3::text[]) as w (kind, owner, currency)
), locked as (
    select a.id, a.balance from wanted w
    join accounts a on a.kind = w.kind and a.owner = w.owner and a.currency = w.currency
    where w.kind in ('customer', 'bonus')
    order by a.id
    for no key update of a
)
select a.id, a.kind, a.owner, a.currency, a.customer_id, locked.balance
from wanted w
join accounts a on a.kind = w.kind and a.owner = w.owner and a.currency = w.currency
left join locked on locked.id = a.id
"""

# In one order, so that two transactions that open the same accounts wait and do not deadlock.
_OPEN: Final = """
insert into accounts (kind, owner, currency, customer_id, balance)
select w.kind, w.owner, w.currency, w.customer_id, case when w.kind in ('customer', 'bonus') then 0 end
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as w (kind, owner, currency, customer_id)
order by w.kind, w.owner, w.currency
on conflict (kind, owner, currency) do nothing
"""


async def open_accounts(tx: Transaction, refs: Iterable[AccountRef]) -> dict[AccountRef, Account]:
    """Find or open the accounts as a set, and lock those of customers in the order of their ids."""
    wanted = sorted(set(refs), key=lambda ref: (ref.kind, ref.owner, ref.currency))
    keys = [ref.kind for ref in wanted], [ref.owner for ref in wanted], [ref.currency for ref in wanted]
    rows = await tx.fetch(_FIND, *keys)
    if len(rows) < len(wanted):
        await tx.execute(_OPEN, *keys, [ref.customer_id for ref in wanted])
        rows = await tx.fetch(_FIND, *keys)  # also those that another transaction opened meanwhile
    accounts: dict[AccountRef, Account] = {}
    for row in rows:
        ref = AccountRef(row["kind"], row["owner"], row["currency"], row["customer_id"])
        accounts[ref] = Account(row["id"], ref, row["balance"])
    missing = [ref for ref in wanted if ref not in accounts]
    if missing:
        raise LedgerError(
            f"account {missing[0].kind}:{missing[0].owner}:{missing[0].currency} is another customer's"
        )
    return accounts


async def lock_balance(tx: Transaction, customer_id: int, currency: str) -> int:
    """Lock a customer's account until the transaction ends and return its balance in minor units."""
    ref = customer(customer_id, currency)
    accounts = await open_accounts(tx, [ref])
    return accounts[ref].balance or 0
