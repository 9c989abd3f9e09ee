"""The trial: some hours of access for nothing, once a customer, for who has never had any.

    never used, nothing on, nothing ever bought → granted → converted by any other grant | ended by the expiry

The conditions are judged where it is granted, under the customer's lock, whatever a menu had shown. One transaction holds
all of it and waits for nobody: a call that hangs or is cut has burned nothing, and one that is played again finds the
trial that it was given.

A trial is a subscription like any other, marked `trial` for as long as nothing else has given it access. A purchase (of any
plan, unless the customer wants one beside it), a gift or a promo code renews it from its end: no hour is lost, the link stays,
and it is a trial no more. So paid beats trial by structure: no rule has to ask which of two a subscription is.

Notices are declared by shares of the trial's length. One is due since its moment and until the next one's; each is sent once,
by whoever gets to write its row; only the nearest of several due; none in quiet hours, and none to who has paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Final, Literal
from uuid import uuid4

from attrs import frozen

from vpnd.config import QuietHours
from vpnd.database.scope import Transaction
from vpnd.shop import notices
from vpnd.shop.identifiers import link_token, subscription_name
from vpnd.shop.source import Source, fetch, fetchrow, in_transaction
from vpnd.shop.subscriptions import COLUMNS, NEVER_BOUGHT, Subscription, subscription_from_row

__all__ = [
    "TRIAL_NOTICES",
    "TrialGranted",
    "TrialNotice",
    "TrialTerms",
    "TrialUnavailable",
    "due_trial_notices",
    "grant_trial",
    "tell_trial_notices",
    "why_no_trial",
]

#: off: the shop has none. paused: an operator has paused it. used: this customer had his. active: he has access already.
#: bought: he has bought before. no_plan: there is no such plan.
Reason = Literal["off", "paused", "used", "active", "bought", "no_plan"]


class TrialUnavailable(Exception):
    """There is no trial for this customer; `reason` says why, and nothing was changed."""

    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason
        super().__init__(f"there is no trial for this customer: {reason}")


@frozen
class TrialTerms:
    """What is tried: for so many hours (0: there is no trial), which plan (None: the first on sale)."""

    hours: int
    plan: str | None = None


@frozen
class TrialGranted:
    """A trial. `created`: it was given now; else this request had been given it before."""

    subscription: Subscription
    created: bool


@frozen
class TrialNotice:
    """A notice that is due once this share of the trial's length is over."""

    name: str
    template: notices.Template
    share: Fraction


#: In the order of their shares. Of 72 hours: after 6, after 48, and 6 before the end. The end itself is told by the expiry.
TRIAL_NOTICES: Final = (
    TrialNotice("checkup", "trial_checkup", Fraction(1, 12)),
    TrialNotice("progress", "trial_progress", Fraction(2, 3)),
    TrialNotice("ending", "trial_ending", Fraction(11, 12)),
)

# $1 customer, $2 plan or null. A plan that is named may be one that is not sold.
_WHY: Final = f"""
    select plan.id as plan_id, case
        when (select w.paused from switches w where w.name = 'trial') then 'paused'
        when exists (select from trials t where t.customer_id = c.id) then 'used'
        when exists (select from subscriptions s where s.customer_id = c.id and s.status = 'active') then 'active'
        when not {NEVER_BOUGHT} then 'bought'
        when plan.id is null then 'no_plan'
    end as reason
    from customers c
    left join lateral (
        select p.id from plans p where case when $2::text is null then p.on_sale else p.id = $2 end
        order by p.position, p.id limit 1
    ) plan on true
    where c.id = $1
"""  # noqa: S608 (only a constant is pasted in)

# $3 hours, $4 request key, $5 name, $6 credential, $7 link token, $8 the first notice's share
_GRANT: Final = f"""
with why as ({_WHY}), made as (
    insert into subscriptions (customer_id, plan_id, name, credential, link_token, status, starts_at, expires_at, trial)
    select $1, plan_id, $5, $6, $7, 'active', vpnd_now(), vpnd_now() + make_interval(hours => $3::integer), true
    from why where reason is null
    returning *
), trial as (
    insert into trials (customer_id, subscription_id, request_key, starts_at, ends_at, notice_at)
    select customer_id, id, $4, starts_at, expires_at, starts_at + (expires_at - starts_at) * $8::float8 from made
), logged as (
    insert into access_log (subscription_id) select id from made
), granted as (
    insert into grants (subscription_id, days, from_at, until_at, kind)
    select id, $3::integer / 24, starts_at, expires_at, 'trial' from made
)
select why.reason, made.* from why left join made on true
"""  # noqa: S608 (only a constant is pasted in)

_REPLAYED: Final = f"""
select {COLUMNS} from subscriptions
where id = (select subscription_id from trials where customer_id = $1 and request_key = $2)
"""  # noqa: S608 (only a constant is pasted in)

