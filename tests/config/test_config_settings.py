"""Loading settings: what is read, and how everything wrong is told."""

from pathlib import Path

import pytest

from vpnd.config import (
    ConfigError,
    NodeSettings,
    Secret,
    Settings,
    TelegramSettings,
    configuration_reference,
    describe_keys,
    load_settings,
    split_host_port,
)

TOKEN = "123456:" + "A" * 35
DSN = "postgresql://shop:pass-word@db/vpnd"
ENOUGH = f'[telegram]\ntoken = "{TOKEN}"\n[database]\nurl = "{DSN}"\n'
NODE = '[[nodes]]\nname = "berlin-1"\nurl = "https://n.example:8443/"\n'
AGENT = '[agent]\ntoken = "0123456789abcdef"\npublic_host = "n.example"\n'
INBOUND = '[[agent.inbounds]]\ntag = "main"\nsni = "www.example.com"\n'


@pytest.fixture
def load(tmp_path: Path):
    """Write a file and load it."""

    def load(
        toml: str, environ: dict[str, str] | None = None, role: str = "daemon", **options: object
    ) -> Settings:
        place = tmp_path / "vpnd.toml"
        place.write_text(toml)
        return load_settings(place, environ or {}, role=role, **options)  # type: ignore[arg-type]  # free in tests

    return load


@pytest.fixture
def faults(load):
    """Load a file that is wrong and return its faults by key."""

    def faults(*args: object, **options: object) -> dict[str, str]:
        with pytest.raises(ConfigError) as caught:
            load(*args, **options)
        assert len({fault.key for fault in caught.value.faults}) == len(caught.value.faults), (
            caught.value.render()
        )
        return {fault.key: fault.message for fault in caught.value.faults}

    return faults


def test_defaults(load) -> None:
    """A token and a database are enough; everything else has the documented default."""
    settings = load(ENOUGH)

    assert settings.telegram.token.reveal() == TOKEN
    assert settings.database.url == Secret(DSN)
    assert (settings.shop.currency, settings.shop.languages) == ("RUB", ("en", "ru"))
    assert (settings.database.pool_min, settings.database.pool_max, settings.limits.database) == (2, 15, 15)
    assert settings.http.metrics_listen == "127.0.0.1:9464"
    assert settings.nodes == ()
    assert settings.cryptopay.token is None


def test_everything_from_the_environment() -> None:
    """No file is needed; nodes and workers are named in the variable, lists have commas."""
    settings = load_settings(
        None,
        {
            "VPND_TELEGRAM__TOKEN": f" {TOKEN}".strip(),
            "VPND_DATABASE__URL": DSN,
            "VPND_DATABASE__PGBOUNCER": "yes",
            "VPND_TELEGRAM__ADMINS": "1, 2",
            "VPND_NODES__BERLIN_1__URL": "https://n.example:8443",
            "VPND_NODES__BERLIN_1__TOKEN": "0123456789abcdef",
            "VPND_WORKERS__NODE_SYNC__INTERVAL": "2.5",
            "VPND_HTTP__METRICS_LISTEN": "",
            "VPND_CRYPTOPAY__TOKEN": "",
            "STATE_DIRECTORY": "/var/lib/shop:/var/lib/other",
            "HOME": "/root",
            "VPND_CONFIG": "x",
        },
        role="daemon",
    )

    assert settings.telegram.admins == (1, 2)
    assert settings.database.pgbouncer is True
    assert [(node.name, node.url) for node in settings.nodes] == [("berlin-1", "https://n.example:8443")]
    assert settings.worker("node-sync").interval == 2.5
    assert settings.worker("other").enabled
    assert settings.http.metrics_listen == ""
    assert settings.cryptopay.token is None
    assert settings.instance.state_dir == Path("/var/lib/shop")


