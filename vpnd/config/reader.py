"""How settings are read: declaration, layers, and faults that are all reported at once.

The idea: a settings class is declared with attrs, and each field carries a `Key` in its metadata: its kind,
one sentence of documentation, and who needs it. That declaration is the only source; reading, checking,
masking and the reference page all follow it.

A value is looked for in three layers, the first that has it wins:

1. the environment, ``VPND_<SECTION>__<KEY>``;
2. a systemd credential, a file ``<section>.<key>`` in ``$CREDENTIALS_DIRECTORY``;
3. the TOML document.

In each layer a secret may also be given as ``<key>_file``, the path of a file that holds it. Nothing here
raises for a wrong value: a fault is noted and reading goes on, so that an operator mends the whole file in
one go.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import attrs

from vpnd.config.kinds import Kind, RefusalError, Secret, did_you_mean

T = TypeVar("T")

_KEY: Final = "vpnd.key"
#: Where the credentials stand among the layers, of which the first is the strongest.
CREDENTIALS: Final = 1
ENV_PREFIX: Final = "VPND_"
ENV_SEPARATOR: Final = "__"
# A credential is read whole; systemd allows 1 MB for all of a unit's, a token needs less than one page.
MAX_SECRET_FILE: Final = 64 * 1024


@attrs.frozen
class Fault:
    """One thing wrong with the configuration.

    `key` is the dotted path an operator looks for, `value_masked` what was found there (``""`` when nothing
    was; never a secret), `message` what is allowed instead, and `source` where the value came from.
    """

    key: str
    value_masked: str
    message: str
    source: str = ""


class ConfigError(Exception):
    """The configuration has faults; `faults` holds every one of them, `render` the text for people."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults: list[Fault] = list(faults)
        super().__init__(self.render())

    def render(self) -> str:
        """Return all faults as readable text, one paragraph a fault, without any secret."""
        count = len(self.faults)
        lines = [f"The configuration has {count} fault{'' if count == 1 else 's'}:"]
        for fault in self.faults:
            found = f" = {fault.value_masked}" if fault.value_masked else ""
            source = f"   ({fault.source})" if fault.source else ""
            lines += ["", f"  {fault.key}{found}{source}", f"      {fault.message}"]
        return "\n".join(lines)


@attrs.frozen
class Key:
    """What is known of one settings key beside its value."""

    kind: Kind
    doc: str
    secret: bool = False
    needed_by: tuple[str, ...] = ()
    nested: type | None = None
    nested_name: str = ""  # the key that names a table; "<name>" when the name stands in the table's heading
    shown_default: str | None = None


def key(
    kind: Kind,
    doc: str,
    default: Any = attrs.NOTHING,
    *,
    secret: bool = False,
    needed_by: Sequence[str] = (),
    shown_default: str | None = None,
    hide: Callable[[Any], str] | None = None,
) -> Any:
    """Declare a settings key: an attrs field that carries its `Key`.

    `needed_by` names the roles that cannot start without it. `shown_default` is the reference page's wording
    where the default is worked out while reading. `hide` renders the value in a ``repr``.
    """
    return attrs.field(
        default=default,
        repr=hide or True,
        metadata={_KEY: Key(kind, doc, secret, tuple(needed_by), shown_default=shown_default)},
    )


def tables(nested: type, nested_name: str, doc: str, default: Any) -> Any:
    """Declare a key that holds several tables of one class, each known by its `nested_name` key."""
    kind = Kind("tables", lambda value, _textual: value)
    return attrs.field(
        default=default, metadata={_KEY: Key(kind, doc, nested=nested, nested_name=nested_name)}
    )


def keys_of(cls: type) -> dict[str, Key]:
    """Return the declared keys of a settings class, in the order they are written."""
    return {field.name: field.metadata[_KEY] for field in attrs.fields(cls) if _KEY in field.metadata}


@attrs.frozen
class _Raw:
    """A value as it was found. `textual` values come from the environment or a file and are read as text."""

    value: Any
    source: str
    textual: bool = True


Layer = Mapping[str, Any]
_ABSENT: Final = object()
_UNREADABLE: Final = _Raw("", "")


