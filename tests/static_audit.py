"""The static half of the audit: what can be seen in the source of what must not happen.

Four rules, each a function from parsed modules to findings:

- `blocking`: no call that blocks the thread stands in an `async def`, neither itself nor by a plain function of ours that makes
  one. What is known to block is listed (`BLOCKING`): sleeping, files, processes, sockets, look-ups, `requests`, key derivation.
  Not decidable and not judged: computation (the length of a loop, `json` of a long list); the running daemon's record has those.
- `unbounded`: every SELECT that is handed to a `fetch…` has a LIMIT, or is one row by an aggregate, or by equality with a unique
  key (read from the migrations), or is bounded by the list of keys that it is given (`= any($1)`, `unnest`). Those that write
  and return are judged likewise. What is no constant is a finding of its own.
- `held_calls`: nothing that waits for the network or a clock is awaited inside a transaction scope: the body of
  `async with ….transaction(…)`, and every function that takes a `Transaction`.
- `bare_bridges`: asyncio, asyncpg and trio_asyncio are used in `vpnd/database` only.

A statement is judged by its words: a LIMIT in a subquery counts, and what is joined to one row by its key is taken as bounded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from attrs import define, field, frozen

ROOT = Path(__file__).parent.parent

#: Readers that are given their statement when they are made.
LOADERS = ("vpnd.database.coalesce.Loader", "vpnd.database.coalesce.RowsLoader")


@frozen
class Finding:
    """A place that breaks a rule; `place` names module and function, and does not move when lines do."""

    place: str
    line: int
    what: str

    def within(self, place: str) -> bool:
        """Whether it is in that function, class or module."""
        return f"{self.place}.".startswith(f"{place}.")

    def __str__(self) -> str:
        return f"{self.place}, line {self.line}: {self.what}"


@define
class Module:
    """A parsed module: its dotted name, its tree, its string constants, and where imported names come from."""

    name: str
    tree: ast.Module
    constants: dict[str, str | None] = field(factory=dict)
    imports: dict[str, str] = field(factory=dict)
    others: Mapping[str, Module] = field(factory=dict)

    @classmethod
    def parse(cls, name: str, text: str) -> Module:
        module = cls(name, ast.parse(text))
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    module.imports[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    module.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        for statement in module.tree.body:
            target: ast.expr | None = None
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target = statement.targets[0]
            elif isinstance(statement, ast.AnnAssign):
                target = statement.target
            value = getattr(statement, "value", None)
            if isinstance(target, ast.Name) and value is not None:
                module.constants[target.id] = module.text(value, {})
        return module

    def text(self, node: ast.expr, local: Mapping[str, str | None]) -> str | None:
        """Return the text of an expression when it is a constant, else None; placeholders of unknown values become `?`."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            if node.id in local or node.id in self.constants:
                return local.get(node.id, self.constants.get(node.id))
            home, _, name = self.imports.get(node.id, "").rpartition(".")
            return self.others[home].constants.get(name) if home in self.others else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.text(node.left, local), self.text(node.right, local)
            return None if left is None or right is None else left + right
        if isinstance(node, ast.JoinedStr):
            parts = []
            for value in node.values:
                inner = value.value if isinstance(value, ast.FormattedValue) else value
                parts.append(self.text(inner, local) or "?")
            return "".join(parts)
        if isinstance(node, ast.IfExp):
            return self.text(node.body, local)
        return None

    def dotted(self, node: ast.expr) -> str | None:
        """Return the full name that a call goes to, with imports resolved: `time.sleep`, `self._read`."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return f"?.{'.'.join(reversed(parts))}" if parts else None
        first = self.imports.get(node.id, node.id)
        return ".".join([first, *reversed(parts)])


def package(root: Path = ROOT / "vpnd", *, without: tuple[str, ...] = ("sandbox",)) -> list[Module]:
    """Parse the package; the sandbox is a world of its own, in processes of its own."""
    found = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root.parent)
        if relative.parts[1] not in without and not path.stem.endswith("_pb2"):
            name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            found.append(Module.parse(name, path.read_text("utf-8")))
    by_name = {module.name: module for module in found}
    for module in found:
        module.others = by_name
    return found


FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: Module) -> Iterator[tuple[str, str | None, FunctionNode]]:
    """Yield every function with its path in the module and the class it is a method of."""
    for path, owner, chain in nested_functions(module):
        yield path, owner, chain[-1]


def nested_functions(module: Module) -> Iterator[tuple[str, str | None, tuple[FunctionNode, ...]]]:
    """Yield every function likewise, behind the functions that it stands in."""

    def walk(
        node: ast.AST, path: tuple[str, ...], owner: str | None, chain: tuple[FunctionNode, ...]
    ) -> Iterator[tuple[str, str | None, tuple[FunctionNode, ...]]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield ".".join((*path, child.name)), owner, (*chain, child)
                yield from walk(child, (*path, child.name), owner, (*chain, child))
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, (*path, child.name), child.name, chain)
            elif not isinstance(
                child, ast.expr
            ):  # in which no function is defined, and which are most of a tree
                yield from walk(child, path, owner, chain)

    yield from walk(module.tree, (), None, ())


@cache
def own_nodes(function: ast.AST) -> tuple[ast.AST, ...]:
    """Return the nodes of a function's body, without those of functions and lambdas inside it: they run elsewhere."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        found.append(node)
        waiting.extend(ast.iter_child_nodes(node))
    return tuple(found)


