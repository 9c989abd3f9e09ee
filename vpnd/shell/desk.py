"""`vpnd give`, `vpnd block`, `vpnd unblock` and `vpnd operator`: the customers' desk at the shell.

The same deeds as in the bot, with the same checks and the same audit log. Without --yes a command says whom it means and what it
would change; the deed is rehearsed and rolled back for that.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from vpnd.config import Settings
from vpnd.config.kinds import did_you_mean
from vpnd.database.scope import Transaction
from vpnd.shell.acting import act, new_key, who
from vpnd.shell.shop import CommandFailed, OpenShop, run_command
from vpnd.shop.audit_log import Change
from vpnd.shop.customer_card import Card, card_of
from vpnd.shop.deed import Deed, DeedRefused, permission_of
from vpnd.shop.finding import Hit, find_customers
from vpnd.shop.money import Money, MoneyError, format_decimal, parse_decimal
from vpnd.shop.operator_deeds import carry_out, rehearse
from vpnd.shop.operators import Permission, Role, list_operators, remove_operator, set_operator
from vpnd.shop.plans import offers_on_sale

__all__ = ["block", "give", "list_all_operators", "remove", "set_role", "unblock"]

_NOTHING_DONE = "Nothing was done. Say --yes to do it."


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


# ------------------------------------------------------------------------------------------ customers


def give(
    settings: Settings,
    *,
    words: str,
    days: int | None,
    money: str | None,
    plan: str | None,
    subscription: int | None,
    reason: str,
    yes: bool,
) -> int:
    """Give or take days or money, or change a plan; return the exit code.

    Args:
        words: whom, by anything that the desk finds a customer by.
        days: negative to take; with a `plan` for the subscription of that plan.
        money: a decimal amount of the shop's currency, negative to take.
        plan: alone, the plan to change to.
        subscription: which one of several.
        yes: do it; otherwise only say what would be done.
    """

    async def body(shop: OpenShop) -> int:
        card = await _customer(shop, words)
        deed = await _gift(shop, card, days=days, money=money, plan=plan, subscription=subscription)
        return await _do(shop, card, deed, reason=reason, yes=yes)

    return run_command(settings, body)


def block(settings: Settings, *, words: str, reason: str, yes: bool) -> int:
    """Shut a customer out; return the exit code."""
    return _plain(settings, "block", words, reason=reason, yes=yes)


def unblock(settings: Settings, *, words: str, reason: str, yes: bool) -> int:
    """Let him in again; return the exit code."""
    return _plain(settings, "unblock", words, reason=reason, yes=yes)


def _plain(settings: Settings, kind: str, words: str, *, reason: str, yes: bool) -> int:
    async def body(shop: OpenShop) -> int:
        card = await _customer(shop, words)
        deed = Deed(kind="block" if kind == "block" else "unblock", customer_id=card.id)
        return await _do(shop, card, deed, reason=reason, yes=yes)

    return run_command(settings, body)


async def _customer(shop: OpenShop, words: str) -> Card:
    """The one who is meant. Raises CommandFailed, with those who may be if there are several."""
    found = await find_customers(shop.db, words)
    if not found:
        raise CommandFailed(
            f"no customer is found by {words!r}: give a Telegram id, a @name, a purchase (p…), a charge or a link of his"
        )
    if len(found) > 1:
        for one in found:
            _say(f"  {_named(one)}")
        raise CommandFailed(f"several customers may be meant by {words!r}: give the Telegram id of one")
    card = await card_of(shop.db, found[0].id, shop.settings.shop.currency)
    if card is None:
        raise CommandFailed("the customer has vanished")
    return card


def _named(one: Hit | Card) -> str:
    return f"{one.telegram_id}  {one.name or '(no name)'}  customer:{one.id}"


async def _gift(
    shop: OpenShop,
    card: Card,
    *,
    days: int | None,
    money: str | None,
    plan: str | None,
    subscription: int | None,
) -> Deed:
    """What is to be done. Raises CommandFailed with what is missing."""
    currency = shop.settings.shop.currency
    if money is not None:
        if days is not None or plan is not None or subscription is not None:
            raise CommandFailed("--money goes to the balance: leave --days, --plan and --subscription out")
        try:
            amount = parse_decimal(money.removeprefix("-"), currency).amount
        except MoneyError as error:
            raise CommandFailed(f"--money: {error}") from None
        return Deed(kind="money", customer_id=card.id, amount=-amount if money.startswith("-") else amount)
    if plan is not None:
        await _check_plan(shop, plan)
    if days is not None:
        if plan is not None and subscription is None:
            return Deed(kind="days", customer_id=card.id, plan=plan, days=days)
        chosen = _subscription(card, subscription)
        return Deed(kind="days", customer_id=card.id, subscription_id=chosen, days=days)
    if plan is None:
        raise CommandFailed("give what: --days N, --money AMOUNT or --plan PLAN")
    return Deed(
        kind="plan", customer_id=card.id, subscription_id=_subscription(card, subscription), plan=plan
    )


async def _check_plan(shop: OpenShop, plan: str) -> None:
    known = sorted({offer.plan_id for offer in await offers_on_sale(shop.db)})
    exists = await shop.db.fetchval("shell.plan", "select exists (select from plans where id = $1)", plan)
    if not exists:
        raise CommandFailed(
            f"there is no plan {plan!r}{did_you_mean(plan, known)}; on sale are: {', '.join(known) or 'none'}"
        )


def _subscription(card: Card, wanted: int | None) -> int:
    """Which of his subscriptions is meant. Raises CommandFailed."""
    if wanted is not None:
        if card.subscription(wanted) is None:
            raise CommandFailed(f"subscription {wanted} is not his; he has: {_listed(card)}")
        return wanted
    if not card.subscriptions:
        raise CommandFailed("he has no subscription: name the plan of a new one by --plan")
    if len(card.subscriptions) > 1:
        raise CommandFailed(
            f"he has several subscriptions: name one by --subscription; there are: {_listed(card)}"
        )
    return card.subscriptions[0].id


def _listed(card: Card) -> str:
    return (
        ", ".join(f"{one.id} ({one.plan_id} until {one.expires_at:%Y-%m-%d})" for one in card.subscriptions)
        or "none"
    )


async def _do(shop: OpenShop, card: Card, deed: Deed, *, reason: str, yes: bool) -> int:
    """Say whom it is about and what changes, and do it if that was said."""
    currency, owners = shop.settings.shop.currency, shop.settings.telegram.admins
    _say(_named(card))
    key = new_key()

    async def body(tx: Transaction) -> Change:
        return await carry_out(tx, who(), deed, request_key=key, currency=currency, owners=owners)

    try:
        if not yes:
            foreseen = await rehearse(shop.db, who(), deed, currency=currency, owners=owners)
            _say(f"  would be: {_words(foreseen)}")
            _say(_NOTHING_DONE)
            return 0
        done = await act(shop, f"shell.{deed.kind}", permission_of(deed), body, key=key, reason=reason)
    except DeedRefused as error:
        raise CommandFailed(str(error)) from None
    _say(f"  done: {_words(done)}")
    return 0


def _words(change: Change) -> str:
    """Before and after."""
    before, after = _values(change.before), _values(change.after)
    return f"{before} → {after}" if before else after


def _values(values: Mapping[str, Any] | None) -> str:
    shown = dict(values or {})
    currency = shown.pop("currency", None)
    if currency is not None:
        shown = {name: f"{_decimal(int(amount), currency)} {currency}" for name, amount in shown.items()}
    return ", ".join(f"{name} {_plain_value(value)}" for name, value in shown.items())


def _decimal(amount: int, currency: str) -> str:
    sign = "-" if amount < 0 else ""
    return sign + format_decimal(Money(abs(amount), currency))


def _plain_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


# ------------------------------------------------------------------------------------------ operators


def list_all_operators(settings: Settings) -> int:
    """List the owners of the configuration and everybody who was made an operator; return the exit code."""

    async def body(shop: OpenShop) -> int:
        for telegram_id in settings.telegram.admins:
            _say(f"{telegram_id:<20} owner     from the configuration ([telegram] admins)")
        for one in await list_operators(shop.db):
            since = f"since {one.added_at:%Y-%m-%d %H:%M} UTC, by {one.added_by}"
            _say(f"{one.telegram_id:<20} {one.role:<9} {one.name or '-'}  {since}")
        return 0

    return run_command(settings, body)


def set_role(settings: Settings, *, words: str, role: Role, reason: str, yes: bool) -> int:
    """Make somebody an operator, or give him another role; return the exit code."""
    return _role(settings, words, role, reason=reason, yes=yes)


def remove(settings: Settings, *, words: str, reason: str, yes: bool) -> int:
    """Take somebody's role away; return the exit code."""
    return _role(settings, words, None, reason=reason, yes=yes)


