"""A wrong configuration ends the program before it begins, with everything that is wrong and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from world_kit import vpnd

pytestmark = pytest.mark.world

SECRET = "hunter2-hunter2"
WRONG = f"""
[shop]
currency = "DOUBLOONS"

[telegram]
token = "{SECRET}"
mode = "pigeon"

[database]
url = "mysql://shop:{SECRET}@db/vpnd"
pool_max = "many"

[http]
listen = "8080"

[nodes]
no = "table"

[surprise]
key = 1
"""


@pytest.mark.parametrize("command", ["check-config", "run", "migrate"])
def test_all_faults_at_once(tmp_path: Path, command: str) -> None:
    """Exit status 2; every fault with its key on standard error; secrets are masked."""
    config = tmp_path / "vpnd.toml"
    config.write_text(WRONG)

    done = vpnd(command, "--config", str(config))

    assert done.returncode == 2
    for key in (
        "shop.currency",
        "telegram.token",
        "telegram.mode",
        "database.url",
        "database.pool_max",
        "http.listen",
        "surprise",
    ):
        assert key in done.stderr, key
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_toml_or_not_there(tmp_path: Path) -> None:
    """The file itself may be the fault: exit status 2 and its name."""
    config = tmp_path / "vpnd.toml"
    for _ in range(2):
        done = vpnd("check-config", "--config", str(config))

        assert done.returncode == 2
        assert str(config) in done.stderr
        assert "Traceback" not in done.stderr
        config.write_text("[telegram\n")
