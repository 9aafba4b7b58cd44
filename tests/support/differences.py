"""Records of a model beside those that were found."""

from __future__ import annotations

from tests.model.reference import Record, typed

Records = dict[str, dict[str, Record]]


def require_same(expected: Records, found: Records) -> None:
    """Fail with the records that differ, if any does."""
    model, real = typed(expected), typed(found)
    differ = {
        (name, id_): (model[name].get(id_), real[name].get(id_))
        for name in model
        for id_ in model[name].keys() | real[name].keys()
        if model[name].get(id_) != real[name].get(id_)
    }
    assert not differ, f"expected, and found: {differ}"
