"""The bot's handlers, played on PTB's real dispatcher with a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from bot_world import ANNA, BORIS, World, open_world

from vpnd.bot import callbacks
from vpnd.bot.handlers import COMMANDS, tell_failure
from vpnd.bot.repair import refuse_pre_checkout, tell_repair
from vpnd.database.database import Database
from vpnd.database.errors import DatabaseUnavailable
from vpnd.telegram.update import parse_update

pytestmark = pytest.mark.postgres


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with two plans and one node."""
    async with open_world(db) as world:
        yield world


async def _subscribe(world: World, user: int, days: int = 30) -> int:
    """Let somebody buy a subscription by Stars; returns its id."""
    calls = await world.press(user, callbacks.Pay("stars", await world.offer("basic", days)))
    invoice = next(call for call in calls if call.method == "sendInvoice")
    await world.paid(
        user, invoice.parameters["payload"], invoice.parameters["prices"][0]["amount"], f"c{user}{days}"
    )
    rows = await world.sql(
        "select s.id from subscriptions s join customers c on c.id = s.customer_id where c.telegram_id = $1",
        user,
    )
    return int(rows[0]["id"])


async def test_start_greets_a_stranger_in_his_language(world: World) -> None:
    """/start makes the customer, speaks the language Telegram names, and escapes his name."""
    (call,) = await world.say(ANNA, "/start", language="ru-RU")

    assert call.method == "sendMessage"
    assert "Здравствуйте, Anna &lt;3!" in call.text
    (row,) = await world.sql("select language, telegram_id from customers")
    assert (row["language"], row["telegram_id"]) == ("ru", ANNA)


async def test_a_language_we_do_not_speak_falls_back(world: World) -> None:
    """Somebody whose language we don't have is greeted in the shop's first."""
    (call,) = await world.say(ANNA, "/start", language="pt-br")

    assert "Hello, Anna" in call.text


async def test_a_referral_counts_only_for_who_is_new(world: World) -> None:
    """A deep link names the referrer at creation and never after."""
    await world.say(ANNA, "/start")
    (anna,) = await world.sql("select id, referral_code from customers")

    await world.say(BORIS, f"/start ref_{anna['referral_code']}")
    await world.say(ANNA, f"/start ref_{anna['referral_code']}")

    rows = await world.sql("select telegram_id, referrer_id from customers order by telegram_id")
    assert [(row["telegram_id"], row["referrer_id"]) for row in rows] == [(ANNA, None), (BORIS, anna["id"])]


async def test_a_known_customer_does_not_get_a_referrer_later(world: World) -> None:
    """Whoever was here before keeps no referrer, whatever link he opens."""
    await world.say(ANNA, "/start")
    await world.say(BORIS, "/start")
    (anna,) = await world.sql("select referral_code from customers where telegram_id = $1", ANNA)

    await world.say(BORIS, f"/start ref_{anna['referral_code']}")

    (boris,) = await world.sql("select referrer_id from customers where telegram_id = $1", BORIS)
    assert boris["referrer_id"] is None


@pytest.mark.parametrize("payload", ["ref_", "ref_nobody", "ref_'; drop", "something", "x" * 64])
async def test_a_strange_deep_link_is_no_trouble(world: World, payload: str) -> None:
    """An unknown code or payload is ignored and the menu comes all the same."""
    (call,) = await world.say(ANNA, f"/start {payload}")

    assert "Hello" in call.text


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "start"])
async def test_every_command_of_the_menu_answers(world: World, command: str) -> None:
    """Each command that Telegram's menu offers shows a screen with buttons."""
    (call,) = await world.say(ANNA, f"/{command}")

    assert call.text
    assert call.buttons


@pytest.mark.parametrize("text", ["hello?", "/unknown", "🙂"])
async def test_words_get_a_helpful_answer(world: World, text: str) -> None:
    """Whatever is written, the answer says what can be done, with buttons."""
    (call,) = await world.say(ANNA, text)

    assert "buttons below" in call.text
    assert call.buttons


@pytest.mark.parametrize("text", ["/start", "hello", "/buy"])
async def test_groups_get_no_answer(world: World, text: str) -> None:
    """In a group the bot is quiet and makes no customers."""
    calls = await world.say(ANNA, text, chat={"id": -100500, "type": "supergroup", "title": "g"})

    assert calls == []
    assert await world.sql("select id from customers") == []


async def test_a_press_in_a_group_is_answered_and_nothing_more(world: World) -> None:
    """A button that was carried into a group only stops its clock."""
    calls = await world.press(
        ANNA, callbacks.Plans(), message={"chat": {"id": -5, "type": "group", "title": "g"}}
    )

    assert [call.method for call in calls] == ["answerCallbackQuery"]


async def test_a_press_is_answered_first_and_once_and_edits_in_place(world: World) -> None:
    """The clock on the button stops before anything else, and the conversation stays in one message."""
    calls = await world.press(ANNA, callbacks.Plans())

    assert [call.method for call in calls] == ["answerCallbackQuery", "editMessageText"]
    assert calls[1].parameters["message_id"] == 50
    assert "Basic" in calls[1].buttons[0]["text"]


