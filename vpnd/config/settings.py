"""The settings: every key of ``vpnd.toml``, what it may be, and what it means.

Each section is a frozen attrs class; each field is declared with `key`, which carries what is allowed and a
sentence of documentation. Built by hand (in a test, in a sandbox) the classes check nothing;
`vpnd.config.load_settings` is what judges an operator's file.
"""

# ruff: noqa: RUF009 - `key` and `tables` return attrs fields, which are what belongs on the right side

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from vpnd.config.kinds import (
    Kind,
    RefusalError,
    Secret,
    bind,
    choice,
    flag,
    integer,
    list_of,
    masked_url,
    path,
    real,
    seconds,
    text,
    url,
)
from vpnd.config.reader import key, tables
from vpnd.config.shop_settings import (
    CryptoPaySettings,
    ReferralSettings,
    ReportsSettings,
    ShopSettings,
    StarsSettings,
    TrialSettings,
    YooKassaSettings,
)

Role = Literal["daemon", "agent"]

TELEGRAM_API: Final = "https://api.telegram.org"
# The Bot API delivers webhooks to these ports only (core.telegram.org/bots/api#setwebhook).
WEBHOOK_PORTS: Final = (443, 80, 88, 8443)

_NAME: Final = text(
    "name",
    r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?",
    "must be 1 to 32 lower-case letters, digits and hyphens, with no hyphen at an end",
)
_BOT_TOKEN: Final = text(
    "bot token",
    r"\d{1,20}:[A-Za-z0-9_-]{35}",
    "must be a bot token as @BotFather gives it: digits, a colon, 35 letters, digits, - or _",
)
_WEBHOOK_SECRET: Final = text(
    "secret", r"[A-Za-z0-9_-]{16,256}", "must be 16 to 256 letters, digits, - or _ (Telegram takes no others)"
)
_PASSWORD: Final = text("secret", r"\S{16,512}", "must be 16 to 512 characters without a space")
_DATABASE_URL: Final = text(
    "PostgreSQL URL",
    r"postgres(?:ql)?://\S+",
    "must begin with postgresql:// (or postgres://) and have no spaces",
)
_HOST: Final = text("host", r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,252})", "must be a host name or an IP address")
_TARGET: Final = text(
    "host:port",
    r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):\d{1,5}",
    'must look like "host:port"',
)
_SHORT_ID: Final = text(
    "short id", r"(?:[0-9a-f]{2}){0,8}", "must be up to 16 lower-case hex digits, an even number of them"
)
_REALITY_KEY: Final = text(
    "key", r"[A-Za-z0-9_-]{43}", "must be an X25519 key: 43 characters of URL-safe base64"
)


def _fingerprint(value: Any, _textual: bool) -> str:
    plain = value.replace(":", "").lower() if isinstance(value, str) else ""
    if len(plain) != 64 or not set(plain) <= set("0123456789abcdef"):
        raise RefusalError(
            "must be a SHA-256 in 64 hex digits, as `vpnd node run` prints it (colons are fine)"
        )
    return plain


@attrs.frozen(kw_only=True)
class InstanceSettings:
    """Who this process is."""

    name: str = key(
        _NAME,
        "Name of this instance: it holds leases under it. Two instances of one shop need two names.",
        "vpnd",
    )
    state_dir: Path = key(
        path(),
        "Folder for what must survive a restart beside the database.",
        Path("/var/lib/vpnd"),
        shown_default="$STATE_DIRECTORY, else /var/lib/vpnd",
    )


@attrs.frozen(kw_only=True)
class TelegramSettings:
    """The bot."""

    token: Secret = key(
        _BOT_TOKEN, "The bot's token from @BotFather.", Secret(""), secret=True, needed_by=("daemon",)
    )
    api_base: str = key(
        url("https"), "Where the Bot API is: Telegram's own servers or a local one.", TELEGRAM_API
    )
    mode: Literal["polling", "webhook"] = key(choice("polling", "webhook"), "How updates come in.", "polling")
    webhook_secret: Secret | None = key(
        _WEBHOOK_SECRET,
        "What Telegram sends with each update, so that nobody else can; needed in webhook mode.",
        None,
        secret=True,
    )
    admins: tuple[int, ...] = key(
        list_of(integer(1, 2**52, "Telegram user id")), "Telegram ids of the admins.", ()
    )
    proxy: str | None = key(
        url("http", "https", "socks5", "socks5h", plain_on_loopback=False, secret_user=True),
        "Proxy for the Bot API, where Telegram is blocked.",
        None,
        hide=masked_url,
    )


