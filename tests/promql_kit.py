"""PromQL as far as a test has to read it: which metrics an expression asks for, and with which labels."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil

import vpnd
from vpnd.runtime import metrics

#: Labels that Prometheus, not the program, puts on a series.
FROM_OUTSIDE = {"job", "instance", "le", "alertname", "alertstate", "severity"}

_SELECTOR = re.compile(r"\b(vpnd_\w+)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAMES = re.compile(r"\b(?:vpnd_\w+|up)\b")

PROMTOOL = shutil.which("promtool")
PROMETHEUS = shutil.which("prometheus")


def samples() -> dict[str, set[str]]:
    """The name of every sample that the program can show, with its labels."""
    for module in pkgutil.walk_packages(vpnd.__path__, "vpnd."):
        if ".sandbox" not in module.name and not module.name.endswith(("__main__", "_pb2")):
            importlib.import_module(module.name)
    found: dict[str, set[str]] = {"up": set()}
    for metric in set(metrics.REGISTRY._collector_to_names):
        (family,) = metric.describe()
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        for ending in endings:
            found[family.name + ending] = set(metric._labelnames)
    return found


def faults(expression: str, known: dict[str, set[str]]) -> list[str]:
    """What is wrong with an expression: a metric that there is none of, a label that it does not have."""
    wrong: list[str] = []
    asked = set(_NAMES.findall(expression))
    if not asked:
        wrong.append("asks for no metric")
    labels = set(FROM_OUTSIDE)
    for name in asked:
        if name not in known:
            wrong.append(f"there is no {name}")
        labels |= known.get(name, set())
    for name, inside in _SELECTOR.findall(expression):
        for label, _ in _MATCHER.findall(inside):
            if label not in known.get(name, set()) | FROM_OUTSIDE:
                wrong.append(f"{name} has no label {label}")
    for inside in _GROUPED.findall(expression):
        wrong += [
            f"no metric of it has a label {one}" for one in re.findall(r"\w+", inside) if one not in labels
        ]
    return wrong


def values_asked(expression: str) -> set[tuple[str, str, str]]:
    """(metric, label, value) for each matcher that names values; a list of them is taken apart."""
    return {
        (name, label, value)
        for name, inside in _SELECTOR.findall(expression)
        for label, values in _MATCHER.findall(inside)
        for value in values.split("|")
        if label not in FROM_OUTSIDE and "$" not in value and "." not in value
    }
