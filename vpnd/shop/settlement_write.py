"""A verdict written down: all of it in one statement, and nothing of it if somebody else has the charge already.

The statement claims the charge first; every other part depends on the claim. Whatever a kill does, a charge is
written with its purchase, its access, its entries and its messages, or not at all.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vpnd.database import Row
from vpnd.database.scope import Transaction
from vpnd.shop.accounts import AccountRef, open_accounts
from vpnd.shop.identifiers import public_id
from vpnd.shop.ledger import Entry, InsufficientBalance
from vpnd.shop.notices import Notice
from vpnd.shop.settlement_decision import Access, Verdict
from vpnd.shop.settlement_scene import Scene

__all__ = ["clean_payload", "write_verdict"]

# $1 settlement, $2 provider, $3 charge, $4 purchase, $5 customer, $6 outcome, $7 reason, $8 currency, $9 amount, $10 text,
# $11 details, $12 paid at, $13 invoice, $14 whether the purchase is paid, $15 what it received, $16 the purchase that a
# recurring charge repeats, $17 public id of the new one,
# $18 subscription, $19 created, $20 was off, $21 from, $22 until, $23 plan, $24 offer, $25 days, $26 name, $27 credential,
# $28 link token, $29 renews by, $30 old version,
# $31 referrer, $32 base, $33 percent, $34 reward, $35 its currency, $36 whether the customer has paid with own money,
# $37-$45 ledger, $46-$47 moves of cached balances, $48-$53 outbox, $54 whether the customer's own subscription would be renewed
_WRITE: Final = """
with claimed as (
    insert into settlements (id, provider, charge_id, purchase_id, customer_id, outcome, reason,
                             currency, amount, amount_text, details, paid_at)
    overriding system value
    select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
    -- A subscription that another payment of this customer made while we waited for his lock was not in the scene.
    where not ($19 and $54 and exists (select from subscriptions s where s.customer_id = $5 and (s.plan_id = $23 or s.trial)))
    on conflict (provider, charge_id) do nothing
    returning id
), child as (
    insert into purchases (id, public_id, customer_id, kind, origin, offer_id, subscription_id, method, currency, amount,
                           shop_currency, shop_amount, list_amount, status, received, request_key, expires_at, paid_at)
    overriding system value
    select $4, $17, p.customer_id, p.kind, 'recurring', p.offer_id, $18, p.method, p.currency, p.amount,
           p.shop_currency, p.shop_amount, p.list_amount, 'paid', $15, 'recurring:' || $2 || ':' || $3, vpnd_now(), vpnd_now()
    from claimed join purchases p on p.id = $16
), purchase as (
    update purchases
    set status = case when $14 then 'paid' else status end,
        paid_at = case when $14 then vpnd_now() else paid_at end,
        received = received + $15
    where id = $4 and $16::bigint is null and ($14 or $15 > 0) and exists (select from claimed)
), invoice as (
    update invoices set status = 'paid'
    where provider = $2 and external_id = $13 and status <> 'paid' and exists (select from claimed)
), renewed as (
    update subscriptions s
    set expires_at = $22, status = 'active', offer_id = $24,
        plan_id = case when s.trial then $23 else s.plan_id end, trial = false,   -- a trial becomes what was bought
        starts_at = case when $20 then $21 else s.starts_at end,
        version = s.version + case when $20 then 1 else 0 end,
        activated_at = case when $20 then null else s.activated_at end,
        renews = coalesce($29, s.renews)
    where s.id = $18 and not $19 and exists (select from claimed)
), made as (
    insert into subscriptions (id, customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at,
                               offer_id, renews)
    overriding system value
    select $18, $5, $23, $26, $27, $28, 'active', $21, $22, $24, coalesce($29, 'off') from claimed where $19
), logged as (
    insert into access_log (subscription_id) select $18 from claimed where $19 or $20
), granted as (
    insert into grants (subscription_id, settlement_id, purchase_id, days, from_at, until_at)
    select $18, $1, $4, $25, $21, $22 from claimed where $18::bigint is not null
), withdrawn as (   -- a notice of the expiry that nobody has taken up yet is no longer true
    update outbox o set status = 'dropped', finished_at = clock_timestamp(), last_error = 'renewed meanwhile'
    from claimed
    where $20 and o.key = 'expired:' || $18 || ':' || $30 and o.status = 'ready'
      and (o.lease_until is null or o.lease_until < clock_timestamp())
), promo as (
    select u.id, u.promo_id, u.state from promo_uses u
    where u.purchase_id = $4 and $14 and $16::bigint is null and exists (select from claimed)
    for no key update
), consumed as (
    update promo_uses u set state = 'consumed', late = promo.state = 'returned' from promo
    where u.id = promo.id and promo.state <> 'consumed'
), recounted as (
    update promo_codes k set used = k.used + 1, late = k.late + 1 from promo
    where k.id = promo.promo_id and promo.state = 'returned'
), forgotten as (
    update customers c set promo_id = null from promo where c.id = $5 and c.promo_id = promo.promo_id
      and not ($36 and c.first_paid_at is null)
), earned as (
    update customers c set first_paid_at = vpnd_now(),
        promo_id = case when exists (select from promo where promo.promo_id = c.promo_id) then null else c.promo_id end
    where c.id = $5 and c.first_paid_at is null and $36 and exists (select from claimed)
), rewarded as (
    insert into referral_rewards (purchase_id, referrer_id, referee_id, currency, base, percent, amount)
    select $4, $31, $5, $35, $32, $33, $34 from claimed where $34 > 0
), moved as (
    update accounts a set balance = a.balance + d.delta
    from unnest($46::bigint[], $47::bigint[]) as d (id, delta)
    where a.id = d.id and exists (select from claimed)
), posted as (
    insert into ledger (debit_id, credit_id, currency, amount, kind, reference, settlement_id, purchase_id, rate)
    select e.* from unnest($37::bigint[], $38::bigint[], $39::text[], $40::bigint[], $41::text[], $42::text[],
                           $43::bigint[], $44::bigint[], $45::numeric[]) e
    where exists (select from claimed)
), told as (
    insert into outbox (kind, key, lane, order_key, payload, valid_until)
    select n.kind, n.key, n.lane, n.order_key, n.payload, n.valid_until
    from unnest($48::text[], $49::text[], $50::text[], $51::text[], $52::jsonb[], $53::timestamptz[])
         with ordinality as n (kind, key, lane, order_key, payload, valid_until, place)
    where exists (select from claimed)
    order by n.place
    on conflict (key) do nothing
)
select id, pg_current_xact_id()::text as xid from claimed
"""

# Types of the parameters whose place in the statement does not tell them.
_CASTS: Final[Mapping[int, str]] = {
    **dict.fromkeys((1, 4, 5, 9, 15, 16, 18, 24, 30, 31, 32, 34), "bigint"),
    **dict.fromkeys((2, 3, 6, 7, 8, 10, 13, 17, 23, 26, 28, 29, 35), "text"),
    **dict.fromkeys((12, 21, 22), "timestamptz"),
    **dict.fromkeys((14, 19, 20, 36, 54), "boolean"),
    **dict.fromkeys((25, 33), "integer"),
    11: "jsonb",
    27: "uuid",
}


def _typed(sql: str) -> str:
    """Give every bare parameter its type, so that the server need not guess it from one of many places."""

    def cast(match: re.Match[str]) -> str:
        number = int(match[1])
        return f"${number}::{_CASTS[number]}" if number in _CASTS and not match[2] else match[0]

    return re.sub(r"\$(\d+)(::)?", cast, sql)


_STATEMENT: Final = _typed(_WRITE)


def clean_payload(text: str | None) -> str | None:
    """A stranger's text as the database can take it: no NUL, and no longer than any payload of ours."""
    return None if text is None or "\x00" in text else text[:128]


