"""Every action of operators in the bot, by every role: done and told by the audit log, or refused and nothing changed.

The tables are held against the registries of the bot, so that an action that is added can't be forgotten here: what is pressed,
what is written when it was asked for, and what is commanded is either a deed, with a way to do it, or a mere look or question.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from itertools import count
from typing import Any, get_args

import pytest
from attrs import define, field, frozen
from bot_world import ANNA, BORIS, World, open_world

from vpnd.bot import admin_callbacks as admin
from vpnd.bot import alert_callbacks as alert
from vpnd.bot import broadcast_callbacks as mail
from vpnd.bot import callbacks, handlers, presses
from vpnd.bot import catalogue_callbacks as shelf
from vpnd.bot import customer_callbacks as people
from vpnd.bot import desk_callbacks as desk
from vpnd.bot import figures_callbacks as figures
from vpnd.bot.catalogue_words import currency_number
from vpnd.bot.text_editing import key_number, read_texts
from vpnd.bot.texts import CurrentTexts, Texts
from vpnd.database.database import Database
from vpnd.shop import alerts, asked_deeds, broadcasts
from vpnd.shop.audit_log import entries
from vpnd.shop.deed import Deed, DeedKind, permission_of
from vpnd.shop.dialogs import Expected, set_expectation
from vpnd.shop.operators import ROLES, Permission, Role, may, remove_operator, set_operator
from vpnd.shop.segments import Segment
from vpnd.shop.switches import register_switches

pytestmark = pytest.mark.postgres

OWNER, BUYER, NEW = BORIS, 3003, 5005
RUB, XTR = currency_number("RUB"), currency_number("XTR")
TEXT = {"text": {"en": "Hello"}}


@define
class Scene:
    """A shop with somebody in it to do things to; each deed makes what it is about anew."""

    world: World
    numbers: Any = field(factory=lambda: count(100))
    offer: int = 0
    buyer: int = 0
    subscription: int = 0
    actor: int = 0
    tomorrow: int = 0
    purchase: str = ""

    @property
    def asked(self) -> int:
        """The number of an update that asked a question."""
        return next(self.numbers)

    async def one(self, query: str, *args: object) -> Any:
        """The only value of a statement that may write."""
        async with self.world.db.transaction("test") as tx:
            return await tx.fetchval(query, *args)

    async def broadcast(self, state: str = "draft", **content: Any) -> int:
        """A broadcast in a state."""
        number = await broadcasts.create(
            self.world.db, content=TEXT | content, segment=Segment(), created_by="x"
        )
        at = "vpnd_now() + interval '1 day'" if state == "scheduled" else "null"
        share = 50 if "b" in content else 0
        await self.world.change(
            f"update broadcasts set state = $2, scheduled_at = {at}, share_b = $3 where id = $1",  # noqa: S608 (constants)
            number, state, share,
        )  # fmt: skip
        return number

    async def alert(self) -> int:
        """An open alert."""
        key = f"k{self.asked}"
        async with self.world.db.transaction("test") as tx:
            (number,) = await alerts.note(tx, key, [alerts.News("held_charge", key, {})]) or ()
        return number

    async def letter(self) -> int:
        """A dead letter."""
        return int(
            await self.one(
                "insert into outbox (kind, key, payload, status, failures, finished_at)"
                " values ('message', $1, '{}', 'dead', 20, clock_timestamp()) returning id",
                f"letter:{self.asked}",
            )
        )

    async def promo(self) -> int:
        """A code that is off."""
        return int(
            await self.one(
                "insert into promo_codes (code, kind, value, active) values ($1, 'percent', 5, false) returning id",
                f"CODE{self.asked}",
            )
        )

    async def paid(self) -> int:
        """The settlement of a charge that can go back; the purchase's name is kept in `purchase`."""
        await self.world.press(BUYER, callbacks.Pay("yookassa", self.offer))
        await self.world.settle(self.world.yookassa.charge(f"yoo-{len(self.world.yookassa.orders)}"))
        (row,) = await self.world.sql(
            "select s.id, p.public_id from settlements s join purchases p on p.id = s.purchase_id order by s.id desc limit 1"
        )
        self.purchase = str(row["public_id"])
        return int(row["id"])

    async def question(self, kind: DeedKind) -> int:
        """A question about the buyer that whoever acts was asked."""
        values: dict[DeedKind, dict[str, Any]] = {
            "days": {"subscription_id": self.subscription, "days": 3},
            "money": {"amount": 100},
            "plan": {"subscription_id": self.subscription, "plan": "plus"},
            "link": {"subscription_id": self.subscription},
            "message": {"text": "Hello"},
        }
        number = self.asked
        deed = Deed(kind=kind, customer_id=self.buyer, **values.get(kind, {}))
        async with self.world.db.transaction("test") as tx:
            await asked_deeds.ask(tx, asked=number, telegram_id=ANNA, deed=deed, reason="because")
        return number

    async def muted(self) -> int:
        """A kind of alerts that is muted, as a button names it."""
        number = await self.alert()
        async with self.world.db.transaction("test") as tx:
            await alerts.mute_alert(tx, number, 1, by="x")
        return alerts.kind_number("held_charge")

    async def minute(self) -> int:
        """A draft; the minute of tomorrow is kept in `tomorrow`."""
        now = await self.one("select vpnd_now()")
        self.tomorrow = int((now + timedelta(days=1)).timestamp() // 60)
        return await self.broadcast()

    async def expects(self, what: Expected, about: int | None, data: Mapping[str, Any]) -> None:
        """Whoever acts was asked for something."""
        async with self.world.db.transaction("test") as tx:
            await set_expectation(tx, self.actor, what, about=about, data=data)


Number = Callable[[Scene], Awaitable[int]]


@frozen
class Case:
    """A deed: what does it, what it needs, how it is done, and what it is about.

    Attributes:
        kind: the button, the question that words answer, or the command.
        make: the button or the words, from the scene and what `about` returned.
        data: what is kept with the question.
        name: tells cases of one kind apart.
    """

    kind: type[callbacks.Action] | str
    needs: Permission
    make: Callable[[Scene, int], callbacks.Action | str]
    about: Number | None = None
    data: Mapping[str, Any] = field(factory=dict)
    name: str = ""

    def __str__(self) -> str:
        kind = self.kind if isinstance(self.kind, str) else self.kind.__name__
        return f"{kind} {self.name}".strip()


SWITCH, EDIT, SEND, ALERTS = (
    Permission.SWITCH, Permission.EDIT_CATALOGUE, Permission.BROADCAST, Permission.ALERTS,
)  # fmt: skip
BOTH = {"b": TEXT}


def in_state(state: str, **content: Any) -> Number:
    """A broadcast in a state, made when it is needed."""
    return lambda scene: scene.broadcast(state, **content)


#: In this order: what comes later may rest on what came before.
CASES: tuple[Case, ...] = (
    # money back
    Case(admin.RefundNow, Permission.REFUND, lambda s, n: admin.RefundNow(n, 19900, 1, s.asked), Scene.paid),
    Case(admin.RefundAllNow, Permission.REFUND, lambda s, _: admin.RefundAllNow(s.purchase, 1, s.asked), Scene.paid),
    # switches
    Case(admin.PauseNow, SWITCH, lambda _s, _n: admin.PauseNow("trial")),
    Case(admin.Resume, SWITCH, lambda _s, _n: admin.Resume("trial")),
    Case("banner", SWITCH, lambda _s, _n: "/banner We are slow today"),
    Case(admin.BannerOff, SWITCH, lambda _s, _n: admin.BannerOff()),
    # operators
    Case(desk.RoleNow, Permission.OPERATORS, lambda s, _: desk.RoleNow(NEW, "support", s.asked)),
    # customers
    *(
        Case(
            people.DeedNow, permission_of(Deed(kind=kind, customer_id=1)), lambda _s, n: people.DeedNow(n),
            lambda s, kind=kind: s.question(kind), name=kind,
        )
        for kind in get_args(DeedKind)
    ),
    Case(people.LetterAgain, Permission.DEAD_LETTERS, lambda _s, n: people.LetterAgain(n), Scene.letter),
    Case(people.LetterDropNow, Permission.DEAD_LETTERS, lambda s, n: people.LetterDropNow(n, s.asked), Scene.letter),
    # the catalogue
    Case("plan_new", EDIT, lambda _s, _n: "family Family"),
    Case("plan_title", EDIT, lambda _s, _n: "Easy", data={"plan": "basic", "language": "en"}),
    Case("plan_description", EDIT, lambda _s, _n: "For one", data={"plan": "basic", "language": "en"}),
    Case("period_new", EDIT, lambda _s, _n: "7", data={"plan": "basic"}),
    Case(shelf.PriceNow, EDIT, lambda s, _: shelf.PriceNow(s.offer, RUB, 100, s.asked)),
    Case(shelf.DropPriceNow, EDIT, lambda s, _: shelf.DropPriceNow(s.offer, XTR, s.asked)),
    Case(shelf.PeriodSale, EDIT, lambda s, _: shelf.PeriodSale(s.offer, 0, s.asked)),
    Case(shelf.PlanSale, EDIT, lambda s, _: shelf.PlanSale("plus", 0, s.asked)),
    Case(shelf.MovePlan, EDIT, lambda _s, _n: shelf.MovePlan("plus", 1)),
    Case(shelf.GiveBackNow, EDIT, lambda s, _: shelf.GiveBackNow("plus", s.asked)),
    Case("promo_new", EDIT, lambda _s, _n: "SPRING 25", data={"kind": "percent"}),
    Case("promo_limit", EDIT, lambda _s, _n: "3", Scene.promo, data={"limit": "days"}),
    Case(shelf.PromoSwitch, EDIT, lambda s, n: shelf.PromoSwitch(n, 1, s.asked), Scene.promo),
    Case(shelf.DiscountNow, EDIT, lambda s, _: shelf.DiscountNow(s.buyer, 15, 0, s.asked)),
    Case("text_body", EDIT, lambda _s, _n: "« Home", data={"language": "en", "key": "button-home"}),
    Case(shelf.ResetTextNow, EDIT, lambda s, _: shelf.ResetTextNow(0, key_number("button-home"), s.asked)),
    Case(shelf.WaySwitch, EDIT, lambda s, _: shelf.WaySwitch("yookassa", 0, s.asked)),
    # broadcasts
    Case(mail.NewBroadcast, SEND, lambda _s, _n: mail.NewBroadcast()),
    Case("broadcast_message", SEND, lambda _s, _n: "Sale!", Scene.broadcast, data={"variant": "a"}),
    Case("broadcast_text", SEND, lambda _s, _n: "Sale!", Scene.broadcast, data={"variant": "a", "language": "en"}),
    Case("broadcast_buttons", SEND, lambda _s, _n: "Shop - https://example.org", Scene.broadcast, data={"variant": "a"}),
    Case("broadcast_segment", SEND, lambda _s, _n: "7", Scene.broadcast, data={"part": "expired"}),
    Case(mail.SetSegment, SEND, lambda _s, n: mail.SetSegment(n, "trial", "yes"), Scene.broadcast),
    Case(mail.ShareOfB, SEND, lambda _s, n: mail.ShareOfB(n, 25), in_state("draft", **BOTH)),
    Case(mail.DropB, SEND, lambda _s, n: mail.DropB(n), in_state("draft", **BOTH)),
    Case(mail.IfMissed, SEND, lambda _s, n: mail.IfMissed(n, "skip"), Scene.broadcast),
    Case(mail.ScheduleNow, SEND, lambda s, n: mail.ScheduleNow(n, s.tomorrow, 1, s.asked), Scene.minute),
    Case(mail.Unschedule, SEND, lambda _s, n: mail.Unschedule(n), in_state("scheduled")),
    Case(mail.SendNow, SEND, lambda s, n: mail.SendNow(n, 1, s.asked), Scene.broadcast),
    Case(mail.PauseBroadcast, SEND, lambda _s, n: mail.PauseBroadcast(n), in_state("running")),
    Case(mail.ResumeBroadcast, SEND, lambda _s, n: mail.ResumeBroadcast(n), in_state("paused")),
    Case(mail.EndNow, SEND, lambda s, n: mail.EndNow(n, s.asked), in_state("running")),
    Case(mail.UseAgain, SEND, lambda _s, n: mail.UseAgain(n), in_state("done")),
    # exports
    Case(mail.ExportSegment, Permission.EXPORT, lambda _s, n: mail.ExportSegment(n), Scene.broadcast),
    Case(figures.ExportNow, Permission.EXPORT, lambda s, _: figures.ExportNow("customers", 0, s.asked)),
    Case(figures.ExportNow, Permission.EXPORT_SECRETS, lambda s, _: figures.ExportNow("customers", 1, s.asked), name="secrets"),
    # alerts
    Case(alert.Acknowledge, ALERTS, lambda _s, n: alert.Acknowledge(n), Scene.alert),
    Case(alert.MuteAlert, ALERTS, lambda _s, n: alert.MuteAlert(n, 1), Scene.alert),
    Case(alert.ResumeAlerts, ALERTS, lambda _s, n: alert.ResumeAlerts(n), Scene.muted),
    Case(alert.CloseAlert, ALERTS, lambda _s, n: alert.CloseAlert(n), Scene.alert),
)  # fmt: skip

#: Buttons that show something or ask a question. A button that is added stands here or among the cases.
LOOKS: frozenset[type[callbacks.Action]] = frozenset({
    admin.RefundAsk, admin.RefundAllAsk, admin.Status, admin.Switches, admin.PauseAsk, desk.Desk, desk.Operators,
    desk.AddOperator, desk.OneOperator, desk.RoleAsk, desk.AuditLog, shelf.Catalogue, shelf.PlanList, shelf.OnePlan,
    shelf.PlanWords, shelf.PlanHistory, shelf.OnePeriod, shelf.PromoList, shelf.OnePromo, shelf.DiscountList,
    shelf.TextLanguages, shelf.WrittenTexts, shelf.OneText, shelf.WaysToPay, shelf.NewPlan, shelf.WriteTitle,
    shelf.WriteDescription, shelf.PlanOff, shelf.GiveBack, shelf.NewPeriod, shelf.PeriodOff, shelf.NewPrice, shelf.WritePrice,
    shelf.DropPrice, shelf.NewPromo, shelf.WritePromo, shelf.WriteLimit, shelf.PromoOff, shelf.OneDiscount, shelf.NewDiscount,
    shelf.WriteText, shelf.ResetText, shelf.WayOff, people.FindCustomer, people.CustomerCard, people.GiveDays,
    people.NewAccess, people.DaysOf, people.OtherPlan, people.PlanOf, people.GiveMoney, people.Reissue, people.Block,
    people.WriteTo, people.Payments, people.OnePayment, people.Timeline, people.DeadLetters, people.OneLetter,
    people.LetterDropAsk, mail.Broadcasts, mail.OneBroadcast, mail.Preview, mail.SendAsk, mail.EndAsk, mail.Schedule,
    mail.Compose, mail.ComposeText, mail.ComposeButtons, mail.ShowSegment, mail.SegmentPart, mail.WriteSegment,
    mail.CountSegment, figures.Figures, figures.ByMethod, figures.ByPlan, figures.Referral, figures.Health, figures.Chart,
    figures.Exports, figures.ExportAsk, alert.AlertList, alert.OneAlert,
})  # fmt: skip
#: Words of operators that only lead to the next question, or to what was looked for.
ASKED: frozenset[str] = frozenset({
    "operator", "price", "price_new", "discount_new", "text_search", "customer_search", "deed_value", "deed_reason",
    "broadcast_time",
})  # fmt: skip
#: Words and commands of customers, and commands that only look.
CUSTOMERS = frozenset({"topup_amount", "promo_code", "subscription_title"})
LOOKING = frozenset({"admin", "find", "refund", "status"})


def test_no_action_is_forgotten() -> None:
    """Every button, every answer in words and every command of operators is a case here, or said to change nothing."""
    kinds = {case.kind for case in CASES}
    pressed = {kind for kind in kinds if not isinstance(kind, str)}
    said = {kind for kind in kinds if isinstance(kind, str)}

    assert pressed | LOOKS == set(presses.OPERATORS)
    assert not pressed & LOOKS
    assert (said - {"banner"}) | ASKED | CUSTOMERS == set(handlers._READERS) | set(handlers._TAKERS)
    assert not said & ASKED
    assert {"banner"} | LOOKING == set(handlers._FOR_OPERATORS)


@pytest.fixture
async def scene(db: Database) -> AsyncIterator[Scene]:
    """A shop with an owner, a customer who has bought something, and somebody who is given a role."""
    current = CurrentTexts(Texts.load())

    async def reload() -> None:
        current.texts, _ = await read_texts(("en", "ru"), None, db)

    async with open_world(db, admins=(OWNER,), texts=current, reload_texts=reload) as world:
        await world.deps.switches.refresh()
        await register_switches(db, ["expiry"])
        await world.deps.switches.refresh()
        made = Scene(world, offer=await world.offer("basic", 30))
        for user in (BUYER, ANNA, NEW):
            await world.say(user, "/start")
        await made.paid()
        (row,) = await world.sql("select s.id, s.customer_id from subscriptions s")
        made.subscription, made.buyer = row["id"], row["customer_id"]
        made.actor = int(await made.one("select id from customers where telegram_id = $1", ANNA))
        yield made


async def give(world: World, role: Role | None) -> None:
    """Let Anna have a role, or none."""
    async with world.db.transaction("test") as tx:
        if role is None:
            await remove_operator(tx, ANNA)
        else:
            await set_operator(tx, ANNA, role, name="N", by="test")


async def state(world: World) -> list[Any]:
    """What deeds leave behind, but for rows that the scene itself made."""
    rows = await world.sql(
        "select (select count(*) from refunds) as refunds, (select count(*) from operators) as operators,"
        " (select count(*) from export_requests) as exports, (select count(*) from plans) as plans,"
        " (select jsonb_agg(to_jsonb(c) - 'expects' - 'expects_until' - 'expects_about' - 'expects_data' - 'seen_at' order by id)"
        " from customers c) as customers,"
        " (select jsonb_agg(to_jsonb(b) order by id) from broadcasts b) as broadcasts,"
        " (select jsonb_agg(to_jsonb(a) order by id) from alerts a) as alerts,"
        " (select jsonb_agg(to_jsonb(p) order by id) from promo_codes p) as codes,"
        " (select jsonb_agg(to_jsonb(s) order by id) from subscriptions s) as subscriptions,"
        " (select jsonb_agg(to_jsonb(o) order by id) from outbox o where status = 'dead') as letters,"
        " (select jsonb_agg(to_jsonb(w) order by name) from switches w) as switches,"
        " (select jsonb_agg(to_jsonb(p) order by offer_id, currency) from prices p) as prices limit 1"
    )
    return [dict(row.items()) for row in rows]


@pytest.mark.parametrize("role", [None, *ROLES])
async def test_each_deed_by_each_role(scene: Scene, role: Role | None) -> None:
    """Allowed, it is done and the audit log has one line with who and what; refused, he hears so, and nothing has changed."""
    world = scene.world
    for case in CASES:
        await give(world, role)
        number = 0 if case.about is None else await case.about(scene)
        wish = case.make(scene, number)
        if isinstance(case.kind, str) and case.kind != "banner":
            await scene.expects(case.kind, number or None, case.data)  # type: ignore[arg-type]  # held against the registry
        before, lines = await state(world), await entries(world.db, limit=200)

        calls = await (world.say(ANNA, wish) if isinstance(wish, str) else world.press(ANNA, wish))

        allowed = role is not None and may(role, case.needs)
        new = [one for one in await entries(world.db, limit=200) if one not in lines]
        said = "\n".join(call.text for call in calls)
        if allowed:
            assert [(one.actor, one.role) for one in new] == [(f"admin:{ANNA}", role)], (str(case), said)
            assert new[0].action.split(".")[:2] == case.needs.value.split("."), (str(case), new)
            assert new[0].subject, str(case)
            assert new[0].before or new[0].after, str(case)
        else:
            assert new == [], str(case)
            assert await state(world) == before, str(case)
            assert "done" not in said, (str(case), said)


@pytest.mark.parametrize("role", ROLES)
async def test_a_look_is_no_deed(scene: Scene, role: Role) -> None:
    """Nothing that only shows or asks writes a line, whoever it is; what is refused is said to be."""
    world = scene.world
    values = {"int": 1, "str": "basic"}
    for kind in sorted(LOOKS, key=lambda kind: kind.__name__):
        await give(world, role)
        names = [one if isinstance(one, str) else one.__name__ for one in kind.__annotations__.values()]
        calls = await world.press(ANNA, kind(*(values[name] for name in names)))
        refused = any("does not allow this" in call.text for call in calls)
        assert refused == (not may(role, presses.OPERATORS[kind][0])), kind

    assert await entries(world.db, limit=10) == []


@pytest.mark.parametrize("role", [None, "support", "reader"])
@pytest.mark.parametrize("what", sorted(ASKED))
async def test_words_that_lead_on_are_asked_of_who_may(
    scene: Scene, what: Expected, role: Role | None
) -> None:
    """Who lost his role between the question and his words is led nowhere: nothing is written, nothing is asked on."""
    world = scene.world
    await give(world, role)
    data: dict[str, Any] = {"currency": "RUB", "language": "en"}
    if what.startswith("deed"):
        data = Deed(kind="money", customer_id=scene.buyer, amount=5).to_json()
    await scene.expects(what, scene.offer, data)
    before = await state(world)

    calls = await world.say(ANNA, "5")

    assert await entries(world.db, limit=10) == []
    assert await state(world) == before
    assert await world.sql("select asked from asked_deeds") == []
    assert calls
