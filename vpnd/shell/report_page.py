"""The report as one HTML page: figures in words and tables, charts beside them; no script, nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from itertools import groupby
from typing import Final

from attrs import frozen

from vpnd.shell.report_charts import Series, bars, lines, ranks
from vpnd.shop.figures import Counts, Sum, Trials, month_of, total, totals_by
from vpnd.shop.figures_days import DayFigures
from vpnd.shop.figures_overview import change, summed
from vpnd.shop.figures_standing import Standing
from vpnd.shop.money import EXPONENTS, Money, format_decimal

__all__ = ["Contents", "page"]

#: Longer than this and a bar is a month.
BY_DAYS: Final = 120
_ROWS: Final = 60  # of one table


@frozen(kw_only=True)
class Contents:
    """What the page tells.

    Attributes:
        before: as many days before the first one.
        standing: as of `made`.
        trials: that ended within the days.
        arpu: of the 30 days before `made`, by currency, in minor units.
    """

    name: str
    zone: str
    made: datetime
    days: Sequence[DayFigures]
    before: Sequence[DayFigures]
    standing: Standing
    trials: Trials
    arpu: Mapping[str, int]


def page(contents: Contents) -> str:
    """The whole file."""
    now, before = summed(contents.days), summed(contents.before)
    first, last = contents.days[0].day.day, contents.days[-1].day.day
    title = f"{contents.name}: {first:%d %b %Y} – {last:%d %b %Y}"
    when = (
        f"{first:%d %B %Y} – {last:%d %B %Y}, {len(contents.days)} days of {escape(contents.zone)}, beside the"
        f" {len(contents.before)} days before. Made {contents.made:%Y-%m-%d %H:%M} UTC."
    )
    body = "".join([
        f"<h1>{escape(contents.name)}</h1>",
        f"<p class=when>{when}</p>",
        _tiles(contents, now.sums, before.sums, now.counts, before.counts),
        *_money(contents, now.sums),
        _people(contents),
        _standings(contents),
        _months(contents),
        _NOTES,
    ])  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def money(amount: int, currency: str) -> str:
    """An amount with its currency, in groups of three; of a currency that is not known here, minor units."""
    if currency not in EXPONENTS:
        return f"{amount:,} units of {currency}"
    whole, point, rest = format_decimal(Money(amount, currency)).partition(".")
    return (
        f"{int(whole):,}".replace(",", "\u202f")
        + (f"{point}{rest}" if rest.strip("0") else "")
        + f" {currency}"
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _more(now: int, before: int) -> str:
    share = change(now, before)
    if share is None:
        return "<small>–</small>"
    kind = "up" if share > 0 else "down" if share < 0 else ""
    return f'<small class="{kind}">{"+" if share >= 0 else "−"}{abs(share):.0%}</small>'


def _tiles(
    contents: Contents, now: Iterable[Sum], before: Iterable[Sum], people: Counts, earlier: Counts
) -> str:
    standing, tiles = contents.standing, []
    past = total(before, "revenue")
    for currency, one in total(now, "revenue").items():
        was = past.get(currency)
        details = f"{money(one.gross, currency)} came, {money(one.back, currency)} went back; {one.count:,} payments"
        tiles.append(("Revenue", money(one.net, currency) + _more(one.net, was.net if was else 0), details))
    tiles += [
        ("MRR", money(amount, currency), "paid access now, as 30 days")
        for currency, amount in standing.mrr.items()
    ]
    tiles += [
        ("ARPU", money(amount, currency), "the last 30 days, a payer")
        for currency, amount in contents.arpu.items()
    ]
    tiles += [
        ("Paying customers", f"{standing.paying:,}", f"{standing.access:,} with access, trials and gifts too"),
        ("Churn", _share(standing.churn), f"of {standing.before:,} who paid 30 days ago"),
        ("Retention", _share(standing.retention), f"of {standing.newcomers:,} who first paid 30 to 60 days ago"),
        ("New customers", f"{people.new_customers:,}" + _more(people.new_customers, earlier.new_customers),
         f"{people.new_paying:,} paid for the first time"),
        ("Trial conversion", _share(contents.trials.share),
         f"{contents.trials.converted:,} of {contents.trials.ended:,} that ended"),
        ("Guests", f"{people.guests:,}" + _more(people.guests, earlier.guests), f"{people.paying_guests:,} began to pay"),
    ]  # fmt: skip
    for currency, one in total(now, "rewards").items():
        tiles.append(("Rewards", money(one.net, currency), "for guests, as bonus"))
    return (
        "<section class=tiles>"
        + "".join(
            f"<div><h3>{escape(name)}</h3><b>{value}</b><p>{escape(words)}</p></div>"
            for name, value, words in tiles
        )
        + "</section>"
    )


def _buckets(days: Sequence[DayFigures]) -> list[tuple[str, Sequence[DayFigures]]]:
    """What a bar stands for: a day, or a month of a long stretch."""
    if len(days) <= BY_DAYS:
        return [(f"{one.day.day:%d %b}", [one]) for one in days]
    return [
        (f"{month:%b %y}", list(group)) for month, group in groupby(days, lambda one: month_of(one.day.day))
    ]


def _scaled(amount: int, currency: str) -> float:
    return amount / float(10 ** EXPONENTS.get(currency, 0))


def _money(contents: Contents, sums: Sequence[Sum]) -> Iterable[str]:
    buckets = _buckets(contents.days)
    for currency in total(sums, "revenue"):
        values = []
        for _, days in buckets:
            one = total(summed(days).sums, "revenue").get(currency)
            values.append(_scaled(one.net, currency) if one else 0.0)
        chart = bars(
            [label for label, _ in buckets],
            Series(f"Revenue in {currency}", values),
            lambda value, currency=currency: f"{value:,.2f} {currency}",  # type: ignore[misc]  # a default binds it
        )
        by = "day" if len(contents.days) <= BY_DAYS else "month"
        yield _card(f"Revenue, {currency}", chart, f"What came from outside less what went back, by {by}.")
    for title, what, key, words in (
        ("Revenue by method", "revenue", "method", "Net, by where it came from."),
        (
            "Sales by plan",
            "sales",
            "plan",
            "Access sold, for whatever it was paid with, less what was undone.",
        ),
    ):
        found = totals_by(sums, what, key)  # type: ignore[arg-type]  # of this table
        for currency in sorted({one.currency for one in found}):
            rows = [
                (one.method or one.plan or "no plan", float(one.net))
                for one in found
                if one.currency == currency
            ]
            chart = ranks(rows, title, lambda value, currency=currency: money(int(value), currency))  # type: ignore[misc]
            yield _card(f"{title}, {currency}", chart, words)


def _people(contents: Contents) -> str:
    buckets = _buckets(contents.days)
    counts = [summed(days).counts for _, days in buckets]
    several = [
        Series("new customers", [one.new_customers for one in counts], 1),
        Series("first payments", [one.new_paying for one in counts], 2),
    ]
    chart = lines([label for label, _ in buckets], several, lambda value: f"{value:,.0f}")
    return _card("New customers and first payments", chart, _legend(several))


def _standings(contents: Contents) -> str:
    """Lines of what was counted at the ends of days; nothing where no day was counted yet."""
    known = [one.standing for one in contents.days]
    if not any(known):
        return ""
    labels = [f"{one.day.day:%d %b}" for one in contents.days]
    paying = [Series("paying customers", [None if one is None else one.paying for one in known], 3)]
    cards = [
        _card(
            "Paying customers",
            lines(labels, paying, lambda value: f"{value:,.0f}"),
            "At the end of each day.",
        )
    ]
    for currency in sorted({name for one in known if one is not None for name in one.mrr}):
        mrr = [None if one is None else _scaled(one.mrr.get(currency, 0), currency) for one in known]
        chart = lines(
            labels, [Series("MRR", mrr, 4)], lambda value, currency=currency: f"{value:,.2f} {currency}"  # type: ignore[misc]
        )  # fmt: skip
        cards.append(_card(f"MRR, {currency}", chart, "At the end of each day."))
    return "".join(cards)


def _months(contents: Contents) -> str:
    rows = []
    for month, group in groupby(contents.days, lambda one: month_of(one.day.day)):
        days = list(group)
        whole = summed(days)
        cells = "<br>".join(
            f"{escape(money(one.net, currency))}" for currency, one in total(whole.sums, "revenue").items()
        )
        counts = whole.counts
        rows.append(
            f"<tr><th>{month:%B %Y}<small>{len(days)} days</small></th><td>{cells or '–'}</td><td>{counts.new_customers:,}</td>"
            f"<td>{counts.new_paying:,}</td><td>{counts.trials_started:,}</td><td>{counts.guests:,}</td></tr>"
        )
    head = "".join(
        f"<th>{name}</th>" for name in ("Month", "Revenue", "New", "First payments", "Trials", "Guests")
    )
    table = f"<div class=scroll><table><tr>{head}</tr>{''.join(rows[:_ROWS])}</table></div>"
    return _card("By month", table, "Of the days of this report.", wide=True)


def _legend(several: Sequence[Series]) -> str:
    return " ".join(f'<i class="k{one.colour}"></i>{escape(one.name)}' for one in several)


def _card(title: str, inside: str, words: str, *, wide: bool = False) -> str:
    kind = "card wide" if wide else "card"
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{inside}<p>{words}</p></section>'


_NOTES: Final = (
    "<section class='card wide'><h2>What the words mean</h2><p>Revenue is counted when money enters from outside, be it for a"
    " purchase or a top-up, in the currency it was paid in; purchases from the balance are sales and no revenue. A refund counts"
    " on the day it was decided. MRR is what was paid for access that runs now, as 30 days. Currencies are never added to each"
    " other. The whole list stands in the documentation, Operations, Figures.</p></section>"
)

_STYLE: Final = """
:root{--back:#f5f6f8;--card:#fff;--ink:#1c2330;--soft:#5d6778;--line:#dfe3ea;--c1:#2f6fde;--c2:#e0862b;--c3:#1f9d6b;--c4:#8a5bd6;
--up:#15803d;--down:#c02626}
@media (prefers-color-scheme:dark){:root{--back:#12151b;--card:#1b2029;--ink:#e8ebf1;--soft:#9aa4b5;--line:#333b49;--c1:#6ea0ff;
--c2:#f0a85b;--c3:#4cc596;--c4:#b492f2;--up:#5fd38d;--down:#ff8a80}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:16px/1.45 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:16px;display:grid;gap:14px;
grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr))}
h1,.when,.tiles,.wide{grid-column:1/-1}h1{margin:8px 0 0;font-size:26px}h2{margin:0 0 10px;font-size:16px}
.when{margin:0;color:var(--soft)}
.tiles{display:grid;gap:10px;grid-template-columns:repeat(auto-fill,minmax(158px,1fr))}
.tiles div,.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px}
.tiles h3{margin:0;font-size:13px;font-weight:500;color:var(--soft)}.tiles b{font-size:20px;display:block;overflow-wrap:anywhere}
.tiles small{font-size:13px;margin-left:6px;color:var(--soft)}.tiles small.up{color:var(--up)}.tiles small.down{color:var(--down)}
p{margin:6px 0 0;font-size:13px;color:var(--soft)}svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font:11px system-ui,sans-serif}.tick{text-anchor:end}.label{text-anchor:middle}.value{text-anchor:end}
svg .name,svg .value{fill:var(--ink);font-size:12px}.grid{stroke:var(--line)}.zero{stroke:var(--soft)}
.c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}.c4{fill:var(--c4)}polyline{fill:none;stroke-width:2;stroke-linejoin:round}
.l1{stroke:var(--c1)}.l2{stroke:var(--c2)}.l3{stroke:var(--c3)}.l4{stroke:var(--c4)}
i{display:inline-block;width:10px;height:10px;border-radius:3px;margin:0 5px 0 10px}
.k1{background:var(--c1)}.k2{background:var(--c2)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}th,td{text-align:right;padding:7px 8px;
border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top}th:first-child{text-align:left}
th small{display:block;font-weight:400;color:var(--soft)}
@media print{body{background:#fff}.card,.tiles div{break-inside:avoid}}
"""
