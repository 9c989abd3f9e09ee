"""The control API of the sandboxed YooKassa: what people and the merchant do, and what goes wrong.

JSON over HTTP under `/sim/`. Faults of a request are answered 400 with `{"error": …}`. `deliver` is true, false, or how often
the webhook is told.

| Control call | Does |
|---|---|
| POST pay {payment_id, amount?, currency?, deliver?, force?} | a person pays; force: what was canceled, too |
| POST cancel {payment_id, party?, reason?, deliver?} | a payment that is not done is canceled |
| POST deliver {payment_id or refund_id, times?} | tells the webhook again how things stand |
| POST forge {event, object, times?} | tells the webhook whatever it is given |
| POST refund {payment_id, amount?, deliver?} | the merchant gives money back by hand; without amount: what is left |
| POST refund_mode {mode: succeeded, pending, canceled; count?, reason?} | what becomes of the API's next refunds |
| POST complete_refund {refund_id, mode: succeeded or canceled, reason?, deliver?} | ends a pending refund |
| POST webhook {url, retry_first?, attempts?} · GET deliveries | where notifications go, and what they were answered |
| POST fault, reset {all?} · GET payments, refunds, stats · GET, POST clock | as on the Telegram side |
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from vpnd.sandbox.control_kit import Refused, guarded, read_json
from vpnd.sandbox.faults import fault_from
from vpnd.sandbox.yookassa_api import YooKassaServer
from vpnd.sandbox.yookassa_state import CENT, Json, Payment, Refund, RefundMode

_MODES = frozenset({"succeeded", "pending", "canceled"})


def _sum(value: Any) -> Decimal:
    """An amount of the control API, exactly; a text or a number."""
    amount = Decimal(str(value))
    if amount <= 0 or amount != amount.quantize(CENT):
        raise Refused(f"no sum of money: {value}")
    return amount


class YooKassaControl:
    """The `/sim/` routes of one YooKassaServer."""

    def __init__(self, server: YooKassaServer) -> None:
        self.server = server
        self.shop = server.shop
        post = {
            "pay": self.pay, "cancel": self.cancel, "deliver": self.deliver, "forge": self.forge, "refund": self.refund,
            "refund_mode": self.set_refund_mode, "complete_refund": self.complete_refund, "webhook": self.webhook,
            "fault": self.fault, "reset": self.reset, "clock": self.move_clock,
        }  # fmt: skip
        get = {
            "payments": self.list_payments, "refunds": self.list_refunds, "deliveries": self.list_deliveries,
            "stats": self.stats, "clock": self.read_clock,
        }  # fmt: skip
        self.routes = [
            *(Route(f"/sim/{path}", guarded(call), methods=["POST"]) for path, call in post.items()),
            *(Route(f"/sim/{path}", guarded(call), methods=["GET"]) for path, call in get.items()),
        ]

    # ------------------------------------------------------------------ people

    def _payment(self, values: Json) -> Payment:
        self.server.look()
        payment = self.shop.payments.get(str(values["payment_id"]))
        if payment is None:
            raise Refused("no such payment")
        return payment

    def _refund(self, values: Json) -> Refund:
        refund = self.shop.refunds.get(str(values["refund_id"]))
        if refund is None:
            raise Refused("no such refund")
        return refund

    def _told(self, values: Json, name: str, found: Payment | Refund) -> Json:
        deliveries = self.server.tell(int(values.get("deliver", True)))
        return {"ok": True, name: self.shop.show(found), "deliveries": deliveries}

    async def pay(self, request: Request) -> Json:
        """Somebody pays; another sum or currency than was asked for comes about only here."""
        values = await read_json(request)
        payment = self._payment(values)
        payable = {"pending", "canceled"} if values.get("force") else {"pending"}
        if payment.status not in payable:
            raise Refused(f"this payment is {payment.status}")
        if "amount" in values:
            payment.amount = _sum(values["amount"])
        payment.currency = str(values.get("currency", payment.currency))
        self.shop.pay(payment)
        return self._told(values, "payment", payment)

    async def cancel(self, request: Request) -> Json:
        """A bank refuses, a customer gives up, a merchant changes his mind."""
        values = await read_json(request)
        payment = self._payment(values)
        if payment.status not in {"pending", "waiting_for_capture"}:
            raise Refused(f"this payment is {payment.status}")
        party, reason = values.get("party", "payment_network"), values.get("reason", "general_decline")
        self.shop.cancel(payment, str(party), str(reason))
        return self._told(values, "payment", payment)

    async def refund(self, request: Request) -> Json:
        """The merchant gives money back in his cabinet, where the shop's software does not see it."""
        values = await read_json(request)
        payment = self._payment(values)
        left = self.shop.refundable(payment) if payment.status == "succeeded" else Decimal(0)
        amount = _sum(values["amount"]) if "amount" in values else left
        if not 0 < amount <= left:
            raise Refused(f"there are {left:.2f} to give back")
        return self._told(values, "refund", self.shop.refund(payment, amount, {}, RefundMode()))

    async def set_refund_mode(self, request: Request) -> Json:
        """What becomes of refunds that the API is asked for from now on: `count` of them, or all."""
        values = await read_json(request)
        count = values.get("count")
        self.shop.refund_mode = _mode(values, None if count is None else int(count))
        return {"mode": self.shop.refund_mode.status, "count": count}

    async def complete_refund(self, request: Request) -> Json:
        """A pending refund comes to its end."""
        values = await read_json(request)
        refund, mode = self._refund(values), _mode(values)
        if refund.status != "pending":
            raise Refused(f"this refund is {refund.status}")
        if mode.status == "pending":
            raise Refused("pending is no end")
        self.shop.end_refund(refund, mode)
        return self._told(values, "refund", refund)

    # ------------------------------------------------------------------ the webhook

    async def deliver(self, request: Request) -> Json:
        """The webhook hears once more how a payment or a refund stands."""
        values = await read_json(request)
        found = self._refund(values) if "refund_id" in values else self._payment(values)
        is_refund = isinstance(found, Refund)
        if found.status == "pending" or (is_refund and found.status == "canceled"):
            raise Refused(f"YooKassa tells nothing of what is {found.status}")
        self.shop.news.append((f"{'refund' if is_refund else 'payment'}.{found.status}", found))
        return {"deliveries": self.server.tell(int(values.get("times", 1)))}

    async def forge(self, request: Request) -> Json:
        """The webhook hears what nobody at YooKassa said."""
        values = await read_json(request)
        event, found = str(values["event"]), values["object"]
        if not isinstance(found, Mapping):
            raise Refused("object must be a JSON object")
        sent = [self.server.courier.send(event, dict(found)) for _ in range(int(values.get("times", 1)))]
        return {"deliveries": [delivery.id for delivery in sent if delivery is not None]}

    async def webhook(self, request: Request) -> Json:
        """Where notifications go (url null: nowhere)."""
        self.server.courier.set(await read_json(request))
        return {"url": self.server.courier.url}

    async def list_deliveries(self, request: Request) -> Json:
        """The last notifications and what they were answered."""
        return self.server.courier.api()

    # ------------------------------------------------------------------ books, faults, time

    async def list_payments(self, request: Request) -> Json:
        """The newest `limit` (100) payments in any state."""
        self.server.look()
        return {"payments": self._newest(request, list(self.shop.payments.values()))}

    async def list_refunds(self, request: Request) -> Json:
        """The newest `limit` (100) refunds in any state."""
        return {"refunds": self._newest(request, list(self.shop.refunds.values()))}

    def _newest(self, request: Request, found: list[Any]) -> list[Json]:
        limit = int(request.query_params.get("limit", 100))
        return [self.shop.show(item) for item in found[::-1][:limit]]

    async def stats(self, request: Request) -> Json:
        """Counters since the start; `repeats` are answers given again under their idempotence key."""
        faults = self.server.faults
        return {
            "calls": self.server.calls,
            "repeats": self.server.repeats,
            "payments": len(self.shop.payments),
            "refunds": len(self.shop.refunds),
            "faults": {"left": faults.left(), "taken": faults.taken},
        }

    async def fault(self, request: Request) -> Json:
        """Put a fault on the board; see `Fault`."""
        self.server.faults.add(fault_from(await read_json(request)))
        return {"left": self.server.faults.left()}

    async def reset(self, request: Request) -> Json:
        """No more faults; counters from zero; refunds succeed; with `all`, no more payments, refunds and keys."""
        values = await read_json(request)
        self.server.faults.clear()
        self.server.calls.clear()
        self.server.repeats = 0
        self.shop.refund_mode = RefundMode()
        if values.get("all"):
            self.shop.clear()
        return {"ok": True}

    async def read_clock(self, request: Request) -> Json:
        """The business time."""
        return {"offset": self.server.clock.offset, "now": self.server.clock.iso()}

    async def move_clock(self, request: Request) -> Json:
        """The same clock as on the Telegram side; what is due by that expires at once."""
        values = await read_json(request)
        offset = await self.server.clock.advance(int(values["advance"]))
        return {"offset": offset, "now": self.server.clock.iso()}


def _mode(values: Json, count: int | None = None) -> RefundMode:
    mode = str(values.get("mode", "succeeded"))
    if mode not in _MODES:
        raise Refused(f"no such mode: {mode}; known: {', '.join(sorted(_MODES))}")
    return RefundMode(mode, str(values.get("reason", "insufficient_funds")), count)