class Reader:
    """Reads settings classes out of the three layers and gathers faults.

    `document` is the parsed TOML, `document_name` how faults call it, `base` the folder of relative paths.
    """

    def __init__(
        self, document: Layer, document_name: str, base: Path, environ: Mapping[str, str], role: str
    ) -> None:
        self.faults: list[Fault] = []
        self.role = role
        self._name = document_name
        self._base = base
        self.document = _leaves(document, document_name)
        self.environment = _environment_tree(environ)
        self.credentials = self._credentials(environ.get("CREDENTIALS_DIRECTORY"))

    def fault(self, key_path: str, message: str, raw: _Raw | None = None, *, secret: bool = False) -> None:
        """Note a fault of `key_path`; the value found is shown unless it is a secret."""
        shown = "" if raw is None else _masked(raw.value, secret=secret)
        self.faults.append(Fault(key_path, shown, message, "" if raw is None else raw.source))

    def table(self, layer: Layer, name: str, key_path: str) -> Layer:
        """Return the table `name` of a layer, empty when absent; a fault when it is something else."""
        found = layer.get(name, {})
        if isinstance(found, Mapping):
            return found
        self.fault(
            key_path,
            "must be a table" if isinstance(found, _Raw) else "must be one table, not several",
            _first(found),
        )
        return {}

    def section(self, cls: type[T], name: str) -> T:
        """Read the section `name`. Keys in fault are left at their default, so that reading can go on."""
        layers = [
            self.table(layer, name, name) for layer in (self.environment, self.credentials, self.document)
        ]
        return self.build(cls, name, layers)

    def build(self, cls: type[T], key_path: str, layers: Sequence[Layer], **given: Any) -> T:
        """Build one object of `cls` out of layers, the strongest first; `given` are fields known already."""
        declared = keys_of(cls)
        values: dict[str, Any] = dict(given)
        for name, item in declared.items():
            if name in given:
                continue
            if item.nested is not None:
                values[name] = self.nested(
                    item, f"{key_path}.{name}", [layer.get(name, {}) for layer in layers]
                )
                continue
            found = self._value(name, item, f"{key_path}.{name}", layers)
            if found is not _ABSENT:
                values[name] = found
        self._unknown(key_path, declared, layers)
        for field in attrs.fields(cast("type[attrs.AttrsInstance]", cls)):
            if field.default is attrs.NOTHING and field.name not in values:
                values[field.name] = Secret("") if declared[field.name].secret else _hollow(field.type)
        return cls(**values)

    def nested(self, item: Key, key_path: str, layers: Sequence[Any]) -> Any:
        """Read tables known by a name: ``[[nodes]]`` as a tuple, ``[workers.<name>]`` as a dict.

        A hyphen cannot stand in a variable's name, so names are compared with hyphens and underscores as one.
        """
        nested = cast("type[Any]", item.nested)
        in_table = not item.nested_name.startswith("<")
        merged: dict[str, list[Layer]] = {}
        labels: dict[str, str] = {}
        for strength in reversed(range(len(layers))):  # the document first: its order and spelling are kept
            for label, table in self._labelled(
                layers[strength], item.nested_name if in_table else "", key_path
            ):
                folded = label.lower().replace("-", "_")
                row = merged.setdefault(folded, [{} for _ in layers])
                if row[strength]:
                    self.fault(f"{key_path}.{label}", "is there twice")
                    continue
                row[strength] = table
                labels.setdefault(folded, label if strength == len(layers) - 1 else label.replace("_", "-"))
        # A secret for what nobody configures opens nothing and is no fault: a node was removed, say, and systemd hands its token
        # over until the next start.
        merged = {
            folded: row
            for folded, row in merged.items()
            if not row[CREDENTIALS] or any(table for table in row if table is not row[CREDENTIALS])
        }
        if not in_table:
            return {name: self.build(nested, f"{key_path}.{name}", row) for name, row in merged.items()}
        built: list[Any] = []
        for folded, row in merged.items():
            named = {item.nested_name: _Raw(labels[folded], self._name, textual=False)}
            built.append(
                self.build(nested, f"{key_path}.{labels[folded]}", [*row[:-1], {**row[-1], **named}])
            )
        return tuple(built)

    def _labelled(self, layer: Any, name_key: str, key_path: str) -> list[tuple[str, Layer]]:
        """Return the (name, table) pairs of one layer, with a fault for each that has no name."""
        pairs: list[tuple[str, Layer]] = []
        if isinstance(layer, Mapping) and not any(
            name_key and isinstance(below, _Raw) for below in layer.values()
        ):
            for label, table in layer.items():
                if isinstance(table, Mapping):
                    pairs.append((label, table))
                else:
                    self.fault(f"{key_path}.{label}", "must be a table", _first(table))
            return pairs
        if not isinstance(layer, list):
            if not (isinstance(layer, _Raw) and layer.value == []):
                self.faults.append(Fault(key_path, "", f"must be several tables, [[{key_path}]]", self._name))
            return []
        for position, table in enumerate(layer, 1):
            label = table.get(name_key)
            if isinstance(label, _Raw) and isinstance(label.value, str) and label.value:
                pairs.append((label.value, table))
            else:
                self.fault(
                    f"{key_path}[{position}].{name_key}",
                    "is missing: each of these tables needs a name of its own",
                )
        return pairs

    def _value(self, name: str, item: Key, key_path: str, layers: Sequence[Layer]) -> Any:
        raw = self._strongest(name, item, key_path, layers)
        if raw is _UNREADABLE:
            return _ABSENT  # told already
        value: Any = _ABSENT
        if raw is not None:
            try:
                value = item.kind.parse(raw.value, raw.textual)
            except RefusalError as error:
                # An empty variable is the usual way to unset one.
                if not (raw.textual and raw.value == ""):
                    self.fault(key_path, str(error), raw, secret=item.secret)
                    return _ABSENT
        if value is _ABSENT:
            if self.role in item.needed_by:
                self.fault(key_path, f"is missing. {item.doc}")
            return _ABSENT
        if isinstance(value, Path):
            return value if str(value).startswith("/") else self._base / value
        return Secret(value) if item.secret else value

    def _strongest(self, name: str, item: Key, key_path: str, layers: Sequence[Layer]) -> _Raw | None:
        """Return the raw value of the strongest layer that has one, following ``<key>_file`` for a secret."""
        for layer in layers:
            found, file = layer.get(name), layer.get(f"{name}_file") if item.secret else None
            if found is not None and not isinstance(found, _Raw):
                found = _Raw(_plain(found), self._name, textual=False)
            if isinstance(file, _Raw):
                if found is not None:
                    self.fault(f"{key_path}_file", f"and {name} are both set: keep one of them", file)
                    return found
                return self._secret_file(f"{key_path}_file", file)
            if found is not None:
                return found
        return None

    def _secret_file(self, key_path: str, raw: _Raw) -> _Raw:
        place = self._base / str(raw.value)
        try:
            return _Raw(_read_secret(place), f"file {place}")
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            self.fault(key_path, f"cannot be read: {reason}", raw)
            return _UNREADABLE

    def _unknown(self, key_path: str, declared: Mapping[str, Key], layers: Sequence[Layer]) -> None:
        allowed = [*declared, *(f"{name}_file" for name, item in declared.items() if item.secret)]
        for layer in layers:
            for name, found in layer.items():
                if name not in allowed:
                    self.unknown(f"{key_path}.{name}", name, allowed, found)

    def unknown(self, key_path: str, name: str, allowed: Sequence[str], found: Any) -> None:
        """Note a key nobody reads, with the nearest one that is; its value stays unshown."""
        raw = _first(found)
        source = "" if raw is None else raw.source
        self.faults.append(Fault(key_path, "", f"is not a known key{did_you_mean(name, allowed)}", source))

    def _credentials(self, directory: str | None) -> dict[str, Any]:
        """Read $CREDENTIALS_DIRECTORY; names without a dot belong to someone else and are left alone."""
        tree: dict[str, Any] = {}
        if not directory:
            return tree
        try:
            places = sorted(Path(directory).iterdir())
        except OSError as error:
            self.fault(
                "$CREDENTIALS_DIRECTORY", f"cannot be read: {error.strerror}", _Raw(directory, "environment")
            )
            return tree
        for place in places:
            if "." not in place.name.strip(".") or place.name.startswith("."):
                continue
            try:
                value = _read_secret(place)
            except (OSError, ValueError) as error:
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                self.fault(place.name, f"the credential cannot be read: {reason}")
                continue
            _plant(tree, place.name.split("."), _Raw(value, f"credential {place.name}"))
        return tree


