"""`vpnd pause`, `vpnd resume` and `vpnd banner`: the switches from the shell. A running daemon follows within seconds."""

from __future__ import annotations

import sys

from vpnd.config import Settings
from vpnd.config.kinds import did_you_mean
from vpnd.database.scope import Transaction
from vpnd.shell.acting import act, who
from vpnd.shell.shop import CommandFailed, OpenShop, run_command
from vpnd.shop.audit_log import Change
from vpnd.shop.operators import Permission
from vpnd.shop.switches import UnknownSwitch, list_switches, set_banner, set_switch

__all__ = ["banner", "pause", "resume", "switches"]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def pause(settings: Settings, *, name: str, reason: str | None) -> int:
    """Pause a worker, the sale (`shop`) or the trial; return the exit code."""
    return _switch(settings, name, paused=True, reason=reason)


def resume(settings: Settings, *, name: str) -> int:
    """End a pause; return the exit code."""
    return _switch(settings, name, paused=False, reason=None)


def _switch(settings: Settings, name: str, *, paused: bool, reason: str | None) -> int:
    async def body(shop: OpenShop) -> int:
        changed = False

        async def deed(tx: Transaction) -> Change:
            nonlocal changed
            changed = await set_switch(tx, name, paused=paused, by=who().name, reason=reason)
            return Change(
                subject=f"switch:{name}", before={"paused": paused ^ changed}, after={"paused": paused}
            )

        try:
            await act(shop, "shell.switch", Permission.SWITCH, deed, reason=reason)
        except UnknownSwitch as error:
            known = ", ".join(error.known)
            raise CommandFailed(
                f"there is no switch {name!r}{did_you_mean(name, error.known)}; there are: {known}."
                " A worker is known once the daemon has run"
            ) from None
        state = "paused" if paused else "running"
        _say(f"{name} is {state}" + ("" if changed else ", as it was"))
        return 0

    return run_command(settings, body)


def banner(settings: Settings, *, text: str | None) -> int:
    """Show an incident banner on the bot's screens, or take it away with None; return the exit code."""

    async def body(shop: OpenShop) -> int:
        changed = False

        async def deed(tx: Transaction) -> Change:
            nonlocal changed
            changed = await set_banner(tx, text, by=who().name)
            return Change(subject="banner", after={"text": text})

        await act(shop, "shell.banner", Permission.SWITCH, deed)
        if text is None:
            _say("there is no banner any more" if changed else "there was no banner")
        elif changed:
            _say("the banner is shown")
        else:
            raise CommandFailed("a banner needs a text")
        return 0

    return run_command(settings, body)


def switches(settings: Settings) -> int:
    """List the switches and the banner; return the exit code."""

    async def body(shop: OpenShop) -> int:
        snapshot = await list_switches(shop.db)
        for name, switch in sorted(snapshot.switches.items()):
            words = "paused" if switch.paused else "running"
            if switch.changed_at is not None:
                words += f"  since {switch.changed_at:%Y-%m-%d %H:%M} UTC, by {switch.changed_by}"
            _say(f"{name:<24} {words}" + (f": {switch.reason}" if switch.reason else ""))
        if snapshot.banner is not None:
            _say(f"banner by {snapshot.banner.set_by}: {snapshot.banner.text}")
        return 0

    return run_command(settings, body)
