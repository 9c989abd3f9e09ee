"""The catalogue in the bot: plans, prices, codes, discounts, texts and ways to pay, edited by who may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bot_world import ANNA, BORIS, TERMS, Call, World, open_world

from vpnd.bot import catalogue, catalogue_callbacks
from vpnd.bot.admin_callbacks import Switches
from vpnd.bot.callbacks import Action, Methods, Pay, Periods, TopUpAmount
from vpnd.bot.catalogue_callbacks import (
    Catalogue,
    DiscountList,
    DiscountNow,
    MovePlan,
    NewDiscount,
    NewPeriod,
    NewPlan,
    NewPrice,
    OnePeriod,
    OnePlan,
    OneText,
    PlanHistory,
    PlanSale,
    PlanWords,
    PriceNow,
    PromoSwitch,
    TextLanguages,
    WaysToPay,
    WaySwitch,
    WriteDescription,
    WriteLimit,
    WritePromo,
    WriteText,
    WriteTitle,
    WrittenTexts,
)
from vpnd.bot.catalogue_words import currency_number, currency_numbered
from vpnd.bot.text_editing import key_number, key_numbered, read_texts
from vpnd.bot.texts import CurrentTexts, Texts, keys
from vpnd.database.database import Database
from vpnd.shop.audit_log import entries
from vpnd.shop.catalogue import list_plans
from vpnd.shop.dialogs import Expected
from vpnd.shop.money import EXPONENTS
from vpnd.shop.operators import ROLES, Permission, Role, may, set_operator

pytestmark = pytest.mark.postgres

OWNER = BORIS
RUB, XTR = currency_number("RUB"), currency_number("XTR")


@pytest.fixture
async def world(db: Database, tmp_path: Path) -> AsyncIterator[World]:
    """A bot with an owner in its configuration, a folder of texts, and texts that can be read anew."""
    current = CurrentTexts(Texts.load())

    async def reload() -> None:
        current.texts, _ = await read_texts(("en", "ru"), tmp_path, db)

    async with open_world(
        db, admins=(OWNER,), texts=current, texts_dir=tmp_path, reload_texts=reload
    ) as world:
        await world.deps.switches.refresh()
        yield world


async def give(world: World, telegram_id: int, role: Role) -> None:
    """Make somebody an operator."""
    async with world.db.transaction("test") as tx:
        await set_operator(tx, telegram_id, role, name="N", by="test")


async def written(world: World) -> list[tuple[str, Any, Any]]:
    """What the audit log has: subject, before, after; the oldest first."""
    found = await entries(world.db, limit=100)
    return [(one.subject, one.before, one.after) for one in reversed(found)]


async def press(world: World, what: Action | str, user: int = OWNER) -> Call:
    """A press; the screen that comes."""
    return (await world.press(user, what))[-1]


async def say(world: World, text: str, user: int = OWNER) -> Call:
    """Words; the screen that comes."""
    return (await world.say(user, text))[-1]


# ------------------------------------------------------------------------------------------ who may


#: Every deed of the catalogue by a press alone, ready to be done.
DEEDS: tuple[Action, ...] = (
    PlanSale("basic", 0, 0),
    MovePlan("plus", 1),
    catalogue_callbacks.GiveBackNow("basic", 5),
    catalogue_callbacks.DropPriceNow(1, XTR, 6),
    DiscountNow(1, 15, 0, 7),
    catalogue_callbacks.ResetTextNow(0, key_number("button-home"), 8),
    WaySwitch("yookassa", 0, 9),
)
#: Every question that is answered in words, and an answer.
WORDS: tuple[tuple[Action, str], ...] = (
    (NewPlan(), "family Family"),
    (WriteTitle("basic", 0), "Easy"),
    (WriteDescription("basic", 0), "For one"),
    (NewPeriod("basic"), "7"),
    (WritePromo("percent"), "SPRING 25"),
    (WriteText(0, key_number("button-home")), "« Home"),
)


@pytest.mark.parametrize("role", ROLES)
async def test_a_deed_is_done_by_who_may_and_written_down(world: World, role: Role) -> None:
    """Every deed, by each role: who may edit does it and the audit log tells; others change nothing, and nothing is written."""
    await world.say(ANNA, "/start")
    offer = await world.offer("basic", 30)
    customer = (await world.sql("select id from customers where telegram_id = $1", ANNA))[0]["id"]
    await give(world, ANNA, role)
    before = await list_plans(world.db)
    allowed = may(role, Permission.EDIT_CATALOGUE)
    await world.change(
        "insert into promo_codes (code, kind, value, active) values ('OLD', 'percent', 5, false)"
    )
    promo = (await world.sql("select id from promo_codes"))[0]["id"]
    deeds = [
        *DEEDS[:3],
        catalogue_callbacks.DropPriceNow(offer, XTR, 6),
        DiscountNow(customer, 15, 0, 7),
        *DEEDS[5:],
        PriceNow(offer, RUB, 100, 10),
        catalogue_callbacks.PeriodSale(offer, 0, 11),
        PromoSwitch(promo, 1, 12),
    ]

    for deed in deeds:
        said = await press(world, deed, ANNA)
        assert ("does not allow this" in said.text) == (not allowed), deed
    assert len(await written(world)) == (len(deeds) if allowed else 0)
    assert (await list_plans(world.db) == before) == (not allowed)
    assert not allowed or {one.split(":")[0] for one, _, _ in await written(world)} == {
        "plan", "customer", "text", "method", "promo",
    }  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("question", "answer"), WORDS, ids=lambda one: str(one)[:20])
async def test_words_are_taken_from_who_may(world: World, role: Role, question: Action, answer: str) -> None:
    """The role is asked for when the words come: who lost it in between changes nothing."""
    await give(world, ANNA, "manager")
    await press(world, question, ANNA)
    await give(world, ANNA, role)

    said = await say(world, answer, ANNA)

    allowed = may(role, Permission.EDIT_CATALOGUE)
    assert ("does not allow this" in said.text) == (not allowed)
    assert len(await written(world)) == int(allowed)


@pytest.mark.parametrize("what", list(catalogue.READERS))
async def test_words_of_whoever_is_no_operator(world: World, what: Expected) -> None:
    """A customer who is expected to write something, by whatever way, changes nothing with it and is told of no catalogue."""
    await world.say(ANNA, "/start")
    await world.change(
        "update customers set expects = $2, expects_until = vpnd_now() + interval '1 hour', expects_about = 1,"
        " expects_data = $3::jsonb where telegram_id = $1",
        ANNA,
        what,
        {
            "plan": "basic",
            "language": "en",
            "key": "button-home",
            "currency": "RUB",
            "kind": "percent",
            "limit": "days",
        },
    )

    said = await say(world, "basic 1", ANNA)

    assert "can’t show this" in said.text or "out of date" in said.text or "not there" in said.text, said.text
    assert await written(world) == []


async def test_a_reader_looks_and_a_customer_does_not(world: World) -> None:
    """The rooms open for who may look; for customers there are none."""
    await give(world, ANNA, "reader")
    for look in (Catalogue(), catalogue_callbacks.PlanList(), OnePlan("basic"), WaysToPay(), TextLanguages()):
        assert "does not allow" not in (await press(world, look, ANNA)).text
        assert "can’t show this" in (await press(world, look, 777)).text


async def test_a_replayed_update_and_a_second_yes_are_one_deed(world: World) -> None:
    """The same update again changes nothing more; nor does a second press on the answer of one question."""
    offer = await world.offer("basic", 30)
    yes = PriceNow(offer, RUB, 24_900, 55)

    await world.press(OWNER, MovePlan("plus", 1), update_id=900)
    await world.press(OWNER, MovePlan("plus", 1), update_id=900)
    await world.press(OWNER, yes)
    again = await press(world, yes)

    assert "done already" in again.text
    assert len(await written(world)) == 2


# ------------------------------------------------------------------------------------------ plans and prices


async def test_a_plan_from_nothing_to_a_sale(world: World) -> None:
    """Made, named, given a period and a price, put on sale by buttons and words; then a customer sees it."""
    await press(world, NewPlan())
    wrong = await say(world, "Family Family")
    made = await say(world, "family Family")
    assert "small letters" in wrong.text
    assert "off sale" in made.text
    await press(world, made.data("Period"))
    wrong = await say(world, "a month")
    period = await say(world, "45")
    assert "whole number of days" in wrong.text
    assert "45 days" in period.text
    refused = await press(world, period.data("Put on sale"))
    assert "needs a price in the shop’s currency" in refused.text
    await press(world, refused.data("Price in RUB"))
    wrong = await say(world, "1.2345")
    asked = await say(world, "450 ₽")
    assert "no more decimal places" in wrong.text or "RUB" in wrong.text
    priced = await press(world, asked.data("Yes"))
    await press(world, priced.data("Put on sale"))
    await press(world, PlanSale("family", 1, 0))

    seen = await press(world, Periods("family"), ANNA)

    assert "450" in seen.text
    assert [subject for subject, _, _ in await written(world)] == ["plan:family"] * 5


async def test_a_new_price_is_asked_about_and_counts_at_once(world: World) -> None:
    """The question shows both prices; with yes a customer who chooses pays the new one, and who was paying keeps the old."""
    offer = await world.offer("basic", 30)
    await world.press(ANNA, Pay("yookassa", offer))
    shown = await press(world, OnePeriod(offer))
    await press(world, shown.data("199"))
    asked = await say(world, "249,50")
    done = await press(world, asked.data("Yes"))
    await world.press(1003, Pay("yookassa", offer))

    assert "199 ₽ → 249.50 ₽" in asked.text.replace("\xa0", " ").replace("₽199", "199 ₽").replace(
        "₽249.50", "249.50 ₽"
    )
    assert "249.50" in done.text
    amounts = [row["amount"] for row in await world.sql("select amount from purchases order by id")]
    assert amounts == [19_900, 24_950]
    assert (await written(world))[-1] == ("plan:basic", {"30.RUB": "199.00"}, {"30.RUB": "249.50"})
    old = next(external for external, order in world.yookassa.orders.items() if order.amount == 19_900)
    await world.settle(world.yookassa.charge(old))
    assert [row["status"] for row in await world.sql("select status from purchases order by id")] == [
        "paid",
        "pending",
    ]


async def test_a_currency_more_and_less(world: World) -> None:
    """A price in another currency is written with its currency, and taken away by a question; the shop's own stays."""
    offer = await world.offer("basic", 30)
    await press(world, NewPrice(offer))
    wrong = await say(world, "2.99")
    asked = await say(world, "usd 2.99")
    added = await press(world, asked.data("Yes"))
    dropping = await press(world, added.data("✖️ USD"))
    dropped = await press(world, dropping.data("Yes"))
    kept = await press(world, (await press(world, dropped.data("✖️ RUB"))).data("Yes"))

    assert "amount above 0" in wrong.text
    assert "2.99" in added.text
    assert "2.99" not in dropped.text
    assert "Take it off sale first" in kept.text


