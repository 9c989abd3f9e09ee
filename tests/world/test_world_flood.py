"""One person who presses and writes more than he may, over real sockets."""

from __future__ import annotations

import pytest
from world_kit import a_world, books_of, eventually, first_screen, is_a, metrics_of

from vpnd.bot import callbacks
from vpnd.sandbox.customer import Customer, text_of

pytestmark = pytest.mark.world

PRESSES = 60
WORDS = 30


async def test_every_press_is_answered_and_a_message_once() -> None:
    """A flood of one costs his answers only: each of his presses is answered, another customer notices nothing."""
    async with (
        a_world(node=False, lift_limits=True, people=(10, 0.01)) as (world, lines),
        books_of(world) as db,
    ):
        await world.start_daemon()
        hasty, other = Customer(world, 1001), Customer(world, 1002)
        await first_screen(hasty)
        refused = 0
        for number in range(PRESSES):
            # A press that was handled changes the screen; one that was refused leaves its button where it is.
            wanted = callbacks.Home if (number - refused) % 2 else callbacks.Help
            await hasty.press("go on", is_a(wanted))

            async def answered(number: int = number) -> bool:
                await hasty.look()
                return len(hasty.answers) > number

            await eventually("the press is answered", answered)
            refused += "quicker than I can answer" in str(hasty.answers[number])
        assert len(hasty.answers) == PRESSES
        assert refused == PRESSES - 9  # /start was the first of ten

        for number in range(WORDS):
            await hasty.say(f"hello {number}")
        await first_screen(other)

        async def all_done() -> bool:
            return not await db.fetchval("test", "select exists (select from inbox where done_at is null)")

        await eventually("the inbox is empty", all_done)
        await hasty.look()
        told = [text_of(message) for message in hasty.messages.values() if message["from_bot"]]
        assert sum("One moment, please" in text for text in told) == 1

        found = (await metrics_of(world))["vpnd_telegram_updates_total"]
        limited = {labels["kind"]: count for labels, count in found if labels["outcome"] == "limited"}
        assert limited["callback_query"] == refused
        assert limited["message"] == WORDS
        assert limited["successful_payment"] == limited["pre_checkout_query"] == 0
        assert not [line for line in lines if '"telegram.update_failed"' in line]
