"""The chapter of docs/install.md: its code blocks, word for word and in their order, in a clean system.

Whatever blocks stand there are taken: shell is run a block at a time, TOML is written where the page says. Only what
cannot be had in a system without a way out is said otherwise: see `INSTEAD`. The telegram that the bot talks to is the sandbox's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from machine import CRYPTOPAY, ROOT, TELEGRAM, Chapter, Fault
from tour import INSIDE

from vpnd.sandbox.world import BOT_TOKEN, CRYPTO_TOKEN

#: What is run instead, by pattern: packages are there already, nobody types, and nothing comes from the network.
INSTEAD = (
    (r"^apt install (.*)$", r"dpkg-query -W \1"),
    (r"^cat > (\S+\.token)\b.*$", r"cat /srv/answers/\1 > \1"),
    (r"\bgit pull\b", "true"),
    (r"^systemctl status (\S+)$", r"systemctl --no-pager status \1"),
    (r"install\.sh --node\b.*$", "install.sh --shop --node"),  # beside the shop, as the page's comment has it
)
ANSWERS = {"telegram.token": BOT_TOKEN, "cryptopay.token": CRYPTO_TOKEN}

#: The site that the page has strangers see: it answers in a network of its own, one hop away.
SITE = "www.example.org"
SITE_ADDRESS = "198.51.100.1"
#: The address that the page gives the node.
NODE_ADDRESS = "203.0.113.10"

#: What is typed where the page shows nothing.
SECRETS = {"Token of the bot": BOT_TOKEN, "Token of the Crypto Pay app": CRYPTO_TOKEN}

#: What the sandbox adds to a configuration of the page: where its Telegram and its Crypto Pay are.
WORLD = (
    ("[telegram]\n", f'[telegram]\napi_base = "http://127.0.0.1:{TELEGRAM}"\n'),
    ("[instance]\n", f'[cryptopay]\napi_base = "http://127.0.0.1:{CRYPTOPAY}/api"\n\n[instance]\n'),
)

_BLOCK = re.compile(r"^(?:<!-- example: (\w+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A code block: what it is an example of ("" if of nothing), its language, its text."""

    example: str
    language: str
    text: str


def blocks_of(section: str) -> Iterator[Block]:
    """The blocks of a section of the page, up to its first sub-section."""
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    text = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    for found in _BLOCK.finditer(text):
        yield Block(found[1] or "", found[2], found[3])


