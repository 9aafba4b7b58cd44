"""Write ``docs/library.md`` and ``docs/settings.md`` from the code's own docstrings, as griffe reads them.

With ``--check`` nothing is written; the exit code says whether the pages are what the code says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parent.parent
LIBRARY, SETTINGS = ROOT / "docs" / "library.md", ROOT / "docs" / "settings.md"
GROUPS = {
    "Closing Chroma": ["close_client", "CloseReport"],
    "Reading what is published": ["SnapshotReader", "ReadCollection", "ReadClient", "ReaderStatus"],
    "Producing deltas": ["Producer", "DeltaWriter"],
    "The mapping": ["load_mapping"],
}
"""Where each stable name stands; what is in no group is an error of the tree."""
_MORE = {
    "Closing Chroma": "[What closing means, and what does not work](closing.md).",
    "Reading what is published": "[How it behaves, and recipes](reading.md).",
    "Producing deltas": "[How](producing.md).",
    "The mapping": "[The language](mapping.md).",
    "Errors": "[Each one seen, and what to do](errors.md). All have `message` and `hint`.",
}
_LIBRARY = """\
# The library

These names stay: `from chroma_lifecycle import close_client`, and so on. Each is imported when it is first asked for:
`import chroma_lifecycle` itself takes no time and loads no Chroma. All of it has types. What is imported from deeper
modules may move. This page is made from the docstrings by `scripts/reference.py`.
"""
_SETTINGS = """\
# Settings

Environment variables of the function and the command line, where an option stands above its variable. A variable that
begins with `CHROMA_LIFECYCLE_` and is none of these is refused by the function, with the name that was meant; so is a
value out of bounds. Credentials, region and endpoint are those of the AWS SDK. Made by `scripts/reference.py`;
[what the template sets them to](deploy.md#settings-of-the-function).

| variable | option | default | meaning |
|---|---|---|---|
"""
_DEFAULTS = {
    "DEFAULT_WORKSPACE": "`chroma-lifecycle` in the directory for temporary files",
    "DEFAULT_TAIL_BUDGET": "`500`",
    "None": "none",
    "()": "none",
    "": "required",
}


def package() -> Any:
    """Return the library as griffe reads it, without importing it."""
    return griffe.load("chroma_lifecycle", search_paths=[str(ROOT)], docstring_parser="google")


def library() -> str:
    """Return the page of the stable names."""
    found = package()
    names = [str(each).strip("'\"") for each in found["__all__"].value.elements]
    grouped = {name for group in GROUPS.values() for name in group}
    groups = {**GROUPS, "Errors": [name for name in names if name not in grouped]}
    lines = [_LIBRARY]
    for title, group in groups.items():
        lines += [f"## {title}", "", _MORE[title], ""]
        for name in group:
            lines += [*_entry(f"### `{name}`", name, found[name].final_target), ""]
    return "\n".join(lines).rstrip() + "\n"


def _entry(heading: str, name: str, thing: Any) -> Iterator[str]:
    """Yield what a class, function or method is: its signature, its docstring, and its public methods."""
    yield heading
    yield ""
    if thing.is_function or _is_made_by_users(thing):
        yield f"```text\n{_signature(name, thing)}\n```"
        yield ""
    yield from _docstring(thing, parameters=thing.is_function or _is_made_by_users(thing))
    for member, method in thing.members.items():
        if thing.is_class and not member.startswith("_") and method.is_function and _promises(method):
            shown = f"{name}.{member}"
            yield ""
            yield from _entry(f"#### `{shown}`", shown, method)


def _promises(method: Any) -> bool:
    """Return whether a method is there to be called: one that only refuses is not."""
    return bool(method.docstring) and str(method.returns) != "NoReturn"


def _is_made_by_users(thing: Any) -> bool:
    """Return whether a class is called: what has an `open` is made by it, and some are only given."""
    private = any(re.search(r"\b_", str(each.annotation)) for each in thing.parameters)
    return ("__init__" in thing.members or "dataclass" in thing.labels) and "open" not in thing.members and not private


def _signature(name: str, thing: Any) -> str:
    parts = []
    parameters = [each for each in thing.parameters if each.name not in ("self", "cls") and each.name[0] != "_"]
    keyword_only = False
    for each in parameters:
        kind = each.kind.value if each.kind else ""
        if kind == "keyword-only" and not keyword_only:
            keyword_only = True
            parts.append("*")
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        keyword_only = keyword_only or stars == "*"
        default = f" = {each.default}" if each.default is not None and not stars else ""
        parts.append(f"{stars}{each.name}: {each.annotation}{default}" if each.annotation else f"{stars}{each.name}")
    given = f" -> {thing.returns}" if thing.is_function and thing.returns else ""
    line = f"{name}({', '.join(parts)}){given}"
    return line if len(line) <= 110 else f"{name}(\n    " + ",\n    ".join(parts) + f",\n){given}"


def _docstring(thing: Any, *, parameters: bool) -> Iterator[str]:
    for section in thing.docstring.parsed if thing.docstring else ():
        match section.kind.value:
            case "text":
                yield _linked(section.value)
            case "parameters" if not parameters:
                return
            case "parameters" | "attributes":
                yield ""
                yield from (f"- `{each.name}`: {_line(each.description)}" for each in section.value)
            case "raises":
                yield ""
                yield from (f"- raises `{each.annotation}`: {_line(each.description)}" for each in section.value)


def _line(text: str) -> str:
    return _linked(" ".join(text.split()))


def _linked(text: str) -> str:
    """Return a docstring's words in Markdown: no roles, code in single backquotes, no examples."""
    text = re.sub(r":\w+:`~?(?:chroma_lifecycle\.)?([^`]+)`", r"`\1`", text)
    return re.sub(r"::\n\n(?: {4}.*\n|\n)+", ".\n\n", text).replace("``", "`")


def settings() -> str:
    """Return the page of settings."""
    from chroma_lifecycle.config import COLLECTION_NAME, PREFIX
    from tests.support.commands import COMMANDS, options

    behind = {each.envvar: each.opts[0] for command in COMMANDS.values() for each in options(command) if each.envvar}
    of = package()["config"]["Settings"]
    told = {
        each.name: each.description
        for part in of.docstring.parsed
        if part.kind.value == "attributes"
        for each in part.value
    }
    rows = []
    for name, text in told.items():
        variable, default = PREFIX + name.upper(), str(of[name].value or "")
        option = f"`{behind[variable]}`" if variable in behind else ""
        shown = _DEFAULTS.get(default, f"`{default.strip(chr(39))}`")
        rows.append(f"| `{variable}` | {option} | {shown} | {_line(text)} |")
    about = "Which collection a command is about; the function serves all of its mapping."
    rows.append(f"| `{COLLECTION_NAME}` | `--collection` | the mapping's, if it has one alone | {about} |")
    return _SETTINGS + "\n".join(rows) + "\n"


def main() -> None:
    """Write the pages, or compare them."""
    pages = {LIBRARY: library(), SETTINGS: settings()}
    if "--check" in sys.argv[1:]:
        stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
        sys.exit(f"{', '.join(stale)}: stale; run python -m scripts.reference" if stale else None)
    for path, text in pages.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
