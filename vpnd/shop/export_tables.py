"""What can be exported, and by which statements. Each goes through its table by the primary key, so many rows by a statement.

A statement reads `$4` ids after `$1` and not beyond `$2`, so that it costs a page however few of them are wanted, and says of
each row whether it is (`wanted`): made at `$3` at the latest, and not before `$5`, if that is given.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from attrs import frozen

__all__ = ["EXPORTS", "TABLES", "Export", "Table"]

Export = Literal["customers", "subscriptions", "payments", "ledger", "audit", "plans"]
EXPORTS: Final[tuple[Export, ...]] = get_args(Export)


@frozen
class Table:
    """One export.

    Attributes:
        source: the table whose ids are gone through.
        made: its column that says when a row was made.
        columns: the names of the cells, in order; each is a column of `page`, an amount is `<name>` from `<name>_minor`.
        secrets: those of them that open something: left out unless asked for.
        page: see the module's text.
    """

    source: str
    made: str
    columns: tuple[str, ...]
    page: str
    secrets: frozenset[str] = frozenset()


def _page(source: str, made: str, select: str, joins: str = "") -> str:
    return f"""
    select t.id, (t.{made} <= $3 and ($5::timestamptz is null or t.{made} >= $5)) as wanted, {select}
    from (select * from {source} where id > $1 and id <= $2 order by id limit $4) t {joins} order by t.id limit $4
    """  # noqa: S608 (constants of this module)


TABLES: Final[dict[Export, Table]] = {
    "customers": Table(
        "customers",
        "created_at",
        (
            "id", "telegram_id", "username", "first_name", "language", "referral_code", "referrer_id", "reachable",
            "balance", "bonus", "currency", "first_paid_at", "created_at", "blocked_at", "erased_at",
        ),
        _page(
            "customers",
            "created_at",
            "t.telegram_id, t.username, t.first_name, t.language, t.referral_code, t.referrer_id, t.reachable,"
            " a.own as balance_minor, a.bonus as bonus_minor, a.currency, t.first_paid_at, t.created_at, t.blocked_at,"
            " t.erased_at",
            """left join lateral (
                select coalesce(sum(balance) filter (where kind = 'customer'), 0)::bigint as own,
                       coalesce(sum(balance) filter (where kind = 'bonus'), 0)::bigint as bonus, currency
                from accounts where customer_id = t.id and kind in ('customer', 'bonus')
                group by currency order by own desc, currency limit 1
            ) a on true""",
        ),
    ),
    "subscriptions": Table(
        "subscriptions",
        "created_at",
        (
            "id", "customer_id", "telegram_id", "plan", "name", "title", "status", "trial", "renews", "starts_at",
            "expires_at", "activated_at", "created_at", "credential", "link_token",
        ),
        _page(
            "subscriptions",
            "created_at",
            "t.customer_id, c.telegram_id, t.plan_id as plan, t.name, t.title, t.status, t.trial, t.renews, t.starts_at,"
            " t.expires_at, t.activated_at, t.created_at, t.credential, t.link_token",
            "join customers c on c.id = t.customer_id",
        ),
        frozenset({"credential", "link_token"}),
    ),
    "payments": Table(
        "settlements",
        "created_at",
        (
            "id", "created_at", "paid_at", "provider", "charge_id", "outcome", "reason", "amount", "currency", "refunded",
            "customer_id", "telegram_id", "purchase", "kind", "plan", "days", "origin", "purchase_status",
        ),
        _page(
            "settlements",
            "created_at",
            "t.created_at, t.paid_at, t.provider, t.charge_id, t.outcome, t.reason, t.amount as amount_minor, t.currency,"
            " t.refunded as refunded_minor, t.customer_id, c.telegram_id, p.public_id as purchase, p.kind,"
            " o.plan_id as plan, o.days, p.origin, p.status as purchase_status",
            "left join customers c on c.id = t.customer_id left join purchases p on p.id = t.purchase_id"
            " left join offers o on o.id = p.offer_id",
        ),
    ),
    "ledger": Table(
        "ledger",
        "created_at",
        (
            "id", "created_at", "kind", "debit", "debit_customer", "credit", "credit_customer", "amount", "currency", "rate",
            "reference", "reverses_id", "settlement_id", "purchase_id", "note",
        ),
        _page(
            "ledger",
            "created_at",
            "t.created_at, t.kind, d.kind || case when d.customer_id is null and d.owner <> '' then ':' || d.owner else '' end"
            " as debit, d.customer_id as debit_customer,"
            " k.kind || case when k.customer_id is null and k.owner <> '' then ':' || k.owner else '' end as credit,"
            " k.customer_id as credit_customer, t.amount as amount_minor, t.currency, t.rate, t.reference, t.reverses_id,"
            " t.settlement_id, t.purchase_id, t.note",
            "join accounts d on d.id = t.debit_id join accounts k on k.id = t.credit_id",
        ),
    ),
    "audit": Table(
        "audit_log",
        "at",
        ("id", "at", "actor", "role", "action", "subject", "before", "after", "reason"),
        _page("audit_log", "at", "t.at, t.actor, t.role, t.action, t.subject, t.before, t.after, t.reason"),
    ),
    "plans": Table(
        "offers",
        "id",
        ("plan", "titles", "position", "plan_on_sale", "days", "on_sale", "currency", "price"),
        # A page is of periods; a period has a row a currency.
        """
        select t.id, true as wanted, p.id as plan, p.titles, p.position, p.on_sale as plan_on_sale, t.days, t.on_sale,
               r.currency, r.amount as price_minor
        from (select * from offers where id > $1 and id <= $2 order by id limit $4) t
        join plans p on p.id = t.plan_id left join prices r on r.offer_id = t.id
        where $3::timestamptz is not null and ($5::timestamptz is null or true)
        order by t.id, r.currency limit 100000
        """,
    ),
}  # fmt: skip