# $1 customers, $2 zone, $3 and $4 quiet hours, $5 names, $6 templates, $7 shares. The subscription is locked, so that a
# payment is either seen here or finds what was written here and takes it back.
_TELL: Final = f"""
with due as (
    select t.customer_id, t.subscription_id, t.starts_at, t.ends_at, s.plan_id,
           s.trial and s.status = 'active' and {NEVER_BOUGHT} as trying, c.telegram_id, c.language, c.reachable,
           quiet_until(vpnd_now(), coalesce(c.time_zone, $2), coalesce(c.quiet_from, $3), coalesce(c.quiet_to, $4)) as quiet_ends
    from trials t join subscriptions s on s.id = t.subscription_id join customers c on c.id = t.customer_id
    where t.customer_id = any($1::bigint[]) and t.notice_at <= vpnd_now()
    order by t.customer_id
    for no key update of t, s skip locked
), judged as (
    select d.*, n.name, n.template,
           case when d.trying and d.ends_at > vpnd_now() then (
               select min(d.starts_at + (d.ends_at - d.starts_at) * u.share) from unnest($7::float8[]) u (share)
               where d.starts_at + (d.ends_at - d.starts_at) * u.share > vpnd_now()
           ) end as next_at,
           coalesce(d.trying and d.quiet_ends < d.ends_at, false) as waits,
           d.trying and d.reachable and d.quiet_ends is null and d.ends_at > vpnd_now() as tells
    from due d
    left join lateral (
        select u.name, u.template from unnest($5::text[], $6::text[], $7::float8[]) u (name, template, share)
        where d.starts_at + (d.ends_at - d.starts_at) * u.share <= vpnd_now()
        order by u.share desc limit 1
    ) n on true
), claimed as (
    insert into trial_notices (subscription_id, notice)
    select subscription_id, name from judged where tells and name is not null
    on conflict do nothing
    returning subscription_id
), told as (
    insert into outbox (kind, key, lane, order_key, payload, valid_until)
    select '{notices.MESSAGE}', 'trial:' || j.subscription_id || ':' || j.name, 'notice', 'chat:' || j.telegram_id,
           jsonb_build_object(
               'chat_id', j.telegram_id, 'template', j.template, 'language', j.language,
               'args', jsonb_build_object(
                   'subscription_id', j.subscription_id, 'plan_id', j.plan_id,
                   'expires_at', to_char(j.ends_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))),
           coalesce(j.next_at, j.ends_at)
    from judged j join claimed on claimed.subscription_id = j.subscription_id
    on conflict (key) do nothing
    returning id
), moved as (
    update trials t set notice_at = case when j.waits then j.quiet_ends else j.next_at end
    from judged j where t.customer_id = j.customer_id
    returning t.customer_id
)
select (select count(*) from moved) as done, (select count(*) from told) as told
"""  # noqa: S608 (only constants are pasted in)


async def grant_trial(
    tx: Transaction, *, customer_id: int, terms: TrialTerms, request_key: str
) -> TrialGranted:
    """Give a customer his trial.

    Locks the customer until the transaction ends. Raises TrialUnavailable. `request_key` is the update that asked:
    replayed, it returns the trial that it was given.
    """
    await tx.execute("select from customers where id = $1 for no key update", customer_id)
    before = await tx.fetchrow(_REPLAYED, customer_id, request_key)
    if before is not None:
        return TrialGranted(subscription_from_row(before), created=False)
    if terms.hours <= 0:
        raise TrialUnavailable("off")
    row = await tx.fetchrow(
        _GRANT,
        customer_id,
        terms.plan,
        terms.hours,
        request_key,
        subscription_name(),
        uuid4(),
        link_token(),
        float(TRIAL_NOTICES[0].share),
    )
    if row is None:
        raise RuntimeError(f"customer {customer_id} does not exist")
    if row["reason"] is not None:
        raise TrialUnavailable(row["reason"])
    return TrialGranted(subscription_from_row(row), created=True)


async def why_no_trial(source: Source, customer_id: int, terms: TrialTerms) -> Reason | None:
    """Why a customer would get no trial now, None if he would: for a menu. What counts is judged when it is granted."""
    if terms.hours <= 0:
        return "off"
    row = await fetchrow(source, "trial.why", _WHY, customer_id, terms.plan)
    reason: Reason | None = "used" if row is None else row["reason"]
    return reason


async def due_trial_notices(
    source: Source, limit: int, after: tuple[datetime, int] | None = None
) -> list[tuple[datetime, int]]:
    """Moment and customer of trials whose next notice is due, the longest due first, after `after`."""
    rows = await fetch(
        source,
        "trial.due",
        "select notice_at, customer_id from trials where notice_at <= vpnd_now()"
        " and (notice_at, customer_id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::bigint, 0))"
        " order by notice_at, customer_id limit $1",
        limit,
        *((None, None) if after is None else after),
    )
    return [(row["notice_at"], row["customer_id"]) for row in rows]


async def tell_trial_notices(
    source: Source, customer_ids: Sequence[int], zone: str, quiet: QuietHours
) -> tuple[int, int]:
    """Tell these customers what is due of their trials, one statement; returns how many were judged and how many told.

    Who is not due any more is let go, and so is who has paid. Safe to run twice at once.
    """

    async def body(tx: Transaction) -> tuple[int, int]:
        row = await tx.fetchrow(
            _TELL,
            list(customer_ids),
            zone,
            *quiet,
            [notice.name for notice in TRIAL_NOTICES],
            [notice.template for notice in TRIAL_NOTICES],
            [float(notice.share) for notice in TRIAL_NOTICES],
        )
        return (0, 0) if row is None else (row["done"], row["told"])

    return await in_transaction(source, "trial.tell", body)
