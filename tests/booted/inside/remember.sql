-- Keeps every credential and every link that a subscription has ever had: the books only know the present ones.
create schema planted;

create table planted.secrets (
    kind  text not null,
    value text primary key
);

create function planted.remember() returns trigger language plpgsql as $$
begin
    insert into planted.secrets
    values ('credentials', new.credential::text), ('links', new.link_token)
    on conflict do nothing;
    return null;
end
$$;

create trigger remember after insert or update of credential, link_token on subscriptions
for each row execute function planted.remember();
