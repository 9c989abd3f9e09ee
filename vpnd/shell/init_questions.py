"""What `vpnd init` asks, and what may be answered: pure, with the kinds of values that the configuration itself is judged by.

A question is named after its key of the configuration; a few, which are no key (which ways to pay, the first node), have names
of their own. What nobody has to decide at the start is not asked and may be given: another address of an API, a proxy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from attrs import define, field, frozen

from vpnd.config.kinds import Kind, RefusalError, choice, is_loopback, list_of
from vpnd.config.reader import keys_of
from vpnd.config.settings import SECTIONS, WEBHOOK_PORTS, NodeSettings
from vpnd.config.shop_settings import contact_link
from vpnd.shop.money import EXPONENTS

__all__ = ["LOCAL_DATABASE", "QUESTIONS", "Answers", "CheckName", "Question", "is_here", "question_named"]

CheckName = Literal[
    "telegram", "admins", "database", "cryptopay", "yookassa", "public_url", "node",
    "listen", "public_host", "port", "site",
]  # fmt: skip

#: The PostgreSQL of this machine, by its socket: who asks is known by his system user, and no password exists.
LOCAL_DATABASE: Final = "postgresql://vpnd@/vpnd?host=/run/postgresql"

_WAYS: Final = ("stars", "cryptopay", "yookassa")


@define
class Answers:
    """What was answered so far, by the names of the questions: the text as it was given, and the value that it means.

    Attributes:
        learned: what checks came to know: `bot` (the bot's name), `presented` (the fingerprint that a node shows); on a
            node what its machine tells: `name`, `listen`, `address`.
        zone: the time zone of this machine.
        agent_token: the token of an agent on this machine.
        given: the names of what is answered beforehand.
        account: whose processes the daemon will be, where systemd starts it; None: our own.
    """

    zone: str = "UTC"
    agent_token: str | None = None
    given: Collection[str] = ()
    account: str | None = None
    texts: dict[str, str] = field(factory=dict)
    values: dict[str, Any] = field(factory=dict)
    learned: dict[str, str] = field(factory=dict)

    def put(self, question: Question, given: str) -> None:
        """Take an answer. Raises RefusalError, which completes the sentence "<name> …"."""
        given = question.tidy(given)
        value = question.read(given)
        self.texts[question.name], self.values[question.name] = given, value

    def drop(self, question: Question) -> None:
        """Forget an answer."""
        self.texts.pop(question.name, None)
        self.values.pop(question.name, None)

    def value(self, name: str) -> Any:
        """Return the value of an answer; None where nothing was answered."""
        return self.values.get(name)


Needed = Callable[[Answers], bool]


@frozen(kw_only=True)
class Question:
    """One question.

    Attributes:
        name: its key of the configuration, or a name of its own.
        words: what is asked.
        hint: how to come by an answer; shown with `?`.
        kind: what may be answered.
        default: what is taken when nothing is said; None: an answer is needed, "": there is none and none is needed.
        needed: whether it is asked at all, after what was answered before.
        asked: False for what is only taken when it is given.
        check: the live check that follows.
        default_words: how the default of a secret is called, which is not shown.
        when: under which answers it is needed, for whoever gave it without need.
    """

    name: str
    words: str
    kind: Kind
    hint: str = ""
    default: Callable[[Answers], str | None] = lambda _answers: None
    needed: Needed = lambda _answers: True
    asked: bool = True
    secret: bool = False
    check: CheckName | None = None
    tidy: Callable[[str], str] = str.strip
    default_words: str = ""
    when: str = ""

    @property
    def option(self) -> str:
        """The word of the command line that answers it; of a secret it names a file."""
        return f"--{re.sub('[._]', '-', self.name)}{'-file' if self.secret else ''}"

    @property
    def variable(self) -> str | None:
        """The environment variable that answers it, for keys of the configuration: the one that overrides the key."""
        section, _, name = self.name.partition(".")
        return f"VPND_{section}__{name}".upper() if section in SECTIONS else None

    def read(self, given: str) -> Any:
        """Return the value of a text; None for an empty one where nothing need be answered. Raises RefusalError."""
        if not given:
            if self.may_be_empty:
                return None
            raise RefusalError("needs an answer")
        return self.kind.parse(given, True)

    @property
    def may_be_empty(self) -> bool:
        """Whether nothing is an answer, too."""
        return not self.asked or self.default(Answers()) == ""

    @property
    def ways(self) -> str:
        """How it can be answered without a terminal, for a sentence."""
        places = [self.option, *([self.variable] if self.variable else []), f"{self.name} in --answers"]
        return ", ".join(places[:-1]) + f" or {places[-1]}"


def _kind(path: str) -> Kind:
    """Return the kind of a key of the configuration."""
    section, _, name = path.partition(".")
    return keys_of(SECTIONS[section])[name].kind


def _node_kind(name: str) -> Kind:
    return keys_of(NodeSettings)[name].kind


def _currency(value: Any, textual: bool) -> Any:
    parsed = _kind("shop.currency").parse(value, textual)
    if parsed not in EXPONENTS or parsed == "XTR":
        known = ", ".join(one for one in EXPONENTS if one != "XTR")
        raise RefusalError(f"is no currency of a shop; there are {known}")
    return parsed


def _contact(value: Any, _textual: bool) -> Any:
    if contact_link(value) is None:
        raise RefusalError("must be a @name of Telegram, or a link that begins with https://")
    return value


def _telegram_can_deliver(answers: Answers) -> bool:
    """Whether a webhook could be used: Telegram has to reach it, on one of its ports."""
    public = answers.value("http.public_url")
    if not public:
        return False
    parts = urlsplit(public)
    if is_loopback(parts.hostname or ""):
        return False
    return parts.scheme == "https" and (parts.port or 443) in WEBHOOK_PORTS


def _name_of_the_bot(answers: Answers) -> str:
    """The shop's name, after its bot: `Best_VPN_bot` is `best-vpn`."""
    bot = answers.learned.get("bot", "").lower().replace("_", "-")
    name = re.sub(r"-?bot$", "", bot).strip("-")[:32].strip("-")
    return name or "my-shop"


def _ways_given(answers: Answers) -> str:
    """Stars, which need nothing, and whatever a credential was given for."""
    given = [
        way
        for way, key in (("cryptopay", "token"), ("yookassa", "secret_key"))
        if f"{way}.{key}" in answers.given
    ]
    return ", ".join(["stars", *given])


def _pays_by(way: str) -> Needed:
    return lambda answers: way in (answers.value("pay") or ())


def _has_node(answers: Answers) -> bool:
    return bool(answers.value("node.name"))


def _pins(answers: Answers) -> bool:
    return _has_node(answers) and str(answers.value("node.url") or "").startswith("https:")


def _fixed(default: str) -> Callable[[Answers], str]:
    return lambda _answers: default


_NOTHING: Final = _fixed("")

_WITH_CRYPTOPAY: Final = "with cryptopay in pay"
_WITH_YOOKASSA: Final = "with yookassa in pay"
_WITH_NODE: Final = "with node.name"

QUESTIONS: Final[tuple[Question, ...]] = (
    Question(
        name="telegram.api_base",
        words="Address of the Bot API",
        kind=_kind("telegram.api_base"),
        asked=False,
    ),
    Question(
        name="telegram.proxy",
        words="Proxy for the Bot API, where Telegram is blocked",
        kind=_kind("telegram.proxy"),
        asked=False,
    ),
    Question(
        name="telegram.token",
        words="Token of the bot",
        hint="Write /newbot to @BotFather in Telegram, or /mybots → your bot → API Token.",
        kind=_kind("telegram.token"),
        secret=True,
        check="telegram",
    ),
    Question(
        name="telegram.admins",
        words="Your Telegram id, a number (several: with commas)",
        hint="@userinfobot says it. Admins run the shop in the bot, and are told of what needs a person.",
        kind=_kind("telegram.admins"),
        check="admins",
    ),
    Question(
        name="database.url",
        words="URL of the PostgreSQL database",
        hint="postgresql://user:password@host:5432/database; the default is the PostgreSQL of this machine, without a password.",
        kind=_kind("database.url"),
        default=_fixed(LOCAL_DATABASE),
        default_words="the PostgreSQL of this machine, as vpnd",
        secret=True,
        check="database",
    ),
    Question(
        name="instance.name",
        words="Name of the shop",
        hint="Small letters, digits and hyphens. Customers' apps show it as the title of the subscription.",
        kind=_kind("instance.name"),
        default=_name_of_the_bot,
        tidy=lambda given: given.strip().lower(),
    ),
    Question(
        name="shop.currency",
        words="Currency of prices and balances",
        hint="A code like RUB, USD or EUR. It cannot be changed once something was sold.",
        kind=Kind("currency", _currency),
        default=_fixed("RUB"),
        tidy=lambda given: given.strip().upper(),
    ),
    Question(
        name="shop.languages",
        words="Languages of the bot, the first for strangers",
        hint="Of en and ru; others need a file of your own (docs/operations.md, Texts of your own).",
        kind=_kind("shop.languages"),
        default=lambda answers: "ru, en" if answers.value("shop.currency") == "RUB" else "en, ru",
        tidy=lambda given: given.strip().lower(),
    ),
    Question(
        name="shop.time_zone",
        words="Time zone of the shop",
        hint="Like Europe/Berlin. Customers may choose their own; reminders and reports keep to it.",
        kind=_kind("shop.time_zone"),
        default=lambda answers: answers.zone,
    ),
    Question(
        name="shop.support",
        words="Whom customers write to for help: a @name or a link (Enter: nobody)",
        hint="It stands on the screen Help.",
        kind=Kind("contact", _contact),
        default=_NOTHING,
    ),
    Question(
        name="pay",
        words=f"Ways to pay, of {', '.join(_WAYS)}",
        hint="stars: Telegram Stars, which need nothing; cryptopay: crypto by @CryptoBot; yookassa: cards and SBP in RUB.",
        kind=list_of(choice(*_WAYS), least=1),
        default=_ways_given,
        tidy=lambda given: given.strip().lower(),
    ),
    Question(
        name="cryptopay.api_base",
        words="Address of the Crypto Pay API",
        kind=_kind("cryptopay.api_base"),
        needed=_pays_by("cryptopay"),
        when=_WITH_CRYPTOPAY,
        asked=False,
    ),
    Question(
        name="cryptopay.token",
        words="Token of the Crypto Pay app",
        hint="@CryptoBot → Crypto Pay → My Apps → Create App → API Token.",
        kind=_kind("cryptopay.token"),
        needed=_pays_by("cryptopay"),
        when=_WITH_CRYPTOPAY,
        secret=True,
        check="cryptopay",
    ),
    Question(
        name="yookassa.api_base",
        words="Address of the YooKassa API",
        kind=_kind("yookassa.api_base"),
        needed=_pays_by("yookassa"),
        when=_WITH_YOOKASSA,
        asked=False,
    ),
    Question(
        name="yookassa.shop_id",
        words="Shop id at YooKassa",
        hint="Digits; at the top of YooKassa's cabinet, and under Integration → API keys.",
        kind=_kind("yookassa.shop_id"),
        needed=_pays_by("yookassa"),
        when=_WITH_YOOKASSA,
    ),
    Question(
        name="yookassa.secret_key",
        words="Secret key of that shop",
        hint="YooKassa's cabinet → Integration → API keys.",
        kind=_kind("yookassa.secret_key"),
        needed=_pays_by("yookassa"),
        when=_WITH_YOOKASSA,
        secret=True,
        check="yookassa",
    ),
    Question(
        name="http.public_url",
        words="Public address, like https://vpn.example.com (Enter: none)",
        hint="Where a reverse proxy leads to the daemon: pages for customers' apps, and webhooks. The shop works without one.",
        kind=_kind("http.public_url"),
        default=_NOTHING,
        check="public_url",
    ),
    Question(
        name="telegram.mode",
        words="How updates come in, polling or webhook",
        hint="polling needs nothing; webhook has Telegram call the public address.",
        kind=_kind("telegram.mode"),
        default=_fixed("polling"),
        needed=_telegram_can_deliver,
        when="with an http.public_url that Telegram can reach: https on port 443, 80, 88 or 8443",
        tidy=lambda given: given.strip().lower(),
    ),
    Question(
        name="node.name",
        words="Name of the first VPN node, like berlin (Enter: there is none yet)",
        hint="A node is where customers connect to; docs/install.md says how one is made. It can be added at any time.",
        kind=_node_kind("name"),
        default=_NOTHING,
        tidy=lambda given: given.strip().lower(),
    ),
    Question(
        name="node.url",
        words="Address of the node's agent",
        hint="https, and the port of [agent] listen there.",
        kind=_node_kind("url"),
        default=_fixed("https://127.0.0.1:8443"),
        needed=_has_node,
        when=_WITH_NODE,
    ),
    Question(
        name="node.token",
        words="Token of the agent",
        hint="The content of /etc/vpnd/credentials/agent.token on the node.",
        kind=_node_kind("token"),
        default=lambda answers: answers.agent_token if is_here(answers) else None,
        default_words="the one that is on this machine",
        needed=_has_node,
        when=_WITH_NODE,
        secret=True,
    ),
    Question(
        name="node.fingerprint",
        words="SHA-256 of its certificate (Enter: a public authority signed it)",
        hint="On the node: journalctl -u vpnd-node | grep fingerprint",
        kind=_node_kind("fingerprint"),
        default=lambda answers: answers.learned.get("presented", "") if is_here(answers) else "",
        needed=_pins,
        when="with a node.url that begins with https://",
        check="node",
    ),
)


def is_here(answers: Answers) -> bool:
    """Whether the node is this machine: then its token and certificate are taken as they are found."""
    return is_loopback(urlsplit(str(answers.value("node.url") or "")).hostname or "")


def question_named(name: str) -> Question:
    """Return the question of a name. Raises KeyError."""
    for question in QUESTIONS:
        if question.name == name:
            return question
    raise KeyError(name)
