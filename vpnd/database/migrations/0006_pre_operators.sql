-- Those who run the shop: who may do what, and what each of them did.

create table operators (
    telegram_id bigint primary key,
    role        text not null check (role in ('owner', 'manager', 'support', 'reader')),
    name        text not null default '',  -- what the others call him
    added_by    text not null,
    added_at    timestamptz not null default vpnd_now()
);

-- Nothing of it is ever changed or taken away, except by housekeeping of what is older than the shop keeps.
create table audit_log (
    id         bigint generated always as identity primary key,
    at         timestamptz not null default vpnd_now(),
    actor      text not null,              -- "admin:777", "shell:root"
    role       text not null,              -- that he had then
    action     text not null,              -- a name of vpnd.shop.operators.Permission, or a finer one behind a dot
    subject    text not null,              -- what it was done to: "customer:12", "plan:basic", "broadcast:3"
    before     jsonb,
    after      jsonb,
    reason     text,
    request_key text unique                -- the update that asked: replayed, it is written once
);
create index audit_log_subject on audit_log (subject, id);
create index audit_log_actor on audit_log (actor, id);

create function audit_log_stays() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is never changed' using errcode = 'restrict_violation';
end $$;
create trigger stays before update on audit_log for each statement execute function audit_log_stays();

-- An operator is asked for many things; their names are those of vpnd.shop.dialogs, and what is known already is kept beside.
alter table customers
    drop constraint customers_expects_check,
    add constraint customers_expects_check check (expects ~ '^[a-z][a-z_]{0,31}$'),
    add column expects_data jsonb;
