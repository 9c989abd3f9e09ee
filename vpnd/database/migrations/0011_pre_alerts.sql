-- What operators are told of: each alert once while it goes on, who has seen it, and what is not to be told for a while.

create table alerts (
    id              bigint generated always as identity primary key,
    kind            text not null,         -- a template of vpnd.shop.notices, or alarm:<name>
    subject         text not null,         -- what it is about: the same kind and subject is the same alert while it goes on
    severity        text not null check (severity in ('info', 'warning', 'critical')),
    args            jsonb not null,        -- of the last time
    times           integer not null default 1,
    opened_at       timestamptz not null default vpnd_now(),
    last_at         timestamptz not null default vpnd_now(),
    acknowledged_by text,                  -- who has seen it: "admin:777"
    acknowledged_at timestamptz,
    closed_at       timestamptz,           -- over, or an operator said that it is done
    closed_by       text,                  -- null: it was over by itself
    chat_id         bigint,                -- the group's last message about it
    message_id      bigint,
    told_at         timestamptz            -- when that was sent
);
create unique index alerts_open on alerts (kind, subject) where closed_at is null;
create index alerts_newest on alerts (last_at desc, id desc) where closed_at is null;
create index alerts_closed on alerts (closed_at, id) where closed_at is not null;

create table alert_news (                  -- rows of the outbox that alerts were made of: played again, one counts once
    key      text primary key,
    noted_at timestamptz not null default clock_timestamp()
);
create index alert_news_noted on alert_news (noted_at, key);

create table alert_mutes (
    kind     text primary key,
    until    timestamptz,                  -- null: until somebody ends it
    muted_by text not null,
    muted_at timestamptz not null default vpnd_now()
);

create table alert_groups (                -- where the group of [alerts] chat is
    configured bigint primary key,
    chat_id    bigint not null,            -- another one since the group became a supergroup
    moved_at   timestamptz,
    lost       jsonb not null default '{}' -- topics (0: none) that cannot be written to, with the reason
);