async def test_a_press_too_old_to_be_answered_is_still_done(world: World) -> None:
    """Telegram's "query is too old" is no reason not to show the screen."""
    world.telegram.fail("answerCallbackQuery", "Bad Request: query is too old and response timeout expired")

    calls = await world.press(ANNA, callbacks.Home())

    assert [call.method for call in calls] == ["answerCallbackQuery", "editMessageText"]


async def test_an_edit_that_changes_nothing_is_fine(world: World) -> None:
    """A second tap on the same button makes no second message."""
    world.telegram.fail("editMessageText", "Bad Request: message is not modified: same")

    calls = await world.press(ANNA, callbacks.Home())

    assert [call.method for call in calls] == ["answerCallbackQuery", "editMessageText"]


async def test_an_impossible_edit_becomes_a_new_message(world: World) -> None:
    """A message that cannot be changed any more is followed by a new one."""
    world.telegram.fail("editMessageText", "Bad Request: message can't be edited")

    calls = await world.press(ANNA, callbacks.Home())

    assert [call.method for call in calls][-1] == "sendMessage"


@pytest.mark.parametrize(
    "message",
    [
        {"text": None, "photo": [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]},
        {"date": 0, "text": None},
    ],
    ids=["picture", "inaccessible"],
)
async def test_a_picture_or_lost_message_is_not_edited(world: World, message: dict[str, object]) -> None:
    """Below a picture, or where Telegram no longer shows us the message, the screen comes as a new one."""
    calls = await world.press(ANNA, callbacks.Home(), message=message)

    assert [call.method for call in calls] == ["answerCallbackQuery", "sendMessage"]


@pytest.mark.parametrize(
    "data", ["", "garbage", "0h", "9h.1", "1z", "1p.basic", "1d.DROP", "1y.stars.zzzzzzzzzzzzzzzz.0"]
)
async def test_a_button_of_another_time_says_so_kindly(world: World, data: str) -> None:
    """Data nobody can read any more gets a kind word and the present menu."""
    calls = await world.press(ANNA, data)

    assert calls[0].method == "answerCallbackQuery"
    assert "out of date" in calls[0].text
    assert "out of date" in calls[1].text
    assert calls[1].buttons
    assert len(calls) == 2


async def test_nobody_sees_what_is_not_his(world: World) -> None:
    """A subscription or purchase of another customer does not exist for whoever names it."""
    theirs = await _subscribe(world, BORIS)
    (purchase,) = await world.sql("select public_id from purchases")
    (link,) = await world.sql("select link_token from subscriptions")
    offer = await world.offer("basic", 30)
    wishes = [
        callbacks.OneSubscription(theirs),
        callbacks.QrCode(theirs),
        callbacks.Periods("basic", theirs),
        callbacks.Methods(offer, theirs),
        callbacks.Pay("stars", offer, theirs),
        callbacks.Paid(purchase["public_id"]),
        callbacks.InvoiceAgain(purchase["public_id"]),
    ]

    for wish in wishes:
        calls = await world.press(ANNA, wish)

        assert [call.method for call in calls] == ["answerCallbackQuery", "editMessageText"], wish
        assert "can’t show this" in calls[1].text
        assert link["link_token"] not in str(calls)
    assert len(await world.sql("select id from purchases")) == 1


async def test_a_subscription_shows_its_link_and_picture(world: World) -> None:
    """The owner sees his state, his page tap-to-copy, and the QR code as a picture of its own."""
    own = await _subscribe(world, ANNA)
    (row,) = await world.sql("select link_token from subscriptions")
    page = f"https://vpn.example.org/sub/{row['link_token']}"
    await world.change("update subscriptions set activated_at = now()")

    calls = await world.press(ANNA, callbacks.Subscriptions())
    picture = await world.press(ANNA, callbacks.QrCode(own))

    assert f"<code>{page}</code>" in calls[1].text
    assert "30 days" in calls[1].text
    assert {"text": "📋 Copy the link", "copy_text": {"text": page}} in calls[1].buttons
    assert [call.method for call in picture] == ["answerCallbackQuery", "sendPhoto"]


async def test_a_picture_that_cannot_be_drawn_becomes_words(world: World) -> None:
    """Without the picture the link itself is sent."""
    own = await _subscribe(world, ANNA)
    world.qr.broken = True

    calls = await world.press(ANNA, callbacks.QrCode(own))

    assert [call.method for call in calls] == ["answerCallbackQuery", "sendMessage"]
    assert "/sub/" in calls[1].text