async def test_words_about_a_plan(world: World) -> None:
    """Titles and descriptions in each language; customers read what is said about the plan, each in his own."""
    shown = await press(world, PlanWords("basic"))
    await press(world, shown.data("Text · ru"))
    await say(world, "Для <одного>")
    await press(world, WriteTitle("basic", 0))
    wrong = await say(world, "x" * 33)
    await say(world, "Easy")

    russian = (await world.press(ANNA, Periods("basic"), language="ru"))[-1]
    english = (await world.press(1003, Periods("basic")))[-1]

    assert "1 to 32 characters" in wrong.text
    assert "Для &lt;одного&gt;" in russian.text
    assert "Easy" in english.text
    assert "одного" not in english.text


async def test_the_history_of_a_plan(world: World) -> None:
    """What was changed of a plan, the newest first, in pages; other plans' changes are not among them."""
    for number in range(9):
        await press(world, WriteTitle("basic", 0))
        await say(world, f"Title {number}")
    await press(world, MovePlan("plus", 1))

    first = await press(world, PlanHistory("basic"))
    second = await press(world, first.data("Older"))

    assert "Title 8" in first.text
    assert "plan:plus" not in first.text
    assert "Title 0" in second.text


# ------------------------------------------------------------------------------------------ codes and discounts


