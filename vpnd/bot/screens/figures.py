"""Figures for operators: a period beside the one before, where money came from, guests, and how the shop stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, Literal, get_args

from fluent.runtime.types import fluent_number

from vpnd.bot.callbacks import Home
from vpnd.bot.charts import Panel
from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.figures_callbacks import ByMethod, ByPlan, Chart, Figures, Health, Referral
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.figures import Sum, total, totals_by
from vpnd.shop.figures_days import DayFigures
from vpnd.shop.figures_overview import PERIODS, Overview, Period, change
from vpnd.shop.figures_overview import Health as HealthFigures
from vpnd.shop.money import EXPONENTS, Money

__all__ = [
    "CHARTS",
    "ChartKind",
    "by_method",
    "by_plan",
    "chart",
    "health",
    "overview",
    "panels",
    "referral",
    "summary",
]

ChartKind = Literal["revenue", "people", "methods", "plans"]
CHARTS: Final[tuple[ChartKind, ...]] = get_args(ChartKind)

#: Currencies of one screen, and lines of one currency; the report has all of them.
_CURRENCIES: Final = 5
_LINES: Final = 6
#: Panels of one picture, and letters of a name beside a bar.
_PANELS: Final = 3
_NAME: Final = 32


def _rows(speech: Speech, period: Period, *, here: str) -> tuple[Row, ...]:
    """The ways between the screens of a period."""
    periods = tuple(
        Button(
            speech.label("button-figures-period", period=one, chosen="yes" if one == period else "no"),
            Figures(one),
        )
        for one in PERIODS
    )
    others = [
        Button(speech.label(f"button-figures-{name}"), action)
        for name, action in (
            ("methods", ByMethod(period)), ("plans", ByPlan(period)), ("referral", Referral(period)), ("health", Health()),
        )
        if name != here
    ]  # fmt: skip
    drawn = {"methods": "methods", "plans": "plans"}.get(here)
    charts = [drawn] if drawn else ["revenue", "people"] if here == "overview" else []
    pictures = tuple(Button(speech.label(f"button-chart-{one}"), Chart(one, period)) for one in charts)
    return (
        periods[:2],
        periods[2:],
        pictures,
        *(tuple(others[start : start + 2]) for start in range(0, len(others), 2)),
        _back(speech),
    )


def _back(speech: Speech) -> Row:
    return (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home()))


def _head(speech: Speech, seen: Overview) -> str:
    return speech.say("figures-head", period=seen.period, days=_days(seen.first, seen.last))


def _days(first: date, last: date) -> str:
    """Days as numbers, which are the same in every language."""
    if first == last:
        return f"{first:%d.%m.%Y}"
    return f"{first:%d.%m} – {last:%d.%m.%Y}"


def _change(speech: Speech, now: int, before: int) -> str:
    share = change(now, before)
    if share is None or now == before:
        return ""
    return speech.label("figures-change", way="up" if share > 0 else "down", percent=round(abs(share) * 100))


def _price(speech: Speech, amount: int, currency: str) -> str:
    """Money, which may be below zero: more went back than came."""
    return ("−" if amount < 0 else "") + speech.price(Money(abs(amount), currency))


def _revenue(speech: Speech, now: Iterable[Sum], before: Iterable[Sum]) -> Iterator[str]:
    past = total(before, "revenue")
    found = total(now, "revenue")
    for currency in sorted({*found, *past})[:_CURRENCIES]:
        one = found.get(currency, Sum("revenue", currency, "", "", 0, 0, 0))
        was = past[currency].net if currency in past else 0
        yield speech.say(
            "figures-revenue",
            net=_price(speech, one.net, currency),
            change=_change(speech, one.net, was),
            gross=_price(speech, one.gross, currency),
            back=_price(speech, one.back, currency),
            count=one.count,
        )


def _overview_text(speech: Speech, seen: Overview) -> str:
    money = "\n".join(_revenue(speech, seen.now.sums, seen.before.sums)) or speech.say("figures-no-revenue")
    now, before = seen.now.counts, seen.before.counts
    people = speech.say(
        "figures-people",
        new=now.new_customers,
        newchange=_change(speech, now.new_customers, before.new_customers),
        paying=now.new_paying,
        payingchange=_change(speech, now.new_paying, before.new_paying),
        trials=now.trials_started,
        guests=now.guests,
    )
    return paragraphs(money, people)


def overview(speech: Speech, seen: Overview) -> Screen:
    """A period beside the one before."""
    text = paragraphs(
        _head(speech, seen), _overview_text(speech, seen), speech.say("figures-compared", period=seen.period)
    )
    return Screen(text, _rows(speech, seen.period, here="overview"))


def summary(speech: Speech, seen: Overview, kind: str) -> Screen:
    """The same, sent by itself."""
    head = speech.say("figures-summary", kind=kind, days=_days(seen.first, seen.last))
    text = paragraphs(head, _overview_text(speech, seen))
    rows: tuple[Row, ...] = (
        (Button(speech.label("button-figures"), Figures(seen.period)), Button(speech.label("button-figures-health"), Health())),
        (Button(speech.label("button-home"), Home()),),
    )  # fmt: skip
    return Screen(text, rows)


def by_method(speech: Speech, seen: Overview) -> Screen:
    """Where the money came from."""
    return _listed(speech, seen, totals_by(seen.now.sums, "revenue", "method"), "methods")


def by_plan(speech: Speech, seen: Overview) -> Screen:
    """What was sold."""
    return _listed(speech, seen, totals_by(seen.now.sums, "sales", "plan"), "plans")


def _listed(speech: Speech, seen: Overview, sums: Sequence[Sum], here: str) -> Screen:
    parts = []
    for currency in sorted({one.currency for one in sums})[:_CURRENCIES]:
        ranked = sorted((one for one in sums if one.currency == currency), key=lambda one: -one.net)
        whole = sum(one.net for one in ranked)
        parts.append(
            "\n".join(
                speech.say(
                    "figures-line",
                    name=one.method or one.plan or speech.label("figures-other"),
                    net=_price(speech, one.net, currency),
                    percent=max(0, round(100 * one.net / whole)) if whole > 0 else 0,
                    count=one.count,
                )
                for one in ranked[:_LINES]
            )
        )
    text = paragraphs(
        _head(speech, seen),
        speech.say(f"figures-{here}"),
        *parts,
        None if parts else speech.say("figures-no-revenue"),
    )
    return Screen(text, _rows(speech, seen.period, here=here))


def referral(speech: Speech, seen: Overview) -> Screen:
    """Guests, and what hosts were given for them."""
    now, before = seen.now.counts, seen.before.counts
    people = speech.say(
        "figures-guests",
        guests=now.guests,
        guestschange=_change(speech, now.guests, before.guests),
        paying=now.paying_guests,
        payingchange=_change(speech, now.paying_guests, before.paying_guests),
    )
    rewards = "\n".join(
        speech.say(
            "figures-rewards", net=_price(speech, one.net, currency), back=_price(speech, one.back, currency), count=one.count
        )
        for currency, one in list(total(seen.now.sums, "rewards").items())[:_CURRENCIES]
    )  # fmt: skip
    text = paragraphs(_head(speech, seen), people, rewards or speech.say("figures-no-rewards"))
    return Screen(text, _rows(speech, seen.period, here="referral"))


def health(speech: Speech, seen: HealthFigures) -> Screen:
    """How the shop stands now."""
    standing = seen.standing
    mrr = "\n".join(
        speech.say("figures-mrr", amount=_price(speech, amount, currency))
        for currency, amount in sorted(standing.mrr.items())[:_CURRENCIES]
    )
    arpu = "\n".join(
        speech.say("figures-arpu", amount=_price(speech, amount, currency))
        for currency, amount in sorted(seen.arpu.items())[:_CURRENCIES]
    )
    people = speech.say(
        "figures-standing",
        paying=standing.paying,
        access=standing.access,
        churn=_percent(speech, standing.churn),
        before=standing.before,
        retention=_percent(speech, standing.retention),
        newcomers=standing.newcomers,
        trials=_percent(speech, seen.trials.share),
        converted=seen.trials.converted,
        ended=seen.trials.ended,
    )
    return Screen(
        paragraphs(speech.say("figures-health"), people, mrr, arpu), _rows(speech, "month", here="health")
    )


def _percent(speech: Speech, share: float | None) -> str:
    """A share with one decimal, as the language writes it; nothing where there was nothing to take a share of."""
    if share is None:
        return ""
    number = fluent_number(Decimal(f"{share * 100:.1f}"), minimumFractionDigits=1, maximumFractionDigits=1)
    return speech.label("figures-percent", share=number)


# ------------------------------------------------------------------------------------------ pictures


def chart(speech: Speech, what: ChartKind, period: Period, first: date, last: date) -> Screen:
    """The caption of a picture, and the way back."""
    text = speech.say("figures-chart", what=what, days=_days(first, last))
    others = tuple(
        Button(speech.label(f"button-chart-{one}"), Chart(one, period)) for one in CHARTS if one != what
    )
    return Screen(
        text,
        (others[:2], others[2:], (Button(speech.label("button-figures"), Figures(period)),), _back(speech)),
    )


def panels(speech: Speech, what: ChartKind, days: Sequence[DayFigures]) -> list[Panel]:
    """What is drawn; nothing where there is nothing to draw."""
    labels = [f"{one.day.day:%d.%m}" for one in days]
    if what == "people":
        counts = [one.counts for one in days]
        several = [[float(one.new_customers) for one in counts], [float(one.new_paying) for one in counts]]
        return [Panel("lines", "", labels, several)]
    if what == "revenue":
        by_day = [total(one.sums, "revenue") for one in days]
        found = []
        for currency in sorted({name for one in by_day for name in one})[:_PANELS]:
            size = 10.0 ** EXPONENTS.get(currency, 0)
            values = [one[currency].net / size if currency in one else 0.0 for one in by_day]
            found.append(Panel("bars", currency[:8], labels, [values]))
        return found
    sums = [one for day in days for one in day.sums]
    whole = totals_by(sums, "revenue", "method") if what == "methods" else totals_by(sums, "sales", "plan")
    return [_ranks(speech, whole, currency) for currency in sorted({one.currency for one in whole})[:_PANELS]]


def _ranks(speech: Speech, sums: Sequence[Sum], currency: str) -> Panel:
    ranked = sorted((one for one in sums if one.currency == currency), key=lambda one: -one.net)[:_LINES]
    size = 10.0 ** EXPONENTS.get(currency, 0)
    names = [(one.method or one.plan or speech.label("figures-other"))[:_NAME] for one in ranked]
    values = [one.net / size for one in ranked]
    return Panel("ranks", currency[:8], names, [values], [f"{value:,.10g}" for value in values])