async def test_an_ended_subscription_shows_no_link(world: World) -> None:
    """What is off is shown as off, with the button that renews it."""
    own = await _subscribe(world, ANNA)
    await world.change(
        "update subscriptions set status = 'expired', starts_at = now() - interval '9 days',"
        " expires_at = now() - interval '1 hour'"
    )

    for wish in (callbacks.OneSubscription(own), callbacks.QrCode(own)):
        calls = await world.press(ANNA, wish)

        assert "/sub/" not in calls[1].text
        assert calls[1].data("Renew").startswith("1p.basic.")


async def test_a_chosen_language_stays(world: World) -> None:
    """Who chooses a language is spoken to in it from the next word on."""
    await world.say(ANNA, "/start")

    calls = await world.press(ANNA, callbacks.SetLanguage("ru"))
    (later,) = await world.say(ANNA, "/help", language="en")

    assert "Здравствуйте" in calls[1].text
    assert "Помощь" in later.text


async def test_blocking_and_coming_back_is_noted(world: World) -> None:
    """A block makes a customer unreachable; any update of his makes him reachable again."""
    await world.say(ANNA, "/start")

    await world.member(ANNA, "kicked")
    (gone,) = await world.sql("select reachable from customers")
    await world.press(ANNA, callbacks.Home())
    (back,) = await world.sql("select reachable from customers")

    assert (gone["reachable"], back["reachable"]) == (False, True)


async def test_who_blocked_us_meanwhile_is_no_failure(world: World) -> None:
    """An answer refused by a block is noted and the update is done."""
    await world.say(ANNA, "/start")
    world.telegram.fail("sendMessage", "Forbidden: bot was blocked by the user", 403)

    await world.say(ANNA, "/help")

    (row,) = await world.sql("select reachable from customers")
    assert row["reachable"] is False


async def test_guests_are_counted_on_the_invitation(world: World) -> None:
    """The invitation carries the customer's own code and the number of those who came by it."""
    await world.say(ANNA, "/start")
    (anna,) = await world.sql("select referral_code from customers")
    await world.say(BORIS, f"/start ref_{anna['referral_code']}")

    calls = await world.press(ANNA, callbacks.Invite())

    assert f"https://t.me/shop_bot?start=ref_{anna['referral_code']}" in calls[1].text
    assert "<b>1</b> person" in calls[1].text


@pytest.mark.parametrize(
    ("error", "words"), [(DatabaseUnavailable("gone"), "being repaired"), (RuntimeError("oops"), "our side")]
)
async def test_a_failure_is_told_kindly_without_the_database(
    world: World, error: Exception, words: str
) -> None:
    """A customer whose update failed hears that it is known, in his language, in a private chat only."""
    message = {
        "chat": {"id": ANNA, "type": "private"},
        "from": {"id": ANNA, "language_code": "en"},
        "text": "x",
    }

    await tell_failure(world.deps, parse_update({"update_id": 1, "message": message}), error)
    group = message | {"chat": {"id": -1, "type": "group"}}
    await tell_failure(world.deps, parse_update({"update_id": 2, "message": group}), error)

    (call,) = world.telegram.taken()
    assert words in call.text


async def test_a_payment_that_failed_to_settle_is_told_in_his_language(world: World) -> None:
    """A message about money that could not be kept yet says that nothing is lost."""
    person = {"id": ANNA, "language_code": "ru"}
    message = {
        "chat": {"id": ANNA, "type": "private"},
        "from": person,
        "successful_payment": {"currency": "XTR"},
    }

    await tell_failure(
        world.deps, parse_update({"update_id": 1, "message": message}), DatabaseUnavailable("gone")
    )

    (call,) = world.telegram.taken()
    assert "ни один платёж не пропадёт" in call.text


async def test_an_outage_is_told_without_the_database(world: World) -> None:
    """A message is answered by one, a press by the answer that stops its clock, a pre-checkout by a refusal."""
    person = {"id": ANNA, "language_code": "ru"}
    message = {"chat": {"id": ANNA, "type": "private"}, "from": person, "text": "x"}

    await tell_repair(world.deps, ANNA, {"update_id": 1, "message": message})
    await tell_repair(
        world.deps, ANNA, {"update_id": 2, "callback_query": {"id": "9", "from": person, "data": "1h"}}
    )
    await refuse_pre_checkout(world.deps, "8")

    told, pressed, checked = world.telegram.taken()
    assert "Идёт ремонт" in told.text
    assert (pressed.method, pressed.parameters["callback_query_id"]) == ("answerCallbackQuery", "9")
    assert "Идёт ремонт" in pressed.text
    assert checked.parameters["ok"] is False


async def test_a_failed_pre_checkout_is_refused(world: World) -> None:
    """Money is never let through by a handler that failed."""
    query = {"id": "5", "from": {"id": ANNA, "language_code": "ru"}, "currency": "XTR", "total_amount": 1}

    await tell_failure(
        world.deps, parse_update({"update_id": 1, "pre_checkout_query": query}), RuntimeError("x")
    )

    (call,) = world.telegram.taken()
    assert call.method == "answerPreCheckoutQuery"
    assert call.parameters["ok"] is False
