"""Why it does not work: what the shop can see, line by line, and the one next step."""

from __future__ import annotations

from collections.abc import Iterator

from vpnd.bot.callbacks import Home, OneSubscription, Plans
from vpnd.bot.own_callbacks import Connect, DoesNotWork, Rotate
from vpnd.bot.reading import Held
from vpnd.bot.screens.help import support_line, support_row
from vpnd.bot.screens.keeping import go_on
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.screens.trouble import banner
from vpnd.bot.speech import Speech
from vpnd.shop.diagnosis import Diagnosis

_NODES_NAMED = 3  # more would push the next step off a phone's screen


def _findings(speech: Speech, found: Diagnosis) -> Iterator[str]:
    """What was looked at and how it stands, one line each."""
    yield speech.say("diagnosis-paid", paid=found.paid, until=found.expires_at)
    if not found.paid:
        return
    yield speech.say("diagnosis-on", on=found.active)
    if not found.active:
        return
    count = len(found.nodes)
    heard = "all" if found.acknowledged == count else "some" if found.acknowledged else "none"
    yield speech.say(
        "diagnosis-heard", heard=heard if count else "nobody", some=found.acknowledged, count=count
    )
    if not count:
        return
    silent = found.silent
    answer = "all" if not silent else "none" if len(silent) == count else "some"
    names = ", ".join(silent[:_NODES_NAMED])
    if len(silent) > _NODES_NAMED:
        names = speech.label("diagnosis-names", names=names, count=len(silent) - _NODES_NAMED)
    yield speech.say("diagnosis-answer", answer=answer, names=names or "–")


def diagnosis(
    speech: Speech, held: Held, found: Diagnosis, banner_text: str | None, support: str | None
) -> Screen:
    """What is right and what is not, and what to do about it; support at the end."""
    own = held.subscription.id
    cause = found.cause
    again = Button(speech.label("button-look-again"), DoesNotWork(own))
    rows: list[Row] = []
    if cause == "over":
        rows.append((go_on(speech, held.subscription),))
    elif cause == "unseen":
        rows.append((Button(speech.label("button-how-to-connect"), Connect(own)),))
        rows.append((Button(speech.label("button-rotate"), Rotate(own)), again))
    else:
        rows.append((again,))
    if cause == "some_silent":
        rows.append((Button(speech.label("button-how-to-connect"), Connect(own)),))
    rows.append(support_row(speech, support))
    rows.append(
        (
            Button(speech.label("button-back"), OneSubscription(own)),
            Button(speech.label("button-home"), Home()),
        )
    )
    text = paragraphs(
        speech.say("diagnosis", title=held.called(speech.language)),
        "\n".join(_findings(speech, found)),
        banner(speech, banner_text),
        speech.say("diagnosis-step", cause=cause),
        support_line(speech, support),
    )
    return Screen(text, tuple(rows))


def nothing_to_look_at(speech: Speech, support: str | None) -> Screen:
    """There is no subscription that could work."""
    return Screen(
        paragraphs(speech.say("subscription-none"), support_line(speech, support)),
        (
            (Button(speech.label("button-buy"), Plans()),),
            support_row(speech, support),
            (Button(speech.label("button-home"), Home()),),
        ),
    )
