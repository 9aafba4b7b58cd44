"""Mappings that look like refused ones, and are sound."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.mappings import CHUNK, DOC, HEAD, TAG, mapping_of

RUN = 'item: {PK: "TENANT#{tenant}", SK: "RUN#{run}"}'
ANY_ORDER = HEAD + "ordering: to_the_second\n"

SOUND: Mapping[str, str] = {
    "two collections read one delta": f"""
        run:
          {RUN}
          merge: {{docs: {{delta: delta, state: s1}}, chunks: {{delta: delta, state: s2}}}}
        """,
    "one rule merges, sets and deletes": f"""
        doc:
          {DOC}
          merge: {{chunks: {{delta: delta, state: state}}}}
          set: {{chunks: [title]}}
          when: {{status: live}}
          removal_deletes: [chunks]
        """,
    "keys that differ in a text alone": """
        one:
          item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#ONE"}
          set: {docs: [one]}
        two:
          item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#TWO"}
          set: {docs: [two]}
        """,
    "a number and a text that is none": """
        chunk:
          item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#{n:06d}"}
          removal_deletes: [chunks]
        place:
          item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#PLACE"}
          set: {docs: [place]}
        """,
    "one name in two collections": f"""
        doc:
          {DOC}
          set: {{docs: [title]}}
        chunk:
          {CHUNK}
          set: {{chunks: [title]}}
        """,
    "a fixed and a templated name": f"""
        doc:
          {DOC}
          set: {{docs: [tag_main]}}
        tag:
          {TAG}
          set: {{docs: {{"tag_{{tag}}": weight}}}}
        """,
    "a set of the parent's records and of the own": f"""
        chunk:
          {CHUNK}
          set:
            chunks: [title]
            docs: {{chunks: {{value: 1, fold: count}}}}
        """,
    "conditions beside a deletion": f"""
        doc:
          {DOC}
          set: {{docs: [title]}}
          when: {{title: {{present: true}}}}
          removal_deletes: [docs]
        """,
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_mapping_is_taken(case: str) -> None:
    """What has one meaning is not refused."""
    assert mapping_of(SOUND[case]).rules


def test_newest_may_fold_items_of_one_partition_in_any_order() -> None:
    """Where all feeders of a key share a partition, which is newest is exact, also in `to_the_second`."""
    mapping = mapping_of(f"tag:\n  {TAG}\n  set: {{docs: {{last: {{from: at, fold: newest}}}}}}\n", head=ANY_ORDER)

    assert ("tag",) == mapping.feeders(mapping.rules["tag"], "docs", mapping.rules["tag"].sets["docs"][0])


def test_a_set_may_reach_across_partitions_in_any_order() -> None:
    """In `to_the_second` an item of another partition may speak of a record."""
    mapping = mapping_of(
        """
        view:
          item: {PK: "USER#{user}", SK: "VIEW#{tenant}#{doc}"}
          set: {docs: {views: {value: 1, fold: count}, "seen_by_{user}": {value: true}}}
        """,
        head=ANY_ORDER,
    )
    keys = mapping.rules["view"].sets["docs"]

    assert [("user",), ()] == [mapping.feeders(mapping.rules["view"], "docs", key) for key in keys]