def _hollow(annotation: Any) -> Any:
    """Return a value that only holds the place of a required key until its fault is raised."""
    return () if "tuple" in str(annotation) else "" if annotation is str else None


def _read_secret(place: Path) -> str:
    with place.open("rb") as stream:
        data = stream.read(MAX_SECRET_FILE + 1)
    if len(data) > MAX_SECRET_FILE:
        raise ValueError(f"is larger than {MAX_SECRET_FILE} bytes")
    try:
        return data.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def _leaves(document: Any, source: str) -> Any:
    """Wrap the plain values of a TOML document, so that each remembers where it stood."""
    if isinstance(document, Mapping):
        return {name: _leaves(value, source) for name, value in document.items()}
    if isinstance(document, list) and document and all(isinstance(item, Mapping) for item in document):
        return [_leaves(item, source) for item in document]
    return _Raw(document, source, textual=False)


def _environment_tree(environ: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for variable in sorted(environ):
        parts = variable.removeprefix(ENV_PREFIX).lower().split(ENV_SEPARATOR)
        if variable.startswith(ENV_PREFIX) and len(parts) > 1 and all(parts):
            _plant(tree, parts, _Raw(environ[variable], f"environment {variable}"))
    return tree


def _plant(tree: dict[str, Any], parts: Sequence[str], leaf: _Raw) -> None:
    for part in parts[:-1]:
        below = tree.setdefault(part, {})
        if not isinstance(below, dict):
            return  # the shorter name is already a value; it will be reported as what it is
        tree = below
    tree[parts[-1]] = leaf


def _plain(found: Any) -> Any:
    """Undo `_leaves`, to name the type of a table that stands where a value belongs."""
    if isinstance(found, _Raw):
        return found.value
    if isinstance(found, Mapping):
        return {name: _plain(value) for name, value in found.items()}
    return [_plain(value) for value in found]


def _first(found: Any) -> _Raw | None:
    """Return some leaf below `found`, for its source."""
    if isinstance(found, _Raw):
        return found
    below = found.values() if isinstance(found, Mapping) else found
    return next((leaf for leaf in map(_first, below) if leaf is not None), None)


def _masked(value: Any, *, secret: bool) -> str:
    if secret:
        return f"*** ({len(str(value))} characters)"
    if isinstance(value, str) and "://" in value and "@" in value:
        return re.sub(r"//[^/@]*@", "//***@", f'"{value}"')
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
