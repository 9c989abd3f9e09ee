"""Tells a shop what became of its payments and refunds: unsigned, and again and again until somebody says 2xx.

A notification that nobody takes is forgotten after seventeen attempts, most of a day later (YooKassa: after 24 hours); the
others are not affected. A receiver cannot know who sent it, and so has to ask the API.
"""

from __future__ import annotations

import json
from typing import Any

from vpnd.sandbox.courier import Courier, Delivery


class NotificationCourier(Courier):
    """Delivers notifications; lives in `run()`."""

    def send(self, event: str, found: dict[str, Any]) -> Delivery | None:
        """Begin to deliver the news of an object; None when there is no webhook."""
        message = {"type": "notification", "event": event, "object": found}
        body = json.dumps(message, ensure_ascii=False).encode()
        return self.post(body, {"event": event, "object_id": found.get("id")}, {})
