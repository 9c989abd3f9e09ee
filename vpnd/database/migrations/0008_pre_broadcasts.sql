-- Broadcasts as operators work with them: two variants, a time at which they begin, who watches them, and why one was halted;
-- and when a customer was last there, for those who have been away for long.

alter table broadcasts
    drop constraint broadcasts_state_check,
    add constraint broadcasts_state_check
        check (state in ('draft', 'scheduled', 'running', 'paused', 'stopped', 'done', 'missed', 'discarded')),
    add column request_key   text unique,          -- the update that made it: replayed, it makes no other
    add column share_b       smallint not null default 0 check (share_b between 0 and 100),   -- per cent that get variant B
    add column expected      bigint,               -- customers who were counted when it was begun
    add column scheduled_at  timestamptz,          -- business time
    add column on_missed     text not null default 'send' check (on_missed in ('send', 'skip')),
    add column halted        text,                 -- why it paused by itself
    add column total_b       bigint not null default 0,    -- of `total` and the others, those of variant B
    add column sent_b        bigint not null default 0,
    add column unreachable_b bigint not null default 0,
    add column failed_b      bigint not null default 0,
    add constraint broadcasts_scheduled check (state <> 'scheduled' or scheduled_at is not null);
create index broadcasts_scheduled on broadcasts (scheduled_at, id) where state = 'scheduled';

-- Which variant a customer gets: the same whenever it is asked, on any server, and another one with another broadcast.
create function broadcast_has_b(broadcast_id bigint, customer_id bigint, share_b integer) returns boolean
language sql immutable parallel safe as $$
    select share_b > 0
       and ('x' || substr(md5(broadcast_id::text || ':' || customer_id::text), 1, 7))::bit(28)::integer % 100 < share_b
$$;

-- A message that shows how far a broadcast is, and is kept true. A chat has one for a broadcast.
create table broadcast_watchers (
    broadcast_id bigint not null references broadcasts (id),
    chat_id      bigint not null,
    message_id   bigint not null,
    language     text not null,
    primary key (broadcast_id, chat_id),
    unique (chat_id, message_id)
);

-- Null: not since this is written down. It is learnt from the inbox by a worker, so an update costs nothing more.
alter table customers add column seen_at timestamptz;

create table activity_noted (              -- one row: finished updates up to here are in `seen_at`
    only_row  boolean primary key default true check (only_row),
    done_at   timestamptz not null default '-infinity',
    update_id bigint not null default 0
);
insert into activity_noted default values;
