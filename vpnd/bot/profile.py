"""What Telegram shows of the bot before anybody writes: the menu of commands, the description, the words of its profile.

All of it is kept by Telegram, for everybody and for each language. It is read first, and only what differs is sent: a daemon that
is started again and again must not run into the limits of methods that are meant to be called once.
"""

from __future__ import annotations

from telegram import BotCommand, BotCommandScopeAllPrivateChats, MenuButtonCommands
from telegram.constants import MenuButtonType

from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.handlers import COMMANDS
from vpnd.telegram.sender import Lane


async def set_profile(deps: BotDependencies) -> int:
    """Tell Telegram commands, description and short description in each language; returns how many of them were sent.

    Raises `vpnd.telegram.errors.TelegramError`; what was sent before stays, and doing it again sends the rest.
    """
    sent = int(await _set_menu_button(deps))
    # The words for whoever speaks none of the shop's languages come first: Telegram falls back to them.
    for language in (None, *deps.texts.languages):
        sent += await _set_commands(deps, language)
        sent += await _set_text(deps, language, "description", "bot-description")
        sent += await _set_text(deps, language, "short_description", "bot-short-description")
    return sent


async def drop_profile(deps: BotDependencies, language: str) -> None:
    """Take away what was said in a language that is not spoken any more: Telegram then shows what is for all.

    Raises `vpnd.telegram.errors.TelegramError`; doing it again does no harm.
    """
    call, scope = deps.sender.call, BotCommandScopeAllPrivateChats()
    await call(Lane.NOTICE, "delete_my_commands", scope=scope, language_code=language)
    for what in ("description", "short_description"):
        await call(Lane.NOTICE, f"set_my_{what}", language_code=language, **{what: ""})


async def _set_commands(deps: BotDependencies, language: str | None) -> bool:
    """The menu, for private chats only; whether it was sent."""
    call, scope = deps.sender.call, BotCommandScopeAllPrivateChats()
    own = language or deps.texts.default
    commands = [BotCommand(name, deps.texts.plain(own, f"command-{name}")) for name in COMMANDS]
    present = await call(Lane.NOTICE, "get_my_commands", scope=scope, language_code=language)
    if list(present) == commands:
        return False
    await call(Lane.NOTICE, "set_my_commands", commands=commands, scope=scope, language_code=language)
    return True


async def _set_text(deps: BotDependencies, language: str | None, what: str, key: str) -> bool:
    """One text of the profile, `what` as Telegram names it; whether it was sent."""
    text = deps.texts.plain(language or deps.texts.default, key)
    present = await deps.sender.call(Lane.NOTICE, f"get_my_{what}", language_code=language)
    if getattr(present, what) == text:
        return False
    await deps.sender.call(Lane.NOTICE, f"set_my_{what}", language_code=language, **{what: text})
    return True


async def _set_menu_button(deps: BotDependencies) -> bool:
    """The button beside the input field opens the menu, unless an operator has put something else there."""
    present = await deps.sender.call(Lane.NOTICE, "get_chat_menu_button")
    if present.type != MenuButtonType.DEFAULT:
        return False
    await deps.sender.call(Lane.NOTICE, "set_chat_menu_button", menu_button=MenuButtonCommands())
    return True
