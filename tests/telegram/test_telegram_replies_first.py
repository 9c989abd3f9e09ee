"""A customer's own message is answered before whatever waits to be told to others: over real sockets, at a real pace."""

from __future__ import annotations

import trio
from telegram_fakes import TOKEN, MemoryInbox, fake_telegram, message
from test_telegram_service import callbacks, register

from vpnd.config import LimitsSettings, Secret, Settings, TelegramSettings
from vpnd.telegram.lanes import Lane
from vpnd.telegram.service import open_telegram

#: Of each lane; at 25 a second they wait for ten seconds.
WAITING = 120
CUSTOMERS = range(1, 9)
#: What may be under way to Telegram, or leave in the moment that an update takes from there to its handler.
UNDER_WAY = 12


async def test_replies_leave_before_notices_and_broadcasts() -> None:
    """Hundreds wait for their turn; of those who write meanwhile each is answered with one of the next tokens."""
    limits = LimitsSettings(telegram_per_second=25.0, telegram_per_chat=0.0)
    async with fake_telegram() as fake:
        settings = Settings(telegram=TelegramSettings(token=Secret(TOKEN), api_base=fake.base), limits=limits)
        async with (
            open_telegram(
                settings, None, register=register, callbacks=callbacks([]), store=MemoryInbox()
            ) as service,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(service.run)

            async def tell(lane: Lane, number: int) -> None:
                # A wait of more than half a minute would be refused; here it is cut by the end of the test.
                await service.sender.call(lane, "send_message", chat_id=1000 + number, text=lane.label)

            def asked() -> int:
                lanes = service.sender.statistics()
                return lanes.granted + lanes.waiting["notice"]

            for number in range(WAITING):
                nursery.start_soon(tell, Lane.NOTICE, WAITING + number)
            # A broadcast that came before all of them would find a token at hand.
            while asked() < WAITING:
                await trio.lowlevel.checkpoint()
            for number in range(WAITING):
                nursery.start_soon(tell, Lane.BROADCAST, number)
            await fake.until(lambda: len(fake.sent()) >= 30)
            assert service.sender.statistics().waiting["broadcast"] == WAITING
            before = len(fake.sent())

            fake.push(*(message(number, number) for number in CUSTOMERS))
            await fake.until(lambda: sum(call["text"].isdigit() for call in fake.sent()) == len(CUSTOMERS))
            order = [call["text"] for call in fake.sent()]
            nursery.cancel_scope.cancel()

    since = order[before:]
    assert sorted(int(text) for text in since if text.isdigit()) == list(CUSTOMERS)
    assert len(since) <= len(CUSTOMERS) + UNDER_WAY, since
    assert "broadcast" not in order  # all of the notices come first
