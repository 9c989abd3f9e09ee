"""Figures and exports in the bot: what operators see and get, who is refused, and what happens when something fails."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
from bot_world import ANNA, BORIS, PNG, Call, World, open_world
from shop_world import ShopWorld
from shop_world import open_world as open_shop

from vpnd.bot import chart_child, exporting, figures_callbacks
from vpnd.bot.charts import ChartDrawer, Panel
from vpnd.bot.notices import deliver_message
from vpnd.bot.presses import OPERATORS
from vpnd.database.database import Database
from vpnd.database.outbox_rows import Delivered, Drop
from vpnd.runtime.held import HeldConnectionError, open_mark
from vpnd.runtime.journal import capture
from vpnd.shop.export_requests import ATTEMPTS, EndedExport, ExportRequest, claim_export
from vpnd.shop.operators import ROLES, Role, may, remove_operator, set_operator
from vpnd.workers import figures as workers

pytestmark = pytest.mark.postgres

OWNER = BORIS


class FakeCharts(ChartDrawer):
    """Draws at once, or fails at once; remembers what it was given."""

    broken = False
    drawn: Sequence[Panel] = ()

    async def draw(self, panels: Sequence[Panel]) -> bytes | None:
        self.drawn = panels
        return None if self.broken else PNG


@attrs.define
class Room:
    """A bot with an owner, and the shop behind it."""

    bot: World
    shop: ShopWorld
    charts: FakeCharts

    async def press(self, user: int, what: object) -> Call:
        """Press; the last call is the answer."""
        calls = await self.bot.press(user, what)  # type: ignore[arg-type]  # an action or data
        return calls[-1]

    async def give(self, role: Role) -> None:
        async with self.bot.db.transaction("test") as tx:
            await set_operator(tx, ANNA, role, name="A", by="test")


@pytest.fixture
async def room(db: Database) -> AsyncIterator[Room]:
    """A shop that has sold something, and its bot."""
    async with open_world(db, admins=(OWNER,)) as bot:
        shop = await open_shop(db)
        charts = FakeCharts()
        object.__setattr__(bot.deps, "charts", charts)
        customer = await shop.customer()
        await shop.settle(shop.charge(await shop.buy(customer)))
        await shop.settle(shop.charge(await shop.buy(customer, "stars")))
        yield Room(bot, shop, charts)


# ------------------------------------------------------------------------------------------ screens


async def test_an_operator_looks_at_figures(room: Room) -> None:
    """From the desk to each of the screens; two currencies stand beside each other."""
    (desk,) = await room.bot.say(OWNER, "/admin")
    first = await room.press(OWNER, desk.data("Figures"))
    methods = await room.press(OWNER, first.data("By method"))
    plans = await room.press(OWNER, methods.data("By plan"))
    referral = await room.press(OWNER, plans.data("Referral"))
    health = await room.press(OWNER, referral.data("How it stands"))
    week = await room.press(OWNER, health.data("7 days"))

    assert "199 ₽" in first.text
    assert "150 ⭐" in first.text
    assert "cryptopay" in methods.text
    assert "stars" in methods.text
    assert "basic" in plans.text
    assert "No rewards" in referral.text
    assert "Paying customers: <b>1</b>" in health.text
    assert "MRR: <b>199 ₽</b>" in health.text
    assert "No money moved" in week.text


async def test_a_chart_is_a_picture(room: Room) -> None:
    """With the days of the period in it, today's too where today was asked for; a caption and the way back."""
    for what in ("revenue", "people", "methods", "plans"):
        shown = await room.press(OWNER, figures_callbacks.Chart(what, "today"))
        assert shown.method == "sendPhoto"
        assert shown.has("Figures")
        assert room.charts.drawn
    await room.press(OWNER, figures_callbacks.Chart("revenue", "today"))
    assert [panel.head for panel in room.charts.drawn] == ["RUB", "XTR"]
    assert room.charts.drawn[0].series[0][-1] == 199.0
    assert len(room.charts.drawn[0].labels) == 14