class Page(Chapter):
    """A new user, who has read the page and nothing else."""

    needed = ("what stands around it", "a site to borrow from", "the shop")

    #: The terminal of the last dialogue.
    _screen = ""

    def step_what_stands_around_it(self) -> str:
        """Telegram and Crypto Pay, in an environment of their own, and the answers of somebody who types."""
        m = self.machine
        self.start_postgres()
        m.run("python3 -m venv /srv/sandbox && /srv/sandbox/bin/pip install -q /srv/wheels/vpnd-*.whl")
        m.run(
            f"systemd-run --quiet --unit=sandbox /srv/sandbox/bin/python -m vpnd.sandbox --telegram-port {TELEGRAM}"
            f" --cryptopay-port {CRYPTOPAY} --bot-token {BOT_TOKEN} --crypto-token {CRYPTO_TOKEN}"
        )
        (m.root / "srv" / "answers").mkdir()
        for name, value in ANSWERS.items():
            (m.root / "srv" / "answers" / name).write_text(value)
        return "a sandbox, and two tokens"

    def step_a_site_to_borrow_from(self) -> str:
        """As the world has it for a node: a name, an address elsewhere, a certificate that this system trusts."""
        m = self.machine
        m.run("/srv/sandbox/bin/pip install -q cryptography")
        m.run(
            f"systemd-run --quiet --unit=site -p PrivateNetwork=yes /srv/sandbox/bin/python {INSIDE}/site.py {SITE} /run/site.crt"
        )
        m.until("the site's certificate", lambda: m.run("test -s /run/site.crt", check=False).returncode == 0)
        there = f"nsenter --target={m.show('site', 'MainPID')} --net ip"
        for command in (
            f"ip link add world type veth peer name site && ip link set site netns {m.show('site', 'MainPID')}",
            f"ip address add {NODE_ADDRESS}/24 dev world && ip link set world up && ip route add {SITE_ADDRESS} dev world",
            f"{there} address add {SITE_ADDRESS}/32 dev site && {there} link set site up && {there} link set lo up",
            f"{there} route add {NODE_ADDRESS} dev site",
            f"echo {SITE_ADDRESS} {SITE} >> /etc/hosts",
            "cp /run/site.crt /usr/local/share/ca-certificates/site.crt && update-ca-certificates",
        ):
            m.run(command)
        return m.out(f"curl -fsS --http1.1 --tlsv1.3 https://{SITE}/")

    def step_the_shop(self) -> str:
        m = self.machine
        count = self._follow("The shop")
        m.ready()
        m.post("/sim/message", chat_id=1001, text="/start", **{"from": {"id": 1001, "first_name": "Alex"}})
        m.until("an answer to /start", lambda: "inline_keyboard" in json.dumps(m.chat(1001)))
        return f"{count} blocks; {m.show('vpnd', 'StatusText')}; the bot answers /start"

    def step_a_node(self) -> str:
        """On the same machine; what the program has printed for the shop is pasted."""
        m = self.machine
        count = self._follow("A node")
        printed = self._screen.partition("shows here.\n\n")[2].partition("\nvpnd: ")[0]
        if "[[nodes]]" not in printed:
            raise Fault(self._screen[-1500:])
        m.run(f"set -e\n{printed}")
        m.ready()
        m.until("the node", lambda: m.show("vpnd", "StatusText") == "serving customers; 1 node", 45)
        told = re.search(r"ok: (Xray .*)", self._screen)
        if told is None:
            raise Fault("the core was not tried")
        sees = m.out(
            f"curl -fsS --http1.1 --tlsv1.3 --connect-to {SITE}:443:{NODE_ADDRESS}:443 https://{SITE}/"
        )
        return f"{count} blocks; {told[1]}; it sees {sees!r} there; {m.show('vpnd', 'StatusText')}"

    def step_an_upgrade(self) -> str:
        count = self._follow("Upgrade")
        self.machine.ready()
        return f"{count} blocks; {self.machine.out('readlink /opt/vpnd')}"

    def step_the_removal(self) -> str:
        m = self.machine
        count = self._follow("Removal")
        left = m.run(
            "ls -d /opt/vpnd* /etc/vpnd /var/lib/vpnd* /etc/systemd/system/vpnd*", check=False
        ).stdout
        if left:
            raise Fault(left)
        return f"{count} blocks; nothing is left"

    # ------------------------------------------------------------------ hands

    def _follow(self, section: str) -> int:
        """Do what the blocks of a section say; return how many there were."""
        m, count = self.machine, 0
        dialogue = next((one.text for one in blocks_of(section) if one.example.endswith("dialogue")), "")
        for block in blocks_of(section):
            if block.language != "sh" and block.example not in ("daemon", "agent"):
                continue
            count += 1
            if block.language != "sh":
                self._configure(block)
                continue
            text = block.text
            for pattern, other in INSTEAD:
                text = re.sub(pattern, other, text, flags=re.MULTILINE)
            before, _, last = text.strip().rpartition("\n")
            if dialogue and "contrib/install.sh" in last:
                m.run(f"set -e\n{before}")
                self._answer(last, dialogue)
            else:
                m.run(f"set -e\n{text}")
        if not count:
            raise Fault(f"docs/install.md has no block in its section {section!r}")
        return count

    def _answer(self, command: str, dialogue: str) -> None:
        """Run a command at a terminal, and answer each question as the page's dialogue does; secrets are not in it."""
        world = f"VPND_TELEGRAM__API_BASE=http://127.0.0.1:{TELEGRAM}"
        world += f" VPND_CRYPTOPAY__API_BASE=http://127.0.0.1:{CRYPTOPAY}/api"
        with self.machine.at_terminal(f"{world} {command}") as terminal:
            for line in re.findall(r"^ ?\d+\. (.+)$", dialogue, re.MULTILINE):
                prompt, _, answer = line.rpartition(":")
                words = re.split(r" [\[(]", prompt)[0]
                terminal.answer(words, SECRETS.get(words, answer.strip()))
            code, self._screen = terminal.end(), terminal.screen
            if code != 0:
                raise Fault(terminal.screen[-1500:])

    def _configure(self, block: Block) -> None:
        m, text = self.machine, block.text
        if block.example == "agent":
            text = re.sub(r'public_host = "[^"]*"', 'public_host = "127.0.0.2"', text)
            (m.root / "etc/vpnd/node.toml").write_text(text)
            return
        for place, other in WORLD:
            text = text.replace(place, other)
        if "[[nodes]]" in text:
            seen = m.out("journalctl -u vpnd-node | grep -o '[0-9a-f]\\{64\\}' | tail -1")
            text = re.sub(r'fingerprint = "[^"]*"', f'fingerprint = "{seen}"', text)
            text = re.sub(r'\nurl = "[^"]*"', '\nurl = "https://127.0.0.1:8443"', text)
        (m.root / "etc/vpnd/vpnd.toml").write_text(text)
