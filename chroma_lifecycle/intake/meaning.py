"""How two mappings differ: facts that were made under one meaning do not join those of another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Return what changed from one :attr:`TableMapping.meaning` to another, a line for each change.

    A line names the place as the file nests it (``rules: label: set: words: ...``).
    """
    return [f"{': '.join(place)}: {change}" for place, change in _changes((), old, new)]


def _changes(place: tuple[str, ...], old: object, new: object) -> Iterator[tuple[tuple[str, ...], str]]:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        if _spelt(old) != _spelt(new):
            yield place, f"was {_spelt(old)}, is {_spelt(new)}"
        return
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            yield (*place, name), f"was {_spelt(old[name])}, is gone"
        elif name not in old:
            yield (*place, name), f"is new: {_spelt(new[name])}"
        else:
            yield from _changes((*place, name), old[name], new[name])


def _spelt(part: object) -> str:
    return json.dumps(part, ensure_ascii=False, sort_keys=True)