async def test_a_chart_that_fails_is_words(room: Room) -> None:
    """Not drawn, refused by Telegram, or nothing to draw: an answer with the way back, each time."""
    room.charts.broken = True
    undrawn = await room.press(OWNER, figures_callbacks.Chart("revenue", "today"))
    room.charts.broken = False
    room.bot.telegram.fail("sendPhoto", "Bad Request: IMAGE_PROCESS_FAILED")
    refused = await room.press(OWNER, figures_callbacks.Chart("revenue", "today"))
    empty = await room.press(OWNER, figures_callbacks.Chart("revenue", "yesterday"))

    assert "could not be drawn" in undrawn.text
    assert "could not be drawn" in refused.text
    assert "nothing to draw" in empty.text
    assert all(one.has("Figures") for one in (undrawn, refused, empty))


@pytest.mark.parametrize(
    "action",
    [
        figures_callbacks.Figures("century"), figures_callbacks.Chart("revenue", "century"),
        figures_callbacks.Chart("weather", "today"), figures_callbacks.ExportAsk("secrets", 0),
        figures_callbacks.ExportNow("secrets", 0, 1),
    ],
    ids=repr,
)  # fmt: skip
async def test_words_that_mean_nothing_are_old_buttons(room: Room, action: object) -> None:
    """Forged or of another version: answered kindly."""
    assert "out of date" in (await room.press(OWNER, action)).text


# ------------------------------------------------------------------------------------------ exports


async def delivered(room: Room, tmp_path: Path) -> list[Call]:
    """Let the worker make what was asked for; returns what Telegram was asked."""
    room.bot.telegram.taken()

    async def deliver(request: object, path: Path, made: object) -> bool:
        return await exporting.deliver_export(room.bot.deps, request, path, made)  # type: ignore[arg-type]

    job = workers.exports(
        room.bot.db, tmp_path / "exports", owners=(OWNER,), deliver=deliver, wake=lambda: None
    )
    await job.work()
    return room.bot.telegram.taken()


async def states(room: Room) -> list[tuple[str, int | None]]:
    rows = await room.bot.sql("select state, rows from export_requests order by id")
    return [(row["state"], row["rows"]) for row in rows]


async def test_a_file_comes_into_the_chat(room: Room, tmp_path: Path) -> None:
    """Asked about, made by a worker, sent once, written in the audit log, and gone from the disk."""
    shown = await room.press(OWNER, figures_callbacks.Exports())
    asked = await room.press(OWNER, shown.data("Payments"))
    soon = await room.press(OWNER, asked.data("Send me"))
    again = await room.press(OWNER, asked.data("Send me"))
    calls = await delivered(room, tmp_path)

    assert "left out" in asked.text
    assert "being made" in soon.text
    assert "done already" in again.text
    (file,) = calls
    assert (file.method, file.parameters["chat_id"]) == ("sendDocument", OWNER)
    assert "2 rows" in file.text
    assert await states(room) == [("sent", 2)]
    (line,) = await room.bot.sql("select actor, action, subject from audit_log")
    assert tuple(line.values()) == (f"admin:{OWNER}", "exports.make", "export:payments")
    assert list((tmp_path / "exports").iterdir()) == []
    assert await delivered(room, tmp_path) == []


@pytest.mark.parametrize("role", [None, *ROLES])
@pytest.mark.parametrize("secrets", [0, 1])
async def test_each_role_exports_what_it_may(room: Room, role: Role | None, secrets: int) -> None:
    """With secrets and without, by the question and by a forged yes; who is refused has asked for nothing."""
    if role is not None:
        await room.give(role)
    permission = exporting.permission_for(with_secrets=bool(secrets))
    allowed = role is not None and may(role, permission)

    asked = await room.press(ANNA, figures_callbacks.ExportAsk("subscriptions", secrets))
    await room.press(ANNA, figures_callbacks.ExportNow("subscriptions", secrets, 5))

    assert asked.has("Send me") == allowed
    assert len(await room.bot.sql("select id from export_requests")) == int(allowed)
    log = await room.bot.sql("select action from audit_log")
    assert [one["action"] for one in log] == ([permission.value] if allowed else [])
    if allowed and not secrets:
        assert asked.has("With keys") == (role == "owner")


@pytest.mark.parametrize("role", [None, *ROLES])
async def test_each_role_sees_the_figures_it_may(room: Room, role: Role | None) -> None:
    """Every screen of figures, allowed and refused; nothing of the shop's money in a refusal."""
    if role is not None:
        await room.give(role)
    for action in (
        figures_callbacks.Figures("today"), figures_callbacks.ByMethod("today"), figures_callbacks.ByPlan("today"),
        figures_callbacks.Health(),
    ):  # fmt: skip
        shown = await room.press(ANNA, action)
        permission, _ = OPERATORS[type(action)]
        told = "199 ₽" in shown.text or "398 ₽" in shown.text
        assert told == (role is not None and may(role, permission))


