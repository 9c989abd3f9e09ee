-- Money: top-ups, purchases by balance, discounts, promo codes, referrals, refunds, renewals, subscriptions that a provider
-- charges by itself, and what the books are checked with.

-- ---------------------------------------------------------------- promo codes and discounts

create table promo_codes (
    id           bigint generated always as identity primary key,
    code         text not null check (code ~ '^[A-Z0-9_-]{3,32}$'),
    kind         text not null check (kind in ('percent', 'days', 'money')),
    value        bigint not null check (value > 0),        -- percent, days, or minor units of `currency`
    currency     text,
    starts_at    timestamptz,                              -- the window; null: open on that side
    ends_at      timestamptz,
    total_cap    integer check (total_cap > 0),            -- null: no cap
    customer_cap integer not null default 1 check (customer_cap > 0),
    used         integer not null default 0 check (used >= 0),  -- reserved and consumed uses
    late         integer not null default 0 check (late >= 0),  -- of them consumed by late payments, perhaps beyond the cap
    active       boolean not null default true,
    created_at   timestamptz not null default vpnd_now(),
    check (kind <> 'percent' or value <= 99),
    check (kind <> 'days' or value <= 3660),
    check ((kind = 'money') = (currency is not null)),
    check (starts_at is null or ends_at is null or ends_at > starts_at)
);
-- A code that was switched off can be made anew.
create unique index promo_codes_code on promo_codes (code) where active;

create table personal_discounts (          -- one at a time for a customer
    customer_id bigint primary key references customers (id),
    percent     integer not null check (percent between 1 and 99),
    until       timestamptz,               -- null: for good
    note        text,
    created_at  timestamptz not null default vpnd_now()
);

alter table customers
    add column first_paid_at   timestamptz,                -- first sale for money of his own: what makes him a paying referral
    add column promo_id        bigint references promo_codes (id),  -- a code he has entered for his next purchase
    add column expects         text check (expects in ('topup_amount', 'promo_code')),  -- what his next words are taken for
    add column expects_until   timestamptz;
create index customers_paying_referrals on customers (referrer_id) where referrer_id is not null and first_paid_at is not null;

create table referral_levels (             -- the configuration's, applied at start
    paying  integer primary key check (paying >= 0),       -- from so many paying referrals on
    percent integer not null check (percent between 1 and 99)
);

-- ---------------------------------------------------------------- purchases

alter table purchases
    alter column offer_id drop not null,
    drop constraint purchases_method_check,
    add constraint purchases_method_check check (method in ('cryptopay', 'stars', 'yookassa', 'balance')),
    add column kind           text not null default 'access' check (kind in ('access', 'topup')),
    add column origin         text not null default 'customer' check (origin in ('customer', 'renewal', 'recurring')),
    add column fresh          boolean not null default false,   -- buys a subscription of its own, whatever the customer has
    add column list_amount    bigint check (list_amount > 0),   -- the price before a discount, in the shop's currency
    add column discount       integer not null default 0 check (discount between 0 and 99),
    add column bonus_days     integer not null default 0 check (bonus_days >= 0),  -- by a promo code, on top of the offer's
    add column recurring      boolean not null default false,   -- its invoice starts a subscription that the provider charges
    add column refunded       bigint not null default 0 check (refunded >= 0),     -- of shop_amount
    add constraint purchases_kind_has_offer check ((kind = 'access') = (offer_id is not null));
create index purchases_customer on purchases (customer_id, id);

create table promo_uses (
    id          bigint generated always as identity primary key,
    promo_id    bigint not null references promo_codes (id),
    customer_id bigint not null references customers (id),
    purchase_id bigint unique references purchases (id),   -- null: taken at once, without a purchase
    request_key text unique,                               -- of one taken at once: a replayed update takes nothing more
    state       text not null check (state in ('reserved', 'consumed', 'returned')),
    late        boolean not null default false,
    created_at  timestamptz not null default vpnd_now()
);
create index promo_uses_customer on promo_uses (customer_id, promo_id) where state <> 'returned';
create index promo_uses_reserved on promo_uses (promo_id) where state = 'reserved';

-- ---------------------------------------------------------------- settlements, grants, subscriptions

alter table settlements
    add column refunded bigint not null default 0 check (refunded >= 0);  -- minor units of the charge that went back

alter table grants
    drop constraint grants_check,
    add constraint grants_check check (until_at >= from_at),
    add column kind            text not null default 'purchase' check (kind in ('purchase', 'promo', 'gift')),
    add column removed_seconds bigint not null default 0 check (removed_seconds >= 0);  -- by refunds

alter table subscriptions
    drop constraint subscriptions_check,
    add constraint subscriptions_check check (expires_at >= starts_at),
    add column renews   text not null default 'off' check (renews in ('off', 'balance', 'stars')),
    add column offer_id bigint references offers (id);     -- plan and period of the next renewal: what was bought last
create index subscriptions_renewing on subscriptions (expires_at, id) where status = 'active' and renews = 'balance';

