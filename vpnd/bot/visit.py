"""One update of one person: who it is, in which language, and how to answer."""

from __future__ import annotations

from attrs import frozen
from telegram import User

from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.reading import Portfolio, portfolio
from vpnd.bot.screens import home
from vpnd.bot.screens.screen import Screen
from vpnd.bot.show import replace, send
from vpnd.bot.speech import Speech
from vpnd.database.scope import Transaction
from vpnd.shop.customers import Customer, customer_from_row, ensure_customer, set_reachable
from vpnd.telegram.sender import Lane


@frozen
class Visit:
    """What a handler works with.

    Attributes:
        update_id: Telegram's; it keys every effect, so that a replayed update does nothing twice.
        pressed: the message whose button was pressed; None when the customer wrote.
    """

    deps: BotDependencies
    update_id: int
    chat_id: int
    customer: Customer
    speech: Speech
    pressed: object | None = None

    @property
    def request_key(self) -> str:
        """The key of whatever this update opens."""
        return f"update:{self.update_id}"

    async def show(self, screen: Screen) -> None:
        """Answer with a screen: in place of the pressed message if there is one, else as a new message."""
        if self.pressed is not None:
            await replace(self.deps.sender, self.pressed, self.chat_id, screen, self.deps.qr)
        else:
            await send(self.deps.sender, Lane.REPLY, self.chat_id, screen, self.deps.qr)

    async def portfolio(self) -> Portfolio:
        """The customer's subscriptions and the business time; one read."""
        return await portfolio(self.deps.db, self.customer.id)

    async def show_menu(self, preface: str | None = None) -> None:
        """The menu: the first screen, or only its buttons under `preface`."""
        own = await self.portfolio()
        if preface is None:
            screen = home.home(self.speech, self.customer.first_name, own.foremost, own.now)
        else:
            screen = Screen(preface, home.menu_rows(self.speech, own.foremost))
        await self.show(screen)


async def customer_of(deps: BotDependencies, user: User, *, referral_code: str | None = None) -> Customer:
    """The customer behind a Telegram user, made now if there was none; reachable from now on.

    The usual case is one coalesced read. A referral code counts only for somebody who is new.
    """
    row = await deps.customers.get(user.id)
    if row is not None and row["reachable"]:
        return customer_from_row(row)

    async def body(tx: Transaction) -> Customer:
        customer, _ = await ensure_customer(
            tx,
            user.id,
            language=deps.texts.pick(user.language_code),
            username=user.username,
            first_name=user.first_name,
            referral_code_used=referral_code,
        )
        return customer

    return await deps.db.run("bot.customer", body)


async def note_reachable(deps: BotDependencies, telegram_id: int, reachable: bool) -> None:
    """Write down that Telegram delivers to this person, or does not."""

    async def body(tx: Transaction) -> bool:
        return await set_reachable(tx, telegram_id, reachable)

    await deps.db.run("bot.reachable", body)
