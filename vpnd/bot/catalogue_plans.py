"""The catalogue in the bot: plans with their words, order and history. What changes anything is a deed of its operator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from vpnd.bot.answers import stale
from vpnd.bot.button_data import Action
from vpnd.bot.catalogue_callbacks import (
    Catalogue,
    GiveBack,
    GiveBackNow,
    MovePlan,
    OnePlan,
    PlanHistory,
    PlanList,
    PlanOff,
    PlanSale,
    PlanWords,
    WriteDescription,
    WriteTitle,
)
from vpnd.bot.catalogue_editing import Deed, about_expected, change_said, deed_of, language_at, taken
from vpnd.bot.screens import catalogue as screens
from vpnd.bot.screens.desk import PAGE
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Change, entries
from vpnd.shop.catalogue import (
    CatalogueError,
    CataloguePlan,
    add_plan,
    give_back,
    list_plans,
    move_plan,
    plan_named,
    put_plan_on_sale,
    set_description,
    set_title,
    subject_of,
)
from vpnd.shop.dialogs import Expected

__all__ = [
    "ask_to_give_back",
    "ask_to_stop_selling",
    "give_plan_back",
    "new_plan",
    "read_description",
    "read_new_plan",
    "read_title",
    "sell",
    "shift",
    "show_catalogue",
    "show_history",
    "show_one_plan",
    "show_plan",
    "show_plans",
    "show_words",
    "write_description",
    "write_title",
]

#: What an operator writes to take a title or a description away.
_NOTHING = ("-", "–", "—")


async def show_catalogue(visit: Visit, _action: Catalogue) -> None:
    """What there is to edit."""
    await visit.show(screens.rooms(visit.speech))


# ------------------------------------------------------------------------------------------ plans


async def show_plans(visit: Visit, _action: Action) -> None:
    """All plans."""
    await _show_plans(visit)


async def _show_plans(visit: Visit, preface: str | None = None) -> None:
    await visit.show(screens.plans(visit.speech, await list_plans(visit.deps.db), preface=preface))


async def show_plan(visit: Visit, action: OnePlan) -> None:
    """One plan."""
    await show_one_plan(visit, action.plan)


async def show_one_plan(visit: Visit, plan_id: str, preface: str | None = None) -> None:
    """One plan with `preface`, which is HTML; all plans, if it is not there."""
    plan = await plan_named(visit.deps.db, plan_id)
    if plan is None:
        await _show_plans(visit, screens.refused(visit.speech, "gone"))
    else:
        await visit.show(screens.plan(visit.speech, plan, preface=preface))


async def _with_plan(visit: Visit, plan_id: str) -> CataloguePlan | None:
    """A plan to ask about; None, and the answer given, if it is not there."""
    plan = await plan_named(visit.deps.db, plan_id)
    if plan is None:
        await _show_plans(visit, screens.refused(visit.speech, "gone"))
    return plan


async def _edit(visit: Visit, plan_id: str, deed: Deed, *, asked: int = 0) -> None:
    """Change a plan, and show it with what came of that."""
    await show_one_plan(visit, plan_id, await change_said(visit, deed, asked=asked))


async def new_plan(visit: Visit, _action: Action) -> None:
    """Ask for the id and title of a new plan."""
    await visit.expect("plan_new")
    await _ask_for_plan(visit)


async def _ask_for_plan(visit: Visit, preface: str | None = None) -> None:
    text = visit.speech.say("catalogue-plan-ask", language=visit.speech.language)
    await visit.show(screens.ask(visit.speech, text, PlanList(), preface=preface))


async def read_new_plan(visit: Visit, text: str) -> None:
    """Take what was written for an id and a title."""
    plan_id, _, title = text.strip().partition(" ")

    async def deed(tx: Transaction) -> Change:
        return await add_plan(tx, plan_id, {visit.speech.language: title})

    try:
        await deed_of(visit, deed)
    except CatalogueError as error:
        await _ask_for_plan(visit, screens.refused(visit.speech, error.reason))
        return
    await show_one_plan(visit, plan_id, visit.speech.say("catalogue-plan-made"))
    await visit.expect_nothing()


async def show_words(visit: Visit, action: PlanWords) -> None:
    """Titles and descriptions, by language."""
    plan = await _with_plan(visit, action.plan)
    if plan is not None:
        await visit.show(screens.words(visit.speech, plan))


async def write_title(visit: Visit, action: WriteTitle) -> None:
    """Ask for a title."""
    await _ask_for_words(visit, "plan_title", "catalogue-title-ask", action)


async def write_description(visit: Visit, action: WriteDescription) -> None:
    """Ask for a description."""
    await _ask_for_words(visit, "plan_description", "catalogue-description-ask", action)


async def _ask_for_words(
    visit: Visit, what: Expected, key: str, action: WriteTitle | WriteDescription
) -> None:
    language = language_at(visit, action.language)
    if language is None:
        await stale(visit, "unreadable")
        return
    plan = await _with_plan(visit, action.plan)
    if plan is None:
        return
    await visit.expect(what, data={"plan": plan.id, "language": language})
    text = visit.speech.say(key, title=plan.title(visit.speech.language), language=language)
    await visit.show(screens.ask(visit.speech, text, PlanWords(plan.id)))


async def read_title(visit: Visit, text: str) -> None:
    """Take what was written for a title."""
    await _read_words(visit, "plan_title", text, set_title)


async def read_description(visit: Visit, text: str) -> None:
    """Take what was written for a description."""
    await _read_words(visit, "plan_description", text, set_description)


async def _read_words(
    visit: Visit,
    what: Expected,
    text: str,
    write: Callable[[Transaction, str, str, str | None], Awaitable[Change]],
) -> None:
    kept = await about_expected(visit, what, "plan", "language")
    if kept is None:
        return
    plan_id, language = kept
    words = None if text.strip() in _NOTHING else text

    async def deed(tx: Transaction) -> Change:
        return await write(tx, plan_id, language, words)

    if await taken(visit, deed, PlanWords(plan_id)):
        await show_one_plan(visit, plan_id, visit.speech.say("catalogue-done"))
        await visit.expect_nothing()


async def ask_to_stop_selling(visit: Visit, action: PlanOff) -> None:
    """Ask whether a plan is to be taken off sale."""
    plan = await _with_plan(visit, action.plan)
    if plan is not None:
        text = visit.speech.say("catalogue-off-confirm", title=plan.title(visit.speech.language))
        yes = PlanSale(plan.id, 0, visit.update_id)
        await visit.show(screens.confirm(visit.speech, text, yes, OnePlan(plan.id)))


async def sell(visit: Visit, action: PlanSale) -> None:
    """Put a plan on sale, or off."""

    async def deed(tx: Transaction) -> Change:
        return await put_plan_on_sale(tx, action.plan, bool(action.on))

    await _edit(visit, action.plan, deed, asked=action.asked)


async def shift(visit: Visit, action: MovePlan) -> None:
    """Show a plan one place earlier or later."""

    async def deed(tx: Transaction) -> Change:
        return await move_plan(tx, action.plan, up=bool(action.up))

    try:
        change = await deed_of(visit, deed)
    except CatalogueError as error:
        await _show_plans(visit, screens.refused(visit.speech, error.reason))
        return
    place = (change.after or {}).get("place", 1)
    await show_one_plan(visit, action.plan, visit.speech.say("catalogue-moved", place=str(place)))


async def ask_to_give_back(visit: Visit, action: GiveBack) -> None:
    """Ask whether plans.toml is to say again what a plan is."""
    plan = await _with_plan(visit, action.plan)
    if plan is not None:
        text = visit.speech.say("catalogue-back-confirm", title=plan.title(visit.speech.language), id=plan.id)
        yes = GiveBackNow(plan.id, visit.update_id)
        await visit.show(screens.confirm(visit.speech, text, yes, OnePlan(plan.id)))


async def give_plan_back(visit: Visit, action: GiveBackNow) -> None:
    """Let plans.toml say again what a plan is."""

    async def deed(tx: Transaction) -> Change:
        return await give_back(tx, action.plan)

    await _edit(visit, action.plan, deed, asked=action.asked)


async def show_history(visit: Visit, action: PlanHistory) -> None:
    """A page of what was changed of a plan."""
    found = await entries(
        visit.deps.db, subject=subject_of(action.plan), before=action.before or None, limit=PAGE + 1
    )
    await visit.show(screens.history(visit.speech, action.plan, found))
