"""What a sender hears when we cannot keep what it says, and a readiness check that hangs."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio
from starlette.applications import Starlette
from trio.testing import MockClock

from vpnd.config import Secret
from vpnd.database.errors import CommitUnknown, DatabaseTimeout, DatabaseUnavailable
from vpnd.shop.settlement import Charge, Outcome, SettlementResult
from vpnd.web.health import run_checks
from vpnd.web.webhooks import cryptopay_webhook

TOKEN = "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC"
INVOICE = {"invoice_id": 7, "status": "paid", "currency_type": "fiat", "fiat": "RUB", "amount": "199.00"}
BODY = json.dumps({"update_id": 1, "update_type": "invoice_paid", "payload": INVOICE}).encode()


async def deliver(settle: Callable[[Charge], Awaitable[SettlementResult]]) -> httpx.Response:
    """Deliver a signed webhook to a shop that settles so."""
    app = Starlette(routes=[cryptopay_webhook(Secret(TOKEN), settle)])
    signature = hmac.new(hashlib.sha256(TOKEN.encode()).digest(), BODY, hashlib.sha256).hexdigest()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        return await client.post(
            "/webhooks/cryptopay", content=BODY, headers={"crypto-pay-api-signature": signature}
        )


@pytest.mark.parametrize("error", [DatabaseUnavailable, DatabaseTimeout, CommitUnknown])
async def test_a_payment_that_could_not_be_kept_is_asked_for_again(error: Any) -> None:
    """A 2xx would be the provider's last word: whatever keeps the commit away is a 503 that says when to come back."""

    async def settle(_charge: Charge) -> SettlementResult:
        raise error("the database is away")

    answer = await deliver(settle)

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_each_outcome_has_its_own_word(outcome: Outcome) -> None:
    """What was committed is a 200 that says what became of the money; no outcome passes for another."""

    async def settle(charge: Charge) -> SettlementResult:
        assert (charge.charge_id, charge.amount) == ("7", 199_00)
        return SettlementResult(outcome)

    answer = await deliver(settle)

    assert (answer.status_code, answer.json()["outcome"]) == (200, outcome.value)


async def test_a_check_that_hangs_ends_in_time(autojump_clock: MockClock) -> None:
    """Readiness is answered within its bound though a check never is, and names it; the other checks count."""

    async def hangs() -> str | None:
        await trio.sleep_forever()

    async def fine() -> str | None:
        return None

    with trio.fail_after(3):
        faults = await run_checks({"hangs": hangs, "fine": fine})

    assert list(faults) == ["hangs"]
