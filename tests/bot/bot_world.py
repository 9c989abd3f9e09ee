"""A bot for tests: PTB's real dispatcher, our real handlers and sender, a real database, and a Telegram that only writes down."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import attrs
from telegram.request import BaseRequest

from vpnd.bot import alert_posts, notices
from vpnd.bot.callbacks import Action, TopUpPay, encode
from vpnd.bot.dependencies import BotDependencies, customer_loader
from vpnd.bot.handlers import register
from vpnd.bot.qr import QrDrawer
from vpnd.bot.texts import Texts
from vpnd.config import Secret
from vpnd.database.database import Database
from vpnd.database.outbox_rows import Delivery, OutboxItem
from vpnd.payments.base import InvoiceOrder, InvoiceState, NewInvoice, PaymentUnavailable
from vpnd.payments.cryptopay import CryptoPay
from vpnd.payments.refunding import deliver_refund, deliver_star_cancel
from vpnd.payments.settle import settle_charge
from vpnd.payments.stars_account import StarsAccount
from vpnd.payments.terms import TopUps
from vpnd.runtime.held import refuse_if_held
from vpnd.runtime.http import HttpUnavailable
from vpnd.runtime.http_answers import HttpResponse
from vpnd.shop.plans import OfferDraft, PlanDraft, apply_plans, offers_on_sale
from vpnd.shop.pricing import Method, Terms
from vpnd.shop.settlement import Charge
from vpnd.telegram.application import TrioApplication, build_application
from vpnd.telegram.bot import TrioBot
from vpnd.telegram.lanes import Lanes
from vpnd.telegram.sender import LaneLimiter, Sender

TOKEN = "123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
ANNA, BORIS = 1001, 1002
INBOUND = {
    "tag": "reality",
    "protocol": "vless",
    "transport": "tcp",
    "security": "reality",
    "host": "de.example.org",
    "port": 443,
    "sni": "www.example.com",
    "flow": "xtls-rprx-vision",
    "fingerprint": "chrome",
    "public_key": "A" * 43,
    "short_id": "0123abcd",
    "spider_x": "/",
}
PLANS = [
    PlanDraft(
        "basic",
        {"en": "Basic", "ru": "Базовый"},
        (OfferDraft(30, {"RUB": 19900, "XTR": 150}), OfferDraft(90, {"RUB": 49900, "XTR": 400})),
    ),
    PlanDraft("plus", {"en": "Plus <b>", "ru": "Плюс"}, (OfferDraft(30, {"RUB": 34900, "XTR": 250}),)),
]
TERMS: dict[Method, Terms] = {
    "yookassa": Terms("yookassa", "RUB", 100),
    "cryptopay": Terms("cryptopay", "RUB"),
    "stars": Terms("stars", "XTR"),
    "balance": Terms("balance", "RUB"),
}
TOPUPS = TopUps((25000, 50000, 100000), 5000, 10_000_000, Decimal(120))
PNG = b"\x89PNG\r\n\x1a\nnot drawn in tests"


def _read(text: str) -> str:
    """Words as a person reads them: a blank that keeps a line together is a blank."""
    return text.replace("\u00a0", " ")


@attrs.define
class Call:
    """One call of the Bot API as the server got it."""

    method: str
    parameters: dict[str, Any]
    files: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What a person reads of it."""
        return _read(str(self.parameters.get("text") or self.parameters.get("caption") or ""))

    @property
    def buttons(self) -> list[dict[str, Any]]:
        """The buttons of its keyboard, row by row, with their labels as a person reads them."""
        keyboard = self.parameters.get("reply_markup") or {"inline_keyboard": []}
        return [
            button | {"text": _read(button["text"])} for row in keyboard["inline_keyboard"] for button in row
        ]

    def data(self, part: str) -> str:
        """The data of the button whose label contains `part`."""
        return next(str(b["callback_data"]) for b in self.buttons if part in b["text"])

    def has(self, part: str) -> bool:
        """Whether there is a button whose label contains `part`."""
        return any(part in button["text"] for button in self.buttons)

    def url(self, part: str) -> str:
        """Where the button leads whose label contains `part`."""
        return next(str(b["url"]) for b in self.buttons if part in b["text"])


