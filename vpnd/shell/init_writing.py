"""What `vpnd init` writes: from answers to the texts of files. Pure; what a key means is said in the words of its declaration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from vpnd.config.reader import keys_of
from vpnd.config.settings import SECTIONS, NodeSettings
from vpnd.shell.init_questions import Answers

__all__ = ["Layout", "Planned", "compose", "next_steps", "secrets_of"]

#: What contrib/systemd/vpnd.service names itself; others need a drop-in.
_BY_THE_UNIT: Final = ("telegram.token", "database.url")

#: Keys of the file in their order; those that were not answered and are listed here are shown as a comment to fill in.
_KEYS: Final[tuple[tuple[str, str | None], ...]] = (
    ("instance.name", None),
    ("shop.currency", None),
    ("shop.languages", None),
    ("shop.time_zone", None),
    ("shop.support", '"@my_shop_support"'),
    ("telegram.token", None),
    ("telegram.admins", "[123456789]"),
    ("telegram.mode", None),
    ("telegram.webhook_secret", None),
    ("telegram.api_base", None),
    ("telegram.proxy", None),
    ("database.url", None),
    ("stars.enabled", None),
    ("cryptopay.token", None),
    ("cryptopay.api_base", None),
    ("yookassa.shop_id", None),
    ("yookassa.secret_key", None),
    ("yookassa.api_base", None),
    ("http.public_url", '"https://vpn.example.com"'),
)


@frozen
class Layout:
    """Where files go.

    Attributes:
        config: the configuration.
        secrets: the folder of the secrets, a file each.
        drop_in: of systemd's unit, which then hands the secrets over; None: the configuration names their files.
        root: the folder that stands for the whole machine; what is written names places without it.
    """

    config: Path
    secrets: Path
    drop_in: Path | None = None
    root: Path = Path("/")

    def on_disk(self, place: Path) -> Path:
        """Return where a place is really written."""
        return self.root / place.relative_to("/")

    def named(self, secret: str) -> str:
        """How the configuration names a secret's file: from its own folder on, if it can."""
        place = self.secrets / secret
        folder = self.config.parent
        return str(place.relative_to(folder) if place.is_relative_to(folder) else place)


@frozen
class Planned:
    """A file to write: its place, its text, its permissions."""

    path: Path
    text: str
    mode: int


def secrets_of(answers: Answers, webhook_secret: str) -> dict[str, str]:
    """Return the secrets by the names of their files.

    Args:
        webhook_secret: a fresh one, used in webhook mode alone.
    """
    found = {}
    for name in ("telegram.token", "database.url", "cryptopay.token", "yookassa.secret_key"):
        if answers.value(name):
            found[name] = str(answers.value(name))
    if answers.value("telegram.mode") == "webhook":
        found["telegram.webhook_secret"] = webhook_secret
    if answers.value("node.name"):
        found[f"nodes.{answers.value('node.name')}.token"] = str(answers.value("node.token"))
    return found


def compose(answers: Answers, layout: Layout, secrets: dict[str, str]) -> list[Planned]:
    """Return the files in the order in which they are written: what is in the configuration is there before it."""
    files = [Planned(layout.secrets / name, text + "\n", 0o600) for name, text in secrets.items()]
    if layout.drop_in is not None:
        extra = [name for name in secrets if name not in _BY_THE_UNIT]
        if extra:
            lines = "".join(f"LoadCredential={name}:{layout.secrets / name}\n" for name in extra)
            text = f"# Secrets beside those that vpnd.service names itself; written by `vpnd init`.\n[Service]\n{lines}"
            files.append(Planned(layout.drop_in, text, 0o644))
    # The unit's user has to read it. Whoever starts the daemon by himself reads his own.
    mode = 0o644 if layout.drop_in is not None else 0o600
    files.append(Planned(layout.config, _configuration(answers, layout, secrets), mode))
    return files


def _configuration(answers: Answers, layout: Layout, secrets: dict[str, str]) -> str:
    where = (
        f"Secrets are in files of their own in {layout.secrets}; systemd hands them to the service."
        if layout.drop_in is not None
        else "Secrets are in files of their own, which are named here."
    )
    lines = [
        "# Configuration of vpnd, begun by `vpnd init`. docs/configuration.md has every key, and its default.",
        "# After a change: vpnd check-config; then restart the daemon.",
        f"# {where}",
    ]
    section = ""
    for path, sample in _KEYS:
        entry = list(_entry(path, sample, answers, layout, secrets))
        if not entry:
            continue
        heading, _, _ = path.partition(".")
        if heading != section:
            section = heading
            lines += ["", f"[{section}]"]
        lines += entry
    return "\n".join([*lines, "", *_node(answers, layout, secrets)]) + "\n"


