"""Conversations beside buying: the beginning, the trial, how to connect, settings, and what nobody asked for."""

from __future__ import annotations

from person import Person
from screen_judge import actions_of
from scripts_buying import DAY, choose

from vpnd.bot.callbacks import (
    Action,
    Help,
    Home,
    Languages,
    Notifications,
    OneSubscription,
    Periods,
    Plans,
    QrCode,
    QuietFrom,
    QuietTo,
    SetLanguage,
    SetQuiet,
    SetTimeZone,
    StartTrial,
    Subscriptions,
    TimeZones,
    Trial,
    encode,
)
from vpnd.sandbox.customer import Message, text_of
from vpnd.sandbox.telegram_contents import KINDS
from vpnd.sandbox.world import BOT_TOKEN


async def start(person: Person) -> None:
    """A stranger is greeted by name and finds every way on."""
    await person.write("/start")
    person.reads("home-new")
    person.is_home()
    assert text_of(person.screen).count("Ann" if person.language == "en" else "Аня") == 1
    await person.write("/start ref_NOBODY")
    person.is_home()
    await person.write("/start " + "x" * 64)
    person.is_home()


async def trial(person: Person) -> None:
    """From /start to a working connection in at most five taps; a second trial there is none; its end is told with a way on."""
    await person.write("/start")
    offered = await person.press(Trial)
    person.reads("trial")
    assert person.offers(StartTrial)
    await person.press(StartTrial)
    person.reads("trial-started")
    assert person.taps <= 5
    await person.connects()
    await person.tap(offered, encode(StartTrial()))
    person.reads("trial-started")
    await person.world.advance(3 * DAY + 60)
    await person.told("trial-ended")
    await person.press(Plans)
    person.reads("plans")


async def connect(person: Person) -> None:
    """The link, its picture, and where each button below them leads; help with all of its buttons."""
    await choose(person, "yookassa")
    await person.pay()
    receipt = await person.told("receipt")
    assert "photo" in receipt
    for action in actions_of(receipt):
        await person.press_on(receipt, lambda other, this=action: other == this)
    await person.write("/help")
    person.reads("help")
    for action in actions_of(person.screen):
        await person.write("/help")
        await person.press(lambda other, this=action: other == this)
    await person.write("/subscription")
    person.reads("subscription-active", "subscription-starting")
    await person.press(QrCode)
    person.reads("qr-caption")
    await person.press(OneSubscription)
    await person.go_home()
    person.reads("home-active")


async def every_button(person: Person) -> None:
    """Whatever can be reached from the first screen and a receipt is reached: a button of each kind, wherever it was seen."""
    await choose(person, "yookassa")
    await person.pay()
    await person.told("receipt")
    tapped: set[type[Action]] = {
        SetLanguage
    }  # it has a script of its own, and all that follows would be in another language
    waiting: dict[type[Action], tuple[Message, str]] = {}
    await person.write("/start")
    while True:
        for action in actions_of(person.screen):
            if type(action) not in tapped:
                waiting.setdefault(type(action), (person.screen, encode(action)))
        if not waiting:
            break
        kind, (message, data) = waiting.popitem()
        tapped.add(kind)
        await person.tap(message, data)
    assert len(tapped) > 30


async def reminders(person: Person) -> None:
    """Three days before the end a reminder comes, with the way to renew; on a clock without quiet hours."""
    await person.write("/notifications")
    await person.press(lambda action: isinstance(action, SetQuiet) and action.start == action.end)
    await choose(person, "yookassa")
    await person.pay()
    await person.told("receipt")
    await person.world.advance(28 * DAY)
    await person.told("reminder")
    await person.press(Periods)
    person.reads("periods-renew")


async def quiet_hours(person: Person) -> None:
    """His clock and the hours at which he wants to hear nothing; off and on again."""
    await person.write("/notifications")
    person.reads("notifications")
    await person.press(TimeZones)
    person.reads("time-zones")
    await person.press(lambda action: isinstance(action, TimeZones) and action.page == 1)
    await person.press(lambda action: isinstance(action, SetTimeZone))
    person.reads("notifications")
    await person.press(QuietFrom)
    person.reads("quiet-from")
    await person.press(lambda action: isinstance(action, SetQuiet) and action.start == 21 * 60)
    assert "21:00" in text_of(person.screen)
    await person.press(QuietTo)
    person.reads("quiet-to")
    await person.press(lambda action: isinstance(action, SetQuiet) and action.end == 8 * 60)
    assert "8:00" in text_of(person.screen)
    await person.press(lambda action: isinstance(action, SetQuiet) and action.start == action.end)
    await person.press(SetQuiet)
    await person.go_home()