def test_order_of_layers(load, tmp_path: Path) -> None:
    """The environment is stronger than a credential, and that is stronger than the file; files are stripped."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "telegram.token").write_text("2" + TOKEN + "\n")
    (credentials / "database.url").write_text(DSN + "2\n")
    (credentials / "nodes.berlin-1.token").write_text("fedcba9876543210\n")
    (credentials / "someone-elses").write_text("x")
    (tmp_path / "secret").write_text(f"  {'s' * 20}\n")

    settings = load(
        ENOUGH.replace("[database]", 'webhook_secret_file = "secret"\n[database]') + NODE,
        {"CREDENTIALS_DIRECTORY": str(credentials), "VPND_TELEGRAM__TOKEN": "3" + TOKEN},
    )

    assert settings.telegram.token.reveal() == "3" + TOKEN
    assert settings.database.url.reveal() == DSN + "2"
    assert settings.nodes[0].token.reveal() == "fedcba9876543210"
    assert settings.telegram.webhook_secret == Secret("s" * 20)


def test_a_credential_of_a_node_that_is_gone_is_no_fault(load, tmp_path: Path) -> None:
    """systemd hands it over until the next start; a node that is taken out of the file is gone all the same."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "nodes.rome.token").write_text("fedcba9876543210\n")

    settings = load(ENOUGH, {"CREDENTIALS_DIRECTORY": str(credentials)})

    assert settings.nodes == ()


def test_a_variable_with_a_file_beats_the_files_value(load, tmp_path: Path) -> None:
    """<KEY>_FILE in the environment is the environment's layer."""
    (tmp_path / "token").write_text("9" + TOKEN)

    settings = load(ENOUGH, {"VPND_TELEGRAM__TOKEN_FILE": str(tmp_path / "token")})

    assert settings.telegram.token.reveal() == "9" + TOKEN


def test_all_faults_in_one_go(faults) -> None:
    """Missing, unknown, of a wrong type and of a wrong value: everything is told at once, with a hint."""
    found = faults(
        """
        nodez = 1
        [telegram]
        tokn = "x"
        mode = "webhok"
        admins = [1, true]
        [shop]
        languages = "en"
        [database]
        pool_min = 20
        acquire_timeout = "long"
        [http]
        public_url = "http://shop.example"
        listen = "8080"
        [[nodes]]
        url = "https://nameless"
        [workers]
        expiry = 5
        """,
        {"VPND_TELEGRAM_TOKEN": "x", "VPND_LOG__FORMAT": "xml"},
    )

    assert 'did you mean "nodes"' in found["nodez"]
    assert 'did you mean "token"' in found["telegram.tokn"]
    assert "is missing" in found["telegram.token"]
    assert "is missing" in found["database.url"]
    assert 'did you mean "webhook"' in found["telegram.mode"]
    assert "item 2" in found["telegram.admins"]
    assert "must be a list" in found["shop.languages"]
    assert "database.pool_max (15)" in found["database.pool_min"]
    assert "must be a number" in found["database.acquire_timeout"]
    assert "loopback only" in found["http.public_url"]
    assert "host:port" in found["http.listen"]
    assert "is missing" in found["nodes[1].name"]
    assert "must be a table" in found["workers.expiry"]
    assert "VPND_TELEGRAM__TOKEN" in found["VPND_TELEGRAM_TOKEN"]
    assert "must be one of" in found["log.format"]
    assert len(found) == 15


