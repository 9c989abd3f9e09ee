"""The install script: what it makes, what it keeps, and that nothing of it is left when it was told to go."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import define
from money_sandbox import open_town

from vpnd.config import load_settings

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "contrib" / "install.sh"

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("systemctl", "systemd-sysusers", "systemd-tmpfiles")),
    reason="systemd's tools are missing",
)

TOKEN = "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC"

#: The real tool for what is done in the folder; anything else would touch this machine, and is refused.
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>"{log}"
case "$*" in
*--root={root}*) exec {real} "$@" ;;
esac
echo "systemctl was asked about this machine: $*" >&2
exit 97
"""

#: A wheel as small as can be, whose program is that of the checkout: dependencies are not what is tried here.
LAUNCHER = """\
import sys
sys.path[:0] = {places!r}
from vpnd.cli import main
"""


@define
class Server:
    """A folder that stands for a server."""

    root: Path
    path: Path
    wheel: Path
    log: Path

    def install(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the script in the folder."""
        return subprocess.run(
            ["sh", str(SCRIPT), "--root", str(self.root), *options],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
            env={
                "PATH": f"{self.path}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "LC_ALL": "C.UTF-8",
                **environ,
            },
        )

    def bring(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run it with the small wheel and without dependencies."""
        return self.install(
            "--wheel", str(self.wheel), "--lock", str(self.path / "empty.lock"), *options, **environ
        )

    def at(self, place: str) -> Path:
        """A place of the server."""
        return self.root / place

    def files(self) -> set[str]:
        """All files and links, but the users' database and that of catalogs."""
        found = {
            str(one.relative_to(self.root))
            for one in self.root.rglob("*")
            if not one.is_dir() or one.is_symlink()
        }
        return {one for one in found if not re.match(r"etc/(passwd|group|g?shadow|\.)|var/lib/systemd/", one)}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """An empty folder, the tools beside it, and a wheel."""
    root, tools = tmp_path / "root", tmp_path / "tools"
    root.mkdir()
    tools.mkdir()
    fake = tools / "systemctl"
    log = tmp_path / "systemctl.log"
    log.touch()
    fake.write_text(SYSTEMCTL.format(log=log, root=root, real=shutil.which("systemctl")))
    fake.chmod(0o755)
    (tools / "python3.13").symlink_to(sys.executable)  # the first that the script looks for
    (tools / "empty.lock").touch()
    wheel = tools / "vpnd-0.0.1-py3-none-any.whl"
    info = "vpnd-0.0.1.dist-info"
    places = [str(ROOT), *(one for one in sys.path if "site-packages" in one)]
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("vpnd_launcher.py", LAUNCHER.format(places=places))
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: vpnd\nVersion: 0.0.1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\nvpnd = vpnd_launcher:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return Server(root, tools, wheel, log)


def mode(place: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(place.stat().st_mode)


@pytest.mark.long
def test_install_upgrade_and_removal(server: Server) -> None:
    """One life: made, brought up to date with what an operator wrote, removed, purged. The booted soak lives it under systemd."""
    done = server.bring()

    # Made: a program, units as they are here, users, secrets that only root reads, a configuration that is valid.
    assert done.returncode == 0, done.stdout + done.stderr
    assert "what is left to do" in done.stdout
    for place in ("vpnd.service", "vpnd.socket"):
        assert (
            server.at(f"etc/systemd/system/{place}").read_bytes()
            == (ROOT / "contrib" / "systemd" / place).read_bytes()
        )
    assert not server.at("etc/systemd/system/vpnd-node.service").exists()
    assert server.at("etc/systemd/system/multi-user.target.wants/vpnd.service").is_symlink()
    assert server.at("etc/systemd/system/sockets.target.wants/vpnd.socket").is_symlink()
    assert re.search(r"^vpnd:", server.at("etc/passwd").read_text(), re.MULTILINE)
    assert (mode(server.at("etc/vpnd")), mode(server.at("etc/vpnd/credentials"))) == (0o755, 0o700)
    assert mode(server.at("etc/vpnd/credentials/database.url")) == 0o600
    assert server.at("usr/local/lib/systemd/catalog/vpnd.catalog").exists()
    program = server.at("opt/vpnd/bin/vpnd")
    told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.startswith("vpnd ")
    config, secrets = server.at("etc/vpnd/vpnd.toml"), server.at("etc/vpnd/credentials")
    assert len([line for line in config.read_text().splitlines() if line]) == 8
    (secrets / "telegram.token").write_text(TOKEN)
    assert (
        load_settings(config, {"CREDENTIALS_DIRECTORY": str(secrets)}, role="daemon").instance.name
        == "my-shop"
    )

    # An operator's words are kept by an upgrade, which adds the node here.
    config.write_text(config.read_text().replace("my-shop", "our-shop"))
    first = server.at("opt/vpnd").resolve()
    done = server.bring("--upgrade", "--shop", "--node")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "our-shop" in config.read_text()
    second = server.at("opt/vpnd").resolve()
    assert first != second
    assert (first.exists(), second.exists()) == (True, True)  # the former one is there to go back to
    assert re.fullmatch(r"[0-9a-f]{64}", (secrets / "agent.token").read_text())
    assert tomllib.loads(server.at("etc/vpnd/node.toml").read_text())["agent"]["inbounds"][0]["port"] == 443
    assert mode(secrets / "telegram.token") == 0o600

    server.at("etc/vpnd/node.toml").unlink()

    # Removed: what a person wrote and what the shop knows stays.
    server.at("var/lib/vpnd").mkdir(parents=True)
    (server.at("var/lib/vpnd") / "instance").write_text("x")
    assert server.install("--remove").returncode == 0
    assert server.files() == {
        "etc/vpnd/vpnd.toml",
        "etc/vpnd/credentials/agent.token",
        "etc/vpnd/credentials/database.url",
        "etc/vpnd/credentials/telegram.token",
        "etc/sysusers.d/vpnd.conf",
        "etc/tmpfiles.d/vpnd.conf",
        "var/lib/vpnd/instance",
    }
    done = server.install("--remove", "--purge")
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.files() == set()
    assert "vpnd" not in server.at("etc/passwd").read_text()
    assert all(f"--root={server.root}" in line for line in server.log.read_text().splitlines())


@pytest.mark.postgres
@pytest.mark.long
async def test_answers_make_the_first_configuration(server: Server, empty_database_url: str) -> None:
    """Checked against a bot, a provider and a database that are there; one that does not hold is told, and nothing is written."""
    answers = server.path / "answers.toml"
    environ = {"PYTHONPATH": ":".join([str(ROOT), *(one for one in sys.path if "site-packages" in one)])}
    bring = partial(server.bring, "--answers", str(answers), "--no-start", **environ)
    async with open_town() as town:
        text = f"""
[telegram]
token = "{town.sandbox.telegram.token}"
api_base = "{town.sandbox.telegram_url}"
admins = [777]

[database]
url = "{empty_database_url}"

[cryptopay]
token = "{town.sandbox.cryptopay.token}"
api_base = "{town.sandbox.cryptopay_url}/api"
"""
        answers.write_text(text.replace(town.sandbox.cryptopay.token, "500001:another-token"))
        done = await trio.to_thread.run_sync(bring)
        assert done.returncode == 1
        assert "Crypto Pay refuses the credential" in done.stderr
        assert not server.at("etc/vpnd/vpnd.toml").exists()

        answers.write_text(text)
        done = await trio.to_thread.run_sync(bring)
        assert done.returncode == 0, done.stdout + done.stderr

    config, secrets = server.at("etc/vpnd/vpnd.toml"), server.at("etc/vpnd/credentials")
    assert (mode(config), mode(secrets), mode(secrets / "cryptopay.token")) == (0o644, 0o700, 0o600)
    settings = load_settings(config, {"CREDENTIALS_DIRECTORY": str(secrets)}, role="daemon")
    assert settings.instance.name == "sandbox-vpn"
    assert settings.database.url.reveal() == empty_database_url
    # The unit hands over what it does not name itself, from where it is once the folder is a machine's.
    drop_in = server.at("etc/systemd/system/vpnd.service.d/credentials.conf").read_text()
    assert drop_in.splitlines()[-1] == "LoadCredential=cryptopay.token:/etc/vpnd/credentials/cryptopay.token"
    assert town.sandbox.telegram.token not in done.stdout + done.stderr + config.read_text()

    done = await trio.to_thread.run_sync(bring)
    assert done.returncode == 0
    assert "the answers are not read" in done.stdout


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--answers", "/nonexistent.toml"], "there is no such file"),
        (["--nonsense"], "unknown option --nonsense"),
        (["--purge"], "--purge goes with --remove"),
        (["--wheel", "/nonexistent.whl"], "there is no such file"),
        (["--upgrade"], "nothing is installed"),
        (["--wheel"], "needs a value"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is(
    server: Server, options: list[str], fault: str
) -> None:
    """With a sentence and exit code 2, and nothing was made."""
    done = server.install(*options)

    assert (done.returncode, fault in done.stderr) == (2, True), done.stderr
    assert server.files() == set()


def test_the_script_is_plain_sh() -> None:
    """dash, which is sh on Debian and Ubuntu, takes it; and no word of another shell is in it."""
    text = SCRIPT.read_text("utf-8")

    assert text.startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", SCRIPT], check=False, capture_output=True).stderr == b""
    assert not re.search(r"\[\[ |^\s*local |^\s*function |<<<|\$'|&>", text, re.MULTILINE)
    assert mode(SCRIPT) & 0o111


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing")
def test_shellcheck_finds_nothing() -> None:
    """Quotes, tests and substitutions that would surprise on another machine."""
    assert (
        subprocess.run(["shellcheck", "-s", "sh", SCRIPT], check=False, capture_output=True, text=True).stdout
        == ""
    )


LOCKS = ("requirements.lock", "requirements-node.lock")


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_pins_every_dependency_with_hashes(name: str) -> None:
    """Each line is one version with its hashes, and each dependency of pyproject.toml is there in a version that it allows."""
    from packaging.requirements import Requirement

    text = (ROOT / "contrib" / name).read_text("utf-8")
    pinned = {}
    for block in re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).strip()):
        found = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", block)
        assert found, block[:80]
        assert "--hash=sha256:" in block, found[1]
        pinned[re.sub(r"[-_.]+", "-", found[1]).lower()] = found[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = list(project["dependencies"])
    if "node" in name:
        wanted += project["optional-dependencies"]["node"]
    for line in wanted:
        need = Requirement(line)
        version = pinned.get(re.sub(r"[-_.]+", "-", need.name).lower())
        assert version is not None, need.name
        assert need.specifier.contains(version), line
