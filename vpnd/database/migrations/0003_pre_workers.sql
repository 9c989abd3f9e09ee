-- Workers: trial, reminders with quiet hours, activation that is counted, broadcasts, switches, and what housekeeping finds
-- its rows by.

-- ---------------------------------------------------------------- trial

alter table subscriptions add column trial boolean not null default false;   -- nothing but the trial has given it access

-- A trial is counted in hours: one of less than a day has no whole days.
alter table grants
    drop constraint grants_kind_check,
    add constraint grants_kind_check check (kind in ('purchase', 'promo', 'gift', 'trial')),
    drop constraint grants_days_check,
    add constraint grants_days_check check (days > 0 or (kind = 'trial' and days = 0));

create table trials (                      -- once a customer, for ever
    customer_id     bigint primary key references customers (id),
    subscription_id bigint not null unique references subscriptions (id),
    request_key     text not null unique,  -- the update that asked: replayed, it finds the trial that it was given
    starts_at       timestamptz not null,
    ends_at         timestamptz not null,
    notice_at       timestamptz,           -- when the next notice is due; null: none is to come
    created_at      timestamptz not null default vpnd_now(),
    check (ends_at > starts_at)
);
create index trials_notice on trials (notice_at, customer_id) where notice_at is not null;

create table trial_notices (               -- who gets to write the row may tell it
    subscription_id bigint not null references subscriptions (id),
    notice          text not null,
    claimed_at      timestamptz not null default vpnd_now(),
    primary key (subscription_id, notice)
);

-- ---------------------------------------------------------------- quiet hours

-- Null: the shop's own. The check makes a time zone that PostgreSQL does not know impossible: it would fail a whole sweep.
alter table customers
    add column time_zone  text check (time_zone is null or (timestamptz '2000-01-01 00:00:00+00' at time zone time_zone) is not null),
    add column quiet_from time,
    add column quiet_to   time,            -- equal to quiet_from: no quiet hours
    add constraint customers_quiet check ((quiet_from is null) = (quiet_to is null));

-- When the quiet hours that a moment falls into began and will end; null outside of them.
create function quiet_since(moment timestamptz, zone text, quiet_from time, quiet_to time) returns timestamptz
language sql immutable parallel safe as $$
    select case
        when quiet_from < quiet_to and l::time >= quiet_from and l::time < quiet_to then (l::date + quiet_from) at time zone zone
        when quiet_from > quiet_to and l::time >= quiet_from then (l::date + quiet_from) at time zone zone
        when quiet_from > quiet_to and l::time < quiet_to then (l::date - 1 + quiet_from) at time zone zone
    end from (select moment at time zone zone) as here (l)
$$;
create function quiet_until(moment timestamptz, zone text, quiet_from time, quiet_to time) returns timestamptz
language sql immutable parallel safe as $$
    select case
        when quiet_from < quiet_to and l::time >= quiet_from and l::time < quiet_to then (l::date + quiet_to) at time zone zone
        when quiet_from > quiet_to and l::time >= quiet_from then (l::date + 1 + quiet_to) at time zone zone
        when quiet_from > quiet_to and l::time < quiet_to then (l::date + quiet_to) at time zone zone
    end from (select moment at time zone zone) as here (l)
$$;

-- ---------------------------------------------------------------- reminders

-- The steps of a period, in order: their distance from its end. The names are those of vpnd.shop.reminders. In hours, which
-- are as long in every time zone and season.
create function reminder_steps() returns interval[] language sql immutable parallel safe as $$
    select array['-168 hours', '-72 hours', '-24 hours', '-3 hours', '24 hours', '72 hours', '168 hours']::interval[]
$$;

alter table subscriptions
    add column reminded  smallint not null default 0,  -- steps of the present period that are behind it
    add column remind_at timestamptz;                  -- when to look at it again; null: nothing is to come
create index subscriptions_remind on subscriptions (remind_at, id) where remind_at is not null;

-- A new end is a new period: steps that are over when it begins are not made up for. What was not sent of the old one, or of
-- a trial, is no longer true. Whoever's time was taken back is reminded of nothing, and a trial has notices of its own.
create function subscriptions_new_period() returns trigger language plpgsql as $$
declare
    remains interval;
