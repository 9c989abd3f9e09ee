"""The chapter of the whole tour: a shop with everything switched on, under the very units, and every flow that it has.

The units are those of contrib/systemd. A drop-in names the credentials, as an operator's does, and lets the daemon know that its
database is a sandbox's, whose business clock may be moved: a month has to pass in it. All the rest, the hardening above all, is
what everybody gets.
"""

from __future__ import annotations

import json

from machine import CRYPTOPAY, ROOT, TELEGRAM, WEB, Chapter, Fault

from vpnd.sandbox.targets import DECOY_NAME
from vpnd.sandbox.world import (
    ADMIN,
    BOT_TOKEN,
    CRYPTO_TOKEN,
    WEBHOOK_SECRET,
    YOOKASSA_SECRET,
    YOOKASSA_SHOP,
)

YOOKASSA = 9003

#: Recognisable wherever it turns up.
DATABASE_PASSWORD = "planted-Pa55word"
DATABASE_URL = f"postgresql://vpnd:{DATABASE_PASSWORD}@127.0.0.1/vpnd"

CREDENTIALS = {
    "telegram.token": BOT_TOKEN,
    "telegram.webhook_secret": WEBHOOK_SECRET,
    "database.url": DATABASE_URL,
    "cryptopay.token": CRYPTO_TOKEN,
    "yookassa.secret_key": YOOKASSA_SECRET,
}

CONFIG = f"""
[instance]
name = "booted"

[shop]
currency = "RUB"
support = "@demo_support"
texts_dir = "/etc/vpnd/texts"

[telegram]
api_base = "http://127.0.0.1:{TELEGRAM}"
admins = [{ADMIN}]

[cryptopay]
api_base = "http://127.0.0.1:{CRYPTOPAY}/api"

[yookassa]
shop_id = "{YOOKASSA_SHOP}"
api_base = "http://127.0.0.1:{YOOKASSA}/v3"

[http]
public_url = "{WEB}"

[trial]
hours = 72

[referral]
levels = ["0:10"]

[limits]
telegram_per_second = 0
telegram_per_chat = 0
user_burst = 0

[log]
level = "debug"

[workers.expiry]
interval = 1
""" + "".join(
    f"[workers.{name}]\ninterval = 1\n"
    for name in ("activation", "renewal", "renewal_notices", "reminders", "trial_notices", "payment_watcher")
)

NODE_CONFIG = f"""
[agent]
listen = "127.0.0.1:8443"
public_host = "127.0.0.2"
allow_private_targets = true

[[agent.inbounds]]
tag = "reality"
listen = "127.0.0.2"
port = 443
sni = "{DECOY_NAME}"
target = "127.0.0.1:DECOY"

[log]
level = "debug"
"""

#: The token is handed over as an operator does it; the certificate is pinned.
NODE_TABLE = """
[[nodes]]
name = "amsterdam"
url = "https://127.0.0.1:8443"
fingerprint = "FINGERPRINT"
"""

#: Commands of ours, run as root beside the daemon.
PYTHON = "/opt/vpnd/bin/python"
ENVIRON = (
    "CREDENTIALS_DIRECTORY=/etc/vpnd/credentials"
    " PYTHONPATH=/srv/players:/usr/local/src/vpnd/tests:/usr/local/src/vpnd/tests/conversations:/usr/local/src/vpnd/tests/world"
)
INSIDE = "/usr/local/src/vpnd/tests/booted/inside"


