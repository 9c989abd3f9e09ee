"""Screens of figures and exports, with values that try to break them."""

from __future__ import annotations

from datetime import UTC, date, datetime

from vpnd.bot.screens import exports, figures
from vpnd.bot.screens.screen import Screen
from vpnd.bot.speech import Speech
from vpnd.shop.export_tables import EXPORTS
from vpnd.shop.figures import Counts, Sum, Trials, total
from vpnd.shop.figures_overview import PERIODS, Health, Overview, Stretch
from vpnd.shop.figures_standing import Standing
from vpnd.shop.operators import Actor

HUGE = 2**63 - 1
CURRENCIES = ("RUB", "XTR", "USDT", "BTC", "EUR", "GBP", "KZT", "XYZ")
DAY = date(2026, 12, 31)
MANY = tuple(
    Sum(what, currency, f"method_{number}", "p" * 31 + str(number % 10), HUGE // 100, HUGE // 3, HUGE // 50)  # type: ignore[arg-type]
    for what in ("revenue", "sales", "rewards")
    for currency in CURRENCIES
    for number in range(14)
)
FEW = (Sum("revenue", "RUB", "yookassa", "basic", 19900, 39800, 1), Sum("sales", "RUB", "", "", 0, 0, 0))
PEOPLE = Counts(HUGE, HUGE, HUGE, HUGE, HUGE)


def screens(speech: Speech) -> dict[str, Screen]:
    """Every screen of figures and exports."""
    shown: dict[str, Screen] = {}
    for period in PERIODS:
        for name, sums, counts in (
            ("many", MANY, PEOPLE),
            ("few", FEW, Counts(1, 1, 1, 1, 1)),
            ("none", (), Counts()),
        ):
            seen = Overview(period, DAY, DAY, Stretch(sums, counts), Stretch(FEW, Counts(3, 1, 2, 5, 1)))
            shown |= {
                f"figures {period} {name}": figures.overview(speech, seen),
                f"figures methods {period} {name}": figures.by_method(speech, seen),
                f"figures plans {period} {name}": figures.by_plan(speech, seen),
                f"figures referral {period} {name}": figures.referral(speech, seen),
                f"figures summary {period} {name}": figures.summary(
                    speech, seen, "day" if name == "many" else "week"
                ),
            }
        shown |= {
            f"figures chart {what} {period}": figures.chart(speech, what, period, date(2026, 1, 1), DAY)
            for what in figures.CHARTS
        }
    most = Standing(HUGE, HUGE, HUGE, HUGE, 0, HUGE, HUGE, dict.fromkeys(CURRENCIES, HUGE))
    revenue = total(MANY, "revenue")
    shown |= {
        "figures health": figures.health(
            speech, Health(most, Trials(HUGE, HUGE), revenue, dict.fromkeys(CURRENCIES, -HUGE))
        ),
        "figures health none": figures.health(speech, Health(Standing(), Trials(), {}, {})),
        "exports": exports.choice(speech),
    }
    owner, manager = Actor("admin:1", "owner", 1), Actor("admin:2", "manager", 2)
    moment = f"{datetime(2026, 1, 1, tzinfo=UTC):%Y-%m-%d %H:%M:%S}"
    for what in EXPORTS:
        shown |= {
            f"export {what}": exports.confirm(speech, owner, what, with_secrets=False, update=HUGE),
            f"export {what} manager": exports.confirm(speech, manager, what, with_secrets=False, update=1),
            f"export {what} secrets": exports.confirm(speech, owner, what, with_secrets=True, update=1),
            f"export {what} asked": exports.asked(speech, what),
            f"export {what} file": exports.file_caption(speech, what, HUGE, moment, with_secrets=True),
            f"export {what} file plain": exports.file_caption(speech, what, 1, moment, with_secrets=False),
            f"export {what} too big": exports.too_big(speech, what),
            f"export {what} failed": exports.failed(speech, what),
        }
    return shown
