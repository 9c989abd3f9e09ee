"""What does an export of a million rows take: memory, time, and how long is a transaction open?

A database with so many customers, a subscription, a settled payment (two transfers) and a line of the audit log each is made, and
each table is exported by the shop's own code, in a process of its own, with the pages of the shell and, for the ledger, those
of the daemon too. Then the figures of the same shop are counted, whose payments are spread over a year.

    ./dev bench export [--rows 1000000]

Exit 1 when a bar is not met: ≤ 60 MB above idle, no transaction longer than 1 s, every row written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from _measure import administer, disk, run_json, table
from _people import make_shop, people

from vpnd.runtime import journal
from vpnd.sandbox.postgres import embedded_postgres
from vpnd.shell.export import PAGE as SHELL_PAGE
from vpnd.shop.exports import PAGE as DAEMON_PAGE

MEMORY_BAR = 60.0  # MB above idle
TRANSACTION_BAR = 1.0  # seconds
HERE = Path(__file__).parent

#: A paid purchase, its time, a charge and its two transfers for each customer, spread over the last year as they were numbered.
MONEY = """
with bought as (
    insert into purchases (public_id, customer_id, offer_id, method, currency, amount, shop_currency, shop_amount, status,
                           request_key, received, expires_at, paid_at)
    select 'p' || translate(lpad(s.customer_id::text, 16, '0'), '0189', 'abcd'), s.customer_id, s.offer_id, 'yookassa', 'RUB',
           19900, 'RUB', 19900, 'paid', 'bench:' || s.customer_id, 19900, moment, moment
    from subscriptions s
    cross join lateral (select vpnd_now() - interval '365 days' * (1 - s.id::float8 / %(count)s) as moment) m
    order by s.id returning id, customer_id, paid_at
), settled as (
    insert into settlements (provider, charge_id, purchase_id, customer_id, outcome, currency, amount, amount_text, paid_at,
                             created_at)
    select 'yookassa', 'charge-' || id, id, customer_id, 'settled', 'RUB', 19900, '199.00', paid_at, paid_at from bought
    returning id, purchase_id, customer_id, created_at
), given as (
    insert into grants (subscription_id, settlement_id, purchase_id, days, from_at, until_at)
    select s.id, t.id, t.purchase_id, 60, t.created_at, t.created_at + interval '60 days'
    from settled t join subscriptions s on s.customer_id = t.customer_id
), opened as (
    insert into accounts (kind, owner, currency, customer_id, balance)
    select 'customer', customer_id::text, 'RUB', customer_id, 0 from bought returning id, customer_id
), house as (
    insert into accounts (kind, owner, currency) values ('clearing', 'yookassa', 'RUB'), ('revenue', '', 'RUB')
    returning id, kind
)
insert into ledger (debit_id, credit_id, currency, amount, kind, reference, settlement_id, purchase_id, created_at)
select case when n.sale then o.id else h.id end, case when n.sale then h.id else o.id end, 'RUB', 19900,
       case when n.sale then 'sale' else 'payment' end,
       case when n.sale then 'sale:' || s.purchase_id else 'payment:yookassa:charge-' || s.purchase_id end, s.id, s.purchase_id,
       s.created_at
from settled s join opened o on o.customer_id = s.customer_id
cross join (values (true), (false)) n (sale)
join house h on h.kind = case when n.sale then 'revenue' else 'clearing' end
order by s.id
"""

#: A line of the audit log for each customer.
AUDIT = """
insert into audit_log (at, actor, role, action, subject, before, after, reason)
select vpnd_now() - interval '365 days' * (1 - n / %(count)s::float8), 'admin:' || 100 + n %% 7, 'support', 'give',
       'customer:' || n, jsonb_build_object('days', n %% 30), jsonb_build_object('days', n %% 30 + 30), 'a node stood still'
from generate_series(1, %(count)s) n
"""
#: How many rows an export is to have for each customer; of the plans, all periods in all currencies.
PLANS = "select count(*) from offers o left join prices p on p.offer_id = o.id"
KINDS = (("customers", 1), ("subscriptions", 1), ("payments", 1), ("ledger", 2), ("audit", 1), ("plans", 0))


async def run(rows: int) -> bool:
    """Make the shop, export, tell; whether the bars are met."""
    fine = True
    told = [
        (
            "table",
            "page",
            "rows",
            "MB",
            "s",
            "rows/s",
            "CPU s",
            "idle MB",
            "above idle",
            "longest transaction",
        )
    ]
    with TemporaryDirectory() as folder:
        print(disk(Path(folder)), flush=True)
        async with embedded_postgres(options=("shared_buffers=512MB", "max_wal_size=4GB")) as server:
            await administer(server.url, "create database shop")
            url = server.url_of("shop")
            await make_shop(url, sandbox=False)
            began = trio.current_time()
            ends = "vpnd_now() + make_interval(days => 30, secs => n % 30000)"
            await administer(
                url,
                *people(rows, ends=ends),
                MONEY % {"count": rows},
                AUDIT % {"count": rows},
                "vacuum (analyze)",
                "checkpoint",
            )
            periods = int((await administer(url, PLANS))[0])
            print(f"{rows} customers made in {trio.current_time() - began:.0f} s", flush=True)
            for what, count in KINDS:
                for page in (SHELL_PAGE, DAEMON_PAGE) if what == "ledger" else (SHELL_PAGE,):
                    path = Path(folder) / "export.csv"
                    found = await run_json(
                        sys.executable, HERE / "_export_vpnd.py", url, what, path, str(page)
                    )
                    above = found["peak"] - found["idle"]
                    fine &= found["rows"] == (rows * count or periods)
                    fine &= above <= MEMORY_BAR and found["transaction"] <= TRANSACTION_BAR
                    told.append((
                        what, str(page), f"{found['rows']:,}", f"{found['mb']:.0f}", f"{found['seconds']:.1f}",
                        f"{found['rows'] / found['seconds']:,.0f}", f"{found['cpu']:.1f}", f"{found['idle']:.0f}",
                        f"{above:.1f} MB", f"{found['transaction'] * 1000:.0f} ms",
                    ))  # fmt: skip
                    print(f"  {what}, {page} a page: {found['seconds']:.1f} s", flush=True)
            seen = await run_json(sys.executable, HERE / "_export_vpnd.py", url, "figures", folder, "0")
    print(table(told))
    print("figures: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in seen.items()))
    return fine


def main() -> int:
    """Run the bench; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    journal.configure("console", level="warning")
    fine = trio.run(run, arguments.rows)
    print("Every bar is met." if fine else "A bar is NOT met.")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
