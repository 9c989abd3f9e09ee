"""`[alerts]`: where operators are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpnd.config import AlertsSettings, ConfigError, load_settings

BASE = """
[telegram]
token = "123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
[database]
url = "postgresql://x/y"
[alerts]
"""


def load(tmp_path: Path, text: str) -> AlertsSettings:
    """The section as it is read."""
    path = tmp_path / "vpnd.toml"
    path.write_text(BASE + text, "utf-8")
    return load_settings(path, {}, role="daemon").alerts


def test_a_kind_counts_before_its_severity(tmp_path: Path) -> None:
    """Topics are chosen by kind, else by severity, else there is none."""
    alerts = load(
        tmp_path, 'chat = -1001234567890\ntopics = ["critical:4", "node_stopped:9", "alarm:loop_lag:7"]'
    )

    assert alerts.chat == -1001234567890
    assert alerts.topic_of("node_stopped", "critical") == 9
    assert alerts.topic_of("books_wrong", "critical") == 4
    assert alerts.topic_of("alarm:loop_lag", "warning") == 7
    assert alerts.topic_of("held_charge", "warning") is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("chat = 1", "alerts.chat"),
        ('topics = ["critical"]', "alerts.topics"),
        ('topics = ["critical:0"]', "alerts.topics"),
        ('topics = ["Node:1"]', "alerts.topics"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, text: str, key: str) -> None:
    """A fault names the key and what is allowed there."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)

    (fault,) = caught.value.faults
    assert fault.key.startswith(key)
    assert "must be" in fault.message
