"""Broadcasts in the bot: composed, counted, sent, scheduled and looked at, by those who may and by nobody else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from bot_world import ANNA, BORIS, Call, World, open_world

from vpnd.bot import broadcast_callbacks as mail
from vpnd.bot.broadcast_progress import ProgressTeller
from vpnd.bot.segment_file import harmless
from vpnd.database.database import Database
from vpnd.shop import broadcast_rows, broadcasts
from vpnd.shop.broadcasts import Progress
from vpnd.shop.operators import ROLES, Permission, Role, may, set_operator

pytestmark = pytest.mark.postgres

OWNER, MANY = BORIS, 20_000


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """A bot with an owner in its configuration and forty customers."""
    async with open_world(db, admins=(OWNER,)) as world:
        await world.change(
            "insert into customers (telegram_id, first_name, language, referral_code)"
            " select $1 + n, case n when 1 then '=cmd()' else 'C' end, case when n % 2 = 0 then 'en' else 'ru' end, 'm' || n"
            " from generate_series(1, 40) n",
            MANY,
        )
        yield world


async def give(world: World, telegram_id: int, role: Role) -> None:
    """Make somebody an operator."""
    async with world.db.transaction("test") as tx:
        await set_operator(tx, telegram_id, role, name="N", by="test")


async def one(world: World, number: int = 1) -> Progress:
    """The broadcast with this id."""
    found = await broadcasts.progress(world.db, number)
    assert found is not None
    return found


async def drafted(world: World, text: str = "Sale!", who: int = OWNER) -> list[Call]:
    """A draft whose message was sent to the bot; returns the answer."""
    await world.press(who, mail.NewBroadcast())
    return await world.say(who, text)


async def press(world: World, shown: list[Call], label: str, who: int = OWNER) -> list[Call]:
    """Press a button of the last screen."""
    return await world.press(who, shown[-1].data(label))


async def log(world: World) -> list[str]:
    """What the audit log says was done."""
    return [row["action"] for row in await world.sql("select action from audit_log order by id")]


async def test_a_broadcast_is_composed_counted_and_sent(world: World) -> None:
    """From the desk to the confirmation, which says to how many; what was sent to the bot is what is copied."""
    desk = await world.say(OWNER, "/admin")
    listed = await press(world, desk, "Broadcasts")
    asked = await press(world, listed, "New broadcast")
    draft = await world.say(OWNER, "<Sale> & more")
    confirm = await press(world, draft, "Send")
    begun = await press(world, confirm, "Yes, send to 41")

    assert "Send it to me now" in asked[-1].text
    assert "a message that is copied" in draft[-1].text
    assert "It reaches <b>41 customers" in confirm[-1].text
    assert "running" in begun[-1].text
    assert begun[-1].has("Pause")
    assert begun[-1].has("Stop")
    it = await one(world)
    assert (it.state, it.expected, it.title) == ("running", 41, "<Sale> & more")
    assert it.content["copy"] == {"from_chat_id": OWNER, "message_id": 1}
    assert world.woken
    assert await log(world) == [f"broadcasts.send.{what}" for what in ("drafted", "edited", "started")]


@pytest.mark.parametrize("role", [None, *ROLES])
@pytest.mark.parametrize(
    ("action", "state", "after"),
    [
        (mail.SendNow(1, 41, 7), "draft", "running"),
        (mail.PauseBroadcast(1), "running", "paused"),
        (mail.ResumeBroadcast(1), "paused", "running"),
        (mail.EndNow(1, 7), "running", "stopped"),
        (mail.EndNow(1, 7), "draft", "discarded"),
        (mail.Unschedule(1), "scheduled", "draft"),
        (mail.ScheduleNow(1, 0, 41, 7), "draft", "scheduled"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, mail.Action) else str(value),
)
async def test_who_may_do_what(world: World, role: Role | None, action: Any, state: str, after: str) -> None:
    """Each deed by each role: it is done and told in the log, or neither; a second press on the same answer does nothing."""
    await drafted(world)
    await world.change("delete from audit_log")
    at = "vpnd_now() + interval '1 day'" if state == "scheduled" else "null"
    await world.change(f"update broadcasts set state = $1, scheduled_at = {at}", state)  # noqa: S608 (constants)
    if isinstance(action, mail.ScheduleNow):
        minute = int(((await one(world)).now + timedelta(days=1)).timestamp() // 60)
        action = mail.ScheduleNow(1, minute, 41, 7)
    if role is not None:
        await give(world, ANNA, role)

    await world.press(ANNA, action, update_id=501)

    allowed = role is not None and may(role, Permission.BROADCAST)
    assert (await one(world)).state == (after if allowed else state)
    assert len(await log(world)) == int(allowed)
    if allowed:
        await world.change("update broadcasts set state = $1, scheduled_at = vpnd_now()", state)
        await world.press(ANNA, action, update_id=501)
        assert (await one(world)).state == state
        assert len(await log(world)) == 1


async def test_a_reader_looks_and_changes_nothing(world: World) -> None:
    """He sees the list, a broadcast and its segment, without a button that would change them."""
    await drafted(world)
    await give(world, ANNA, "reader")
    listed = await world.press(ANNA, mail.Broadcasts())
    shown = await press(world, listed, "Sale!", ANNA)
    segment = await world.press(ANNA, mail.ShowSegment(1))

    assert not listed[-1].has("New broadcast")
    assert not shown[-1].has("Send")
    assert not segment[-1].has("Export")
    assert segment[-1].has("Count")


async def test_any_kind_of_message_is_copied_but_for_those_telegram_does_not_copy(world: World) -> None:
    """A picture is taken; an album, an invoice and paid media are refused with the reason, an album once."""
    await world.press(OWNER, mail.NewBroadcast())
    photo = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
    album = await world.say(OWNER, "", photo=photo, media_group_id="7", caption="one of two")
    second = await world.say(OWNER, "", photo=photo, media_group_id="7")
    invoice = await world.say(
        OWNER,
        "",
        invoice={
            "title": "t",
            "description": "d",
            "start_parameter": "",
            "currency": "XTR",
            "total_amount": 1,
        },
    )
    taken = await world.say(OWNER, "", photo=photo, caption="A picture")

    assert "An album is several messages" in album[-1].text
    assert second == []
    assert "does not copy invoices" in invoice[-1].text
    assert "a message that is copied" in taken[-1].text
    assert (await one(world)).title == "A picture"


async def test_texts_by_language_keep_their_formatting(world: World) -> None:
    """Each language is written by itself, as it is formatted in the app; the draft names those there are."""
    asked = await world.press(OWNER, mail.NewBroadcast())
    await press(world, asked, "Text: en")
    bold = {"entities": [{"type": "bold", "offset": 0, "length": 4}]}
    shown = await world.say(OWNER, "Sale <now>", **bold)
    await press(world, shown, "Text: ru")
    await world.say(OWNER, "Скидки")
    draft = await world.press(OWNER, mail.OneBroadcast(1))

    assert shown[-1].has("✅ Text: en")
    assert (await one(world)).content["text"] == {"en": "<b>Sale</b> &lt;now&gt;", "ru": "Скидки"}
    assert "text in en, ru" in draft[-1].text
    again = await world.press(OWNER, mail.ComposeText(1, "a", "en"))
    picture = await world.say(
        OWNER, "", photo=[{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
    )
    assert "Write the text for" in again[-1].text
    assert "That is no text" in picture[-1].text


async def test_buttons_are_lines_and_a_wrong_line_is_named(world: World) -> None:
    """A line that is no button is told with its number; a dash takes all away; nothing is kept of what is wrong."""
    draft = await drafted(world)
    asked = await press(world, draft, "Buttons")
    wrong = await world.say(OWNER, "Buy - https://example.org\nHelp example.org")
    kept = await world.say(
        OWNER, "Buy - https://example.org/buy | Help - https://example.org/help\nNews - tg://resolve?domain=n"
    )

    assert "label - https://" in asked[-1].text
    assert "Line 2" in wrong[-1].text
    assert "3 buttons" in kept[-1].text
    it = await one(world)
    assert [[button["text"] for button in row] for row in it.content["buttons"]] == [
        ["Buy", "Help"],
        ["News"],
    ]
    assert it.content["copy"] == {"from_chat_id": OWNER, "message_id": 1}
    await world.press(OWNER, mail.ComposeButtons(1, "a"))
    await world.say(OWNER, "-")
    assert (await one(world)).content["buttons"] == []


async def test_two_variants_with_a_share(world: World) -> None:
    """A second message gets half, or the share that was chosen; it can be dropped again."""
    await drafted(world)
    await world.press(OWNER, mail.Compose(1, "b"))
    both = await world.say(OWNER, "Another sale")
    assert (await one(world)).share_b == 50
    shared = await press(world, both, "B 25 %")
    preview = await press(world, shared, "Preview")

    assert "Variant B" in both[-1].text
    assert "A 75 %, B 25 %" in shared[-1].text
    assert [call.method for call in preview].count("copyMessage") == 2
    dropped = await press(world, shared, "No variant B")
    assert "Variant B:" not in dropped[-1].text
    assert (await one(world)).share_b == 0


async def test_a_preview_that_telegram_refuses_says_why(world: World) -> None:
    """The operator reads Telegram's words before anybody else could get it."""
    draft = await drafted(world)
    world.telegram.fail("copyMessage", "Bad Request: message to copy not found")

    shown = await press(world, draft, "Preview")

    assert "essage to copy not found" in shown[-1].text


