"""Reading what providers write, field by field: the right type or MalformedWebhook, never a guess and never a float."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from vpnd.payments.base import MalformedWebhook
from vpnd.shop.money import MoneyError, parse_decimal

__all__ = [
    "amount_text",
    "currency_code",
    "instant_text",
    "is_number",
    "json_object",
    "minor_units",
    "moment",
    "optional_text",
    "some_details",
]

_CURRENCY: Final = re.compile(r"[A-Z][A-Z0-9]{1,15}\Z")
_TEXT_LIMIT: Final = 64  # characters of an amount
_DETAIL_LIMIT: Final = 128  # characters of a detail that is kept


def json_object(raw: bytes) -> dict[str, Any]:
    """The object a body is; numbers with a point are Decimal. Raises MalformedWebhook."""
    try:
        document = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise MalformedWebhook("(body)", "is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedWebhook("(body)", "is not an object")
    return document


def is_number(value: object) -> bool:
    """Whether it is a positive whole number, as ids of Crypto Pay are."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def amount_text(value: object, field: str) -> str:
    """The provider's own text. Documented as a string; some samples show a number, read as Decimal here."""
    if isinstance(value, str) and 0 < len(value) <= _TEXT_LIMIT:
        return value.replace("\x00", "")
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return str(value)[:_TEXT_LIMIT]
    raise MalformedWebhook(field, "is missing or no decimal text")


def currency_code(value: object, field: str) -> str:
    """A currency's code; it may be one that is not known here."""
    if not isinstance(value, str) or not _CURRENCY.match(value):
        raise MalformedWebhook(field, "is missing or no currency code")
    return value


def minor_units(text: str, currency: str) -> int | None:
    """Minor units, or None for an amount that is not exact here: such a charge is held for an admin."""
    try:
        return parse_decimal(text, currency).amount
    except MoneyError:
        return None


def optional_text(value: object, field: str) -> str | None:
    """A text that may be missing."""
    if value is not None and not isinstance(value, str):
        raise MalformedWebhook(field, "is no text")
    return value


def moment(value: object, field: str) -> datetime | None:
    """An ISO 8601 moment that may be missing; one without a zone is UTC."""
    if value is None:
        return None
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        read = None
    if read is None:
        raise MalformedWebhook(field, "is no ISO 8601 moment")
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def instant_text(instant: datetime) -> str:
    """A moment with a zone as providers take it in a filter: UTC, milliseconds, Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def some_details(source: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    """Those of the named fields that are there, as short texts: what is kept of a charge."""
    return {
        name: str(source[name])[:_DETAIL_LIMIT].replace("\x00", "")
        for name in names
        if source.get(name) is not None
    }
