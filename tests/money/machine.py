"""The steps of `Play` as a Hypothesis machine. It is synchronous and runs in a thread; its steps run on the trio loop.

A step is one rule whatever it does, and which one it is comes from the random numbers that Hypothesis hands to it: rules
of their own would be taken alike, and an example where nobody pays shows nothing. A failing example is shortened by leaving
steps out, and told in words.
"""

from __future__ import annotations

from random import Random

import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from money.play import Chance, Ground, Play, begin_play, next_step

__all__ = ["machine_on"]

RANDOMS = st.randoms(use_true_random=True)


class MoneyMachine(RuleBasedStateMachine):
    """What may happen to the shop's money, and what must be true of it after every step."""

    ground: Ground
    play: Play

    @initialize()
    def begin(self) -> None:
        """Customers, codes, and a model of what they have."""
        self.play = trio.from_thread.run(begin_play, self.ground)

    @rule(random=RANDOMS)
    def step(self, random: Random) -> None:
        """Something happens."""
        name = next_step(self.play, random)
        self.ground.count("step", name)
        try:
            trio.from_thread.run(getattr(self.play, f"do_{name}"), Chance(random))
        except Exception as error:
            error.add_note("\n".join(self.play.steps))
            raise

    @invariant()
    def books_are_right(self) -> None:
        """Everything is as the oracle says."""
        try:
            trio.from_thread.run(self.play.check)
        except Exception as error:
            error.add_note("\n".join(self.play.steps))
            raise

    def teardown(self) -> None:
        """Count what the example came to."""
        if hasattr(self, "play"):
            self.play.finish()


def machine_on(ground: Ground) -> type[MoneyMachine]:
    """The machine, playing on this ground."""
    return type("Money", (MoneyMachine,), {"ground": ground})
