-- The customers' desk: a block, what an operator was asked about, and what customers and their past are found by.

-- ---------------------------------------------------------------- a block

alter table customers add column blocked_at timestamptz;  -- by an operator; null: he is not

-- Whoever is blocked has no access, whatever is paid or given meanwhile: that counts, and is on when the block ends. So a
-- subscription that is off before its end is one of somebody blocked, and no other.
create function subscriptions_of_blocked() returns trigger language plpgsql as $$
begin
    if exists (select from customers c where c.id = new.customer_id and c.blocked_at is not null) then
        new.status := 'expired';
        new.starts_at := least(new.starts_at, vpnd_now());
    end if;
    return new;
end $$;
-- Before new_period, by its name: that one asks whether the subscription is on.
create trigger blocked before insert or update of status on subscriptions
    for each row when (new.status = 'active') execute function subscriptions_of_blocked();

-- ---------------------------------------------------------------- what an operator was asked about

create table asked_deeds (                 -- until he says yes, or a day is over
    asked       bigint primary key,        -- the update that the question answered
    telegram_id bigint not null,           -- of the operator; nobody else can say yes
    deed        jsonb not null,
    reason      text not null,
    created_at  timestamptz not null default vpnd_now()
);
create index asked_deeds_operator on asked_deeds (telegram_id, created_at);

-- ---------------------------------------------------------------- finding

-- By what a name begins with, letter for letter: the operators' search asks for a range.
create index customers_username on customers (lower(username) text_pattern_ops) where username is not null;
create index customers_first_name on customers (lower(first_name) text_pattern_ops) where first_name <> '';

-- ---------------------------------------------------------------- what happened to a customer

create index settlements_customer on settlements (customer_id, created_at, id) where customer_id is not null;
create index refunds_customer on refunds (customer_id, created_at, id) where customer_id is not null;
create index outbox_chat on outbox (order_key, id) where status <> 'ready' and order_key is not null;