async def test_a_code_is_made_limited_and_switched(world: World) -> None:
    """It is made switched off; with its limits set it is switched on and can be entered; off again it cannot."""
    await press(world, WritePromo("percent"))
    wrong = await say(world, "SPRING")
    made = await say(world, "spring 25%")
    (promo,) = await world.sql("select * from promo_codes")
    early = await say(world, "/promo SPRING", ANNA)
    await press(world, WriteLimit("days", promo["id"]))
    bad = await say(world, "many")
    await say(world, "30")
    await press(world, WriteLimit("uses", promo["id"]))
    limited = await say(world, "100")
    await press(world, limited.data("Switch on"))
    entered = await say(world, "/promo SPRING", ANNA)
    off = await press(world, (await press(world, catalogue_callbacks.PromoOff(promo["id"]))).data("Yes"))

    assert "were not found" in wrong.text
    assert "still off" in made.text
    assert "digits alone" in bad.text
    assert "0 of 100" in limited.text
    assert "25" in entered.text
    assert early.text != entered.text
    assert "off" in off.text
    assert [after for _, _, after in await written(world)][-1] == {"on": False}


async def test_two_codes_of_one_name_are_not_on_together(world: World) -> None:
    """The second is refused when it is made, and when one made before is switched on."""
    for _ in range(2):
        await press(world, WritePromo("days"))
        await say(world, "GIFT 7")
    first, second = [row["id"] for row in await world.sql("select id from promo_codes order by id")]
    await press(world, PromoSwitch(first, 1, 0))

    refused = await press(world, PromoSwitch(second, 1, 0))
    await press(world, WritePromo("money"))
    third = await say(world, "GIFT 100.50")

    assert "Another code of this name is on" in refused.text
    assert "is on already" in third.text


