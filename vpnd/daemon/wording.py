"""The texts of the bot, read at start and on a reload, with what is wrong with the operator's own in the journal."""

from __future__ import annotations

from typing import Final

import trio

from vpnd.bot.texts import Texts
from vpnd.bot.texts_folder import load_texts
from vpnd.config import Settings
from vpnd.runtime.journal import get_journal

__all__ = ["read"]

journal = get_journal("daemon")

#: Faults that get a line each; `vpnd check-config` tells all of them.
MOST_TOLD: Final = 50


async def read(settings: Settings) -> Texts:
    """Read the texts in a thread. A fault costs its own text, or its own language, and nothing else."""
    shop = settings.shop
    texts, faults = await trio.to_thread.run_sync(load_texts, shop.languages, shop.texts_dir)
    for fault in faults[:MOST_TOLD]:
        journal.error(
            "texts.refused",
            message=f"a text of yours is not used: {fault}",
            file=fault.file,
            key=fault.key,
            remedy=fault.message,
        )
    if len(faults) > MOST_TOLD:
        journal.error(
            "texts.refused",
            message=f"{len(faults) - MOST_TOLD} more texts are not used: `vpnd check-config` names them",
        )
    if shop.texts_dir is not None:
        journal.info(
            "texts.read",
            message=f"your texts were read; the bot speaks {', '.join(texts.languages)}",
            languages=", ".join(texts.languages),
            faults=len(faults),
        )
    return texts
