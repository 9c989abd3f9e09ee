"""The texts of the bot, read at start, on a reload and when one was edited, with what is wrong with the operator's own in
the journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, NoReturn

import trio

from vpnd.bot.text_editing import read_texts
from vpnd.bot.texts import Texts
from vpnd.config import Settings
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseError
from vpnd.runtime.backoff import jittered_backoff
from vpnd.runtime.journal import get_journal
from vpnd.shop.text_overrides import overrides_version

__all__ = ["read", "watch"]

journal = get_journal("daemon")

#: Faults that get a line each; `vpnd check-config` tells all of them.
MOST_TOLD: Final = 50


#: Seconds between two looks whether another daemon has edited a text; and the back-off where it cannot be seen.
LOOK_EVERY: Final = 15.0
RETRY_FIRST: Final = 0.5


async def read(settings: Settings, db: Database | None = None) -> Texts:
    """Read the texts in a thread. A fault costs its own text, or its own language, and nothing else.

    Without a database (None: its schema may not be there yet) those that were written in the bot are left out.
    Raises DatabaseError.
    """
    shop = settings.shop
    texts, faults = await read_texts(shop.languages, shop.texts_dir, db)
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


async def watch(
    db: Database,
    reload: Callable[[], Awaitable[None]],
    *,
    every: float = LOOK_EVERY,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Read the texts anew whenever one was written in the bot since, here or in another daemon of the shop; for ever.

    A database that is away leaves the last ones in force.
    """
    task_status.started()
    seen, failures = 0, 0
    random = Random()  # noqa: S311  jitter is no secret
    while True:
        try:
            version = await overrides_version(db)
            if version != seen:
                await reload()
                seen = version
        except DatabaseError as error:
            failures += 1
            if failures == 1:
                journal.warning(
                    "texts.not_read",
                    message=f"texts that were written in the bot cannot be read, the last known are said: {error}",
                )
            await db.rest(jittered_backoff(failures, RETRY_FIRST, every, random))
        else:
            failures = 0
            await trio.sleep(every)