async def test_a_role_that_is_taken_takes_the_file_along(room: Room, tmp_path: Path) -> None:
    """Between the wish and the file he was let go: nothing is made, nothing is sent."""
    await room.give("manager")
    await room.press(ANNA, figures_callbacks.ExportNow("customers", 0, 5))
    async with room.bot.db.transaction("test") as tx:
        await remove_operator(tx, ANNA)

    assert await delivered(room, tmp_path) == []
    assert await states(room) == [("refused", None)]


async def test_what_is_too_big_is_said(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that writes it."""
    monkeypatch.setattr(workers, "MOST_BYTES", 100)
    await room.press(OWNER, figures_callbacks.ExportNow("ledger", 0, 5))

    (said,) = await delivered(room, tmp_path)

    assert "vpnd export ledger" in said.text
    assert await states(room) == [("too_big", None)]


async def test_a_disk_that_takes_nothing_is_said(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator does not wait in vain: he is told, and the journal says why."""

    async def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workers, "export_csv", full)
    await room.press(OWNER, figures_callbacks.ExportNow("ledger", 0, 5))

    (said,) = await delivered(room, tmp_path)

    assert "could not be written" in said.text
    assert await states(room) == [("failed", None)]


async def test_telegram_that_is_away_is_asked_again(room: Room, tmp_path: Path) -> None:
    """The wish stays, a few times; whoever does not take the file is not asked again; a half file of a kill is cleared away."""
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / ".x.part").write_text("half")
    await room.press(OWNER, figures_callbacks.ExportNow("audit", 0, 5))
    for _ in range(2):
        room.bot.telegram.fail("sendDocument", "Bad Gateway", status=502)
        with pytest.raises(Exception, match="Bad Gateway"):
            await delivered(room, tmp_path)
    assert await states(room) == [("asked", None)]
    assert list((tmp_path / "exports").iterdir()) == []
    room.bot.telegram.fail("sendDocument", "Bad Request: file is too big")
    await delivered(room, tmp_path)
    assert await states(room) == [("failed", None)]


async def test_a_wish_that_fails_for_ever_ends(room: Room) -> None:
    """After some attempts, so that it keeps nobody else waiting; two at once take two wishes."""
    await room.press(OWNER, figures_callbacks.ExportNow("audit", 0, 5))
    await room.press(OWNER, figures_callbacks.ExportNow("plans", 0, 6))
    taken = [await claim_export(room.bot.db, (OWNER,)) for _ in range(2 * ATTEMPTS)]
    ended = [await claim_export(room.bot.db, (OWNER,)) for _ in range(2)]

    assert [one.what for one in taken if isinstance(one, ExportRequest)][:2] == ["audit", "plans"]
    assert [one.state for one in ended if isinstance(one, EndedExport)] == ["failed", "failed"]
    assert await claim_export(room.bot.db, (OWNER,)) is None
    assert {state for state, _ in await states(room)} == {"failed"}


async def test_whoever_asked_in_vain_is_told(room: Room, tmp_path: Path) -> None:
    """Each attempt failed: he hears so once, with what to do, in the language he asked in; the journal has it as an event."""
    await room.press(OWNER, figures_callbacks.ExportNow("audit", 0, 5))
    for _ in range(ATTEMPTS):
        room.bot.telegram.fail("sendDocument", "Bad Gateway", status=502)
        with pytest.raises(Exception, match="Bad Gateway"):
            await delivered(room, tmp_path)
    with capture() as lines:
        assert await delivered(room, tmp_path) == []
        assert await delivered(room, tmp_path) == []

    *_, (_, (said,)) = await room.bot.deliver()
    assert said.parameters["chat_id"] == OWNER
    assert "audit log" in said.text
    assert f"{ATTEMPTS} times" in said.text
    assert "vpnd export audit" in said.text
    assert said.has("Exports")
    assert await states(room) == [("failed", None)]
    assert [line.event for line in lines if line.event.startswith("export.")] == ["export.given_up"]


# ------------------------------------------------------------------------------------------ summaries