class FakeTelegram(BaseRequest):
    """Answers every method as Telegram would, keeps what was asked, and fails where a test says so."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.failures: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self.profile: dict[tuple[str, str | None], Any] = {}
        self._message_id = 100

    @property
    def read_timeout(self) -> float:
        return 5.0

    async def initialize(self) -> None:
        pass

    async def shutdown(self) -> None:
        pass

    async def do_request(
        self, url: str, method: str, request_data: Any = None, *_: Any, **__: Any
    ) -> tuple[int, bytes]:
        refuse_if_held("a call of the Bot API")
        name = url.rpartition("/")[2]
        parameters = {} if request_data is None else dict(request_data.parameters)
        files = (
            tuple(request_data.multipart_data)
            if request_data is not None and request_data.contains_files
            else ()
        )
        if name != "getMe":
            self.calls.append(Call(name, parameters, files))
        if self.failures.get(name):
            status, document = self.failures[name].pop(0)
            return status, json.dumps({"ok": False, "error_code": status, **document}).encode()
        return 200, json.dumps({"ok": True, "result": self._result(name, parameters)}).encode()

    def _result(self, name: str, parameters: dict[str, Any]) -> Any:
        if name == "getMe":
            return {"id": 123456, "is_bot": True, "first_name": "Shop", "username": "shop_bot"}
        if name.startswith(("getMy", "setMy", "getChatMenuButton", "setChatMenuButton")):
            return self._profile(name, parameters)
        if name == "createInvoiceLink":
            return f"https://t.me/${parameters['payload']}"
        if name == "copyMessage":
            self._message_id += 1
            return {"message_id": self._message_id}
        if name.startswith(("send", "editMessage")):
            self._message_id += 1
            chat = {"id": parameters["chat_id"], "type": "private"}
            return {"message_id": self._message_id, "date": 0, "chat": chat, "text": "x"}
        return True

    def _profile(self, name: str, parameters: dict[str, Any]) -> Any:
        """What is shown of the bot, kept by language; a text falls back to the one for everybody, commands to none."""
        what, language = name[3:], parameters.get("language_code")
        if name.startswith("set"):
            self.profile[what, language] = next(
                parameters[key]
                for key in ("commands", "description", "short_description", "menu_button")
                if key in parameters
            )
            return True
        kept = self.profile.get((what, language))
        if what == "MyCommands":
            return kept or []
        if what == "ChatMenuButton":
            return kept or {"type": "default"}
        key = "description" if what == "MyDescription" else "short_description"
        return {key: kept or self.profile.get((what, None), "")}

    def fail(self, method: str, description: str, status: int = 400, **parameters: Any) -> None:
        """Let the next call of `method` fail."""
        document: dict[str, Any] = {"description": description}
        if parameters:
            document["parameters"] = parameters
        self.failures.setdefault(method, []).append((status, document))

    def taken(self) -> list[Call]:
        """The calls since the last time, oldest first."""
        calls, self.calls = self.calls, []
        return calls


class FakeCryptoPay:
    """What CryptoPay asks over HTTP: makes invoices and says which are paid."""

    def __init__(self) -> None:
        self.down = False
        self.invoices: dict[int, dict[str, Any]] = {}

    async def request(
        self, boundary: str, operation: str, *_: Any, json: dict[str, Any], **__: Any
    ) -> HttpResponse:
        refuse_if_held("HTTP")
        if self.down:
            raise HttpUnavailable(boundary, operation, "down")
        if operation == "createInvoice":
            number = 501 + len(self.invoices)
            self.invoices[number] = {
                "invoice_id": number,
                "status": "active",
                "bot_invoice_url": f"https://t.me/CryptoBot?start=IV{number}",
                **{key: json[key] for key in ("currency_type", "fiat", "amount", "payload")},
            }
            return _answer(self.invoices[number])
        asked = [int(number) for number in json["invoice_ids"].split(",")]
        return _answer({"items": [self.invoices[number] for number in asked if number in self.invoices]})


def _answer(result: Any) -> HttpResponse:
    return HttpResponse(200, {}, json.dumps({"ok": True, "result": result}).encode())


class FakeYooKassa:
    """A provider with a page of its own: makes invoices and says which are paid."""

    name = "yookassa"

    def __init__(self) -> None:
        self.down = False
        self.orders: dict[str, InvoiceOrder] = {}
        self.paid: set[str] = set()

    async def create_invoice(self, order: InvoiceOrder) -> NewInvoice:
        refuse_if_held("HTTP")
        if self.down:
            raise PaymentUnavailable("down")
        external = f"yoo-{len(self.orders) + 1}"
        self.orders[external] = order
        url = f"https://yoo.example.org/{external}"
        return NewInvoice(self.name, external, url, order.currency, order.amount, order.expires_at)

    async def invoice_states(self, external_ids: Sequence[str]) -> list[InvoiceState]:
        refuse_if_held("HTTP")
        return [
            InvoiceState(one, "paid", self.charge(one))
            if one in self.paid
            else InvoiceState(one, "active", None)
            for one in external_ids
        ]

    def charge(self, external: str, amount: int | None = None) -> Charge:
        """The charge of an invoice: all of it, or less."""
        order = self.orders[external]
        paid = order.amount if amount is None else amount
        return Charge(self.name, external, paid, order.currency, str(paid), external, order.payload)


class FakeQr(QrDrawer):
    """Draws at once, or fails at once."""

    broken = False

    async def draw(self, text: str) -> bytes | None:
        refuse_if_held("drawing")
        return None if self.broken else PNG


@attrs.define
class World:
    """Everything a test plays with."""

    db: Database
    telegram: FakeTelegram
    cryptopay: FakeCryptoPay
    yookassa: FakeYooKassa
    qr: FakeQr
    application: TrioApplication
    deps: BotDependencies
    woken: list[str]
    _update_id: int = 7000

    def _envelope(self, kind: str, body: dict[str, Any], update_id: int | None) -> dict[str, Any]:
        if update_id is None:
            self._update_id += 1
            update_id = self._update_id
        return {"update_id": update_id, kind: body}

    async def _play(self, payload: dict[str, Any]) -> list[Call]:
        self.telegram.taken()
        await self.application.dispatch(payload)
        return self.telegram.taken()

    async def say(
        self, user: int, text: str, *, language: str = "en", chat: dict[str, Any] | None = None, **more: Any
    ) -> list[Call]:
        """A message of `user`; returns what the bot asked of Telegram for it."""
        body = {
            "message_id": 1,
            "date": int(datetime.now(UTC).timestamp()),
            "chat": chat or {"id": user, "type": "private"},
            "from": person(user, language),
            **more,
        }
        if text:
            body["text"] = text
            if text.startswith("/"):
                length = len(text.split(maxsplit=1)[0])
                body["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
        return await self._play(self._envelope("message", body, None))

    async def press(
        self,
        user: int,
        what: Action | str,
        *,
        language: str = "en",
        update_id: int | None = None,
        message: dict[str, Any] | None = None,
    ) -> list[Call]:
        """A press of `user` on a button below a text of ours."""
        pressed = {
            "message_id": 50,
            "date": 1,
            "chat": {"id": user, "type": "private"},
            "text": "an older screen",
        }
        body = {
            "id": "77",
            "from": person(user, language),
            "chat_instance": "1",
            "data": encode(what) if isinstance(what, Action) else what,
            "message": pressed | (message or {}),
        }
        return await self._play(self._envelope("callback_query", body, update_id))

    async def pre_checkout(self, user: int, payload: str, amount: int) -> list[Call]:
        """Telegram's last question before Stars move."""
        body = {
            "id": "88",
            "from": person(user, "en"),
            "currency": "XTR",
            "total_amount": amount,
            "invoice_payload": payload,
        }
        return await self._play(self._envelope("pre_checkout_query", body, None))

    async def paid(
        self, user: int, payload: str, amount: int, charge: str = "charge-1", **more: Any
    ) -> list[Call]:
        """Telegram's word that Stars were paid."""
        payment = more | {
            "currency": "XTR",
            "total_amount": amount,
            "invoice_payload": payload,
            "telegram_payment_charge_id": charge,
            "provider_payment_charge_id": "",
        }
        return await self.say(user, "", successful_payment=payment)

    async def refunded(self, user: int, payload: str, amount: int, charge: str = "charge-1") -> list[Call]:
        """Telegram's word that Stars went back."""
        refund = {
            "currency": "XTR",
            "total_amount": amount,
            "invoice_payload": payload,
            "telegram_payment_charge_id": charge,
        }
        return await self.say(user, "", refunded_payment=refund)

    async def subscription(self, user: int, payload: object, state: str) -> list[Call]:
        """Telegram's word about a subscription in Stars."""
        body = {"user": person(user, "en"), "invoice_payload": payload, "state": state}
        return await self._play(self._envelope("subscription", body, None))

    async def member(self, user: int, status: str) -> list[Call]:
        """The bot was blocked (`kicked`) or unblocked (`member`)."""
        bot = {"id": 123456, "is_bot": True, "first_name": "Shop", "username": "shop_bot"}
        new = {"user": bot, "status": status} | ({"until_date": 0} if status == "kicked" else {})
        body = {
            "chat": {"id": user, "type": "private"},
            "from": person(user, "en"),
            "date": 1,
            "old_chat_member": {"user": bot, "status": "member"},
            "new_chat_member": new,
        }
        return await self._play(self._envelope("my_chat_member", body, None))

    async def offer(self, plan: str, days: int) -> int:
        """The id of an offer."""
        offers = await offers_on_sale(self.db)
        return next(offer.offer_id for offer in offers if (offer.plan_id, offer.days) == (plan, days))

    async def sql(self, query: str, *args: object) -> list[Any]:
        """Read the database."""
        return list(await self.db.fetch("test", query, *args))

    async def settle(self, charge: Charge) -> None:
        """A webhook of a provider."""
        await settle_charge(self.db, charge, on_commit=self.deps.on_settled)

    async def fill(self, user: int, amount: int) -> None:
        """Put so many kopecks of his own on a customer's balance, by the bot, and read the notice away."""
        pressed = await self.press(user, TopUpPay("yookassa", amount))
        external = pressed[1].url("Pay").rpartition("/")[2]
        await self.settle(self.yookassa.charge(external))
        await self.change("update outbox set status = 'done' where key like 'topup:%'")

    async def deliver(self, kind: str = "message") -> list[tuple[Delivery, list[Call]]]:
        """Deliver every waiting row of a kind as the relay would; what became of each and what was sent."""
        account = StarsAccount(self.deps.sender)
        functions: Mapping[str, Any] = {
            "message": partial(notices.deliver_message, self.deps),
            "admin_alert": partial(alert_posts.deliver_admin_alert, self.deps),
            "alert_post": partial(alert_posts.deliver_alert_post, self.deps),
            "refund_stars": partial(deliver_refund, self.db, {"stars": account}),
            "star_cancel": partial(deliver_star_cancel, account),
        }
        rows = await self.sql("select * from outbox where kind = $1 and status = 'ready' order by id", kind)
        done: list[tuple[Delivery, list[Call]]] = []
        for row in rows:
            item = OutboxItem(
                row["id"], kind, row["key"], row["lane"], row["order_key"], row["payload"], 1, 0, False, False
            )
            self.telegram.taken()
            done.append((await functions[kind](item), self.telegram.taken()))
            await self.change("update outbox set status = 'done' where id = $1", row["id"])
        return done

    async def told(self) -> list[str]:
        """What every waiting message says, delivered."""
        return [calls[0].text for _, calls in await self.deliver()]

    async def advance(self, by: timedelta) -> None:
        """Move business time."""
        await self.change(
            "insert into sandbox_clock (offset_seconds) values ($1)"
            " on conflict (only_row) do update set offset_seconds = sandbox_clock.offset_seconds + $1",
            int(by.total_seconds()),
        )

    async def change(self, query: str, *args: object) -> None:
        """Change the database behind the bot's back."""
        async with self.db.transaction("test") as tx:
            await tx.execute(query, *args)


