"""Exports in the bot: the choice, the question, and the file that follows. A worker makes it; the audit log has who asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import trio
from telegram import InputFile
from telegram.constants import ParseMode

from vpnd.bot.answers import stale
from vpnd.bot.callbacks import Action
from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.figures_callbacks import ExportAsk, ExportNow
from vpnd.bot.screens import exports
from vpnd.bot.show import send
from vpnd.bot.speech import Speech
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.shop.audit_log import Change
from vpnd.shop.export_requests import ExportRequest, Problem, ask_for_export, permission_for
from vpnd.shop.export_tables import EXPORTS, Export
from vpnd.shop.exports import Exported
from vpnd.shop.operators import NotAllowed
from vpnd.telegram.errors import Blocked, Rejected
from vpnd.telegram.sender import Lane

log = get_journal("bot")

#: Seconds in which a file has to have left: 45 MB on a slow line.
_WRITING: Final = 600.0
_READING: Final = 60.0


def _table(word: str) -> Export | None:
    return next((one for one in EXPORTS if one == word), None)


async def show_exports(visit: Visit, _action: Action) -> None:
    """What can be exported."""
    await visit.show(exports.choice(visit.speech))


async def ask(visit: Visit, action: ExportAsk) -> None:
    """Say what the file will hold, and ask. Raises NotAllowed."""
    what, with_secrets = _table(action.what), action.secrets == 1
    if what is None:
        await stale(visit, "unreadable")
        return
    permission = permission_for(with_secrets=with_secrets)
    if not visit.may(permission):
        raise NotAllowed(permission, visit.actor.role)
    await visit.show(
        exports.confirm(visit.speech, visit.actor, what, with_secrets=with_secrets, update=visit.update_id)
    )


async def export(visit: Visit, action: ExportNow) -> None:
    """Have it made, and say that the file will come. Raises NotAllowed and AlreadyDone."""
    what, with_secrets = _table(action.what), action.secrets == 1
    if what is None:
        await stale(visit, "unreadable")
        return

    async def deed(tx: Transaction) -> Change:
        await ask_for_export(
            tx, what, with_secrets=with_secrets, telegram_id=visit.customer.telegram_id,
            language=visit.speech.language, request_key=f"asked:{action.asked}",
        )  # fmt: skip
        return Change(subject=f"export:{what}", after={"to": f"telegram:{visit.customer.telegram_id}"})

    await visit.perform("bot.export", permission_for(with_secrets=with_secrets), deed, asked=action.asked)
    visit.deps.export_asked()
    await visit.show(exports.asked(visit.speech, what))


async def deliver_export(
    deps: BotDependencies, request: ExportRequest, path: Path, made: Exported | Problem
) -> bool:
    """Send the file, or say why there is none; False for somebody who does not take it.

    Raises `vpnd.telegram.errors.TelegramError` for what may work another time.
    """
    language = request.language if request.language in deps.texts.languages else deps.texts.default
    speech = Speech(deps.texts, language)
    try:
        if isinstance(made, Exported):
            await _send_file(deps, speech, request, path, made)
        else:
            screen = (exports.too_big if made == "too_big" else exports.failed)(speech, request.what)
            await send(deps.sender, Lane.REPLY, request.telegram_id, screen, None)
    except (Blocked, Rejected) as error:
        log.warning(
            "export.refused", message=f"an export could not be sent to {request.telegram_id}: {error}"
        )
        return False
    return True


async def _send_file(
    deps: BotDependencies, speech: Speech, request: ExportRequest, path: Path, made: Exported
) -> None:
    screen = exports.file_caption(
        speech, request.what, made.rows, f"{made.as_of:%Y-%m-%d %H:%M:%S}", with_secrets=request.with_secrets
    )
    content = await trio.to_thread.run_sync(path.read_bytes)
    arguments: dict[str, Any] = {"write_timeout": _WRITING, "read_timeout": _READING}
    await deps.sender.call(
        Lane.REPLY,
        "send_document",
        chat_id=request.telegram_id,
        document=InputFile(content, filename=path.name),
        caption=screen.text,
        parse_mode=ParseMode.HTML,
        reply_markup=screen.keyboard(),
        **arguments,
    )