# --- blocking calls --------------------------------------------------------------------------------------------------------

#: Full names that block.
BLOCKING = re.compile(
    r"time\.sleep|open|io\.open|input"
    r"|os\.(open|read|write|fsync|fdatasync|stat|lstat|listdir|scandir|walk|remove|unlink|rename|replace|mkdir|makedirs|rmdir"
    r"|chmod|chown|link|symlink|readlink|truncate|system|popen|wait\w*|kill|statvfs|utime)"
    r"|os\.path\.(exists|isfile|isdir|getsize|getmtime|realpath)"
    r"|subprocess\.\w+|shutil\.(copy\w*|move|rmtree|which|disk_usage)|tempfile\.\w+"
    r"|socket\.(socket|create_connection|getaddrinfo|gethostbyname\w*|getfqdn)"
    r"|urllib\.request\.\w+|requests(\.\w+)+|httpx\.(get|post|put|delete|request|create_ssl_context|Client)"
    r"|ssl\.create_default_context|hashlib\.(pbkdf2_hmac|scrypt|file_digest)|sqlite3\.\w+|psutil\.\w+|threading\.Event\.wait"
)  # fmt: skip
#: Methods that block whatever they are called on: those of `pathlib.Path`, whose names nothing else has.
PATH_METHODS = frozenset(
    [
        "read_text",
        "write_text",
        "read_bytes",
        "write_bytes",
        "unlink",
        "rmdir",
        "mkdir",
        "touch",
        "iterdir",
        "glob",
        "rglob",
        "lstat",
        "exists",
        "is_file",
        "is_dir",
        "is_socket",
        "chmod",
        "readlink",
        "symlink_to",
        "hardlink_to",
        "resolve",
        "samefile",
    ]
)


def _blocks(module: Module, call: ast.Call) -> str | None:
    """Return what blocks in a call that is known to."""
    name = module.dotted(call.func)
    if name is None:
        return None
    if BLOCKING.fullmatch(name):
        return name
    if name.startswith("trio.") or ".trio." in name:
        return None
    last = name.rpartition(".")[2]
    return name if isinstance(call.func, ast.Attribute) and last in PATH_METHODS else None


def _calls(function: FunctionNode) -> list[ast.Call]:
    """The calls of a function that are made then and there: one that is awaited gives way, whatever its name."""
    awaited = {id(node.value) for node in own_nodes(function) if isinstance(node, ast.Await)}
    return [node for node in own_nodes(function) if isinstance(node, ast.Call) and id(node) not in awaited]


def blocking(modules: list[Module]) -> list[Finding]:
    """Find blocking calls in async code; a plain function of ours that makes one counts as one where it is called."""
    #: Of each function: its place, whether it is async, and its calls as (target, what blocks in it, line).
    seen = [
        (
            f"{module.name}.{path}",
            isinstance(function, ast.AsyncFunctionDef),
            [(_target(module, owner, call), _blocks(module, call), call.lineno) for call in _calls(function)],
        )
        for module in modules
        for path, owner, function in functions(module)
    ]
    known: dict[str, str] = {}
    while True:
        fresh = {
            place: reason
            for place, is_async, calls in seen
            if not is_async and place not in known
            if (
                reason := next(
                    (why for target, own, _ in calls if (why := own or known.get(target or ""))), None
                )
            )
        }
        if not fresh:
            break
        known.update(fresh)
    found = []
    for place, is_async, calls in seen:
        for target, own, line in calls if is_async else ():
            if own:
                found.append(Finding(place, line, f"{own} blocks"))
            elif target in known:
                found.append(Finding(place, line, f"{target} blocks, by {known[target]}"))
    return found


def _target(module: Module, owner: str | None, call: ast.Call) -> str | None:
    """Return the full name of the function of ours that a call goes to, as far as that can be told."""
    name = module.dotted(call.func)
    if name is None:
        return None
    if name.startswith("self.") and owner is not None and name.count(".") == 1:
        return f"{module.name}.{owner}.{name.removeprefix('self.')}"
    return name if "." in name else f"{module.name}.{name}"