async def test_a_personal_discount_is_given_and_taken(world: World) -> None:
    """By a name, with the question first; it counts for his next purchase; taken away, it does not."""
    await world.say(ANNA, "/start")
    await press(world, NewDiscount())
    unknown = await say(world, "@nobody 10")
    unreadable = await say(world, "10")
    asked = await say(world, f"@u{ANNA} 15 30")
    listed = await press(world, asked.data("Yes"))
    offer = await world.offer("basic", 30)
    cheaper = await press(world, Methods(offer), ANNA)
    one = await press(world, listed.data("15 %"))
    await press(world, one.data("Yes"))

    assert "Nobody of that name" in unknown.text
    assert "Keep to the example" in unreadable.text
    assert "for 30 days" in asked.text
    assert "15" in cheaper.text
    assert await world.sql("select * from personal_discounts") == []
    (given, taken) = await written(world)
    assert given[2]["percent"] == 15
    assert (taken[1]["percent"], taken[2]) == (15, None)
    assert "15" not in (await press(world, DiscountList())).text


# ------------------------------------------------------------------------------------------ texts


async def test_a_text_is_found_written_and_reset(world: World) -> None:
    """Found by its words, written in the bot, it is said at once; reset, it is the package's again."""
    await press(world, WrittenTexts(0))
    found = await say(world, "fast and private")
    shown = await press(world, found.data("home-new"))
    await press(world, shown.data("Write it anew"))
    done = await say(world, "Welcome, <b>{ $name }</b>!\n\n* Fast\n[and] safe")
    greeted = await say(world, "/start", ANNA)
    listed = await press(world, WrittenTexts(0))
    asked = await press(world, done.data("As it was before"))
    await press(world, asked.data("Yes"))
    again = await say(world, "/start", 1003)

    assert "Values: <code>&#123; &#36;name &#125;</code>" in shown.text
    assert "Written here by admin:1002" in done.text
    assert greeted.text.startswith("Welcome, <b>Anna &lt;3</b>!\n\n* Fast\n[and] safe")
    assert listed.has("home-new")
    assert again.text.startswith("<b>Hello")
    assert [(subject, bool(before), bool(after)) for subject, before, after in await written(world)] == [
        ("text:en:home-new", False, True), ("text:en:home-new", True, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "words", "why"),
    [
        ("home-new", "Hello { $nam }", "not given to it; there are: &#36;name"),
        ("home-new", "<b>Hello", "never closed"),
        ("home-new", "x" * 2001, "longer than 2000"),
        ("home-new", "Hello { $name", "cannot be read"),
        ("home-new", "{ home-active }", "refers to the text"),
        ("button-home", "<b>Menu</b>", "plain text, but contains HTML"),
        ("button-home", "M" * 41, "longer than 40"),
    ],
)
async def test_a_text_with_a_fault_is_refused_with_the_reason(
    world: World, key: str, words: str, why: str
) -> None:
    """What `vpnd check-config` would refuse is refused here, kept nowhere, and may be written again."""
    await press(world, WriteText(0, key_number(key)))
    said = await say(world, words)
    again = await say(world, "Menu" if key == "button-home" else "Hi { $name }")

    assert why in said.text
    assert "Written here" in again.text
    assert len(await world.sql("select * from text_overrides")) == 1


