"""Finding a customer by whatever an operator has at hand: a name, a number, a link, a payment, a credential.

All that names one person for certain is looked for first, in one read by indexes. Only where nothing is found are the words
taken for the beginning of a name.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from attrs import frozen

from vpnd.shop.source import Source, fetch

__all__ = ["MOST", "Hit", "find_customers"]

#: Hits of one search.
MOST: Final = 10
_LONGEST: Final = 512  # characters; no link of ours is longer
_MOST_NUMBER: Final = 2**63 - 1

_UUID: Final = re.compile(
    r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}", re.ASCII
)
_VLESS: Final = re.compile(rf"vless://({_UUID.pattern})@", re.ASCII)
_PAGE: Final = re.compile(r"/sub/([A-Za-z0-9_-]{8,64})(?:[/?#]|$)", re.ASCII)
_START: Final = re.compile(r"(?:[?&]start=|^)ref_([A-Za-z0-9]{1,32})(?:&|$)", re.ASCII)
_PROFILE: Final = re.compile(r"(?:https?://)?(?:t|telegram)\.me/([A-Za-z0-9_]{3,64})/?", re.ASCII)
_USER: Final = re.compile(r"tg://user\?id=([0-9]{1,19})", re.ASCII)
_SUBJECT: Final = re.compile(r"customer:([0-9]{1,19})", re.ASCII)
#: Those that charges and invoices are of, so that each is found by the index of its name.
_PROVIDERS: Final = ("cryptopay", "stars", "yookassa", "balance")


@frozen
class Hit:
    """A customer who was found, with as much of him as a list shows."""

    id: int
    telegram_id: int
    username: str | None
    first_name: str
    blocked: bool
    erased: bool

    @property
    def name(self) -> str:
        """What he is called, nothing if nothing is known."""
        return " ".join(
            part for part in (self.first_name, f"@{self.username}" if self.username else "") if part
        )


@frozen(kw_only=True)
class _Wanted:
    """What was written, as far as it is understood."""

    word: str = ""
    telegram_id: int | None = None
    customer_id: int | None = None
    credential: UUID | None = None
    provider: str | None = None
    charge: str = ""


# $1 id of ours, $2 Telegram id, $3 word, $4 credential, $5 providers, $6 charge or invoice, $7 limit
_EXACT: Final = """
with found as (
    select id from customers where id = $1::bigint
    union select id from customers where telegram_id = $2::bigint
    union select id from (select id from customers where lower(username) = lower($3) order by id desc limit $7) named
    union select id from customers where referral_code = upper($3)
    union select customer_id from subscriptions where link_token = $3
    union select customer_id from subscriptions where name = $3
    union select customer_id from subscriptions where credential_key(credential) = credential_key($4::uuid)
    union select customer_id from purchases where public_id = $3
    union select p.customer_id from invoices i join purchases p on p.id = i.purchase_id
          where i.provider = any($5::text[]) and i.external_id = $6
    union select customer_id from settlements where provider = any($5::text[]) and charge_id = $6 and customer_id is not null
)
select c.id, c.telegram_id, c.username, c.first_name, c.blocked_at is not null, c.erased_at is not null
from found join customers c on c.id = found.id order by c.id desc limit $7
"""

# $1 spellings, $2 each with the last letter there is behind it, $3 limit. Each by its own index, in the order of that index.
_NAMED: Final = """
with spelt as (
    select lower(w.first) as first, lower(w.last) as last from unnest($1::text[], $2::text[]) w (first, last)
), found as (
    select u.id from spelt cross join lateral (
        select id from customers
        where lower(username) ~>=~ spelt.first and lower(username) ~<~ spelt.last and username is not null
        order by lower(username) using ~<~ limit $3) u
    union
    select f.id from spelt cross join lateral (
        select id from customers
        where lower(first_name) ~>=~ spelt.first and lower(first_name) ~<~ spelt.last and first_name <> ''
        order by lower(first_name) using ~<~ limit $3) f
)
select c.id, c.telegram_id, c.username, c.first_name, c.blocked_at is not null, c.erased_at is not null
from found join customers c on c.id = found.id order by c.id desc limit $3
"""
_LAST_LETTER: Final = "\U0010ffff"


async def find_customers(source: Source, words: str, limit: int = MOST) -> list[Hit]:
    """Customers who are meant by these words, at most `limit`, the newest first.

    Understood are a Telegram id, a @name, the beginning of a name, a referral code or link, the address of a subscription
    page, a vless link, a credential's uuid, the name that nodes have for it, a purchase, an invoice's or charge's id with or
    without its provider, and `customer:12` as the audit log has it.
    """
    text = words.replace("\x00", "").strip()[:_LONGEST]
    if not text:
        return []
    wanted = _understand(text)
    providers = list(_PROVIDERS) if wanted.provider is None else [wanted.provider]
    rows = await fetch(
        source,
        "finding.exact",
        _EXACT,
        wanted.customer_id,
        wanted.telegram_id,
        wanted.word,
        wanted.credential,
        providers,
        wanted.charge or wanted.word,
        limit,
    )
    if not rows and wanted.word:
        spelt = _spellings(wanted.word)
        rows = await fetch(
            source, "finding.named", _NAMED, spelt, [word + _LAST_LETTER for word in spelt], limit
        )
    return [Hit(*row.values()) for row in rows]


def _spellings(word: str) -> list[str]:
    """How a name may be written. A database of the locale C makes small letters of A to Z only: the others are tried."""
    return list(dict.fromkeys((word, word.lower(), word.capitalize(), word.title(), word.upper())))


def _understand(text: str) -> _Wanted:
    if found := _VLESS.search(text):
        return _Wanted(credential=UUID(found[1]))
    if found := _PAGE.search(text) or _START.search(text):
        return _Wanted(word=found[1])
    if found := _USER.fullmatch(text):
        return _Wanted(telegram_id=_number(found[1]))
    if found := _SUBJECT.fullmatch(text):
        return _Wanted(customer_id=_number(found[1]))
    if found := _PROFILE.fullmatch(text):
        return _Wanted(word=found[1])
    if _UUID.fullmatch(text):
        # YooKassa names its payments by uuids, too.
        return _Wanted(word=text, credential=UUID(text), charge=text)
    provider, colon, charge = text.partition(":")
    if colon and provider in _PROVIDERS:
        return _Wanted(provider=provider, charge=charge)
    return _Wanted(word=text.removeprefix("@"), telegram_id=_number(text))


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(_MOST_NUMBER)):
        return None
    value = int(text)
    return value if value <= _MOST_NUMBER else None
