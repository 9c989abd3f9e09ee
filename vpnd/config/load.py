"""Loading: from a file, the environment and credentials to one `Settings` object, or to all that is wrong."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from vpnd.config.kinds import is_loopback, is_public_bind
from vpnd.config.reader import ConfigError, Fault, Reader, keys_of
from vpnd.config.settings import SECTIONS, TELEGRAM_API, WEBHOOK_PORTS, AgentSettings, Role, Settings


def load_settings(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    role: Role,
    worker_names: Collection[str] | None = None,
) -> Settings:
    """Load the settings of `role` from a TOML file (None: no file), the environment and systemd credentials.

    `worker_names`, when given, are the workers there are: another name under ``[workers]`` is then a fault.
    Reads a few small files, so call it before the loop runs or in a thread.

    Raises:
        ConfigError: with every fault found, not only the first.
    """
    document, unreadable = _read_document(path)
    if unreadable is not None:
        raise ConfigError([unreadable])
    base = path.absolute().parent if path is not None else Path.cwd()
    reader = Reader(document, path.name if path is not None else "configuration", base, environ, role)
    sections: dict[str, Any] = {name: reader.section(cls, name) for name, cls in SECTIONS.items()}
    layers = (reader.environment, reader.credentials, reader.document)
    several = {
        name: reader.nested(declared, name, [layer.get(name, {}) for layer in layers])
        for name, declared in keys_of(Settings).items()
    }
    known = [*SECTIONS, *several]
    for layer in (reader.environment, reader.document):
        for name in layer:
            if name not in known:
                reader.unknown(name, name, known, layer[name])
    _near_misses(reader, environ, known)
    settings = _derive(Settings(**sections, **several), reader, environ, base)
    _check(settings, reader, role, worker_names)
    if reader.faults:
        raise ConfigError(reader.faults)
    return settings


def _read_document(path: Path | None) -> tuple[dict[str, Any], Fault | None]:
    if path is None:
        return {}, None
    try:
        return tomllib.loads(path.read_text("utf-8")), None
    except OSError as error:
        return {}, Fault(str(path), "", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return {}, Fault(str(path), "", "is not UTF-8 text")
    except tomllib.TOMLDecodeError as error:
        # The parser's sentence names line and column and quotes nothing of the file.
        return {}, Fault(str(path), "", f"is not TOML: {error}")


def _near_misses(reader: Reader, environ: Mapping[str, str], sections: Collection[str]) -> None:
    """Tell of VPND_TELEGRAM_TOKEN: one underscore where two belong, it would silently do nothing."""
    for variable in sorted(environ):
        rest = variable.removeprefix("VPND_")
        if rest == variable or "__" in rest:
            continue
        section, _, name = rest.partition("_")
        if name and section.lower() in sections:
            reader.fault(
                variable, f"is not read: two underscores part section and key, VPND_{section}__{name}"
            )


def _derive(settings: Settings, reader: Reader, environ: Mapping[str, str], base: Path) -> Settings:
    """Fill in the defaults that follow from other values."""

    def given(section: str, name: str) -> bool:
        layers = (reader.environment, reader.credentials, reader.document)
        return any(isinstance(layer.get(section), Mapping) and name in layer[section] for layer in layers)

    instance, agent, limits, shop = settings.instance, settings.agent, settings.limits, settings.shop
    # systemd names several state directories with colons in between; the first is the unit's own.
    state = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if state and not given("instance", "state_dir"):
        instance = attrs.evolve(instance, state_dir=Path(state))
    if state and not given("agent", "state"):
        agent = attrs.evolve(agent, state=Path(state))
    if not given("limits", "database"):
        limits = attrs.evolve(limits, database=settings.database.pool_max)
    if shop.plans is None and (base / "plans.toml").is_file():
        shop = attrs.evolve(shop, plans=base / "plans.toml")
    inbounds = tuple(
        attrs.evolve(
            inbound,
            host=inbound.host or agent.public_host or "",
            target=inbound.target
            or (f"{inbound.sni}:443" if inbound.security == "reality" and inbound.sni else None),
        )
        for inbound in agent.inbounds
    )
    agent = attrs.evolve(agent, inbounds=inbounds)
    return attrs.evolve(settings, instance=instance, agent=agent, limits=limits, shop=shop)


def _check(settings: Settings, reader: Reader, role: Role, worker_names: Collection[str] | None) -> None:
    """Note the faults that only show when several keys are seen together."""
    if role == "daemon":
        _check_daemon(settings, reader)
    else:
        _check_agent(settings.agent, reader)
    if worker_names is not None:
        folded = [name.lower().replace("-", "_") for name in worker_names]
        for name in settings.workers:
            if name not in folded:
                reader.unknown(f"workers.{name}", name, folded, {})


def _check_daemon(settings: Settings, reader: Reader) -> None:
    telegram, database, http = settings.telegram, settings.database, settings.http
    if database.pool_min > database.pool_max:
        reader.fault("database.pool_min", f"must not be above database.pool_max ({database.pool_max})")
    if settings.limits.database > database.pool_max:
        reader.fault("limits.database", f"must not be above database.pool_max ({database.pool_max})")
    if (settings.yookassa.shop_id is None) != (settings.yookassa.secret_key is None):
        missing = "secret_key" if settings.yookassa.secret_key is None else "shop_id"
        reader.fault(f"yookassa.{missing}", "is missing: shop_id and secret_key go together")
    if http.metrics_listen and http.metrics_listen == http.listen and not http.listen.endswith(":0"):
        reader.fault("http.metrics_listen", "must not be the same as http.listen")
    for node in settings.nodes:
        if node.fingerprint is not None and node.url.startswith("http:"):
            reader.fault(f"nodes.{node.name}.fingerprint", "pins a certificate, but the url is plain http://")
    if telegram.mode != "webhook":
        return
    if telegram.webhook_secret is None:
        reader.fault(
            "telegram.webhook_secret", "is missing: webhook mode needs one, try `openssl rand -hex 32`"
        )
    if http.public_url is None:
        reader.fault(
            "http.public_url", 'is missing: telegram.mode = "webhook" needs it to tell Telegram where to call'
        )
    elif telegram.api_base == TELEGRAM_API:
        where = urlsplit(http.public_url)
        port = where.port or (443 if where.scheme == "https" else 80)
        if port not in WEBHOOK_PORTS:
            reader.fault(
                "http.public_url", f"has port {port}; Telegram delivers to 443, 80, 88 and 8443 only"
            )
        if where.scheme != "https" or is_loopback(where.hostname or ""):
            reader.fault(
                "http.public_url", "must be https:// on a public host: Telegram's servers have to reach it"
            )


def _check_agent(agent: AgentSettings, reader: Reader) -> None:
    if not agent.tls and is_public_bind(agent.listen):
        reader.fault(
            "agent.tls", f"is off while agent.listen is {agent.listen}: without TLS only loopback is allowed"
        )
    if not agent.inbounds:
        reader.fault("agent.inbounds", "is missing: a node needs at least one [[agent.inbounds]]")
    taken: dict[int, str] = {}
    for inbound in agent.inbounds:
        where = f"agent.inbounds.{inbound.tag}"
        if not inbound.host:
            reader.fault(f"{where}.host", "is missing: set it, or agent.public_host for all inbounds")
        if inbound.port in taken:
            reader.fault(
                f"{where}.port", f"is {inbound.port}, which inbound {taken[inbound.port]} has already"
            )
        taken.setdefault(inbound.port, inbound.tag)
        if inbound.security == "tls":
            for name in ("certificate", "key"):
                if getattr(inbound, name) is None:
                    reader.fault(f"{where}.{name}", 'is missing: security = "tls" needs certificate and key')