class WholeTour(Chapter):
    """A shop with every provider and a node, and all that its people do."""

    needed = ("a shop with everything", "start", "customers and operators")

    def step_a_shop_with_everything(self) -> str:
        m = self.machine
        m.run("sh /srv/contrib/install.sh --shop --node --no-start --wheel /srv/wheels/vpnd-*.whl")
        m.run("/opt/vpnd/bin/pip install -q --target /srv/players socksio")
        self.start_postgres()
        m.run(
            f"runuser -u postgres -- psql -c \"create role vpnd login superuser password '{DATABASE_PASSWORD}'\""
        )
        m.run("runuser -u postgres -- createdb --owner vpnd --encoding UTF8 --template template0 vpnd")
        for name, value in CREDENTIALS.items():
            self._put(f"/etc/vpnd/credentials/{name}", value, mode=0o600)
        self._put("/etc/vpnd/vpnd.toml", CONFIG)
        (m.root / "etc" / "vpnd" / "texts").mkdir(exist_ok=True)
        self._unit("targets", f"{INSIDE}/targets.py /run/targets.json")
        m.until(
            "what is behind the VPN", lambda: m.run("test -s /run/targets.json", check=False).returncode == 0
        )
        targets = json.loads(m.out("cat /run/targets.json"))
        self._put("/etc/vpnd/node.toml", NODE_CONFIG.replace("DECOY", str(targets["decoy_port"])))
        m.run(f"{ENVIRON} {PYTHON} {INSIDE}/prepare.py {DATABASE_URL}")
        self._unit(
            "sandbox",
            f"-m vpnd.sandbox --telegram-port {TELEGRAM} --cryptopay-port {CRYPTOPAY} --yookassa-port {YOOKASSA}"
            f" --bot-token {BOT_TOKEN} --crypto-token {CRYPTO_TOKEN} --yookassa-shop {YOOKASSA_SHOP}"
            f" --yookassa-secret {YOOKASSA_SECRET} --database-url {DATABASE_URL}",
        )
        return "three providers, a node, a clock that can be moved"

    def step_start(self) -> str:
        m = self.machine
        m.run("systemctl start vpnd-node")
        print_of = "journalctl -u vpnd-node -o json | grep -o '[0-9a-f]\\{64\\}' | tail -1"
        m.until("the node's fingerprint", lambda: bool(m.run(print_of, check=False).stdout.strip()))
        self._put("/etc/vpnd/vpnd.toml", CONFIG + NODE_TABLE.replace("FINGERPRINT", m.out(print_of)))
        m.run("cp /etc/vpnd/credentials/agent.token /etc/vpnd/credentials/nodes.amsterdam.token")
        names = [name for name in CREDENTIALS if name not in ("telegram.token", "database.url")]
        dropin = "[Service]\n" + "".join(
            f"LoadCredential={name}:/etc/vpnd/credentials/{name}\n"
            for name in (*names, "nodes.amsterdam.token")
        )
        dropin += "ExecStart=\nExecStart=/opt/vpnd/bin/vpnd run --sandbox --config /etc/vpnd/vpnd.toml\n"
        self._put("/etc/systemd/system/vpnd.service.d/sandbox.conf", dropin)
        m.run("systemctl daemon-reload")
        m.run("CREDENTIALS_DIRECTORY=/etc/vpnd/credentials /opt/vpnd/bin/vpnd check-config")
        m.run("systemctl start vpnd.socket vpnd.service")
        m.ready()
        m.until("the node", lambda: m.show("vpnd", "StatusText") == "serving customers; 1 node", 45)
        score = m.out("systemd-analyze security --threshold=12 vpnd.service | tail -1")
        return f"{m.show('vpnd', 'StatusText')}; {score}"

    def step_every_secret_is_remembered(self) -> str:
        """Also those that are replaced in the course of the tour: they are looked for at its end."""
        m = self.machine
        m.run(f"runuser -u postgres -- psql -qb -v ON_ERROR_STOP=1 vpnd < {INSIDE}/remember.sql")
        return "each credential and each link, from the first on"

    def step_customers_and_operators(self) -> str:
        """What `play.py` says: the tour of `vpnd demo --tour`, and every script of tests/conversations."""
        m = self.machine
        done = m.run(
            f"{ENVIRON} {PYTHON} {INSIDE}/play.py {DATABASE_URL} /etc/vpnd/vpnd.toml",
            check=False,
            timeout=900,
        )
        if done.returncode != 0:
            raise Fault((done.stdout + done.stderr)[-3000:])
        return done.stdout.strip().splitlines()[-1]

    def step_exports_and_a_report(self) -> str:
        """What an owner takes out at the shell, with charts in the report; kept, to be searched for secrets."""
        m = self.machine
        m.run("mkdir -p /var/tmp/out")
        vpnd = "cd /var/tmp/out && CREDENTIALS_DIRECTORY=/etc/vpnd/credentials /opt/vpnd/bin/vpnd"
        for what in ("customers", "subscriptions", "payments", "ledger", "audit", "plans"):
            m.run(f"{vpnd} export {what}")
        m.run(f"{vpnd} report --days 3 --out report.html")
        if "<svg" not in m.out("cat /var/tmp/out/report.html"):
            raise Fault("the report has no chart")
        return m.out("ls /var/tmp/out | tr '\\n' ' '")

    def step_a_node_that_is_away(self) -> str:
        """Customers are served meanwhile, the status says it, and it is caught up with afterwards."""
        m = self.machine
        m.run("systemctl stop vpnd-node")
        m.until("the status", lambda: "node amsterdam: away" in m.show("vpnd", "StatusText"), 60)
        status = m.show("vpnd", "StatusText")
        m.ready(5)
        m.run("systemctl start vpnd-node")
        back = "journalctl -u vpnd VPND_EVENT=node.back -o cat"
        m.until("word that it is back", lambda: bool(m.run(back, check=False).stdout.strip()), 60)
        return status

    # ------------------------------------------------------------------ hands

    def _put(self, place: str, text: str, mode: int = 0o644) -> None:
        path = self.machine.root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=mode)
        path.write_text(text)

    def _unit(self, name: str, arguments: str) -> None:
        self.machine.run(
            f"systemd-run --quiet --unit={name} --description={name} --property=LogLevelMax=warning {PYTHON} {arguments}"
        )


__all__ = ["DATABASE_URL", "ENVIRON", "INSIDE", "PYTHON", "ROOT", "WholeTour"]
