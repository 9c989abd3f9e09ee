"""vpnd sells and runs a VPN service through a Telegram bot, in one trio daemon."""

__version__ = "0.1.0"
