"""The values that labels of metrics may have, as far as the program knows them: each series exists with 0 from the start.

What names them is written by other rooms, which stand above this one; tests/runtime/test_runtime_metrics_start.py holds both
against each other.
"""

from __future__ import annotations

from typing import Final

__all__: list[str] = []

BOUNDARIES: Final = ("telegram", "cryptopay", "yookassa", "node")
LIMIT_CLASSES: Final = ("handler", "worker", "admin")
LIMIT_RESOURCES: Final = ("database", "http")
DB_ERROR_KINDS: Final = (
    "unavailable", "pool_timeout", "timeout", "commit_unknown", "unique_violation", "integrity", "serialization", "query",
)  # fmt: skip
HTTP_OUTCOMES: Final = ("ok", "4xx", "5xx", "timeout", "unavailable", "busy", "cancelled", "error")
UPDATE_KINDS: Final = (
    "message", "edited_message", "callback_query", "pre_checkout_query", "successful_payment", "refunded_payment",
    "my_chat_member", "subscription", "other",
)  # fmt: skip
UPDATE_OUTCOMES: Final = (
    "done", "failed", "expired", "deadline", "refused", "duplicate", "cancelled", "limited",
)  # fmt: skip
LANES: Final = ("reply", "receipt", "notice", "broadcast")
SEND_OUTCOMES: Final = ("ok", "blocked", "retry_later", "rejected", "unreachable", "cancelled")
SEND_METHODS: Final = ("sendMessage", "sendPhoto", "editMessageText", "answerCallbackQuery", "copyMessage")
WORKER_OUTCOMES: Final = ("ok", "failed", "timeout", "no_lease", "cancelled")
OUTBOX_KINDS: Final = (
    "message", "admin_alert", "refund_stars", "refund_cryptopay", "refund_yookassa", "star_cancel",
)  # fmt: skip
ROUTES: Final = ("webhook", "subscription", "open", "health", "other")
STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx", "none")
WEBHOOK_SOURCES: Final = ("telegram", "cryptopay", "yookassa")
WEBHOOK_RESULTS: Final = (
    "ok", "duplicate", "ignored", "unauthorised", "forged", "malformed", "too_slow", "too_large", "unavailable", "failed",
)  # fmt: skip
PROVIDERS: Final = ("stars", "cryptopay", "yookassa", "balance")
SETTLEMENT_OUTCOMES: Final = ("settled", "already_settled", "second_charge", "underpaid", "held")
REFUND_STATUSES: Final = ("done", "to_balance", "stuck")
RENEWAL_OUTCOMES: Final = ("done", "not_due", "not_now")
DIFFERENCE_KINDS: Final = (
    "unsettled", "other_amount", "refund_open", "refund_unknown", "unknown_there", "unreadable",
)  # fmt: skip
CHANGE_RESULTS: Final = ("applied", "ignored")
CUT_HOWS: Final = ("sockets", "restart", "none")