@attrs.frozen(kw_only=True)
class DatabaseSettings:
    """PostgreSQL, the only store."""

    url: Secret = key(
        _DATABASE_URL,
        "PostgreSQL URL with user and database.",
        Secret(""),
        secret=True,
        needed_by=("daemon",),
    )
    pool_min: int = key(integer(0, 1000), "Connections kept open.", 2)
    pool_max: int = key(integer(1, 1000), "Most connections open at once.", 15)
    acquire_timeout: float = key(seconds(0.1, 300), "Longest wait for a connection, in seconds.", 10.0)
    pgbouncer: bool = key(flag(), "Set it when a pooler in transaction mode stands in between.", False)


@attrs.frozen(kw_only=True)
class HttpSettings:
    """What the daemon serves."""

    listen: str = key(bind(), "Where webhooks, subscription links and health are served.", "127.0.0.1:8080")
    public_url: str | None = key(
        url("https"), "How the world reaches `listen`: links and webhooks begin with it.", None
    )
    metrics_listen: str = key(
        bind(empty=True), 'Where /metrics is served; "" turns it off.', "127.0.0.1:9464"
    )


@attrs.frozen(kw_only=True)
class NodeSettings:
    """A VPN node the shop drives."""

    name: str = key(_NAME, "Name of the node, unique.")
    url: str = key(url("https"), "Where its agent listens.", needed_by=("daemon",))
    token: Secret = key(_PASSWORD, "The agent's token.", secret=True, needed_by=("daemon",))
    fingerprint: str | None = key(
        Kind("SHA-256", _fingerprint),
        "SHA-256 of the agent's certificate; needed unless a public authority signed it.",
        None,
    )


@attrs.frozen(kw_only=True)
class InboundSettings:
    """A door customers connect to."""

    tag: str = key(_NAME, "Name of the inbound, unique on the node.")
    listen: str = key(_HOST, "Address the core listens on.", "0.0.0.0")  # noqa: S104 - customers come from everywhere
    port: int = key(integer(1, 65535, "port"), "Port the core listens on.", 443)
    host: str = key(_HOST, "Address that stands in customers' links.", "", shown_default="agent.public_host")
    security: Literal["reality", "tls"] = key(
        choice("reality", "tls"), "How the connection is hidden.", "reality"
    )
    sni: str = key(_HOST, "Server name that clients ask for.", needed_by=("agent",))
    target: str | None = key(
        _TARGET, "reality: the real site that answers strangers.", None, shown_default="<sni>:443"
    )
    private_key: Secret | None = key(
        _REALITY_KEY,
        "reality: X25519 private key; without it the agent makes one and keeps it.",
        None,
        secret=True,
    )
    short_ids: tuple[str, ...] = key(
        list_of(_SHORT_ID),
        "reality: short ids clients may use; without any the agent makes one and keeps it.",
        (),
    )
    certificate: Path | None = key(path(), "tls: certificate chain, PEM.", None)
    key: Path | None = key(path(), "tls: private key of the certificate, PEM.", None)


@attrs.frozen(kw_only=True)
class AgentSettings:
    """`vpnd node run`, on a VPN node."""

    listen: str = key(bind(), "Where the daemon reaches the agent.", "127.0.0.1:8443")
    token: Secret = key(
        _PASSWORD, "The daemon proves itself with it.", Secret(""), secret=True, needed_by=("agent",)
    )
    state: Path = key(
        path(),
        "Folder of the agent's durable copy and its certificate.",
        Path("/var/lib/vpnd"),
        shown_default="$STATE_DIRECTORY, else /var/lib/vpnd",
    )
    core: str = key(text(), 'The VPN core: "wheel", or the path of an xray program.', "wheel")
    tls: bool = key(
        flag(), "Serve the API over TLS with a certificate of its own; off only on loopback.", True
    )
    public_host: str | None = key(_HOST, "Address of this node in customers' links.", None)
    allow_private_targets: bool = key(
        flag(), "Let customers reach private addresses through the node; for a sandbox only.", False
    )
    inbounds: tuple[InboundSettings, ...] = tables(
        InboundSettings, "tag", "The doors customers connect to.", ()
    )


@attrs.frozen(kw_only=True)
class WorkerSettings:
    """Another rhythm for one worker. None leaves what the worker declares."""

    interval: float | None = key(seconds(0.1, 604800), "Seconds between two iterations.", None)
    deadline: float | None = key(seconds(0.1, 86400), "Seconds an iteration may take before it is cut.", None)
    batch: int | None = key(integer(1, 10000), "Most rows at once, of a worker that goes through rows.", None)
    enabled: bool = key(flag(), "Whether the worker runs at all.", True)


