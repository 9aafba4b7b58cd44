"""The published schemas of what ``--json`` prints, docs/schemas, and a check of an output against them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
WHAT_TO_DO = (
    "write docs/schemas/{file}, closed and described like the others, "
    "and let the command's section in docs/cli.md lead to it (CONTRIBUTING.md, 'A command with --json')"
)


def path_of(name: str) -> Path:
    """Return where the schema of a command's output is, or of ``error``."""
    return SCHEMAS / f"{name.replace(' ', '-')}.json"


@cache
def _registry() -> Registry[Any]:
    read = {path.name: json.loads(path.read_text("utf-8")) for path in SCHEMAS.glob("*.json")}
    return Registry().with_resources((name, Resource.from_contents(schema)) for name, schema in read.items())


def problems(name: str, value: Any) -> list[str]:
    """Return how *value* differs from what the schema of *name* says."""
    path = path_of(name)
    if not path.exists():
        return [f"`{name}` prints JSON and has no schema: {WHAT_TO_DO.format(file=path.name)}"]
    validator = Draft202012Validator(json.loads(path.read_text("utf-8")), registry=_registry())
    return [
        f"{name}: {error.json_path}: {error.message}; docs/schemas/{path.name} says otherwise"
        for each in validator.iter_errors(value)
        for error in (each.context or [each])
    ]