async def write_verdict(tx: Transaction, scene: Scene, verdict: Verdict) -> bool:
    """Write a verdict. False, with nothing written, if another transaction has settled the charge, or has changed what
    the scene shows: read it again.

    Raises InsufficientBalance if a cached balance would fall below zero.
    """
    accounts = await _accounts(tx, scene, verdict.entries)
    claimed = await tx.fetchrow(
        _STATEMENT,
        *_settlement(verdict),
        *_access(verdict),
        *_rewards(verdict),
        *_ledger(verdict.entries, accounts),
        *_moves(scene, verdict.entries, accounts),
        *_outbox(verdict.told),
        verdict.purchase is not None and not verdict.purchase["fresh"],
    )
    if claimed is None:
        return False
    tx.note_xid(claimed["xid"])
    return True


async def _accounts(tx: Transaction, scene: Scene, entries: Sequence[Entry]) -> Mapping[AccountRef, int]:
    """Ids of all accounts that the entries name; those that were never used are opened now."""
    named = {ref for entry in entries for ref in (entry.debit, entry.credit)}
    missing = named - scene.accounts.keys()
    if not missing:
        return scene.accounts
    opened = await open_accounts(tx, missing)
    return {**scene.accounts, **{ref: account.id for ref, account in opened.items()}}