async def language(person: Person) -> None:
    """The other language at once and for good, and back."""
    other = "ru" if person.language == "en" else "en"
    own = person.language
    await person.write("/language")
    person.reads("languages")
    person.language = other
    await person.press(lambda action: isinstance(action, SetLanguage) and action.language == other)
    person.is_home()
    await person.write("/balance")
    person.reads("balance")
    await person.go_home()
    await person.press(Languages)
    person.language = own
    await person.press(lambda action: isinstance(action, SetLanguage) and action.language == own)
    person.is_home()


async def every_command(person: Person) -> None:
    """Each command of the menu is answered by a screen from which there is a way on."""
    base = f"{person.world.telegram.base}/bot{BOT_TOKEN}/getMyCommands"
    scope = '{"type":"all_private_chats"}'
    answer = await person.world.http.get(base, params={"language_code": person.language, "scope": scope})
    commands = [one["command"] for one in answer.json()["result"]]
    assert "start" in commands
    for command in commands:
        await person.write(f"/{command}")
        assert person.offers(Home) or command == "start", command


async def nobody_asked(person: Person) -> None:
    """Words, pictures, stickers and unknown commands are answered kindly, with the menu below."""
    await person.write("/start")
    await person.write("hello, is there anybody?")
    person.reads("unknown-text")
    await person.write("/nonsense")
    person.reads("unknown-text")
    for kind in KINDS:
        await person.send(kind)
        person.reads("unknown-text")
        person.is_home()


async def old_buttons(person: Person) -> None:
    """A button of an earlier screen still does what it says; one of another version is answered kindly, a stranger's too."""
    await person.write("/start")
    first = person.screen
    await person.press(Plans)
    await person.press(Periods)
    await person.tap(first, encode(Plans()))
    person.reads("plans")
    query = {
        "id": f"9{person.id}",
        "from": {"id": person.id, "is_bot": False, "first_name": "A", "language_code": person.language},
        "message": {key: first[key] for key in ("message_id", "date", "chat", "text")},
        "chat_instance": "1",
        "data": "0plans:7",
    }
    await person.world.telegram.post("/sim/update", kind="callback_query", payload=query, chat_id=person.id)
    await person.told("stale")
    query |= {"id": f"8{person.id}", "data": "1o.1"}
    await person.world.telegram.post("/sim/update", kind="callback_query", payload=query, chat_id=person.id)
    await person.told("not-yours")


async def double_taps(person: Person) -> None:
    """Two presses at once are two answers and one thing."""
    await person.write("/start")
    await person.press(Plans)
    await person.press_twice(Home)
    person.is_home()
    await person.press(Subscriptions if person.offers(Subscriptions) else Plans)
    await person.go_home()


async def groups_stay_quiet(person: Person) -> None:
    """In a group the bot says nothing, whatever is written there, and goes on in private."""
    group = -person.id
    for text in ("/start", "/buy", "hello bot"):
        await person.world.telegram.post(
            "/sim/message", chat_id=group, text=text, **{"from": {"id": person.id, "first_name": "A"}}
        )
    await person.write("/start")
    person.is_home()
    sent = await person.world.telegram.get("/sim/sent")
    assert str(person.id) in sent
    assert str(group) not in sent


async def an_edit_is_no_wish(person: Person) -> None:
    """A message that its writer changes is not answered a second time."""
    await person.write("/start")
    sent = await person.world.telegram.post(
        "/sim/message", chat_id=person.id, text="helo", **{"from": person.customer._from}
    )
    await person.told("unknown-text")
    await person.world.telegram.post(
        "/sim/edit", chat_id=person.id, message_id=sent["message_id"], text="hello"
    )
    await person.write("/start")
    answers = [one for one in person.customer.messages.values() if one["from_bot"]]
    assert len(answers) == 3


async def settings_by_the_menu(person: Person) -> None:
    """Help, notifications and language stand on the first screen, each one tap there and one back."""
    await person.write("/start")
    for wish, key in ((Help, "help"), (Notifications, "notifications"), (Languages, "languages")):
        await person.press(wish)
        person.reads(key)
        await person.go_home()


SCRIPTS = (
    start, trial, connect, every_button, reminders, quiet_hours, language, every_command, nobody_asked, old_buttons, double_taps,
    groups_stay_quiet, an_edit_is_no_wish, settings_by_the_menu,
)  # fmt: skip