def test_faults_never_show_a_secret(load, tmp_path: Path) -> None:
    """Neither a wrong secret, nor one under an unknown key, nor a proxy's password is in the text."""
    with pytest.raises(ConfigError) as caught:
        load(
            '[telegram]\ntoken = "hush-1"\ntokn = "hush-2"\nproxy = "ftp://user:hush-3@host"\n'
            '[database]\nurl = "mysql://u:hush-4@x"\n[cryptopay]\ntoken = 5'
        )

    text = caught.value.render() + str(caught.value) + repr(caught.value.faults)
    assert "hush" not in text
    assert "telegram.token = *** (6 characters)   (vpnd.toml)" in text


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('[telegram]\ntoken = "123:short"', "telegram.token"),
        ('[telegram]\napi_base = "http://10.0.0.1:8081"', "telegram.api_base"),
        ('[telegram]\napi_base = "https://u:p@host"', "telegram.api_base"),
        ('[database]\nurl = "http://x"', "database.url"),
        ('[http]\nlisten = "127.0.0.1:70000"', "http.listen"),
        ('[http]\nlisten = "127.0.0.1:9464"', "http.metrics_listen"),
        ('[shop]\ncurrency = "rub"', "shop.currency"),
        ('[shop]\nlanguages = ["en", "en"]', "shop.languages"),
        ("[shop]\nlanguages = []", "shop.languages"),
        ('[yookassa]\nshop_id = "1"', "yookassa.secret_key"),
        ('[yookassa]\nsecret_key = "1"', "yookassa.shop_id"),
        ("[limits]\ndatabase = 99", "limits.database"),
        ("[limits]\ntelegram_per_second = nan", "limits.telegram_per_second"),
        ('[instance]\nname = "Not_A_Name"', "instance.name"),
        ("[database]\npgbouncer = 1", "database.pgbouncer"),
        ("telegram = 1", "telegram"),
        ("[[telegram]]\na = 1", "telegram"),
        ("[nodes]\nname = 'x'", "nodes"),
        (NODE, "nodes.berlin-1.token"),
        (NODE + 'token = "0123456789abcdef"\nfingerprint = "ab"', "nodes.berlin-1.fingerprint"),
        (NODE.replace("https://n.example", "http://127.0.0.1") + f'token = "{"x" * 16}"\nfingerprint = "{"0" * 64}"',
         "nodes.berlin-1.fingerprint"),
        (NODE + 'token = "0123456789abcdef"\n' + NODE, "nodes.berlin-1"),
        ('[telegram]\nwebhook_secret = "a"', "telegram.webhook_secret"),
        ('[telegram]\nwebhook_secret = "0123456789abcdef"\nwebhook_secret_file = "x"', "telegram.webhook_secret_file"),
        ('[telegram]\nwebhook_secret_file = "/nowhere"', "telegram.webhook_secret_file"),
    ],
)  # fmt: skip
def test_each_fault_has_its_key(faults, line: str, key: str) -> None:
    """A wrong value is told under its own key."""
    environ = {"VPND_TELEGRAM__TOKEN": TOKEN, "VPND_DATABASE__URL": DSN}
    if key in ("telegram.token", "database.url", "telegram"):
        environ = {}
    assert key in faults(line, environ)


def test_webhook_mode(faults, load) -> None:
    """It needs a secret and a public https URL on a port Telegram delivers to; a local Bot API takes loopback."""
    webhook = ENOUGH.replace("[database]", 'mode = "webhook"\n[database]')

    assert set(faults(webhook)) == {"telegram.webhook_secret", "http.public_url"}
    secret = {"VPND_TELEGRAM__WEBHOOK_SECRET": "0123456789abcdef"}
    assert (
        "port 9000"
        in faults(webhook + '[http]\npublic_url = "https://x.example:9000"', secret)["http.public_url"]
    )
    load(webhook + '[http]\npublic_url = "https://x.example"', secret)
    local = {**secret, "VPND_TELEGRAM__API_BASE": "http://127.0.0.1:8081"}
    assert (
        load(webhook + '[http]\npublic_url = "http://127.0.0.1:8080/"', local).http.public_url
        == "http://127.0.0.1:8080"
    )


def test_unknown_workers(faults, load) -> None:
    """Where the workers are known, a misspelt one is a fault."""
    toml = ENOUGH + "[workers.expirry]\ninterval = 5\n"

    assert 'did you mean "expiry"' in faults(toml, worker_names=["expiry", "node-sync"])["workers.expirry"]
    assert load(toml).workers["expirry"].interval == 5.0


def test_agent(load) -> None:
    """The agent needs its own section only, and fills in what follows from it."""
    settings = load(AGENT + INBOUND, role="agent")

    (inbound,) = settings.agent.inbounds
    assert (inbound.host, inbound.target, inbound.port) == ("n.example", "www.example.com:443", 443)
    assert not settings.telegram.token


