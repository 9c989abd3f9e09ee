"""Figures for operators: their screens and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, Final

from telegram import InputFile
from telegram.constants import ParseMode

from vpnd.bot.answers import stale
from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.figures_callbacks import ByMethod, ByPlan, Chart, Figures, Health, Referral
from vpnd.bot.screens import figures
from vpnd.bot.screens.screen import Screen
from vpnd.bot.speech import Speech
from vpnd.bot.visit import Visit
from vpnd.runtime.journal import get_journal
from vpnd.runtime.limits import LimitClass, as_class
from vpnd.shop.figures import today_in
from vpnd.shop.figures_days import figures_of_days
from vpnd.shop.figures_overview import PERIODS, Overview, Period, health, overview, stretch
from vpnd.shop.operators import Permission, actor_of
from vpnd.telegram.errors import Rejected
from vpnd.telegram.sender import Lane

log = get_journal("bot")

#: Days of a picture, by the period that it is asked for from: a day alone is no chart.
_DRAWN: Final[dict[Period, int]] = {"today": 14, "yesterday": 14, "week": 14, "month": 30}


def _period(word: str) -> Period | None:
    return next((one for one in PERIODS if one == word), None)


async def show_figures(visit: Visit, action: Figures) -> None:
    """Money and people of a period, beside the one before."""
    await _show(visit, action.period, figures.overview)


async def show_methods(visit: Visit, action: ByMethod) -> None:
    """Where the money came from."""
    await _show(visit, action.period, figures.by_method)


async def show_plans(visit: Visit, action: ByPlan) -> None:
    """What was sold."""
    await _show(visit, action.period, figures.by_plan)


async def show_referral(visit: Visit, action: Referral) -> None:
    """Guests and rewards."""
    await _show(visit, action.period, figures.referral)


async def _show(visit: Visit, word: str, screen: Callable[[Speech, Overview], Screen]) -> None:
    period = _period(word)
    if period is None:
        await stale(visit, "unreadable")
        return
    with as_class(LimitClass.ADMIN):
        seen = await overview(visit.deps.db, visit.deps.time_zone, period)
    await visit.show(screen(visit.speech, seen))


async def show_health(visit: Visit, _action: Health) -> None:
    """How the shop stands now."""
    with as_class(LimitClass.ADMIN):
        seen = await health(visit.deps.db, visit.deps.time_zone)
    await visit.show(figures.health(visit.speech, seen))


async def show_chart(visit: Visit, action: Chart) -> None:
    """A picture; where it cannot be drawn, its words and the way back."""
    period = _period(action.period)
    what = next((one for one in figures.CHARTS if one == action.what), None)
    if period is None or what is None:
        await stale(visit, "unreadable")
        return
    deps, zone = visit.deps, visit.deps.time_zone
    with as_class(LimitClass.ADMIN):
        today, _ = await today_in(deps.db, zone)
        last = today if period == "today" else today - timedelta(days=1)
        days = await figures_of_days(deps.db, zone, last - timedelta(days=_DRAWN[period] - 1), last)
    screen = figures.chart(visit.speech, what, period, days[0].day.day, last)
    panels = figures.panels(visit.speech, what, days)
    png = await deps.charts.draw(panels) if panels else None
    if png is None or not await _send(visit, screen, png):
        words = visit.speech.say("figures-no-chart" if panels else "figures-nothing-to-draw")
        await visit.show(Screen(f"{screen.text}\n\n{words}", screen.rows))


async def _send(visit: Visit, screen: Screen, png: bytes) -> bool:
    """Send a picture with its caption; False where Telegram refuses it."""
    try:
        await visit.deps.sender.call(
            Lane.REPLY,
            "send_photo",
            chat_id=visit.chat_id,
            photo=InputFile(png, filename="figures.png"),
            caption=screen.text,
            parse_mode=ParseMode.HTML,
            reply_markup=screen.keyboard(),
        )
    except Rejected as error:
        log.warning("bot.picture_refused", message=f"a chart was refused, its text goes alone: {error}")
        return False
    return True


async def summary_screen(
    deps: BotDependencies, speech: Speech, telegram_id: int, args: Mapping[str, Any]
) -> Screen | None:
    """A summary as it is sent; None for somebody who may not see figures any more. Raises KeyError and ValueError."""
    actor = await actor_of(deps.db, telegram_id, deps.admins)
    if not actor.may(Permission.FIGURES):
        return None
    kind, first, last = str(args["kind"]), date.fromisoformat(args["first"]), date.fromisoformat(args["last"])
    period: Period = "yesterday" if kind == "day" else "week"
    with as_class(LimitClass.ADMIN):
        seen = await stretch(deps.db, deps.time_zone, period, first, last)
    return figures.summary(speech, seen, kind)