async def test_a_segment_is_chosen_and_counted(world: World) -> None:
    """Conditions by buttons and in words; the count is of this moment; what cannot be read is asked for again."""
    await drafted(world)
    parts = await world.press(OWNER, mail.ShowSegment(1))
    language = await press(world, parts, "Language")
    await press(world, language, "ru")
    await world.press(OWNER, mail.WriteSegment(1, "idle"))
    wrong = await world.say(OWNER, "soon")
    days = await world.say(OWNER, "12")
    await world.press(OWNER, mail.WriteSegment(1, "balance"))
    await world.say(OWNER, "< 50")
    counted = await world.press(OWNER, mail.CountSegment(1))

    assert "whole number" in wrong[-1].text
    assert "not seen for 12 days" in days[-1].text
    assert (await one(world)).segment.to_json() == {
        "languages": ["ru"], "idle_days": 12, "balance_under": 5000, "currency": "RUB",
    }  # fmt: skip
    assert "0 customers" in counted[-1].text
    await world.press(OWNER, mail.SetSegment(1, "idle", "any"))
    assert "20 customers" in (await world.press(OWNER, mail.CountSegment(1)))[-1].text
    nobody = await world.press(OWNER, mail.SetSegment(1, "access", "yes"))
    assert "has access now" in nobody[-1].text
    assert "Nobody is meant" in (await world.press(OWNER, mail.SendAsk(1)))[-1].text