def test_agent_faults(faults) -> None:
    """What the agent cannot start without, or must not do."""
    assert {"agent.token", "agent.inbounds"} <= set(faults("", role="agent"))
    assert set(faults(AGENT + 'listen = "0.0.0.0:8443"\ntls = false\n' + INBOUND, role="agent")) == {
        "agent.tls"
    }
    assert set(faults(AGENT + INBOUND + 'security = "tls"\n', role="agent")) == {
        "agent.inbounds.main.certificate",
        "agent.inbounds.main.key",
    }
    two = (
        AGENT.replace('public_host = "n.example"\n', "")
        + INBOUND
        + INBOUND.replace("main", "more")
        + "port = 443\n"
    )
    assert set(faults(two, role="agent")) == {
        "agent.inbounds.main.host",
        "agent.inbounds.more.host",
        "agent.inbounds.more.port",
    }


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder, and one that is not TOML are faults, with the line where there is one."""
    broken = tmp_path / "broken.toml"
    broken.write_text("[telegram\ntoken = 'hush'")
    for place, reason in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (broken, "line 1")):
        with pytest.raises(ConfigError, match=reason) as caught:
            load_settings(place, {}, role="daemon")
        assert "hush" not in caught.value.render()


def test_a_secret_hides() -> None:
    """It shows itself to `reveal` only; an empty one is false."""
    secret = Secret("hush")

    assert "hush" not in f"{secret} {secret!r} {[secret]} {TelegramSettings(token=secret)}"
    assert secret == Secret("hush")
    assert secret != Secret("other")
    assert hash(secret) == hash(Secret("hush"))
    assert not Secret("")


def test_a_proxys_password_hides() -> None:
    """Settings in a traceback do not show the proxy's user and password."""
    assert "hush" not in repr(TelegramSettings(proxy="socks5://user:hush@host:1080"))


def test_paths_start_at_the_configurations_folder(load, tmp_path: Path) -> None:
    """Relative paths do not depend on where the daemon was started; plans.toml is found beside the file."""
    assert load(ENOUGH + '[instance]\nstate_dir = "state"').instance.state_dir == tmp_path / "state"
    assert load(ENOUGH).shop.plans is None
    (tmp_path / "plans.toml").write_text("")
    assert load(ENOUGH).shop.plans == tmp_path / "plans.toml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("host.x:65535", ("host.x", 65535))],
)
def test_split_host_port(text: str, expected: tuple[str, int]) -> None:
    """Names, addresses of both families, and port 0 are understood."""
    assert split_host_port(text) == expected


@pytest.mark.parametrize("text", ["", "80", "host", "host:", ":80", "::1:80", "h:65536", "h:-1", "a b:1"])
def test_split_host_port_refuses(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="host:port"):
        split_host_port(text)


def test_every_key_is_described() -> None:
    """Each key has a sentence that ends as one, and secrets have a credential."""
    for described in describe_keys():
        assert described.doc.endswith("."), described.path
        assert (described.credential is not None) == described.secret
        assert described.environment.startswith("VPND_")
    assert "nodes.<name>.token" in {described.credential for described in describe_keys()}


def test_the_reference_page_is_written_from_the_declarations() -> None:
    """docs/configuration.md equals what the declarations say; write it anew after a change."""
    page = Path(__file__).parents[2] / "docs" / "configuration.md"

    assert page.read_text("utf-8") == configuration_reference(), (
        "python -c \"from vpnd.config import *; print(configuration_reference(), end='')\" > docs/configuration.md"
    )


def test_every_secret_can_be_listed() -> None:
    """What must stay out of the journal is found wherever it stands, and nothing that was not given is."""
    settings = Settings(
        telegram=TelegramSettings(token=Secret("telegram")),
        nodes=(NodeSettings(name="a", url="https://a", token=Secret("node")),),
    )
    assert [secret.reveal() for secret in settings.secrets()] == ["telegram", "node"]
