-- The whole first schema. Conventions: timestamptz only; money is bigint minor units with its currency beside it;
-- text keys and checks instead of enums (a check can be widened without a rewrite); every external id is unique.
-- Business time is vpnd_now(); leases, back-off and timeouts use clock_timestamp().

-- A row here makes this a sandbox database, whose clock may be moved. `vpnd run` refuses it.
create table sandbox_clock (
    only_row       boolean primary key default true check (only_row),
    offset_seconds bigint not null default 0
);

create function vpnd_now() returns timestamptz language sql stable parallel safe as
$$ select now() + make_interval(secs => coalesce((select offset_seconds from sandbox_clock), 0)) $$;

-- Xray ignores bytes 6 and 7 of a uuid (version and route bits): two uuids that differ only there are one user to it.
create function credential_key(u uuid) returns text language sql immutable strict parallel safe as
$$ select overlay(replace(u::text, '-', '') placing '0000' from 13 for 4) $$;

-- ---------------------------------------------------------------- leases, inbox, outbox

create table leases (
    name       text primary key,
    holder     text not null,              -- the instance's name
    holder_id  text not null,              -- the id in its state directory
    term       bigint not null,
    expires_at timestamptz not null        -- real clock
);

create table inbox (
    update_id   bigint primary key,        -- Telegram's; grows by one, names an update once
    queue_key   bigint not null,           -- chat id for messages, user id for other kinds
    kind        text not null,             -- message, callback_query, pre_checkout_query, …
    carries_money boolean not null default false,
    payload     jsonb not null,
    received_at timestamptz not null default clock_timestamp(),
    attempts    integer not null default 0,
    done_at     timestamptz,
    outcome     text check (outcome in ('done', 'failed', 'dropped'))
);
create index inbox_unfinished on inbox (update_id) where done_at is null;
create index inbox_unfinished_queue on inbox (queue_key, update_id) where done_at is null;
create index inbox_finished on inbox (done_at) where done_at is not null;

create table outbox (
    id           bigint generated always as identity primary key,
    kind         text not null,            -- message, stars_refund, admin_alert, …
    key          text not null unique,     -- says what this is once and for all: 'receipt:17'
    lane         text not null default 'notice' check (lane in ('reply', 'receipt', 'notice', 'broadcast')),
    order_key    text,                     -- rows of one key leave in order of id
    payload      jsonb not null,
    status       text not null default 'ready' check (status in ('ready', 'done', 'dead', 'dropped')),
    available_at timestamptz not null default clock_timestamp(),
    valid_until  timestamptz,              -- business time; later the row is dropped, not sent
    attempt      integer not null default 0,   -- raised by every claim: the fencing token of its completion
    failures     integer not null default 0,   -- attempts that cost one; dead at 20
    lease_holder text,
    lease_until  timestamptz,
    last_error   text,
    result       jsonb,
    created_at   timestamptz not null default clock_timestamp(),
    finished_at  timestamptz
);
create index outbox_ready on outbox (kind, lane, available_at, id) where status = 'ready';
create index outbox_order on outbox (order_key, id) where status = 'ready' and order_key is not null;
create index outbox_finished on outbox (finished_at) where status in ('done', 'dropped');
create index outbox_dead on outbox (id) where status = 'dead';

-- ---------------------------------------------------------------- customers

create table customers (
    id            bigint generated always as identity primary key,
    telegram_id   bigint not null unique,
    username      text,
    first_name    text not null default '',
    language      text not null,
    referral_code text not null unique,    -- random, says nothing about the customer
    referrer_id   bigint references customers (id),
    reachable     boolean not null default true,
    created_at    timestamptz not null default vpnd_now(),
    check (referrer_id is distinct from id)
);
create index customers_referrer on customers (referrer_id) where referrer_id is not null;

create function customers_referrer_is_final() returns trigger language plpgsql as $$
begin
    if new.referrer_id is distinct from old.referrer_id then
        raise exception 'a referrer is set when the customer is created and never after'
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
create trigger referrer_is_final before update of referrer_id on customers
    for each row execute function customers_referrer_is_final();

