"""What tests of the sandbox share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from telegram import Bot
from telegram.request import HTTPXRequest

from vpnd.sandbox.servers import Sandbox


@pytest.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[Bot]:
    """PTB's client, its request objects begun by hand: its own initialize() needs asyncio."""
    requests = [HTTPXRequest(httpx_kwargs={"trust_env": False}) for _ in range(2)]
    made = Bot(
        sandbox.telegram.token,
        base_url=f"{sandbox.telegram_url}/bot",
        base_file_url=f"{sandbox.telegram_url}/file/bot",
        request=requests[0],
        get_updates_request=requests[1],
    )
    for request in requests:
        await request.initialize()
    await made.get_me()
    yield made
    for request in requests:
        await request.shutdown()
