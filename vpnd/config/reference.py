"""The reference page, docs/configuration.md, written from the declarations."""

from collections.abc import Iterator
from typing import Any, Final

import attrs

from vpnd.config.kinds import Secret
from vpnd.config.reader import keys_of
from vpnd.config.settings import SECTIONS, Settings


@attrs.frozen
class KeyDescription:
    """One key as the reference page and the completion of `vpnd init` know it."""

    section: str
    name: str
    kind: str
    default: str
    doc: str
    secret: bool
    needed_by: tuple[str, ...]
    environment: str
    credential: str | None

    @property
    def path(self) -> str:
        """The dotted path faults are reported under."""
        return f"{self.section}.{self.name}"


@attrs.frozen
class _Group:
    """The keys of one class: the path they are reported under, the heading they stand below, the class."""

    section: str
    heading: str
    cls: type


def _groups() -> Iterator[_Group]:
    for section, cls in SECTIONS.items():
        yield _Group(section, f"[{section}]", cls)
        yield from _several(cls, f"{section}.")
    yield from _several(Settings, "")


def _several(owner: type, prefix: str) -> Iterator[_Group]:
    for name, item in keys_of(owner).items():
        if item.nested is not None:
            in_heading = item.nested_name.startswith("<")
            heading = f"[{prefix}{name}.<name>]" if in_heading else f"[[{prefix}{name}]]"
            yield _Group(f"{prefix}{name}.<{item.nested_name.strip('<>')}>", heading, item.nested)


def describe_keys() -> list[KeyDescription]:
    """Return a description of every key, in the order of the reference page."""
    return [described for group in _groups() for described in _describe(group.section, group.cls)]


def _describe(section: str, cls: type) -> Iterator[KeyDescription]:
    defaults = {field.name: field.default for field in attrs.fields(cls)}
    for name, item in keys_of(cls).items():
        if item.nested is not None:
            continue
        credential = f"{section}.{name}" if item.secret else None
        variable = "VPND_" + "__".join((*section.upper().replace("-", "_").split("."), name.upper()))
        shown = item.shown_default or _default_text(defaults[name])
        yield KeyDescription(
            section, name, item.kind.name, shown, item.doc, item.secret, item.needed_by, variable, credential
        )


def _default_text(default: Any) -> str:
    if default is attrs.NOTHING or default is None or (isinstance(default, Secret) and not default):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "[" + ", ".join(f'"{item}"' for item in default) + "]"
    if isinstance(default, int | float):
        return f"{default:g}"
    return f'"{default}"'


_REFERENCE_HEAD: Final = """\
# Configuration

This page is written from the declarations in `vpnd/config`; a test keeps the two equal.

`vpnd` reads `vpnd.toml`. `vpnd check-config` reports every fault at once, each with its key; it exits with 2.

A value is looked for in this order:

1. the environment: `VPND_<SECTION>__<KEY>`, lists with commas; for tables that have a name, with the name in
   between (`VPND_NODES__BERLIN__TOKEN` for the node `berlin`; an underscore stands for a hyphen in a name).
   An empty variable counts as unset;
2. for a secret, a systemd credential called `<section>.<key>` (`nodes.<name>.token`);
3. `vpnd.toml`.

A secret may also be given as `<key>_file`, the path of a file that holds it; space around it is dropped.
Relative paths start at the folder of `vpnd.toml`.

Keys marked **needed** have no default: the daemon or the agent cannot start without them.
"""


def configuration_reference() -> str:
    """Return docs/configuration.md."""
    lines = [_REFERENCE_HEAD]
    for group in _groups():
        lines += [f"## `{group.heading}`\n", f"{group.cls.__doc__}\n"]
        lines += ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
        lines += [_row(described) for described in _describe(group.section, group.cls)]
        lines.append("")
    return "\n".join(lines)


def _row(described: KeyDescription) -> str:
    default = described.default
    if described.default.startswith(('"', "[")):
        default = f"`{default}`"
    if described.needed_by or described.section.endswith(f"<{described.name}>"):
        default = "**needed**"
    kind = f"{described.kind}, secret" if described.secret and described.kind != "secret" else described.kind
    return f"| `{described.name}` | {kind} | {default or 'none'} | {described.doc} |"
