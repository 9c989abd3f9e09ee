-- What a customer may do with what is his: a name of his own for a subscription, a new link instead of one that others know,
-- and the end of what the shop knows of him.

-- ---------------------------------------------------------------- a name of his own

-- `name` is what nodes call the credential; this is what its owner calls it. Null: the plan's title is enough.
alter table subscriptions add column title text check (char_length(title) between 1 and 32);

alter table customers
    drop constraint customers_expects_check,
    add constraint customers_expects_check check (expects in ('topup_amount', 'promo_code', 'subscription_title')),
    add column expects_about bigint;       -- the subscription that his next words are about

-- ---------------------------------------------------------------- a new link

create table link_rotations (              -- the credential and the page's address were made anew
    id              bigint generated always as identity primary key,
    subscription_id bigint not null references subscriptions (id),
    request_key     text not null unique,  -- the update that asked: replayed, it changes nothing more
    created_at      timestamptz not null default vpnd_now()
);
create index link_rotations_subscription on link_rotations (subscription_id, created_at);

-- ---------------------------------------------------------------- the end of what is known of him

alter table customers add column erased_at timestamptz;   -- he had his data deleted and has not written since

create table erasures (
    id          bigint generated always as identity primary key,
    customer_id bigint not null references customers (id),
    request_key text not null unique,      -- the update that asked: replayed, it ends nothing that was bought since
    created_at  timestamptz not null default vpnd_now()
);
create index erasures_customer on erasures (customer_id);
