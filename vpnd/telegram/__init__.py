"""Telegram: the transport, the bot, the inbox's intake, a queue a chat, and the lanes that messages leave by."""

import os

# PTB is moving its durations from int to timedelta and warns at each use of the old kind, even at its own (every 429).
# This is its switch for the new kind.
os.environ.setdefault("PTB_TIMEDELTA", "1")
