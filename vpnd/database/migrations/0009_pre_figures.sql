-- Figures: the indexes by which a day is found, what a day brought once it is over, and exports that were asked for in the bot.

-- Transfers are appended in the order of time, so a block range index finds a day and costs a settlement next to nothing.
create index ledger_created on ledger using brin (created_at) with (pages_per_range = 16, autosummarize = on);
create index customers_created on customers (created_at);
create index customers_first_paid on customers (first_paid_at) where first_paid_at is not null;
create index trials_created on trials (created_at);
create index trials_ended on trials (ends_at);

-- ---------------------------------------------------------------- days that are over

create table figure_days (                 -- of one time zone; another zone has other days
    time_zone      text not null,
    day            date not null,
    new_customers  bigint not null,
    new_paying     bigint not null,
    guests         bigint not null,
    paying_guests  bigint not null,
    trials_started bigint not null,
    standing       jsonb,                  -- how the shop stood at the day's end; null: nobody has counted yet
    kept_at        timestamptz not null default clock_timestamp(),
    primary key (time_zone, day)
);

create table figure_day_money (
    time_zone text not null,
    day       date not null,
    what      text not null check (what in ('revenue', 'sales', 'rewards')),
    currency  text not null,
    method    text not null,               -- nothing where there is none
    plan_id   text not null,               -- nothing for what buys no plan: a top-up, a reward
    gross     bigint not null,
    back      bigint not null,
    count     bigint not null,
    primary key (time_zone, day, what, currency, method, plan_id),
    foreign key (time_zone, day) references figure_days (time_zone, day) on delete cascade
);

-- ---------------------------------------------------------------- exports that were asked for in the bot

create table export_requests (
    id           bigint generated always as identity primary key,
    what         text not null,
    with_secrets boolean not null default false,
    telegram_id  bigint not null,          -- who asked, and is sent the file
    language     text not null,
    request_key  text not null unique,     -- the update that asked
    state        text not null default 'asked' check (state in ('asked', 'sent', 'too_big', 'refused', 'failed')),
    attempts     integer not null default 0,
    rows         bigint,
    asked_at     timestamptz not null default vpnd_now(),
    finished_at  timestamptz
);
create index export_requests_asked on export_requests (id) where state = 'asked';

-- ---------------------------------------------------------------- summaries that operators were told

create table figure_summaries (            -- who gets to write the row tells it, once
    kind    text not null check (kind in ('day', 'week')),
    first   date not null,                 -- the day, or the Monday of the week
    told_at timestamptz not null default clock_timestamp(),
    primary key (kind, first)
);