-- ---------------------------------------------------------------- plans

create table plans (
    id         text primary key check (id ~ '^[a-z][a-z0-9_]{0,31}$'),
    titles     jsonb not null,             -- {"en": "Basic", "ru": "Базовый"}
    position   integer not null default 0,
    on_sale    boolean not null default true,
    edited_at  timestamptz                 -- set by an edit in the shop; plans.toml no longer touches the plan then
);

create table offers (                      -- a plan for a period
    id       bigint generated always as identity primary key,
    plan_id  text not null references plans (id),
    days     integer not null check (days between 1 and 3660),
    on_sale  boolean not null default true,
    unique (plan_id, days)
);

create table prices (
    offer_id bigint not null references offers (id),
    currency text not null check (currency ~ '^[A-Z][A-Z0-9]{1,9}$'),
    amount   bigint not null check (amount > 0),
    primary key (offer_id, currency)
);

-- ---------------------------------------------------------------- subscriptions and the log that nodes follow

create table subscriptions (
    id           bigint generated always as identity primary key,
    customer_id  bigint not null references customers (id),
    plan_id      text not null references plans (id),
    name         text not null unique check (name ~ '^s[a-z2-7]{15,31}$'),   -- what a node calls the credential: opaque, lower case
    credential   uuid not null,
    link_token   text not null unique,     -- of the subscription page, /sub/<link_token>
    status       text not null check (status in ('active', 'expired')),
    starts_at    timestamptz not null,
    expires_at   timestamptz not null,
    version      bigint not null default 1,    -- raised under the row's lock by every change of access
    activated_at timestamptz,              -- when a node first acknowledged the present term
    created_at   timestamptz not null default vpnd_now(),
    check (expires_at > starts_at)
);
create unique index subscriptions_credential on subscriptions (credential_key(credential));
create index subscriptions_customer on subscriptions (customer_id, id);
create index subscriptions_due on subscriptions (expires_at, id) where status = 'active';
create index subscriptions_not_on on subscriptions (id) where status = 'active' and activated_at is null;
-- Digests by bucket for the comparison with a node: one index-only pass, a bucket at a time.
create index subscriptions_bucket on subscriptions (substr(md5(name), 1, 2), name);

create table access_head (                 -- one row: the log's epoch and its last number
    only_row boolean primary key default true check (only_row),
    epoch    text not null,
    last_seq bigint not null default 0
);
insert into access_head (epoch) values (replace(gen_random_uuid()::text, '-', ''));

create table access_log (
    id              bigint generated always as identity primary key,
    subscription_id bigint not null references subscriptions (id),
    seq             bigint unique,         -- null until numbered, after the commit that wrote the row
    created_at      timestamptz not null default clock_timestamp(),
    numbered_at     timestamptz
);
create index access_log_unnumbered on access_log (id) where seq is null;
create index access_log_subscription on access_log (subscription_id, seq);

create table nodes (
    name        text primary key,
    inbounds    jsonb not null default '[]',   -- what a link needs, as the node last told
    boot_id     text,
    epoch       text,                      -- acknowledged
    seq         bigint not null default 0, -- acknowledged watermark
    acked_at    timestamptz,
    seen_at     timestamptz,
    suspects    jsonb not null default '{}'    -- credentials seen wrong once by a comparison
);

-- ---------------------------------------------------------------- purchases and money

create table purchases (
    id              bigint generated always as identity primary key,
    public_id       text not null unique check (public_id ~ '^p[a-z2-7]{15,31}$'),
    customer_id     bigint not null references customers (id),
    offer_id        bigint not null references offers (id),
    subscription_id bigint references subscriptions (id),   -- which one it renews; null: the customer's first or a new one
    method          text not null check (method in ('cryptopay', 'stars')),
    currency        text not null,         -- of the price asked
    amount          bigint not null check (amount > 0),
    shop_currency   text not null,         -- what revenue is booked in
    shop_amount     bigint not null check (shop_amount > 0),
    status          text not null default 'pending' check (status in ('pending', 'paid', 'expired', 'cancelled', 'refunded')),
    request_key     text not null unique,  -- the update that opened it: a replayed update opens nothing new
    received        bigint not null default 0 check (received >= 0),   -- of `amount`, by charges that were too small
    created_at      timestamptz not null default vpnd_now(),
    expires_at      timestamptz not null,
    paid_at         timestamptz
);
create index purchases_open on purchases (customer_id, offer_id, method) where status = 'pending';
create index purchases_overdue on purchases (expires_at, id) where status = 'pending';

