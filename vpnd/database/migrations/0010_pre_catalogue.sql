-- The catalogue as it is edited in the bot: what plans.toml does not touch any more, words about plans, texts, ways to pay.

alter table plans
    add column descriptions jsonb not null default '{}',   -- {"en": "For one person", …}; a language may be missing
    add column moved_at     timestamptz;                   -- set on a plan that was moved in the shop: the order is the shop's then

create table text_overrides (              -- texts of the bot that were written in the bot; over those of [shop] texts_dir
    language   text not null check (language ~ '^[a-z]{2}$'),
    key        text not null check (key ~ '^[a-z][a-z0-9-]{0,63}$'),
    body       text not null check (char_length(body) between 1 and 4000),   -- the pattern, in Fluent
    changed_by text not null,
    changed_at timestamptz not null default clock_timestamp(),
    primary key (language, key)
);
-- Raised with each change, so that every daemon sees at once whether its texts are old; a removal leaves no row behind.
create sequence text_overrides_version;

-- Ways to pay are offered unless they are switched off; see vpnd.shop.switches.
insert into switches (name) values ('pay_cryptopay'), ('pay_stars'), ('pay_yookassa'), ('pay_balance')
    on conflict (name) do nothing;
