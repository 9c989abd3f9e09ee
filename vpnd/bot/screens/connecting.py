"""How to connect: a platform, an app, three steps with the link in hand, and whether it works."""

from __future__ import annotations

from vpnd.bot.apps import PLATFORMS, App, apps_on
from vpnd.bot.callbacks import Help, Home, Invite, OneSubscription, Plans, QrCode, Subscriptions
from vpnd.bot.connect import ConnectInfo, open_url
from vpnd.bot.own_callbacks import Connect, ConnectBy, DoesNotWork, Works
from vpnd.bot.reading import Held
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.screens.subscription import copy_row, link_block
from vpnd.bot.speech import Speech


def platform_rows(speech: Speech, subscription_id: int = 0) -> tuple[Row, ...]:
    """A button a platform, two in a row; 0 stands for the subscription that is on and lasts longest."""
    buttons = [
        Button(speech.label(f"button-platform-{name}"), ConnectBy(name, subscription_id))
        for name in PLATFORMS
    ]
    return tuple(tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2))


def platforms(speech: Speech, held: Held) -> Screen:
    """The choice of a platform, for one subscription."""
    back = (
        Button(speech.label("button-back"), OneSubscription(held.subscription.id)),
        Button(speech.label("button-home"), Home()),
    )
    text = speech.say("connect", title=held.called(speech.language))
    return Screen(text, (*platform_rows(speech, held.subscription.id), back))


def steps(speech: Speech, app: App, held: Held | None, connect: ConnectInfo) -> Screen:
    """How to connect by an app: get it, put the link in, turn it on. Without a subscription: the way to one."""
    page = connect.page_url if held is not None else None
    how = "open" if page is not None and app.importer is not None else app.otherwise
    text = speech.say(
        "connect-app",
        platform=speech.label(f"button-platform-{app.platform}"),
        app=app.name,
        how=how,
        device=app.platform,
    )
    store: Row = (Button(speech.label("button-get-app", app=app.name), url=app.store),)
    if held is None:
        first = speech.say("connect-first")
        buy = (Button(speech.label("button-buy"), Plans()),)
        back = (Button(speech.label("button-back"), Help()), Button(speech.label("button-home"), Home()))
        return Screen(paragraphs(text, first), (buy, store, *_other_apps(speech, app, 0), back))
    own = held.subscription.id
    link = link_block(speech, connect, most=1)
    rows: list[Row] = []
    if page is not None and app.importer is not None:
        opener = Button(speech.label("button-open-app", app=app.name), url=open_url(page, app.importer))
        rows.append((opener,))
    if link is not None:
        qr = Button(speech.label("button-qr"), QrCode(own))
        rows.append((*copy_row(speech.label("button-copy"), connect), qr))
    rows += [store, *_other_apps(speech, app, own)]
    rows.append(
        (
            Button(speech.label("button-works"), Works()),
            Button(speech.label("button-does-not-work"), DoesNotWork(own)),
        )
    )
    rows.append(
        (Button(speech.label("button-back"), Connect(own)), Button(speech.label("button-home"), Home()))
    )
    return Screen(paragraphs(text, link or speech.say("subscription-no-server")), tuple(rows))


def _other_apps(speech: Speech, app: App, subscription_id: int) -> tuple[Row, ...]:
    others = [other for other in apps_on(app.platform) if other is not app]
    if not others:
        return ()
    return (
        tuple(
            Button(speech.label("button-other-app", app=other.name), ConnectBy(other.word, subscription_id))
            for other in others
        ),
    )


def works(speech: Speech) -> Screen:
    """It works: a kind end."""
    return Screen(
        speech.say("connect-works"),
        (
            (
                Button(speech.label("button-subscription"), Subscriptions()),
                Button(speech.label("button-invite"), Invite()),
            ),
            (Button(speech.label("button-home"), Home()),),
        ),
    )
