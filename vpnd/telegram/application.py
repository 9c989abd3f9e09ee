"""PTB's dispatcher, and nothing of PTB's runtime.

`Application.process_update` is plain coroutine code and runs on trio as it is. Everything in PTB that starts tasks is asyncio's:
half of it fails loudly on trio, and with a trio-asyncio loop open the other half seems to work and loses things. So it is
closed off here, and a test keeps the whole package from using it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from telegram import Update
from telegram.ext import Application, ApplicationBuilder, BaseHandler

from vpnd.telegram.bot import TrioBot
from vpnd.telegram.press import Press

__all__ = ["OnPress", "TrioApplication", "build_application"]

OnPress = Callable[[Press], Awaitable[None]]


class TrioApplication(Application[Any, Any, Any, Any, Any, Any]):
    """A dispatcher whose handlers' failures reach the caller.

    PTB gives an exception of a handler to its error handlers and then forgets it. An update whose handler failed is not
    done, and only the caller can know what that means.
    """

    __slots__ = ("_on_press",)

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._on_press: OnPress | None = None

    def take_presses(self, on_press: OnPress) -> None:
        """Have presses on buttons handled by `on_press`, past PTB's handlers."""
        self._on_press = on_press

    async def process_error(self, update: object, error: Exception, *_args: Any, **_kwargs: Any) -> bool:
        """Raise `error` to the caller of `process_update`."""
        raise error

    def add_handler(self, handler: BaseHandler[Any, Any, Any], group: int = 0) -> None:
        """Add a handler; see PTB.

        Raises:
            ValueError: it is to run unawaited (PTB's `block=False`), as an asyncio task nobody owns.
        """
        if not handler.block:
            raise ValueError("a handler runs in its update's own task; it cannot be unblocking")
        super().add_handler(handler, group)

    async def initialize(self) -> None:
        """Identify the bot; handlers may run afterwards. See `TrioBot.initialize` for what it raises."""
        await self.bot.initialize()
        self._initialized = True

    async def shutdown(self) -> None:
        """Close the bot's idle connections."""
        self._initialized = False
        await self.bot.shutdown()

    async def start(self) -> NoReturn:
        """Refuse: this is PTB's asyncio runtime."""
        raise RuntimeError("updates are given to process_update; PTB's own runtime belongs to asyncio")

    def _mark_for_persistence_update(self, **_of: Any) -> None:
        """Remember nobody: nothing is persisted, and PTB would keep the ids of all who ever wrote, for good."""

    def create_task(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse: tasks are children of trio nurseries."""
        raise RuntimeError("a task needs a parent nursery")

    async def dispatch(self, payload: dict[str, Any]) -> None:
        """Let the handlers answer one update.

        Args:
            payload: the update as Telegram sent it.

        Raises:
            Exception: whatever a handler raised.
        """
        if self._on_press is not None and "callback_query" in payload:
            await self._on_press(Press.of(payload))
            return
        await self.process_update(Update.de_json(payload, self.bot))


def build_application(bot: TrioBot) -> TrioApplication:
    """Return a dispatcher for `bot`, without updater, job queue and persistence."""
    builder = ApplicationBuilder().application_class(TrioApplication).bot(bot).updater(None).job_queue(None)
    application = builder.build()
    assert isinstance(application, TrioApplication)  # noqa: S101  the builder's type is wider than what it builds
    return application
