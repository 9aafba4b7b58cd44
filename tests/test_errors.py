"""The errors: each has a way out, survives another process, and belongs to a group with an exit code."""

from __future__ import annotations

import pickle
import re
from itertools import pairwise

import pytest

from chroma_lifecycle import errors
from chroma_lifecycle.cli.output import exit_code
from chroma_lifecycle.errors import LifecycleError

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LifecycleError)]
EXITS = {
    "LifecycleError": 3,
    "Retryable": 3,
    "HeadMoved": 3,
    "StoreUnavailable": 3,
    "ObjectMissing": 3,
    "NoTime": 3,
    "NoRoom": 3,
    "OutcomeUnknown": 3,
    "BadInput": 2,
    "Sharded": 2,
    "NotInitialised": 2,
    "NotOwned": 5,
    "NotClosed": 5,
    "Corrupt": 4,
    "Defect": 70,
}


@pytest.mark.parametrize("kind", CLASSES)
def test_the_hint_is_seen_wherever_the_error_is_printed(kind: type[LifecycleError]) -> None:
    """A message and a way out, both in str(); there is no error without a hint."""
    problem = kind("what happened", hint="what to do")

    assert "what happened (hint: what to do)" == str(problem)
    with pytest.raises(TypeError):
        kind("what happened")  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_crosses_to_another_process(kind: type[LifecycleError]) -> None:
    """Deltas are read in a child: its error arrives as the same class with the same hint."""
    problem = pickle.loads(pickle.dumps(kind("what happened", hint="what to do")))

    assert (kind, "what happened", "what to do") == (type(problem), problem.message, problem.hint)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_group_decides_the_exit_code(kind: type[LifecycleError]) -> None:
    """2: mend the input, 3: try again, 4: restore, 5: stop, 70: report it; a new class must be given one here."""
    assert EXITS[kind.__name__] == exit_code(kind("what happened", hint="what to do"))


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every class stands in it once, below its base, in the order of the code."""
    drawn = re.findall(r"^    ((?:\|   |    )*)(?:[|`]-- )(\w+)", errors.__doc__ or "", re.MULTILINE)
    path, bases = ["LifecycleError"], {}
    for indent, name in drawn:
        depth = len(indent) // 4 + 1
        del path[depth:]
        bases[name] = path[-1]
        path.append(name)

    assert {kind.__name__: kind.__base__.__name__ for kind in CLASSES if kind is not LifecycleError} == bases
    assert [kind.__name__ for kind in CLASSES[1:]] == list(bases)
    assert all(one != other for one, other in pairwise(bases))