create table invoices (
    id           bigint generated always as identity primary key,
    purchase_id  bigint not null references purchases (id),
    provider     text not null,
    external_id  text not null,
    url          text not null,
    currency     text not null,
    amount       bigint not null check (amount > 0),
    status       text not null default 'active' check (status in ('active', 'paid', 'expired')),
    created_at   timestamptz not null default vpnd_now(),
    expires_at   timestamptz not null,
    checked_at   timestamptz not null default clock_timestamp(),   -- the watcher asks for the longest unchecked first
    unique (provider, external_id)
);
create index invoices_watched on invoices (provider, checked_at, id) where status = 'active';
create index invoices_purchase on invoices (purchase_id);

create table settlements (                 -- a provider's charge, once
    id           bigint generated always as identity primary key,
    provider     text not null,
    charge_id    text not null,
    purchase_id  bigint references purchases (id),
    customer_id  bigint references customers (id),
    outcome      text not null check (outcome in ('settled', 'second_charge', 'underpaid', 'held')),
    reason       text,
    currency     text not null,
    amount       bigint not null,
    amount_text  text not null,            -- the provider's own decimal string
    details      jsonb not null default '{}',
    paid_at      timestamptz,
    created_at   timestamptz not null default vpnd_now(),
    unique (provider, charge_id)
);
create index settlements_purchase on settlements (purchase_id);

create table grants (                      -- access given, once for each reason
    id              bigint generated always as identity primary key,
    subscription_id bigint not null references subscriptions (id),
    settlement_id   bigint unique references settlements (id),
    purchase_id     bigint unique references purchases (id),
    days            integer not null check (days > 0),
    from_at         timestamptz not null,
    until_at        timestamptz not null,
    created_at      timestamptz not null default vpnd_now(),
    check (until_at > from_at)
);
create index grants_subscription on grants (subscription_id);

create table accounts (
    id          bigint generated always as identity primary key,
    kind        text not null check (kind in ('clearing', 'customer', 'receivable', 'exchange', 'revenue', 'referral', 'refunds', 'adjustments', 'held')),
    owner       text not null default '',  -- a provider's name, a customer's id, or nothing
    customer_id bigint references customers (id),
    currency    text not null,
    balance     bigint,                    -- cached for customers only
    unique (kind, owner, currency),
    unique (id, currency),
    check ((kind = 'customer') = (balance is not null)),
    check (balance >= 0),
    check ((kind in ('customer', 'receivable')) = (customer_id is not null))
);
create index accounts_customer on accounts (customer_id) where customer_id is not null;

-- A transfer is one row with two sides in one currency, so every currency sums to zero by construction.
create table ledger (
    id            bigint generated always as identity primary key,
    debit_id      bigint not null,
    credit_id     bigint not null,
    currency      text not null,
    amount        bigint not null check (amount > 0),
    kind          text not null,           -- payment, sale, exchange, reversal, …
    reference     text not null unique,    -- 'payment:cryptopay:17'
    settlement_id bigint references settlements (id),
    purchase_id   bigint references purchases (id),
    rate          numeric,                 -- of an exchange: units of the other currency for one of this
    reverses_id   bigint unique references ledger (id),
    note          text,
    created_at    timestamptz not null default vpnd_now(),
    foreign key (debit_id, currency) references accounts (id, currency),
    foreign key (credit_id, currency) references accounts (id, currency),
    check (debit_id <> credit_id)
);
create index ledger_debit on ledger (debit_id, id);
create index ledger_credit on ledger (credit_id, id);

create function append_only() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: correct it by a reversal', tg_table_name using errcode = 'integrity_constraint_violation';
end $$;
create trigger append_only before update or delete on ledger for each row execute function append_only();