def person(user: int, language: str) -> dict[str, Any]:
    """A Telegram user."""
    return {
        "id": user,
        "is_bot": False,
        "first_name": "Anna <3",
        "username": f"u{user}",
        "language_code": language,
    }


@asynccontextmanager
async def open_world(db: Database, **changes: Any) -> AsyncIterator[World]:
    """A bot on this database with two plans on sale and one node."""
    await apply_plans(db, PLANS)
    async with db.transaction("test") as tx:
        await tx.execute(
            "insert into nodes (name, inbounds) values ('de', $1::text::jsonb)", json.dumps([INBOUND])
        )
    telegram, cryptopay, yookassa, qr = FakeTelegram(), FakeCryptoPay(), FakeYooKassa(), FakeQr()
    woken: list[str] = []
    lanes = Lanes(0, 0)
    bot = TrioBot(TOKEN, "http://127.0.0.1", telegram, FakeTelegram(), LaneLimiter(lanes))
    values: dict[str, Any] = {
        "db": db,
        "sender": Sender(bot, lanes),
        "texts": Texts.load(),
        "customers": customer_loader(db),
        "qr": qr,
        "providers": {
            "cryptopay": CryptoPay(cryptopay, Secret("1:x")),  # type: ignore[arg-type]  # a fake of the one method used
            "yookassa": yookassa,
        },
        "terms": TERMS,
        "topups": TOPUPS,
        "wake": (lambda: woken.append("changed"),),
        "public_url": "https://vpn.example.org",
        "support": "@support",
    }
    deps = BotDependencies(**(values | changes))
    application = build_application(bot)
    register(application, deps)
    await application.initialize()
    yield World(db, telegram, cryptopay, yookassa, qr, application, deps, woken)