def _entry(
    path: str, sample: str | None, answers: Answers, layout: Layout, secrets: dict[str, str]
) -> Iterator[str]:
    """The lines of one key, none if there is nothing to say about it."""
    section, _, name = path.partition(".")
    doc = keys_of(SECTIONS[section])[name].doc
    if path in secrets:
        if layout.drop_in is None:
            yield f"# {doc}"
            yield f"{name}_file = {_toml(layout.named(path))}"
        return
    value: Any = answers.value(path)
    if path == "stars.enabled":
        value = None if "stars" in answers.value("pay") else False
    if value is not None:
        yield f"# {doc}"
        yield f"{name} = {_toml(value)}"
    elif sample is not None:
        yield f"# {doc}"
        yield f"# {name} = {sample}"


def _node(answers: Answers, layout: Layout, secrets: dict[str, str]) -> Iterator[str]:
    name = answers.value("node.name")
    declared = keys_of(NodeSettings)
    if not name:
        yield "# A VPN node, where customers connect to, a table each (docs/nodes.md); without one, who pays gets no access."
        yield "# [[nodes]]"
        yield '# name = "berlin"'
        yield '# url = "https://203.0.113.10:8443"'
        yield '# fingerprint = "…"    # as the agent prints it; its token is the secret nodes.berlin.token'
        return
    yield "[[nodes]]"
    yield f"name = {_toml(name)}"
    yield f"url = {_toml(answers.value('node.url'))}"
    if answers.value("node.fingerprint"):
        yield f"# {declared['fingerprint'].doc}"
        yield f"fingerprint = {_toml(answers.value('node.fingerprint'))}"
    if layout.drop_in is None:
        yield f"token_file = {_toml(layout.named(f'nodes.{name}.token'))}"


def _toml(value: Any) -> str:
    """A value as TOML writes it: of text, numbers, switches and lists of them that is JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )


def next_steps(answers: Answers, layout: Layout, *, started_by_installer: bool) -> list[str]:
    """Return what is left to do, a paragraph each.

    Args:
        started_by_installer: contrib/install.sh goes on, and starts the daemon by itself.
    """
    bot = answers.learned.get("bot")
    greet = f"Write /start to @{bot}: it answers." if bot else "Write /start to the bot: it answers."
    steps = []
    if layout.drop_in is None:
        steps += [f"vpnd check-config --config {layout.config}", f"vpnd run --config {layout.config}"]
    elif not started_by_installer:
        steps += [
            f"CREDENTIALS_DIRECTORY={layout.secrets} vpnd check-config --config {layout.config}",
            "systemctl daemon-reload && systemctl enable vpnd.socket vpnd.service && systemctl restart vpnd.socket vpnd.service",
        ]
    steps += [greet, *_afterwards(answers)]
    return steps


def _afterwards(answers: Answers) -> Iterator[str]:
    public, pay = answers.value("http.public_url"), answers.value("pay") or ()
    if answers.value("shop.currency") != "RUB":
        currency = answers.value("shop.currency")
        yield (
            f"The example plans have no price in {currency}: write a plans.toml beside the configuration"
            " (docs/payments.md, plans.toml), or set prices in the bot: /admin, Catalogue."
        )
    if not answers.value("node.name"):
        yield "Make a VPN node (docs/install.md, A node): until there is one, who pays gets no access."
    if public:
        yield f"Have a reverse proxy lead {public} to 127.0.0.1:8080 (docs/install.md, The world's way in)."
        if "cryptopay" in pay:
            yield f"At @CryptoBot, in the app's settings, set the webhook {public}/webhooks/cryptopay."
        if "yookassa" in pay:
            yield f"In YooKassa's cabinet, Integration → HTTP notifications, set {public}/webhooks/yookassa."
    if not answers.value("telegram.admins"):
        yield "Put your Telegram id into [telegram] admins: nobody is told of what needs a person."