async def test_the_bot_counts_over_the_folder(world: World, tmp_path: Path) -> None:
    """Package, folder, bot: the last that says something is said; reset, it is the folder's."""
    (tmp_path / "en.ftl").write_text("button-home = Folder\n", "utf-8")
    await world.deps.reload_texts()
    texts = [world.deps.texts.plain("en", "button-home")]
    number = key_number("button-home")
    shown = await press(world, OneText(0, number))
    await press(world, WriteText(0, number))
    await say(world, "Bot")
    texts.append(world.deps.texts.plain("en", "button-home"))
    await press(world, catalogue_callbacks.ResetTextNow(0, number, 3))
    texts.append(world.deps.texts.plain("en", "button-home"))

    assert "From your folder of texts" in shown.text
    assert texts == ["Folder", "Bot", "Folder"]


async def test_a_text_that_fits_no_longer_is_told_and_not_said(world: World) -> None:
    """After an update a text may use what it is not given any more: the package's stands in for it, and the fault is named."""
    await world.change(
        "insert into text_overrides (language, key, body, changed_by) values ('en', 'button-home', '{ $gone }', 'x'),"
        " ('en', 'button-back', 'Away', 'x'), ('en', 'no-such-text', 'x', 'x')"
    )

    texts, faults = await read_texts(("en",), None, world.db)

    assert texts.plain("en", "button-home") == "« Menu"
    assert texts.plain("en", "button-back") == "Away"
    assert sorted(fault.key for fault in faults) == ["button-home", "no-such-text"]


def test_every_text_has_a_number_of_its_own() -> None:
    """A button carries a text by a number that leads back to it, in this version and the next."""
    assert {key_numbered(key_number(key)) for key in keys()} == keys()
    assert key_numbered(1) is None


def test_every_currency_has_a_number_of_its_own() -> None:
    """A button carries a currency by a number that leads back to it."""
    assert {currency_numbered(currency_number(one)) for one in EXPONENTS} == set(EXPONENTS)
    assert currency_numbered(7) is None


# ------------------------------------------------------------------------------------------ ways to pay


async def test_a_way_is_switched_off_and_on(world: World) -> None:
    """Off, it is offered to nobody, and an old button for it opens nothing; on, it is offered as before."""
    offer = await world.offer("basic", 30)
    shown = await press(world, WaysToPay())
    asked = await press(world, shown.data("Switch off: card"))
    off = await press(world, asked.data("Yes"))
    offered = await press(world, Methods(offer), ANNA)
    old = await press(world, Pay("yookassa", offer), ANNA)
    filling = await press(world, TopUpAmount(25_000), ANNA)
    await press(world, off.data("Offer: card"))
    again = await press(world, Methods(offer), ANNA)

    assert not offered.has("Card or SBP")
    assert offered.has("Crypto")
    assert not filling.has("Card")
    assert await world.sql("select * from purchases") == []
    assert "💳" not in old.text
    assert again.has("Card or SBP")
    assert [(subject, after) for subject, _, after in await written(world)] == [
        ("method:yookassa", {"on": False}), ("method:yookassa", {"on": True}),
    ]  # fmt: skip


async def test_the_last_way_is_warned_about(world: World) -> None:
    """Who switches the last way off is told that nobody can buy anything then."""
    for method in list(TERMS)[:-1]:
        await press(world, WaySwitch(method, 0, 0))

    asked = await press(world, catalogue_callbacks.WayOff("balance"))

    assert "nobody can buy anything" in asked.text


async def test_a_way_that_is_not_set_up_cannot_be_switched(world: World) -> None:
    """A forged button with another name changes nothing."""
    said = await press(world, WaySwitch("shop", 0, 0))

    assert "out of date" in said.text or "buttons" in said.text or "older" in said.text
    assert await written(world) == []


async def test_ways_to_pay_are_not_among_what_is_paused(world: World) -> None:
    """The screen of switches has workers, the shop and the trial; ways to pay have a screen of their own."""
    shown = await press(world, Switches())

    assert not shown.has("pay_")
    assert shown.has("shop")
