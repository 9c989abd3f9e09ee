"""Settings: TOML, the environment and systemd credentials become one object, or a list of faults."""

from vpnd.config.kinds import Secret, is_loopback, split_host_port
from vpnd.config.load import load_settings
from vpnd.config.reader import ConfigError, Fault
from vpnd.config.reference import KeyDescription, configuration_reference, describe_keys
from vpnd.config.settings import (
    AgentSettings,
    AlertsSettings,
    DatabaseSettings,
    HttpSettings,
    InboundSettings,
    InstanceSettings,
    LimitsSettings,
    LogSettings,
    NodeSettings,
    Role,
    Settings,
    TelegramSettings,
    WorkerSettings,
)
from vpnd.config.shop_settings import (
    CryptoPaySettings,
    QuietHours,
    ReportsSettings,
    ShopSettings,
    TrialSettings,
    YooKassaSettings,
    contact_link,
)

__all__ = [
    "AgentSettings",
    "AlertsSettings",
    "ConfigError",
    "CryptoPaySettings",
    "DatabaseSettings",
    "Fault",
    "HttpSettings",
    "InboundSettings",
    "InstanceSettings",
    "KeyDescription",
    "LimitsSettings",
    "LogSettings",
    "NodeSettings",
    "QuietHours",
    "ReportsSettings",
    "Role",
    "Secret",
    "Settings",
    "ShopSettings",
    "TelegramSettings",
    "TrialSettings",
    "WorkerSettings",
    "YooKassaSettings",
    "configuration_reference",
    "contact_link",
    "describe_keys",
    "is_loopback",
    "load_settings",
    "split_host_port",
]
