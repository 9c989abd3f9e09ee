"""A load of customers: `load.py DATABASE_URL CONFIG SECONDS`. Runs inside the booted system.

Each of them goes on without a pause: /start, the plans, a bill, every fourth pays it and gets a receipt. Every step waits for its
answer; one that takes longer than a few seconds is a failure.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from time import perf_counter

import payers
import trio
from play import visiting

from vpnd.bot import callbacks
from vpnd.sandbox.customer import Customer, NotSeen, buttons_of, code_of
from vpnd.sandbox.programs import ProgramFailed
from vpnd.sandbox.world import World

CUSTOMERS = 24
#: Longest a customer may wait for the answer to a press, in seconds.
PATIENCE = 10.0


class Answers:
    """How long answers took, in seconds."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.receipts = 0
        self.astray = self.unpaid = 0
        #: When each that never came was given up, in seconds since the beginning.
        self.lost: list[float] = []
        self.began = perf_counter()

    def __str__(self) -> str:
        times = sorted(self.took) or [math.inf]
        at = [
            f"{times[min(len(times) - 1, int(share * len(times)))] * 1000:.0f} ms at {share:.0%}"
            for share in (0.5, 0.99)
        ]
        return (
            f"{len(times)} answers to {CUSTOMERS} customers, {', '.join(at)}, {times[-1]:.2f} s at worst,"
            f" {self.receipts} receipts, {self.unpaid} bills left, {self.astray} astray, {len(self.lost)} never answered"
            + (f", given up after {self.lost[0]:.0f} to {self.lost[-1]:.0f} s" if self.lost else "")
        )


async def live(world: World, number: int, answers: Answers) -> None:
    """One customer, over and over."""
    customer = Customer(world, 900_000 + number)
    turn = number
    while True:
        turn += 1
        kinds = (callbacks.Plans, callbacks.Periods, callbacks.Methods)
        try:
            since = await _timed(customer, answers, customer.say("/start"), callbacks.Plans)
            for kind, following in zip(kinds, (*kinds[1:], callbacks.Pay), strict=True):
                press = customer.press("go on", lambda a, kind=kind: isinstance(a, kind), since=since)
                since = await _timed(customer, answers, press, following)
            if turn % 4 == 0:
                with trio.move_on_after(PATIENCE) as scope:
                    await _buy(world, customer, answers, since)
                answers.unpaid += scope.cancelled_caught
        except (trio.TooSlowError, NotSeen):
            answers.lost.append(perf_counter() - answers.began)
        except ProgramFailed:
            answers.astray += 1  # the screen changed under his finger: a notice, or a press of before


async def _timed(customer: Customer, answers: Answers, step, following: type) -> int:
    """Take a step and wait until the button that follows is there; returns the chat's event before it."""
    began, since = perf_counter(), customer.event
    with trio.fail_after(PATIENCE):
        await step
        await customer.wait_for(
            "an answer",
            lambda m: any(
                isinstance(callbacks.decode(b.get("callback_data")), following) for b in buttons_of(m)
            ),
            since=since,
        )
    answers.took.append(perf_counter() - began)
    return since


async def _buy(world: World, customer: Customer, answers: Answers, since: int) -> None:
    before = customer.event
    await customer.press(
        "pay", lambda a: isinstance(a, callbacks.Pay) and a.method == "yookassa", since=since
    )
    bill = await customer.wait_for("a bill", lambda m: payers.bill_of(m) is not None, since=before)
    paid = customer.event
    await payers.pay(world, customer, bill)
    await customer.wait_for("a receipt", lambda m: bool(code_of(m)), since=paid)
    answers.receipts += 1


async def main(database_url: str, config: Path, seconds: float) -> int:
    """Load it; return how many answers never came."""
    answers = Answers()
    async with visiting(database_url, config) as world:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for number in range(CUSTOMERS):
                    nursery.start_soon(live, world, number, answers)
    print(answers)
    return len(answers.lost)


if __name__ == "__main__":
    sys.exit(1 if trio.run(main, sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])) else 0)
