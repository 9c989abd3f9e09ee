"""vpnd of `dispatch.py`: `_dispatch_vpnd.py CONFIG`, the whole daemon with one screen.

It is the daemon as `vpnd run` starts it, with its supervisor, workers, monitors, web listeners and inbox; only the shop's own
handlers are replaced by the one that the rivals have, too. Its read goes through the loader that the real screens read
customers with.
"""

import sys
from pathlib import Path
from typing import Any

from vpnd.cli import load_daemon

load_daemon()  # first, as the command does: it leaves out what the daemon has no use for

from telegram import Update  # noqa: E402
from telegram.ext import CallbackContext, CommandHandler  # noqa: E402

from vpnd.config import Settings, load_settings  # noqa: E402
from vpnd.daemon import open_daemon  # noqa: E402
from vpnd.database.coalesce import Loader  # noqa: E402
from vpnd.runtime.service import Service, run_service  # noqa: E402

SQL = "select id, balance, expires_at from bench_customers where id = any($1::bigint[])"


def run(settings: Settings) -> int:
    """Run the daemon; return its exit code."""

    async def main(service: Service) -> None:
        async with open_daemon(settings) as daemon:
            customers = Loader(daemon.db, "bench.customer", SQL, "id")

            async def profile(update: Update, _context: CallbackContext[Any, Any, Any, Any]) -> None:
                assert update.effective_user is not None
                assert update.effective_message is not None
                row = await customers.get(update.effective_user.id)
                assert row is not None
                await update.effective_message.reply_text(
                    f"balance {row['balance']} until {row['expires_at']:%d.%m.%Y %H:%M}"
                )

            daemon.telegram.application.handlers.clear()
            daemon.telegram.application.add_handler(CommandHandler("profile", profile))
            await daemon.run(service)

    return run_service(main, log_format=settings.log.format)


if __name__ == "__main__":
    sys.exit(run(load_settings(Path(sys.argv[1]), {}, role="daemon")))
