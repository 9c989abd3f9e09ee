"""Keyboards: what a client may attach to a message, checked the way Telegram checks it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from vpnd.sandbox.telegram_errors import bad_request

Markup = dict[str, Any]

MAX_CALLBACK_DATA = 64
"""Bytes, not characters."""
MAX_BUTTONS = 100

_ACTIONS = frozenset(
    {
        "url", "callback_data", "web_app", "login_url", "switch_inline_query", "switch_inline_query_current_chat",
        "switch_inline_query_chosen_chat", "copy_text", "callback_game", "pay",
    }
)  # fmt: skip


def read_markup(value: Any, *, invoice: bool = False, editing: bool = False) -> Markup | None:
    """A checked keyboard, or None when there is none; raises ApiError.

    `invoice` allows a pay button in the first place; `editing` allows inline keyboards only.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise bad_request("object expected as reply markup")
    if "inline_keyboard" in value:
        return _inline(value["inline_keyboard"], invoice)
    if editing:
        if value:
            raise bad_request("inline keyboard expected")
        return None
    for kind in ("keyboard", "remove_keyboard", "force_reply"):
        if kind in value:
            if kind == "keyboard":
                _check_reply_keyboard(value["keyboard"])
            return dict(value)
    return None


def _inline(rows: Any, invoice: bool) -> Markup | None:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request('field "inline_keyboard" must be of type Array of Arrays')
    checked = [
        [_button(b, invoice and i == j == 0) for j, b in enumerate(row)] for i, row in enumerate(rows) if row
    ]
    if sum(map(len, checked)) > MAX_BUTTONS:
        raise bad_request("reply markup is too long")
    return {"inline_keyboard": checked} if checked else None


def _button(value: Any, may_pay: bool) -> dict[str, Any]:
    prefix = "can't parse inline keyboard button: "
    if not isinstance(value, dict):
        raise bad_request(prefix + "InlineKeyboardButton must be an Object")
    button = {key: item for key, item in value.items() if item is not None}
    text = button.get("text")
    if not isinstance(text, str):
        raise bad_request(prefix + 'Can\'t find field "text"')
    if not text.strip():
        raise bad_request("inline keyboard button text must be non-empty")
    actions = [key for key in button if key in _ACTIONS]
    if not actions:
        raise bad_request(prefix + "Text buttons are unallowed in the inline keyboard")
    if len(actions) > 1:
        raise bad_request("BUTTON_TYPE_INVALID")
    _check_action(actions[0], button, may_pay)
    return button


def _check_action(action: str, button: dict[str, Any], may_pay: bool) -> None:
    value = button[action]
    if action == "callback_data" and not (
        isinstance(value, str) and 1 <= len(value.encode()) <= MAX_CALLBACK_DATA
    ):
        raise bad_request("BUTTON_DATA_INVALID")
    if action == "pay" and not may_pay:
        raise bad_request("BUTTON_TYPE_INVALID")
    if action == "url" and not _is_link(value):
        raise bad_request(f"inline keyboard button URL '{value}' is invalid: Wrong HTTP URL")
    if action in {"web_app", "copy_text"}:
        inner = value.get("url" if action == "web_app" else "text") if isinstance(value, dict) else None
        if action == "web_app" and not _is_link(inner):
            raise bad_request(f"inline keyboard button Web App URL '{inner}' is invalid: Wrong HTTP URL")
        if action == "copy_text" and not (isinstance(inner, str) and 1 <= len(inner) <= 256):
            raise bad_request("BUTTON_COPY_TEXT_INVALID")


def _is_link(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    parts = urlsplit(value)
    return parts.scheme in {"http", "https", "tg", "ton"} and bool(parts.netloc) and " " not in value


def _check_reply_keyboard(rows: Any) -> None:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise bad_request('field "keyboard" of the ReplyKeyboardMarkup must be an Array of Arrays')
    for row in rows:
        for button in row:
            text = (
                button
                if isinstance(button, str)
                else button.get("text")
                if isinstance(button, dict)
                else None
            )
            if not text:
                raise bad_request("keyboard button text must be non-empty")
