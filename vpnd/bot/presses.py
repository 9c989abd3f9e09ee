"""What each button does. Every one of them checks that what it names belongs to whoever pressed it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import evolve

from vpnd.bot import (
    admin_callbacks,
    alerting,
    broadcast_desk,
    buying,
    callbacks,
    catalogue,
    composing,
    connecting,
    customer_callbacks,
    customers,
    deeds,
    desk_callbacks,
    exporting,
    figures,
    figures_callbacks,
    filling,
    giving_back,
    inviting,
    keeping,
    letters,
    my_data,
    operators,
    own_callbacks,
    own_link,
    promo,
    quiet,
    running,
    segmenting,
    trying,
)
from vpnd.bot.answers import stale
from vpnd.bot.callbacks import Action
from vpnd.bot.screens import home
from vpnd.bot.speech import Speech
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.customers import set_language
from vpnd.shop.operators import NotAllowed, Permission


async def show_home(visit: Visit, _action: Action) -> None:
    """The menu."""
    await visit.show_menu()


async def show_languages(visit: Visit, _action: Action) -> None:
    """The choice of a language."""
    await visit.show(home.languages(visit.speech, visit.speech.texts))


async def choose_language(visit: Visit, action: callbacks.SetLanguage) -> None:
    """Speak another language, beginning with the menu."""
    texts = visit.speech.texts
    if action.language not in texts.languages:
        await stale(visit, "unreadable")
        return

    async def body(tx: Transaction) -> bool:
        return await set_language(tx, visit.customer.telegram_id, action.language)

    await visit.deps.db.run("bot.language", body)
    await evolve(visit, speech=Speech(texts, action.language)).show_menu()


Handler = Callable[[Visit, Any], Awaitable[None]]
HANDLERS: Final[dict[type[Action], Handler]] = {
    callbacks.Home: show_home,
    callbacks.Plans: buying.show_plans,
    callbacks.Periods: buying.show_periods,
    callbacks.MorePeriods: buying.show_more_periods,
    callbacks.Methods: buying.show_methods,
    callbacks.MoreMethods: buying.show_more_methods,
    callbacks.Pay: buying.pay,
    callbacks.MorePay: buying.pay_for_more,
    callbacks.PayFromBalance: buying.pay_from_balance,
    callbacks.Complete: buying.complete,
    callbacks.Paid: buying.check_paid,
    callbacks.InvoiceAgain: buying.invoice_again,
    callbacks.Subscriptions: keeping.show_subscriptions,
    callbacks.OneSubscription: keeping.show_subscription,
    callbacks.QrCode: keeping.show_qr_code,
    callbacks.Renewal: keeping.switch_renewal,
    callbacks.StopStars: keeping.ask_to_stop_stars,
    callbacks.StopStarsNow: keeping.stop_stars,
    callbacks.ChangePlan: keeping.show_other_plans,
    callbacks.ChangeTo: keeping.ask_to_change,
    callbacks.ChangeNow: keeping.change,
    own_callbacks.Rename: own_link.ask_for_name,
    own_callbacks.Unname: own_link.take_name_away,
    own_callbacks.Rotate: own_link.ask_to_rotate,
    own_callbacks.RotateNow: own_link.rotate,
    callbacks.Balance: filling.show_balance,
    callbacks.History: filling.show_history,
    callbacks.TopUp: filling.show_amounts,
    callbacks.TopUpOther: filling.ask_for_amount,
    callbacks.TopUpAmount: filling.show_methods,
    callbacks.TopUpPay: filling.pay,
    callbacks.Promo: promo.ask_for_code,
    callbacks.ForgetPromo: promo.forget,
    callbacks.Help: connecting.show_help,
    callbacks.HelpFor: connecting.show_platform,
    own_callbacks.MyData: my_data.show_my_data,
    own_callbacks.ForgetMe: my_data.ask_to_forget,
    own_callbacks.ForgetMeNow: my_data.forget,
    own_callbacks.Connect: connecting.show_platforms,
    own_callbacks.ConnectBy: connecting.show_steps,
    own_callbacks.Works: connecting.say_it_works,
    own_callbacks.DoesNotWork: connecting.find_out,
    callbacks.Languages: show_languages,
    callbacks.SetLanguage: choose_language,
    callbacks.Invite: inviting.show_invite,
    own_callbacks.InviteQr: inviting.show_qr_code,
    callbacks.Trial: trying.show_trial,
    callbacks.StartTrial: trying.start_trial,
    callbacks.Notifications: quiet.show_notifications,
    callbacks.TimeZones: quiet.show_time_zones,
    callbacks.SetTimeZone: quiet.choose_time_zone,
    callbacks.QuietFrom: quiet.show_quiet_from,
    callbacks.QuietTo: quiet.show_quiet_to,
    callbacks.SetQuiet: quiet.choose_quiet_hours,
}

#: Buttons of those who run the shop, with what an operator needs to press them. What changes something asks for it once more,
#: in its transaction.
OPERATORS: Final[dict[type[Action], tuple[Permission, Handler]]] = {
    admin_callbacks.RefundAsk: (Permission.REFUND, giving_back.ask),
    admin_callbacks.RefundNow: (Permission.REFUND, giving_back.give_back),
    admin_callbacks.RefundAllAsk: (Permission.REFUND, giving_back.ask_for_all),
    admin_callbacks.RefundAllNow: (Permission.REFUND, giving_back.give_all_back),
    admin_callbacks.Status: (Permission.STATUS, running.press_status),
    admin_callbacks.Switches: (Permission.SWITCH, running.show_switches),
    admin_callbacks.PauseAsk: (Permission.SWITCH, running.ask_to_pause),
    admin_callbacks.PauseNow: (Permission.SWITCH, running.pause),
    admin_callbacks.Resume: (Permission.SWITCH, running.resume),
    admin_callbacks.BannerOff: (Permission.SWITCH, running.take_banner_away),
    desk_callbacks.Desk: (Permission.CUSTOMERS, operators.show_desk),
    desk_callbacks.Operators: (Permission.OPERATORS, operators.show_operators),
    desk_callbacks.AddOperator: (Permission.OPERATORS, operators.ask_who),
    desk_callbacks.OneOperator: (Permission.OPERATORS, operators.show_operator),
    desk_callbacks.RoleAsk: (Permission.OPERATORS, operators.ask_about_role),
    desk_callbacks.RoleNow: (Permission.OPERATORS, operators.give_role),
    desk_callbacks.AuditLog: (Permission.AUDIT, operators.show_audit_log),
    **catalogue.PRESSES,
    customer_callbacks.FindCustomer: (Permission.CUSTOMERS, customers.ask_whom),
    customer_callbacks.CustomerCard: (Permission.CUSTOMERS, customers.show_card),
    customer_callbacks.GiveDays: (Permission.GIVE_DAYS, deeds.give_days),
    customer_callbacks.NewAccess: (Permission.GIVE_DAYS, deeds.new_access),
    customer_callbacks.DaysOf: (Permission.GIVE_DAYS, deeds.days_of),
    customer_callbacks.OtherPlan: (Permission.CHANGE_PLAN, deeds.other_plan),
    customer_callbacks.PlanOf: (Permission.CHANGE_PLAN, deeds.plan_of),
    customer_callbacks.GiveMoney: (Permission.BALANCE, deeds.give_money),
    customer_callbacks.Reissue: (Permission.REISSUE, deeds.reissue),
    customer_callbacks.Block: (Permission.BLOCK, deeds.block),
    customer_callbacks.WriteTo: (Permission.MESSAGE, deeds.write_to),
    customer_callbacks.Payments: (Permission.REFUND, customers.show_payments),
    customer_callbacks.OnePayment: (Permission.REFUND, customers.show_payment),
    customer_callbacks.Timeline: (Permission.CUSTOMERS, customers.show_timeline),
    customer_callbacks.DeedNow: (Permission.CUSTOMERS, deeds.do),  # which one it is, the question knows
    customer_callbacks.DeadLetters: (Permission.DEAD_LETTERS, letters.show_letters),
    customer_callbacks.OneLetter: (Permission.DEAD_LETTERS, letters.show_letter),
    customer_callbacks.LetterAgain: (Permission.DEAD_LETTERS, letters.again),
    customer_callbacks.LetterDropAsk: (Permission.DEAD_LETTERS, letters.ask_to_drop),
    customer_callbacks.LetterDropNow: (Permission.DEAD_LETTERS, letters.drop),
    **broadcast_desk.handlers(),
    **composing.handlers(),
    **segmenting.handlers(),
    figures_callbacks.Figures: (Permission.FIGURES, figures.show_figures),
    figures_callbacks.ByMethod: (Permission.FIGURES, figures.show_methods),
    figures_callbacks.ByPlan: (Permission.FIGURES, figures.show_plans),
    figures_callbacks.Referral: (Permission.FIGURES, figures.show_referral),
    figures_callbacks.Health: (Permission.FIGURES, figures.show_health),
    figures_callbacks.Chart: (Permission.FIGURES, figures.show_chart),
    figures_callbacks.Exports: (Permission.EXPORT, exporting.show_exports),
    figures_callbacks.ExportAsk: (Permission.EXPORT, exporting.ask),
    figures_callbacks.ExportNow: (Permission.EXPORT, exporting.export),
    **alerting.PRESSES,
}


async def press(visit: Visit, action: Action) -> None:
    """Do what a button means. Raises NotAllowed for one whose role does not allow it."""
    if visit.actor.role is not None:
        await broadcast_desk.leave_message(visit)
    handler = HANDLERS.get(type(action))
    if handler is not None:
        await handler(visit, action)
        return
    permission, work = OPERATORS[type(action)]
    await as_operator(visit, permission, lambda: work(visit, action))


async def as_operator(visit: Visit, permission: Permission, work: Callable[[], Awaitable[None]]) -> None:
    """Do something for an operator. Raises NotAllowed."""
    if not visit.may(permission):
        raise NotAllowed(permission, visit.actor.role)
    await work()