# --- unbounded reads -------------------------------------------------------------------------------------------------------

_FETCHES = frozenset({"fetch", "fetchrow", "fetchval", "write"})
_TABLE = re.compile(
    r"create\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?(\w+)\s*\((.*?)\);", re.IGNORECASE | re.DOTALL
)
_UNIQUE_INDEX = re.compile(r"create\s+unique\s+index\s+\w+\s+on\s+(\w+)\s*\(([^()]+)\)", re.IGNORECASE)


Keys = Mapping[str, set[tuple[str, ...]]]


def unique_keys(folder: Path = ROOT / "vpnd" / "database" / "migrations") -> Keys:
    """Return the unique keys of each table, every one as its columns in order of their names."""
    keys: dict[str, set[tuple[str, ...]]] = {}
    for path in sorted(folder.glob("*.sql")):
        text = re.sub(r"--[^\n]*", "", path.read_text("utf-8"))
        for table, body in _TABLE.findall(text):
            of_table = keys.setdefault(table, set())
            for line in re.split(r",\s*\n|\n", body):
                words = line.split()
                if words and re.search(r"\b(primary key|unique)\b(?!\s*\()", line, re.IGNORECASE):
                    of_table.add((words[0],))
                for columns in re.findall(r"(?:primary key|unique)\s*\(([^)]*)\)", line, re.IGNORECASE):
                    of_table.add(_columns(columns))
        for table, columns in _UNIQUE_INDEX.findall(text):
            keys.setdefault(table, set()).add(_columns(columns))
    return keys


def _columns(text: str) -> tuple[str, ...]:
    return tuple(sorted(column.strip() for column in text.split(",")))


#: A table with its alias, where a statement reads or changes it.
_MENTION = re.compile(
    r"(?=(?:\bfrom|\bjoin|\bupdate|\binto|,)\s+(\w+)(?:\s+(?:as\s+)?(?!(?:where|set|on|order|left|join|cross|group|limit"
    r"|for|using|values|returning|inner)\b)(\w+))?)"
)


def _keyed(text: str, keys: Keys) -> bool:
    """Tell whether a table of the statement is asked for by a unique key, each column equal to a parameter."""
    for table, alias in _MENTION.findall(text):
        prefix = rf"(?:(?<![.\w])|\b(?:{table}{f'|{alias}' if alias else ''})\.)"
        for key in keys.get(table, ()):
            if all(re.search(rf"{prefix}{re.escape(column)}\s*=\s*\$\d+", text) for column in key):
                return True
    return False


_AGGREGATE = re.compile(
    r"\s*(?:with\b.*\)\s*)?select\s+(?:coalesce\s*\(\s*)?(count|sum|min|max|bool_or|bool_and|exists|avg|jsonb_agg|array_agg)\b",
    re.IGNORECASE | re.DOTALL,
)


def bounded(sql: str, keys: Keys) -> bool:
    """Tell whether a statement returns a number of rows that does not grow with its tables."""
    text = re.sub(r"--[^\n]*", " ", sql)
    text = re.sub(r"\s+", " ", text).strip().lower()
    if not re.search(r"\b(from|update|into|returning)\b", text):
        return True  # a value
    if re.search(r"\blimit\b|\bfetch first\b", text):
        return True
    if text.startswith("insert") and re.search(r"\bvalues\s*\(", text):
        return True
    if _AGGREGATE.match(text) and not re.search(r"\bgroup by\b", text):
        return True
    if re.search(r"=\s*any\s*\(\s*\$\d+|\bunnest\s*\(\s*\$\d+|\bjsonb_to_recordset\s*\(\s*\$\d+", text):
        return True
    if re.search(r"\bonly_row\b|\baccess_head\b|\bpg_\w+\(", text):
        return True  # tables of one row, and the server's own functions
    return _keyed(text, keys)


def unbounded(modules: list[Module], keys: Keys) -> list[Finding]:
    """Find statements handed to a fetch that nothing bounds, and those that are no constants."""
    found = []
    for module in modules:
        for path, _owner, chain in nested_functions(module):
            function, local = chain[-1], _local_constants(module, chain)
            for call in (node for node in own_nodes(function) if isinstance(node, ast.Call)):
                statement = _statement(module, call, local)
                if statement is None:
                    continue
                sql, shown = statement
                place = f"{module.name}.{path}"
                if sql is None:
                    found.append(Finding(place, call.lineno, f"the statement is no constant: {shown}"))
                elif not bounded(sql, keys):
                    found.append(Finding(place, call.lineno, f"nothing bounds: {' '.join(sql.split())[:90]}"))
    return found