def _settlement(verdict: Verdict) -> tuple[Any, ...]:
    charge, purchase = verdict.charge, verdict.purchase
    payload = {} if charge.payload is None else {"payload": clean_payload(charge.payload)}
    return (
        verdict.settlement_id,
        charge.provider,
        charge.charge_id,
        verdict.purchase_id,
        None if purchase is None else purchase["customer_id"],
        verdict.outcome.value,
        verdict.reason,
        charge.currency,
        charge.amount or 0,
        charge.amount_text,
        {**charge.details, **payload},
        charge.paid_at,
        charge.invoice_external_id,
        verdict.paid,
        verdict.received,
        purchase["purchase_id"] if verdict.child and purchase is not None else None,
        public_id() if verdict.child else None,
    )


_NO_ACCESS: Final = (None, False, False, *(None,) * 10)


def _access(verdict: Verdict) -> tuple[Any, ...]:
    access: Access | None = verdict.access
    if access is None:
        return _NO_ACCESS
    recurs: Row | None = verdict.purchase if verdict.charge.recurring else None
    return (
        access.subscription_id,
        access.created,
        access.was_off,
        access.from_at,
        access.until_at,
        access.plan_id,
        access.offer_id,
        access.days,
        access.name,
        access.credential,
        access.link_token,
        "stars" if recurs is not None and recurs["recurring"] else None,
        access.old_version,
    )


def _rewards(verdict: Verdict) -> tuple[Any, ...]:
    reward, purchase = verdict.reward, verdict.purchase
    currency = None if purchase is None else purchase["shop_currency"]
    if reward is None:
        return None, None, None, 0, currency, verdict.earns
    return reward.referrer_id, reward.base, reward.percent, reward.amount, currency, verdict.earns


def _ledger(entries: Sequence[Entry], accounts: Mapping[AccountRef, int]) -> tuple[Any, ...]:
    return (
        [accounts[entry.debit] for entry in entries],
        [accounts[entry.credit] for entry in entries],
        [entry.currency for entry in entries],
        [entry.amount for entry in entries],
        [entry.kind for entry in entries],
        [entry.reference for entry in entries],
        [entry.settlement_id for entry in entries],
        [entry.purchase_id for entry in entries],
        [entry.rate for entry in entries],
    )


def _moves(
    scene: Scene, entries: Sequence[Entry], accounts: Mapping[AccountRef, int]
) -> tuple[list[int], list[int]]:
    """By how much cached balances move, as account ids and deltas."""
    deltas: dict[AccountRef, int] = defaultdict(int)
    for entry in entries:
        deltas[entry.debit] -= entry.amount
        deltas[entry.credit] += entry.amount
    moves = {ref: delta for ref, delta in deltas.items() if ref.kind in ("customer", "bonus") and delta}
    for ref, delta in moves.items():
        if scene.balance(ref) + delta < 0:
            raise InsufficientBalance(
                f"customer {ref.owner} has {scene.balance(ref)} of {-delta} minor units of {ref.currency}"
            )
    return [accounts[ref] for ref in moves], list(moves.values())


def _outbox(told: Sequence[Notice]) -> tuple[Any, ...]:
    return (
        [notice.kind for notice in told],
        [notice.key for notice in told],
        [notice.lane for notice in told],
        [notice.order for notice in told],
        [dict(notice.payload) for notice in told],
        [notice.valid_until for notice in told],
    )