def _role(settings: Settings, words: str, role: Role | None, *, reason: str, yes: bool) -> int:
    async def body(shop: OpenShop) -> int:
        telegram_id, name = await _person(shop, words)
        if telegram_id in settings.telegram.admins:
            raise CommandFailed(
                f"{telegram_id} is an owner by the configuration: change [telegram] admins and restart the daemon"
            )
        before = next(
            (one.role for one in await list_operators(shop.db) if one.telegram_id == telegram_id), None
        )
        if role is None and before is None:
            raise CommandFailed(f"{telegram_id} is no operator: `vpnd operator list` names them")
        _say(
            f"{telegram_id}  {name or '(has not written to the bot)'}: {before or 'no role'} → {role or 'no role'}"
        )
        if not yes:
            _say(_NOTHING_DONE)
            return 0

        async def deed(tx: Transaction) -> Change:
            if role is None:
                was = await remove_operator(tx, telegram_id)
            else:
                was = await set_operator(tx, telegram_id, role, name=name, by=who().name)
            return Change(
                subject=f"operator:{telegram_id}",
                before=None if was is None else {"role": was},
                after=None if role is None else {"role": role},
            )

        await act(shop, "shell.operator", Permission.OPERATORS, deed, reason=reason)
        _say("  done: it counts from the next press on")
        return 0

    return run_command(settings, body)


async def _person(shop: OpenShop, words: str) -> tuple[int, str]:
    """Somebody by a Telegram id, also one who has not written yet, or by whatever a customer is found by."""
    if words.isascii() and words.isdecimal() and 0 < int(words) < 2**52:
        found = [one for one in await find_customers(shop.db, words) if one.telegram_id == int(words)]
        return int(words), found[0].name if found else ""
    card = await _customer(shop, words)
    return card.telegram_id, card.name