@attrs.frozen(kw_only=True)
class LimitsSettings:
    """How much at once."""

    database: int = key(
        integer(1, 1000),
        "Database units of work at once, never more than database.pool_max.",
        15,
        shown_default="database.pool_max",
    )
    http: int = key(integer(1, 10000), "HTTP calls to others at once.", 64)
    telegram_per_second: float = key(real(0, 1000), "New messages a second in all; 0 lifts the limit.", 30.0)
    telegram_per_chat: float = key(
        real(0, 1000), "New messages a second to one chat; 0 lifts the limit.", 1.0
    )
    user_burst: int = key(
        integer(0, 1000),
        "Presses and messages of one person at once; more are answered by a request to wait. 0 lifts the limit.",
        20,
    )
    user_per_second: float = key(
        real(0, 1000), "How many of these come back to him in a second; 0 lifts the limit.", 2.0
    )


_TOPIC: Final = re.compile(r"((?:alarm:)?[a-z][a-z_]{0,40}):(\d{1,10})")


def _topic(value: Any, _textual: bool) -> tuple[str, int]:
    found = _TOPIC.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 0 < int(found[2]) < 2**31:
        raise RefusalError(
            'must be "<severity or kind>:<number of the topic>", like "critical:4" or "node_stopped:9"'
        )
    return found[1], int(found[2])


@attrs.frozen(kw_only=True)
class AlertsSettings:
    """A group that alerts are posted to; without one each owner and manager is told in private."""

    chat: int | None = key(
        integer(-(2**52), -1, "id of a group"),
        "Id of the group or supergroup, a negative number; the bot has to be a member.",
        None,
    )
    topics: tuple[tuple[str, int], ...] = key(
        list_of(Kind("topic", _topic)),
        'Topics of it by severity (info, warning, critical) or by kind, which counts first: "critical:4", "node_stopped:9".',
        (),
    )

    def topic_of(self, kind: str, severity: str) -> int | None:
        """Return the topic that an alert belongs to; None for the group itself."""
        chosen = dict(self.topics)
        return chosen.get(kind, chosen.get(severity))


@attrs.frozen(kw_only=True)
class LogSettings:
    """How the journal is written."""

    format: Literal["auto", "journal", "console", "json"] = key(
        choice("auto", "journal", "console", "json"),
        "auto is systemd's journal where it listens, else readable lines.",
        "auto",
    )
    level: Literal["debug", "info", "warning", "error"] = key(
        choice("debug", "info", "warning", "error"), "The least severe line that is written.", "info"
    )


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that was configured.

    Sections nobody wrote hold their defaults; a secret nobody gave is empty, and false.
    """

    instance: InstanceSettings = InstanceSettings()
    shop: ShopSettings = ShopSettings()
    trial: TrialSettings = TrialSettings()
    telegram: TelegramSettings = TelegramSettings()
    database: DatabaseSettings = DatabaseSettings()
    cryptopay: CryptoPaySettings = CryptoPaySettings()
    yookassa: YooKassaSettings = YooKassaSettings()
    stars: StarsSettings = StarsSettings()
    referral: ReferralSettings = ReferralSettings()
    http: HttpSettings = HttpSettings()
    agent: AgentSettings = AgentSettings()
    limits: LimitsSettings = LimitsSettings()
    alerts: AlertsSettings = AlertsSettings()
    log: LogSettings = LogSettings()
    reports: ReportsSettings = ReportsSettings()
    nodes: tuple[NodeSettings, ...] = tables(NodeSettings, "name", "The VPN nodes.", ())
    workers: dict[str, WorkerSettings] = tables(
        WorkerSettings, "<name>", "Another rhythm for a worker.", attrs.Factory(dict)
    )

    def worker(self, name: str) -> WorkerSettings:
        """Return what is set for a worker; hyphens and underscores in `name` are one."""
        return self.workers.get(name.lower().replace("-", "_"), WorkerSettings())

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret that was given: what a journal must be told to keep out."""
        yield from _secrets_in(self)


def _secrets_in(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        if value:
            yield value
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from _secrets_in(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets_in(item)


SECTIONS: Final[dict[str, type]] = {
    "instance": InstanceSettings,
    "shop": ShopSettings,
    "trial": TrialSettings,
    "telegram": TelegramSettings,
    "database": DatabaseSettings,
    "cryptopay": CryptoPaySettings,
    "yookassa": YooKassaSettings,
    "stars": StarsSettings,
    "referral": ReferralSettings,
    "http": HttpSettings,
    "agent": AgentSettings,
    "limits": LimitsSettings,
    "alerts": AlertsSettings,
    "log": LogSettings,
    "reports": ReportsSettings,
}
