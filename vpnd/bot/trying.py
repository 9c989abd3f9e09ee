"""The trial: shown to who may have it, given once. What a menu had shown is no promise; it is judged when it is given."""

from __future__ import annotations

from vpnd.bot.callbacks import Action
from vpnd.bot.connect import connect_info
from vpnd.bot.keeping import show_one
from vpnd.bot.reading import Portfolio, first_plan_title, plan_title
from vpnd.bot.screens import trial
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.trial import TrialGranted, TrialUnavailable, grant_trial, why_no_trial


async def show_trial(visit: Visit, _action: Action) -> None:
    """What is tried, how long and in which plan; or why not."""
    deps = visit.deps
    reason = await why_no_trial(deps.db, visit.customer.id, deps.trial)
    title = None
    if reason is None:
        language, plan = visit.speech.language, deps.trial.plan
        title = await (
            first_plan_title(deps.db, language) if plan is None else plan_title(deps.db, plan, language)
        )
    if reason is not None or title is None:
        await visit.show(trial.unavailable(visit.speech, reason or "no_plan"))
    else:
        await visit.show(trial.offer(visit.speech, title, deps.trial.hours))


async def start_trial(visit: Visit, _action: Action) -> None:
    """Give the trial, once: whoever presses again, or whose update is played again, is shown the one that he was given."""

    async def body(tx: Transaction) -> TrialGranted:
        return await grant_trial(
            tx,
            customer_id=visit.customer.id,
            terms=visit.deps.trial,
            # One a customer, whatever update asks for it.
            request_key=f"customer:{visit.customer.id}",
        )

    try:
        granted = await visit.change("bot.trial", body)
    except TrialUnavailable as unavailable:
        await visit.show(trial.unavailable(visit.speech, unavailable.reason))
        return
    await _show_started(visit, await visit.portfolio(), granted)


async def _show_started(visit: Visit, own: Portfolio, granted: TrialGranted) -> None:
    held = own.find(granted.subscription.id)
    if held is None or not held.subscription.active or held.subscription.expires_at <= own.now:
        await visit.show(trial.unavailable(visit.speech, "used"))
    elif held.subscription.trial:
        connect = await connect_info(visit.deps.nodes, held.subscription, visit.deps.public_url)
        await visit.show(trial.started(visit.speech, held, connect, own.now))
    else:  # an old button, after it was bought
        await show_one(visit, own, held)
