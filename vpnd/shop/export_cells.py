"""Cells of an export: numbers stay numbers, and no text can be taken for a formula by a spreadsheet.

A cell that begins with = + - @, a tab or a line's end is a formula, or may hide one, to Excel, LibreOffice and Google Sheets; a
customer chooses his own name. Such a text gets an apostrophe before it, which is how a spreadsheet is told that it is a text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

__all__ = ["cell", "csv_text", "harmless"]

#: Also the full-width forms, which some input methods and spreadsheets take for the plain ones.
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula. It may hide behind spaces, which some drop."""
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_DANGEROUS) else text


def cell(value: Any) -> str:
    """A value as a cell: numbers and moments as they are, moments in UTC, all else as a harmless text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict | list):
        return harmless(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return harmless(str(value))


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV (RFC 4180) of harmless cells."""
    page = io.StringIO()
    csv.writer(page, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return page.getvalue()