@pytest.mark.parametrize("role", ROLES)
async def test_a_segment_is_exported_to_who_may(
    world: World, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file with harmless cells, written in the log; nobody else gets one."""
    files: list[bytes] = []
    await drafted(world)
    await world.change("delete from audit_log")
    await give(world, ANNA, role)
    request = type(world.telegram).do_request

    async def keeping(self: Any, url: str, method: str, request_data: Any = None, **more: Any) -> Any:
        if url.endswith("sendDocument"):
            files.extend(content for _, content, _ in request_data.multipart_data.values())
        return await request(self, url, method, request_data, **more)

    monkeypatch.setattr(type(world.telegram), "do_request", keeping)
    calls = await world.press(ANNA, mail.ExportSegment(1))

    if not may(role, Permission.EXPORT):
        assert not files
        assert "does not allow this" in calls[-1].text
        assert await log(world) == []
        return
    assert await log(world) == ["exports.make.segment"]
    (content,) = files
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert len(rows) == 42
    assert rows[0]["first_name"] == "'=cmd()"


def test_cells_are_harmless() -> None:
    """What a spreadsheet would compute gets an apostrophe; all else stays as it is."""
    assert [harmless(one) for one in ("=1", "+1", "-1", "@x", "\t=1", " =1", "Anna", "", None)] == [
        "'=1", "'+1", "'-1", "'@x", "'\t=1", "' =1", "Anna", "", "",
    ]  # fmt: skip


async def test_a_time_is_written_on_the_operators_clock(world: World) -> None:
    """His own time zone, else the shop's; what is no time or over is asked for again; it can be made a draft again."""
    draft = await drafted(world)
    await world.change("update customers set time_zone = 'Asia/Tokyo' where telegram_id = $1", OWNER)
    asked = await press(world, draft, "Schedule")
    wrong = await world.say(OWNER, "tomorrow")
    past = await world.say(OWNER, "2020-01-01 10:00")
    now = (await one(world)).now
    day = now + timedelta(days=3)
    confirm = await world.say(OWNER, f"{day:%d.%m.%Y} 10:30")
    done = await press(world, confirm, "Yes, then")

    assert "UTC+9" in asked[-1].text
    assert "no day and time" in wrong[-1].text
    assert "over already" in past[-1].text
    assert "41 customers" in confirm[-1].text
    it = await one(world)
    assert it.state == "scheduled"
    assert it.scheduled_at is not None
    assert f"{it.scheduled_at:%H:%M}" == "01:30"
    assert "10:30" in done[-1].text
    skip = await press(world, done, "If the time is missed")
    assert (await one(world)).on_missed == "skip"
    assert "it is not sent" in skip[-1].text
    await press(world, skip, "Back to a draft")
    assert (await one(world)).state == "draft"


async def test_the_progress_message_is_kept_true_and_left_alone_when_it_shows_something_else(
    world: World,
) -> None:
    """A bar that moves, edited only when it says something new; not after the operator has gone elsewhere; once at the end."""
    await drafted(world)
    await world.press(OWNER, mail.SendAsk(1))
    await world.press(OWNER, mail.SendNow(1, 41, 3))
    teller = ProgressTeller(world.deps)

    async def edits() -> list[str]:
        world.telegram.taken()
        await teller.tell_all()
        return [call.text for call in world.telegram.taken() if call.method == "editMessageText"]

    first, quiet = await edits(), await edits()
    assert len(first) == 1
    assert "0%" in first[0]
    assert quiet == []
    while await broadcast_rows.fill(world.db, 1):
        pass
    claimed = await broadcast_rows.claim(world.db, [1], 20, holder="t", lease=60)
    await broadcast_rows.record(world.db, [broadcast_rows.Recorded(one, "sent") for one in claimed])
    (moved,) = await edits()
    assert "Sent: <b>20</b> of 41" in moved
    assert "left" in moved

    await world.press(OWNER, mail.Broadcasts())
    assert await edits() == []

    await world.press(OWNER, mail.OneBroadcast(1))
    async with world.db.transaction("test") as tx:
        await broadcasts.stop(tx, 1)
    (last,) = await edits()
    assert "stopped" in last
    assert await edits() == []
    assert await world.sql("select * from broadcast_watchers") == []


async def test_a_message_that_cannot_be_edited_is_forgotten_and_a_silent_telegram_is_asked_again(
    world: World,
) -> None:
    """Deleted: never again. Away: the next time."""
    await drafted(world)
    await world.press(OWNER, mail.SendNow(1, 41, 3))
    teller = ProgressTeller(world.deps)
    world.telegram.fail("editMessageText", "Internal Server Error", 500)
    await teller.tell_all()
    assert len(await world.sql("select * from broadcast_watchers")) == 1
    world.telegram.fail("editMessageText", "Bad Request: message to edit not found")
    await teller.tell_all()

    assert await world.sql("select * from broadcast_watchers") == []


async def test_what_is_over_can_be_used_again(world: World) -> None:
    """A new draft of the same message and segment; the old one stays as it was."""
    await drafted(world)
    await world.press(OWNER, mail.SetSegment(1, "language", "ru"))
    await world.press(OWNER, mail.SendNow(1, 20, 3))
    asked = await world.press(OWNER, mail.EndAsk(1))
    stopped = await press(world, asked, "Yes, stop it")
    again = await press(world, stopped, "Use again")

    assert "Stop broadcast 1 for good?" in asked[-1].text
    assert "Broadcast 2" in again[-1].text
    first, second = await one(world), await one(world, 2)
    assert (first.state, second.state) == ("stopped", "draft")
    assert (second.content, second.segment) == (first.content, first.segment)


async def test_a_draft_without_a_message_is_not_sent(world: World) -> None:
    """A forged press on yes finds nothing to send."""
    await world.press(OWNER, mail.NewBroadcast())

    said = await world.press(OWNER, mail.SendNow(1, 5, 9))

    assert "cannot be done" in said[-1].text
    assert (await one(world)).state == "draft"


async def test_a_replayed_beginning_makes_one_draft(world: World) -> None:
    """The update that was played twice begins nothing twice."""
    await world.press(OWNER, mail.NewBroadcast(), update_id=900)
    await world.press(OWNER, mail.NewBroadcast(), update_id=900)

    assert len(await world.sql("select id from broadcasts")) == 1


async def test_words_for_a_draft_that_is_sent_already_change_nothing(world: World) -> None:
    """Who was asked for buttons and began it from another device changes nothing of what is under way."""
    await drafted(world)
    await world.press(OWNER, mail.ComposeButtons(1, "a"))
    await world.change("update broadcasts set state = 'running'")

    said = await world.say(OWNER, "Buy - https://example.org")

    assert "cannot be done" in said[-1].text
    assert "buttons" not in json.dumps((await one(world)).content).replace('"buttons": []', "")