begin
    if tg_op = 'UPDATE' then
        if new.expires_at = old.expires_at and new.trial = old.trial then
            return new;
        end if;
        if old.reminded > 0 then
            update outbox set status = 'dropped', finished_at = clock_timestamp(), last_error = 'renewed meanwhile'
            where key = 'reminder:' || old.id || ':' || extract(epoch from old.expires_at)::bigint || ':' || old.reminded
              and status = 'ready' and (lease_until is null or lease_until < clock_timestamp());
        end if;
        if old.trial and not new.trial then
            update outbox set status = 'dropped', finished_at = clock_timestamp(), last_error = 'no trial any more'
            where key in (select 'trial:' || n.subscription_id || ':' || n.notice from trial_notices n where n.subscription_id = old.id)
              and status = 'ready' and (lease_until is null or lease_until < clock_timestamp());
        end if;
    end if;
    -- Spelled out: this runs with every payment, and a query over reminder_steps() takes four times as long.
    remains := new.expires_at - vpnd_now();
    new.reminded := case when remains > '168 hours' then 0 when remains > '72 hours' then 1 when remains > '24 hours' then 2
        when remains > '3 hours' then 3 when remains > '-24 hours' then 4 when remains > '-72 hours' then 5
        when remains > '-168 hours' then 6 else 7 end;
    new.remind_at := case when new.trial or new.status <> 'active' then null
        when new.reminded = 0 then new.expires_at - interval '168 hours'
        when new.reminded = 1 then new.expires_at - interval '72 hours'
        when new.reminded = 2 then new.expires_at - interval '24 hours'
        -- The step of the last hours may have to come before the quiet hours, and others are rare: whoever knows looks at once.
        else new.expires_at - remains end;
    return new;
end $$;
create trigger new_period before insert or update of expires_at, trial on subscriptions
    for each row execute function subscriptions_new_period();

-- What runs now is reminded from its next step on; what is over is left in peace.
update subscriptions s set
    reminded = passed.steps,
    remind_at = case when passed.steps < 3 then s.expires_at + (reminder_steps())[passed.steps + 1] else vpnd_now() end
from (
    select r.id, (select count(*) from unnest(reminder_steps()) as u (step) where r.expires_at + u.step <= vpnd_now()) as steps
    from subscriptions r where r.status = 'active'
) passed
where s.id = passed.id;

-- ---------------------------------------------------------------- activation

create table late_activations (            -- who is paid and on, and acknowledged by no node
    subscription_id bigint primary key references subscriptions (id),
    starts_at       timestamptz not null,  -- of the term that is counted: another one is counted anew
    attempts        integer not null,
    next_at         timestamptz not null,  -- real clock
    alerted_at      timestamptz            -- when the admins were told
);
create index late_activations_untold on late_activations (attempts) where alerted_at is null;

-- ---------------------------------------------------------------- broadcasts

create table broadcasts (
    id           bigint generated always as identity primary key,
    title        text not null default '',
    content      jsonb not null,           -- {"copy": {"from_chat_id", "message_id"}} or {"text": {language: text}}; "buttons"
    segment      jsonb not null default '{}',
    state        text not null default 'draft' check (state in ('draft', 'running', 'paused', 'stopped', 'done')),
    created_by   text not null,
    created_at   timestamptz not null default vpnd_now(),
    started_at   timestamptz,
    finished_at  timestamptz,              -- real clock
    fill_after   bigint not null default 0,    -- customers up to this id were looked at
    fill_through bigint,                   -- and will be up to this one: who comes later is not asked
    filled       boolean not null default false,
    total        bigint not null default 0,
    sent         bigint not null default 0,
    unreachable  bigint not null default 0,
    failed       bigint not null default 0,
    repeated     bigint not null default 0     -- sent again after a kill that may have come after the first time
);
create index broadcasts_running on broadcasts (id) where state = 'running';
create index broadcasts_finished on broadcasts (finished_at, id) where finished_at is not null;

create table broadcast_recipients (
    broadcast_id bigint not null references broadcasts (id),
    customer_id  bigint not null references customers (id),
    state        text not null default 'waiting' check (state in ('waiting', 'sent', 'unreachable', 'failed')),
    attempt      integer not null default 0,   -- raised by every claim: the fencing token of its outcome
    failures     smallint not null default 0,  -- attempts that cost one
    available_at timestamptz not null default clock_timestamp(),
    lease_holder text,                     -- in hand of this runner
    last_error   text,
    primary key (broadcast_id, customer_id)
) with (fillfactor = 80);
create index broadcast_recipients_waiting on broadcast_recipients (broadcast_id, customer_id) where state = 'waiting';

-- ---------------------------------------------------------------- switches

create table switches (
    name       text primary key check (name ~ '^[a-z][a-z0-9_-]{0,63}$'),   -- a worker, or shop, or trial
    paused     boolean not null default false,
    reason     text,
    changed_by text,                       -- null: never changed
    changed_at timestamptz
);
insert into switches (name) values ('shop'), ('trial');

create table incident_banner (             -- what screens begin with while something is wrong
    only_row boolean primary key default true check (only_row),
    text     text not null,
    set_by   text not null,
    set_at   timestamptz not null default vpnd_now()
);

-- ---------------------------------------------------------------- housekeeping

create index outbox_dead_finished on outbox (finished_at, id) where status = 'dead';
create index invoices_expired on invoices (expires_at, id) where status = 'expired';
create index reconciliations_finished on reconciliations (finished_at, id) where finished_at is not null;
