-- Reconciliation of nodes: what is known to be off there, and the nodes that wait for a person.

-- By bucket, the count and the sum of credentials that are off on the node and unknown to the shop: a stranger that was removed
-- stays in the node's sums for ever, and must not have its bucket listed for ever.
alter table nodes add column buried jsonb not null default '{}';

-- The name is no reference: a node that is forgotten and remembered again is still stopped.
create table node_stops (
    node        text primary key,
    reason      text not null check (reason in ('empty', 'behind', 'strangers', 'newer')),
    held        bigint not null default 0 check (held >= 0),           -- credentials that were on there
    strangers   bigint not null default 0 check (strangers >= 0),      -- of them, what the shop does not know
    newer       bigint not null default 0 check (newer >= 0),          -- what the node holds in a newer version than the shop
    stopped_at  timestamptz not null default clock_timestamp(),
    told_at     timestamptz,               -- when the admins were told; null: it was not compared since
    accepted_at timestamptz,               -- a person said that the database is right
    accepted_by text,
    allowed     bigint check (allowed >= 0),   -- strangers and newer ones that he saw when he said so
    check ((accepted_at is null) = (allowed is null) and (accepted_at is null) = (accepted_by is null))
);
