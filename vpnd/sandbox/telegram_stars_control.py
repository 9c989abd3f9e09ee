"""The control API of Stars: who pays, how payments go astray, what becomes of subscriptions, and the bot's money.

| Call | Does |
|---|---|
| POST pay {chat_id, message_id, from?, again?, …} | pays an invoice message (`from`: one it was forwarded to), see `Purchase` |
| POST pay {link, chat_id or from, …} | pays an invoice link, in the payer's private chat |
| GET invoice?link=… | what a link asks for |
| GET charges?user_id=… | all charges, and how often the bot was told of each |
| POST deliver {charge_id or charge_ids or untold: true, reverse?, times?} | tells the bot: late, again, in this order |
| GET subscriptions?user_id=… | all subscriptions |
| POST subscription {charge_id, user_id?, cancel?, resume?, renewals?} | the user cancels or resumes; how the next renewals go |
| POST chargeback {charge_id} | Telegram takes a charge back by itself |
| POST withdraw {amount?} | the owner takes Stars (all of them) out of the bot's balance |

`renewals` is a list with a word for each of the next renewals: `charge`, `lose` (the bot is not told, until `deliver`) or `fail`
(no Stars: the subscription fails). Subscriptions are renewed whenever the clock is moved, by `advance: 0` too.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
from starlette.requests import Request
from starlette.routing import Route

from vpnd.sandbox.control_kit import Refused, guarded, message_of, person_of, read_json
from vpnd.sandbox.telegram_payments import Purchase, pay, tell_refund
from vpnd.sandbox.telegram_server import TelegramServer
from vpnd.sandbox.telegram_stars import RENEWALS, Charge, Invoice
from vpnd.sandbox.telegram_state import Chat, Json, Person
from vpnd.sandbox.telegram_subscriptions import cancel, renew_due, resume

_OPTIONS = {field.name for field in attrs.fields(Purchase)} - {"chat", "payer", "invoice"}


class StarsControl:
    """The `/sim/` routes about one bot's Stars. To make one is to have its subscriptions renewed by the clock."""

    def __init__(self, server: TelegramServer) -> None:
        self.server = server
        self.cashier = server.cashier
        server.clock.on_move.append(partial(renew_due, server))
        post = {
            "pay": self.pay, "deliver": self.deliver, "subscription": self.change_subscription,
            "chargeback": self.charge_back, "withdraw": self.withdraw,
        }  # fmt: skip
        get = {
            "invoice": self.show_link, "charges": self.list_charges, "subscriptions": self.list_subscriptions,
        }  # fmt: skip
        self.routes = [
            *(Route(f"/sim/{path}", guarded(call), methods=["POST"]) for path, call in post.items()),
            *(Route(f"/sim/{path}", guarded(call), methods=["GET"]) for path, call in get.items()),
        ]

    async def pay(self, request: Request) -> Json:
        """A person pays an invoice, his own or (`from`) somebody else's; nobody pays an invoice message twice, unless `again`."""
        values = await read_json(request)
        if "link" in values:
            chat, payer, invoice = self._by_link(values)
        else:
            chat, payer, invoice = self._by_message(values)
        options = {name: values[name] for name in _OPTIONS if name in values}
        return await pay(self.server, Purchase(chat, payer, invoice, **options))

    def _by_link(self, values: Json) -> tuple[Chat, Person, Invoice]:
        invoice = self._link(str(values["link"]))
        payer = person_of(self.server.state, values, int(values.get("chat_id") or values["from"]["id"]))
        # Wherever the link was found: the payment's message stands in the payer's private chat with the bot.
        return self.server.state.open_chat(payer.id, payer), payer, invoice

    def _by_message(self, values: Json) -> tuple[Chat, Person, Invoice]:
        chat, message = message_of(self.server.state, values)
        invoice = self.cashier.invoices.get((chat.id, message.id))
        if invoice is None:
            raise Refused("this message is no invoice")
        payer = person_of(self.server.state, values, chat.id)
        if payer.id in invoice.payers and not values.get("again"):
            raise Refused("this invoice is paid already")
        # A stranger pays the copy that was forwarded to him, in his own chat.
        return self.server.state.open_chat(payer.id if chat.private else chat.id, payer), payer, invoice

    def _link(self, link: str) -> Invoice:
        if link not in self.cashier.links:
            raise Refused("no such invoice link")
        return self.cashier.links[link]

    async def show_link(self, request: Request) -> Json:
        """What a person sees before he pays a link."""
        invoice = self._link(request.query_params["link"])
        return {"invoice": {**invoice.api(), "subscription_period": invoice.subscription_period}}

    async def list_charges(self, request: Request) -> Json:
        """Charges, oldest first; those of one payer with `user_id`."""
        found = [c for c in self.cashier.charges.values() if _is_of(request, c.payer)]
        return {"charges": [charge.api() for charge in found]}

    async def deliver(self, request: Request) -> Json:
        """The bot is told of charges, those it knows and those it does not; each update lives as long as a new one."""
        values = await read_json(request)
        if values.get("untold"):
            charges = [charge for charge in self.cashier.charges.values() if not charge.told]
        else:
            charges = [self._charge(number) for number in values.get("charge_ids") or [values["charge_id"]]]
        if values.get("reverse"):
            charges.reverse()
        update_ids = []
        for charge in charges:
            for _ in range(int(values.get("times", 1))):
                if charge.message is None:
                    raise Refused("this charge has no message")
                update_ids.append(self.server.tell_message(*charge.message))
                charge.told += 1
        return {"update_ids": update_ids}

    async def list_subscriptions(self, request: Request) -> Json:
        """Subscriptions in any state, oldest first; those of one payer with `user_id`."""
        found = [s for s in self.cashier.subscriptions if _is_of(request, s.payer)]
        return {"subscriptions": [subscription.api() for subscription in found]}

    async def change_subscription(self, request: Request) -> Json:
        """What the user does with his subscription, and what becomes of its next renewals."""
        values = await read_json(request)
        charge = self._charge(values["charge_id"])
        subscription = charge.subscription
        if subscription is None or charge.payer.id != values.get("user_id", charge.payer.id):
            raise Refused("no such subscription")
        renewals = values.get("renewals", subscription.renewals)
        if not isinstance(renewals, list) or not set(renewals) <= set(RENEWALS):
            raise Refused(f"renewals is a list of {', '.join(RENEWALS)}")
        if values.get("cancel"):
            cancel(self.server, subscription)
        if values.get("resume"):
            resume(self.server, subscription)
        subscription.renewals = list(renewals)
        return {"subscription": subscription.api()}

    async def charge_back(self, request: Request) -> Json:
        """The payer got his money back elsewhere: Telegram deducts the charge, whatever the balance is."""
        charge = self._charge((await read_json(request))["charge_id"])
        if charge.refunded_at is not None:
            raise Refused("this charge is refunded already")
        return {"update_id": tell_refund(self.server, charge), "balance": self.cashier.balance}

    async def withdraw(self, request: Request) -> Json:
        """Stars leave for Fragment."""
        amount = int((await read_json(request)).get("amount", self.cashier.balance))
        if not 0 < amount <= self.cashier.balance:
            raise Refused(f"the bot has {self.cashier.balance} Stars")
        entry = self.cashier.withdraw(amount, self.server.clock.stamp())
        return {"transaction_id": entry.id, "balance": self.cashier.balance}

    def _charge(self, charge_id: Any) -> Charge:
        if charge_id not in self.cashier.charges:
            raise Refused("no such charge")
        return self.cashier.charges[charge_id]


def _is_of(request: Request, payer: Person) -> bool:
    wanted = request.query_params.get("user_id")
    return wanted is None or int(wanted) == payer.id
