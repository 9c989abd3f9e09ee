"""One update of one person: who it is, in which language, and how to answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import trio
from attrs import frozen

from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.reading import Portfolio, portfolio
from vpnd.bot.screens import home, trouble
from vpnd.bot.screens.screen import Screen
from vpnd.bot.show import replace, send
from vpnd.bot.speech import Speech
from vpnd.database.errors import DatabaseError
from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.shop.audit_log import Change, perform
from vpnd.shop.customers import Customer, customer_from_row, ensure_customer, set_reachable
from vpnd.shop.dialogs import Expected, expected_from_row, set_expectation, take_expectation
from vpnd.shop.operators import Actor, Permission, Role, actor_of
from vpnd.shop.switches import TRIAL
from vpnd.shop.trial import why_no_trial
from vpnd.telegram.press import Person, PressedMessage
from vpnd.telegram.sender import Lane
from vpnd.telegram.update import current_update

log = get_journal("bot")

#: Seconds that may be spent on what is only noted: a buyer's pre-checkout has 8 in all.
NOTING_TIME: Final = 1.0

T = TypeVar("T")


@frozen
class Visit:
    """What a handler works with.

    Attributes:
        update_id: Telegram's; it keys every effect, so that a replayed update does nothing twice.
        pressed: the message whose button was pressed; None when the customer wrote.
        actor: who this is among those who run the shop; most are nobody.
        expected: what the customer was asked to write.
    """

    deps: BotDependencies
    update_id: int
    chat_id: int
    customer: Customer
    actor: Actor
    speech: Speech
    pressed: PressedMessage | None = None
    expected: Expected | None = None

    @property
    def request_key(self) -> str:
        """The key of whatever this update opens."""
        return f"update:{self.update_id}"

    @property
    def shut_out(self) -> bool:
        """Whether he is blocked, and does not run the shop."""
        return self.customer.blocked_at is not None and self.actor.role is None

    def may(self, permission: Permission) -> bool:
        """Whether whoever this is may do something, as his role was when he was looked up: for menus and what only looks."""
        return self.actor.may(permission)

    async def perform(
        self,
        site: str,
        permission: Permission,
        deed: Callable[[Transaction], Awaitable[Change]],
        *,
        asked: int | None = None,
        reason: str | None = None,
    ) -> Change:
        """Do something as an operator, once an update, written in the audit log; then wake whoever waits for it.

        `asked` is the update that asked the question, if there was one: two presses on one answer are one deed.
        Raises NotAllowed and AlreadyDone, which are answered where handlers are run, and whatever the deed raises.
        """
        key = self.request_key if asked is None else f"asked:{asked}"

        async def body(tx: Transaction) -> Change:
            return await perform(tx, self.actor, permission, deed, request_key=key, reason=reason)

        change = await self.change(site, body)
        if permission is Permission.EDIT_CATALOGUE:
            self.deps.catalogue.forget()
        return change

    async def show(self, screen: Screen) -> None:
        """Answer with a screen: in place of the pressed message if there is one, else as a new message."""
        if self.pressed is not None:
            await replace(self.deps.sender, self.pressed, self.chat_id, screen, self.deps.qr)
        else:
            await send(self.deps.sender, Lane.REPLY, self.chat_id, screen, self.deps.qr)

    async def portfolio(self) -> Portfolio:
        """The customer's subscriptions, his balance and the business time; one read."""
        return await portfolio(self.deps.portfolios, self.customer.id, self.deps.currency)

    async def show_menu(self, preface: str | None = None) -> None:
        """The menu: the first screen, or only its buttons under `preface`."""
        own = await self.portfolio()
        hours = self.deps.trial.hours if await self._may_try(own) else 0
        if preface is None:
            banner = trouble.banner(self.speech, self.deps.banner)
            screen = home.home(
                self.speech,
                self.customer.first_name,
                own.foremost,
                own.now,
                own.balance,
                trial_hours=hours,
                preface=banner,
                desk=self.actor.role is not None,
            )
        else:
            desk = self.actor.role is not None
            screen = Screen(preface, home.menu_rows(self.speech, own.foremost, trial_hours=hours, desk=desk))
        await self.show(screen)

    async def _may_try(self, own: Portfolio) -> bool:
        """Whether the customer is offered a trial. Only who has no access costs a read, and only where there are trials."""
        deps = self.deps
        if deps.trial.hours <= 0 or deps.switches.snapshot.paused(TRIAL):
            return False
        if own.foremost is not None and own.foremost.active:
            return False
        return await why_no_trial(deps.db, self.customer.id, deps.trial) is None

    async def change(self, site: str, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run a body that nodes, providers or other customers may wait for, and wake them when it has committed."""
        result = await self.deps.db.run(site, body)
        self.deps.wake_all()
        return result

    async def expect(
        self, what: Expected, *, about: int | None = None, data: Mapping[str, Any] | None = None
    ) -> None:
        """Take the customer's next words for this; `about`: the row that they will be about, `data`: what is known already."""

        async def body(tx: Transaction) -> None:
            await set_expectation(tx, self.customer.id, what, about=about, data=data)

        await self.deps.db.run("bot.expect", body)

    async def expect_nothing(self) -> None:
        """Take the customer's next words for mere words. Costs nothing when nothing was expected."""
        if self.expected is None:
            return

        async def body(tx: Transaction) -> None:
            await take_expectation(tx, self.customer.id)

        await self.deps.db.run("bot.expect_nothing", body)


async def customer_of(
    deps: BotDependencies, person: Person, *, referral_code: str | None = None
) -> tuple[Customer, Expected | None, Actor]:
    """The customer behind a Telegram user, made now if there was none, what he was asked to write, and who he is beside that.

    He is reachable from now on. The usual case was read when the update was stored, else it is one coalesced read; so this is
    for the beginning of an update's handling only. A referral code counts only for somebody new.
    """
    update = current_update()
    row = None if update is None else update.sender_as_of_now(person.id)
    if row is None:
        row = await deps.customers.get(person.id)
    expected = None if row is None else expected_from_row(row)
    if row is not None and row["reachable"]:
        return customer_from_row(row), expected, _actor(deps, person.id, row["role"])

    async def body(tx: Transaction) -> tuple[Customer, Actor]:
        customer, _ = await ensure_customer(
            tx,
            person.id,
            language=deps.texts.pick(person.language),
            username=person.username,
            first_name=person.first_name,
            referral_code_used=referral_code,
        )
        return customer, await actor_of(tx, person.id, deps.admins)

    customer, actor = await deps.db.run("bot.customer", body)
    return customer, expected, actor


def _actor(deps: BotDependencies, telegram_id: int, role: Role | None) -> Actor:
    fixed = telegram_id in deps.admins
    return Actor(f"admin:{telegram_id}", "owner" if fixed else role, telegram_id, fixed)


async def note_reachable(deps: BotDependencies, telegram_id: int, reachable: bool) -> None:
    """Write down that Telegram delivers to this person, or does not."""

    async def body(tx: Transaction) -> bool:
        return await set_reachable(tx, telegram_id, reachable)

    await deps.db.run("bot.reachable", body)


async def note_seen(deps: BotDependencies, telegram_id: int) -> None:
    """Write down that somebody is there again, if he was not. For handlers that look up no customer: one coalesced read."""

    async def look_and_write() -> None:
        row = await deps.customers.get(telegram_id)
        if row is not None and not row["reachable"]:
            await note_reachable(deps, telegram_id, True)

    await note_in_passing("that somebody is back", look_and_write)


async def note_in_passing(what: str, write: Callable[[], Awaitable[None]]) -> None:
    """Write down what nobody waits for: the handler's work is done, so a database that is away or slow is no failure of it."""
    with trio.move_on_after(NOTING_TIME):
        try:
            await write()
        except DatabaseError as error:
            log.debug("bot.not_noted", message=f"it could not be noted {what}: {error}")
