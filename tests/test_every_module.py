"""Every module of the package can be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: In a process of its own, since some modules change what a whole process does.
_IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_every_module_can_be_imported() -> None:
    """A name that moved and was not moved everywhere is found here and not by a customer's button."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "vpnd").rglob("*.py"))
        if path.name != "__main__.py"  # these two run when they are imported
    ]
    assert len(names) > 100

    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, *names], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr


#: The second import is that of a command which draws tables and of a node, later in the same process.
_DAEMON_ALONE = """
import sys
from vpnd import cli
cli.load_daemon()
idle = ("rich", "pygments", "cryptography", "playwright", "PIL", "grpc")
loaded = [name for name in idle if name in sys.modules]
import vpnd.shell.status, vpnd.agent.identity
print(loaded, "rich" in sys.modules, "cryptography" in sys.modules)
"""


def test_the_daemon_loads_nothing_that_only_commands_and_children_need() -> None:
    """What draws tables and pictures or makes certificates costs the daemon neither time nor memory, and is there for others."""
    done = subprocess.run(
        [sys.executable, "-c", _DAEMON_ALONE], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.stdout.strip() == "[] True True", done.stdout + done.stderr
