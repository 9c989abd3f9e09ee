"""What the bot counts beyond updates and sends; in the daemon's registry."""

from typing import Final

from prometheus_client import Counter

from vpnd.runtime.metrics import REGISTRY

TEXT_FALLBACK_REASONS: Final = ("language", "message", "placeholder")

text_fallbacks_total: Final = Counter(
    "vpnd_text_fallbacks_total",
    "Texts that were not there, or lacked a value, in the language asked for.",
    ["reason"],
    registry=REGISTRY,
)
stale_presses_total: Final = Counter(
    "vpnd_bot_stale_presses_total",
    "Presses of a button that no longer means anything, or not to the one who pressed.",
    ["reason"],
    registry=REGISTRY,
)
qr_pictures_total: Final = Counter(
    "vpnd_bot_qr_pictures_total", "QR codes by what became of them.", ["outcome"], registry=REGISTRY
)
perhaps_repeated_total: Final = Counter(
    "vpnd_bot_notices_perhaps_repeated_total",
    "Notices that Telegram may have taken although its answer was lost; they are sent again.",
    registry=REGISTRY,
)
for _reason in TEXT_FALLBACK_REASONS:
    text_fallbacks_total.labels(_reason)
for _reason in ("unreadable", "not_theirs", "not_on_sale", "too_late"):
    stale_presses_total.labels(_reason)
for _outcome in ("drawn", "cached", "failed"):
    qr_pictures_total.labels(_outcome)