def _local_constants(module: Module, chain: tuple[FunctionNode, ...]) -> dict[str, str | None]:
    """The string constants that a function, and those around it, assign."""
    local: dict[str, str | None] = {}
    for function in chain:
        for node in own_nodes(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                local[node.targets[0].id] = module.text(node.value, local)
    return local


def _statement(
    module: Module, call: ast.Call, local: Mapping[str, str | None]
) -> tuple[str | None, str] | None:
    """Return the statement of a fetch and how it is written; None for a call that is none."""
    func = call.func
    if isinstance(func, ast.Attribute) and func.attr in _FETCHES:
        owner = (module.dotted(func.value) or "?").rpartition(".")[2].lower()
        if not re.search(r"(^|_)(db|tx|database|source|connection|transaction)$", owner):
            return None
    elif (
        isinstance(func, ast.Name) and module.imports.get(func.id, "").startswith("vpnd.shop.source.fetch")
    ) or (isinstance(func, ast.Name) and module.imports.get(func.id, "") in LOADERS):
        pass
    else:
        return None
    texts = [(module.text(argument, local), argument) for argument in call.args[:3]]
    for text, _ in texts:
        if text is not None and re.match(
            r"\s*(--[^\n]*\n\s*)*(select|with|insert|update|delete|values)\b", text, re.IGNORECASE
        ):
            return text, text
    if any(isinstance(argument, ast.Starred) for argument in call.args) and not texts:
        return None
    names = [ast.unparse(argument) for text, argument in texts if text is None]
    return None, (names[-1] if names else ast.unparse(call))[:60]


# --- calls inside a scope --------------------------------------------------------------------------------------------------

#: Names of things that talk to the world, as they are called in this package.
_WORLD = re.compile(
    r"(^|\.)_?(http|sender|bot|telegram|client|provider|desk|cryptopay|yookassa|account|courier)(\.|$)",
    re.IGNORECASE,
)
_WORLD_TYPES = re.compile(
    r"\b(HttpClient|NodeClient|Sender|TrioBot|Provider|StarsAccount|PaymentDesk|Tell)\b"
)
_CLOCKS = re.compile(r"trio\.(sleep\w*|open_tcp_stream|open_unix_socket|run_process|open_process)|httpx\.\w+")


def held_calls(modules: list[Module]) -> list[Finding]:
    """Find awaits of the network, or of a clock, inside transaction scopes."""
    found = []
    for module in modules:
        for path, _owner, function in functions(module):
            place = f"{module.name}.{path}"
            world = {
                argument.arg
                for argument in (*function.args.args, *function.args.kwonlyargs)
                if argument.annotation is not None and _WORLD_TYPES.search(ast.unparse(argument.annotation))
            }
            scopes: list[ast.AST] = []
            if _takes_transaction(function):
                scopes.append(function)
            for node in own_nodes(function):
                if isinstance(node, ast.AsyncWith) and any(
                    _opens_scope(item.context_expr) for item in node.items
                ):
                    scopes += node.body
            for scope in scopes:
                for node in [scope, *own_nodes(scope)]:
                    if isinstance(node, ast.Await) and isinstance(node.value, ast.Call):
                        name = module.dotted(node.value.func) or ""
                        first = name.partition(".")[0]
                        if (
                            first in world
                            or _CLOCKS.fullmatch(name)
                            or _WORLD.search(name.rpartition(".")[0])
                        ):
                            found.append(Finding(place, node.lineno, f"{name} is awaited inside a scope"))
    return found


def _opens_scope(expression: ast.expr) -> bool:
    return (
        isinstance(expression, ast.Call)
        and isinstance(expression.func, ast.Attribute)
        and expression.func.attr == "transaction"
    )


def _takes_transaction(function: FunctionNode) -> bool:
    """Whether a function is given an open scope, always: one that takes a database or a scope opens its own."""
    return any(
        argument.annotation is not None and ast.unparse(argument.annotation) == "Transaction"
        for argument in (*function.args.args, *function.args.kwonlyargs)
    )


# --- the bridge ------------------------------------------------------------------------------------------------------------

_BRIDGE = frozenset({"asyncio", "asyncpg", "trio_asyncio"})


def bare_bridges(modules: list[Module]) -> list[Finding]:
    """Find uses of the asyncio side outside of the one room that bridges it."""
    found = []
    for module in modules:
        if module.name.startswith("vpnd.database"):
            continue
        for node in ast.walk(module.tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Attribute):
                names = [node.attr]
            for name in names:
                if name.partition(".")[0] in _BRIDGE or name in ("aio_as_trio", "trio_as_aio"):
                    found.append(Finding(module.name, node.lineno, f"{name} outside of vpnd/database"))
    return found
