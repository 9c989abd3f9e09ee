"""The bot: PTB's methods and types, on trio.

PTB's `Bot.initialize()` and `shutdown()` gather asyncio tasks, which is all that keeps a bot from running on trio.
Both are replaced here; the two private flags they set are guarded by a test, since PTB may rename them at will.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import telegram.error as ptb
from telegram import TelegramObject
from telegram._utils.defaultvalue import DEFAULT_NONE
from telegram.ext import BaseRateLimiter, ExtBot
from telegram.request import BaseRequest

from vpnd.telegram.bodies import json_body
from vpnd.telegram.errors import translate
from vpnd.telegram.transport import DirectRequest

__all__ = ["TrioBot"]

# PTB guards its objects against being written to by a __setattr__ in Python, which runs for every attribute of every object:
# some 400 times for an update and its reply, a tenth of their whole cost. Without it they behave the same, but for the
# error on writing into them.
if "__setattr__" in vars(TelegramObject):
    type.__delattr__(TelegramObject, "__setattr__")


class _Answered(BaseRequest):
    """A request that was answered already: has PTB say what an answer means, and raise what it raises."""

    __slots__ = ("_answer",)

    def __init__(self, status: int, body: bytes) -> None:
        self._answer = status, body

    @property
    def read_timeout(self) -> float | None:
        """Nothing is waited for."""
        return None

    async def initialize(self) -> None:
        """Do nothing."""

    async def shutdown(self) -> None:
        """Do nothing."""

    async def do_request(self, *_args: Any, **_kwargs: Any) -> tuple[int, bytes]:
        """The answer."""
        return self._answer


class TrioBot(ExtBot[Any]):
    """A bot whose every method runs on trio and raises `vpnd.telegram.errors`.

    Args:
        token: the bot's token; it is in every URL and nowhere else.
        api_base: `https://api.telegram.org` or the sandbox's address, without `/bot`.
        request: transport of all methods but getUpdates.
        updates_request: transport of getUpdates, whose one connection waits for most of its life.
        limiter: what a call passes through on its way out.
    """

    __slots__ = ()

    def __init__(
        self,
        token: str,
        api_base: str,
        request: BaseRequest,
        updates_request: BaseRequest,
        limiter: BaseRateLimiter[Any] | None = None,
    ) -> None:
        base = api_base.rstrip("/")
        super().__init__(
            token=token,
            base_url=f"{base}/bot",
            base_file_url=f"{base}/file/bot",
            request=request,
            get_updates_request=updates_request,
            rate_limiter=limiter,
        )

    def __repr__(self) -> str:
        """Say who this is without PTB's habit of printing the token."""
        return f"<TrioBot {self._bot_user.username if self._bot_user else 'not identified'}>"

    @property
    def identified(self) -> bool:
        """True once Telegram has told who the bot is; commands addressed to it by name need that."""
        return self._bot_initialized

    async def initialize(self) -> None:
        """Ask Telegram who we are. Calling it again after a failure, or a success, does no harm.

        Raises:
            Unauthorized: the token is refused.
            TelegramError: it could not be asked.
        """
        if self._bot_initialized:
            return
        for request in self._request:
            await request.initialize()
        self._requests_initialized = True
        await self.get_me()
        self._bot_initialized = True

    async def shutdown(self) -> None:
        """Close the idle connections. Calls in flight keep theirs and close them when they end."""
        for request in self._request:
            await request.shutdown()
        self._requests_initialized = False
        self._bot_initialized = False

    async def call(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout: float | None = 10.0
    ) -> Any:
        """Call a Bot API method by its own name and return the plain JSON result, no objects built.

        Args:
            method: for instance "getUpdates".
            parameters: by their Bot API names.
            timeout: seconds from the end of the request to the end of the answer; None: the transport's own.

        Raises:
            TelegramError: see `vpnd.telegram.errors`.
        """
        request = self._request[0 if method == "getUpdates" else 1]
        limiter = self.rate_limiter
        asked = dict(parameters or {})
        if isinstance(request, DirectRequest) and limiter is not None:
            try:
                body = json_body(asked)
            except TypeError:
                pass  # a file: PTB knows how those are sent
            else:
                try:
                    return await limiter.process_request(
                        self._ask, (request, method, body, timeout), {}, method, asked, None
                    )
                except ptb.TelegramError as error:
                    error.__traceback__ = None  # as in `_do_post`
                    raise translate(error, method) from None
        bound = DEFAULT_NONE if timeout is None else timeout
        return await self._post(method, asked, read_timeout=bound)

    async def _ask(self, request: DirectRequest, method: str, body: bytes, timeout: float | None) -> Any:
        """One call without PTB's objects around it, which cost more than the call. What is not a success, PTB reads."""
        status, answer = await request.post_json(f"{self.base_url}/{method}", body, timeout)
        if 200 <= status < 300:
            try:
                return json.loads(answer)["result"]
            except (ValueError, KeyError, TypeError):
                pass
        return await _Answered(status, answer).post(method)

    async def _do_post(self, endpoint: str, data: dict[str, Any], **timeouts: Any) -> Any:
        try:
            return await super()._do_post(endpoint, data, **timeouts)
        except ptb.TelegramError as error:
            # PTB's frame keeps the error in a variable, and the error its frames: requests and answers that only a full
            # collection would find, minutes later.
            error.__traceback__ = None
            raise translate(error, endpoint) from None