async def summaries(room: Room) -> list[tuple[int, str, str, object]]:
    """What left as summaries: to whom, of which kind, with which text."""
    found = []
    async for item in outbox_items(room):
        room.bot.telegram.taken()
        outcome = await deliver_message(room.bot.deps, item)  # type: ignore[arg-type]
        text = "\n".join(call.text for call in room.bot.telegram.taken())
        found.append((item.payload["chat_id"], item.payload["args"]["kind"], text, outcome))
    return found


@attrs.define
class Item:
    """A row as the relay hands it over."""

    id: int
    kind: str
    key: str
    lane: str
    payload: dict[str, object]


async def outbox_items(room: Room) -> AsyncIterator[Item]:
    rows = await room.bot.sql(
        "select id, kind, key, lane, payload from outbox where key like 'summary:%' order by id"
    )
    for row in rows:
        yield Item(**dict(row.items()))


async def test_a_summary_is_the_figures_of_its_days(room: Room) -> None:
    """In the operator's language, with the way to the figures; for whoever may see them, and nobody who no longer may."""
    await room.give("reader")
    await room.bot.say(ANNA, "/start", language="ru")
    await room.shop.execute("update customers set language = 'ru' where telegram_id = $1", ANNA)
    await room.shop.advance(timedelta(days=1))
    job = workers.figures(
        room.bot.db, time_zone="UTC", reports=_reports(hour=0, weekly=False), owners=(OWNER,), language="en", wake=lambda: None
    )  # fmt: skip
    await job.work()
    told = await summaries(room)

    assert {(who, kind) for who, kind, _, _ in told} == {(ANNA, "day"), (OWNER, "day")}
    by_who = {who: text for who, _, text, _ in told}
    assert "Yesterday" in by_who[OWNER]
    assert "Вчера" in by_who[ANNA]
    assert all("199 ₽" in text for text in by_who.values())
    assert all(isinstance(outcome, Delivered) for *_, outcome in told)
    async with room.bot.db.transaction("test") as tx:
        await remove_operator(tx, ANNA)
    outcomes = {who: outcome for who, _, _, outcome in await summaries(room)}
    assert isinstance(outcomes[ANNA], Drop)


def _reports(**options: object):  # type: ignore[no-untyped-def]  # of tests
    from vpnd.config import ReportsSettings

    return ReportsSettings(**options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------ pictures


BARS = Panel("bars", "RUB", ["01.01", "02.01"], [[5.0, -3.0]])
LINES = Panel("lines", "", ["01.01"], [[5.0], [0.0]])
RANKS = Panel("ranks", "XTR", ["stars"], [[5.0]], ["5"])


async def test_a_chart_is_drawn_by_a_child() -> None:
    """Within a few seconds, and not large."""
    png = await ChartDrawer().draw([BARS, LINES, RANKS])

    assert png is not None
    assert png.startswith(b"\x89PNG")
    assert len(png) < 100_000


@pytest.mark.parametrize(
    "command",
    [
        (sys.executable, "-c", "import time; time.sleep(60)"),
        (sys.executable, "-c", "raise SystemExit(3)"),
        ("/nonexistent/program",),
    ],
    ids=["hangs", "fails", "missing"],
)
async def test_a_child_that_fails_costs_only_the_picture(command: tuple[str, ...]) -> None:
    """Late, broken or missing: the answer is None, in time."""
    with trio.fail_after(10):
        assert await ChartDrawer(command, deadline=0.5).draw([BARS]) is None


async def test_a_chart_is_not_drawn_inside_a_scope() -> None:
    """A connection is never held while somebody draws."""
    with open_mark("test"), pytest.raises(HeldConnectionError):
        await ChartDrawer().draw([BARS])


@pytest.mark.parametrize("panels", [[], [BARS] * 9, [Panel("bars", "", ["x"] * 999, [[1.0] * 999])]])
def test_what_is_no_chart_is_not_drawn(panels: list[Panel]) -> None:
    """Nothing, or more than fits, is refused."""
    with pytest.raises(ValueError, match="nothing to draw"):
        chart_child.draw([attrs.asdict(one) for one in panels])


@pytest.mark.parametrize("values", [[], [0.0], [-1.0], [1e15, 1.0], [0.0000001]])
def test_anything_can_be_drawn(values: list[float]) -> None:
    """No value breaks a picture: none, nothing, below zero, the largest and the least."""
    labels = [str(n) for n in range(len(values))]
    for kind in ("bars", "lines", "ranks"):
        panel = Panel(kind, "RUB", labels, [values], labels)
        assert chart_child.draw([attrs.asdict(panel)]).startswith(b"\x89PNG")