create table plan_changes (                -- the rest of one plan turned into time of another
    id              bigint generated always as identity primary key,
    subscription_id bigint not null references subscriptions (id),
    from_plan       text not null references plans (id),
    to_plan         text not null references plans (id),
    rate            numeric not null check (rate > 0),     -- seconds of the new plan for one of the old
    seconds_before  bigint not null,
    seconds_after   bigint not null,
    request_key     text not null unique,
    created_at      timestamptz not null default vpnd_now()
);

create table star_subscriptions (          -- Telegram charges them by itself every 30 days
    purchase_id     bigint primary key references purchases (id),   -- the first; its public id is the payload of each charge
    customer_id     bigint not null references customers (id),
    subscription_id bigint not null references subscriptions (id),
    charge_id       text not null,                         -- the first: what names it to Telegram
    amount          bigint not null check (amount > 0),
    runs_until      timestamptz not null,
    state           text not null default 'active' check (state in ('active', 'canceled', 'failed')),
    changed_at      timestamptz not null default vpnd_now()
);
create unique index star_subscriptions_active on star_subscriptions (subscription_id) where state = 'active';
create index star_subscriptions_customer on star_subscriptions (customer_id);

-- ---------------------------------------------------------------- referrals and refunds

create table referral_rewards (            -- once for each purchase
    purchase_id bigint primary key references purchases (id),
    referrer_id bigint not null references customers (id),
    referee_id  bigint not null references customers (id),
    currency    text not null,
    base        bigint not null check (base > 0),          -- of the price, what was no reward itself
    percent     integer not null,
    amount      bigint not null check (amount > 0),
    reversed    bigint not null default 0 check (reversed >= 0 and reversed <= amount),
    created_at  timestamptz not null default vpnd_now()
);
create index referral_rewards_referrer on referral_rewards (referrer_id, purchase_id);

create table refunds (
    id              bigint generated always as identity primary key,
    key             text not null unique check (key ~ '^r[a-z2-7]{15,31}$'),   -- the provider's idempotency key of it
    request_key     text not null unique,                  -- who asked for it, and for which time: asked again, nothing new
    settlement_id   bigint not null references settlements (id),
    purchase_id     bigint references purchases (id),
    customer_id     bigint references customers (id),
    provider        text not null,
    source          text not null check (source in ('sale', 'credit', 'held')),
    route           text not null check (route in ('provider', 'balance')),
    amount          bigint not null check (amount > 0),    -- of the charge's currency
    currency        text not null,
    shop_amount     bigint not null default 0 check (shop_amount >= 0),
    shop_currency   text,
    status          text not null check (status in ('requested', 'done', 'to_balance', 'stuck')),
    external_id     text,
    reason          text,
    requested_by    text not null,
    removed_seconds bigint not null default 0,
    created_at      timestamptz not null default vpnd_now(),
    done_at         timestamptz
);
create index refunds_settlement on refunds (settlement_id);
create index refunds_purchase on refunds (purchase_id);
create index refunds_open on refunds (id) where status in ('requested', 'stuck');
create unique index refunds_external on refunds (provider, external_id) where external_id is not null;

-- ---------------------------------------------------------------- the books

alter table accounts
    drop constraint accounts_kind_check,
    drop constraint accounts_check,
    drop constraint accounts_check1,
    add constraint accounts_kind_check check (kind in ('clearing', 'customer', 'bonus', 'receivable', 'exchange', 'revenue',
        'referral', 'promo', 'refunds', 'adjustments', 'held')),
    add constraint accounts_cached check ((kind in ('customer', 'bonus')) = (balance is not null)),
    add constraint accounts_of_customer check ((kind in ('customer', 'bonus', 'receivable')) = (customer_id is not null));

-- The sums are advanced to a row's id once no transaction that began before is left. That is known of transactions that
-- have an id, so a statement that posts takes one before its rows take theirs.
create function ledger_takes_an_xid() returns trigger language plpgsql as $$
begin
    perform pg_current_xact_id();
    return null;
end $$;
create trigger takes_an_xid before insert on ledger for each statement execute function ledger_takes_an_xid();

create table ledger_checkpoint (           -- all transfers up to this one are in account_sums
    only_row   boolean primary key default true check (only_row),
    through_id bigint not null default 0,
    moved_at   timestamptz not null default clock_timestamp()
);
insert into ledger_checkpoint default values;

create table account_sums (
    account_id bigint primary key references accounts (id),
    balance    bigint not null
);

create table provider_cursors (            -- how far a provider's list was read
    provider text not null,
    list     text not null,
    position bigint not null default 0,
    read_at  timestamptz not null default clock_timestamp(),
    primary key (provider, list)
);

create table reconciliations (
    id          bigint generated always as identity primary key,
    provider    text not null,
    since       timestamptz not null,
    started_at  timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    charges     integer not null default 0,
    refunds     integer not null default 0,
    differences integer not null default 0,
    mended      integer not null default 0
);
create index reconciliations_provider on reconciliations (provider, id);

create table reconciliation_differences (
    id                bigint generated always as identity primary key,
    reconciliation_id bigint not null references reconciliations (id),
    kind              text not null,
    name              text not null,       -- the provider's charge or refund
    details           jsonb not null default '{}',
    mended            boolean not null default false,
    created_at        timestamptz not null default clock_timestamp()
);
create index reconciliation_differences_run on reconciliation_differences (reconciliation_id);
