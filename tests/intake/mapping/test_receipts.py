"""The shipped mapping of receipts: words, lines, their labels, the place, runs and removals."""

from __future__ import annotations

import pytest

from chroma_lifecycle.intake.mapping import Contribution, FlatMessage, Fold, MergeTarget
from chroma_lifecycle.intake.mapping_file import load_mapping, shipped
from chroma_lifecycle.values import ItemKey, Ordering

RECEIPTS = load_mapping("receipts")
RECEIPT = "IMAGE#i#RECEIPT#00001"
STATUS = Fold("first", ("validated", "auto_suggested", "unvalidated"))


def item(below: str) -> ItemKey:
    """The key of an item of receipt 1 of image `i`."""
    return ItemKey("IMAGE#i", f"RECEIPT#00001{below}")


def test_receipts_is_shipped_by_name() -> None:
    """The mapping comes with the package and needs no path."""
    assert ["receipts"] == shipped()
    assert ("words", "lines") == RECEIPTS.collections
    assert Ordering.EXACT is RECEIPTS.ordering


@pytest.mark.parametrize(
    ("below", "rule", "reaches"),
    [
        ("#PLACE", "place", {"words": RECEIPT, "lines": RECEIPT}),
        ("", "receipt", {"words": RECEIPT, "lines": RECEIPT}),
        ("#LINE#00002", "line", {"words": f"{RECEIPT}#LINE#00002", "lines": f"{RECEIPT}#LINE#00002"}),
        ("#LINE#00002#WORD#00003", "word", {"words": f"{RECEIPT}#LINE#00002#WORD#00003"}),
        (
            "#LINE#00002#WORD#00003#LABEL#TOTAL",
            "label",
            {"words": f"{RECEIPT}#LINE#00002#WORD#00003", "lines": f"{RECEIPT}#LINE#00002"},
        ),
    ],
)
def test_each_item_reaches_its_records(below: str, rule: str, reaches: dict[str, str]) -> None:
    """L21: a receipt reaches all below it, a line its words, a word itself."""
    match = RECEIPTS.match(item(below))

    assert match is not None
    assert rule == match.rule.name
    assert reaches == {collection: RECEIPTS.reach(match, collection) for collection in reaches}
    assert reaches.keys() == match.rule.collections


def test_a_run_writes_its_status_for_each_collection_apart() -> None:
    """L9: two collections that complete at once write different attributes of the run item."""
    match = RECEIPTS.match(item("#COMPACTION_RUN#r"))

    assert match is not None
    assert "IMAGE#i" == RECEIPTS.below(match)
    words, lines = match.rule.merges["words"], match.rule.merges["lines"]
    assert words == MergeTarget(
        "words_delta_prefix", "words_state", "words_merged_vectors", "words_error", "words_finished_at"
    )
    assert set() == set(words.meaning().values()) & set(lines.meaning().values())


@pytest.mark.parametrize(
    ("status", "on_words", "on_lines", "label_status"),
    [
        ("VALID", True, True, "validated"),
        ("INVALID", False, None, "unvalidated"),
        ("PENDING", None, None, "auto_suggested"),
        ("NEEDS_REVIEW", None, None, "unvalidated"),
        (None, None, None, "unvalidated"),
    ],
)
def test_a_label_speaks_of_its_word_and_of_its_line(
    status: str | None, on_words: bool | None, on_lines: bool | None, label_status: str
) -> None:
    """C7: the status of a label decides its key on the word, and joins the others on the line."""
    label = item("#LINE#00002#WORD#00003#LABEL#TOTAL")
    image = {} if status is None else {"validation_status": {"S": status}}

    assert {
        Contribution("label_TOTAL", on_words, None),
        Contribution("label_status", label_status, STATUS),
    } == set(RECEIPTS.contributions("label", "words", label, image))
    assert {
        Contribution("label_TOTAL", on_lines, Fold("any")),
        Contribution("label_status", label_status, STATUS),
    } == set(RECEIPTS.contributions("label", "lines", label, image))


def test_a_removed_label_gives_nothing_and_stays_owned() -> None:
    """C7: removing the last label takes `label_status` away."""
    label = item("#LINE#00002#WORD#00003#LABEL#TOTAL")

    assert {"label_TOTAL": None, "label_status": None} == {
        each.key: each.value for each in RECEIPTS.contributions("label", "words", label, None)
    }


def test_a_label_called_status_has_no_key_of_its_own() -> None:
    """The fixed name `label_status` beats `label_{label}`."""
    label = item("#LINE#00002#WORD#00003#LABEL#status")
    image = {"validation_status": {"S": "VALID"}}

    assert (Contribution("label_status", "validated", STATUS),) == RECEIPTS.contributions(
        "label", "words", label, image
    )


def test_the_place_gives_five_keys_to_every_record_of_the_receipt() -> None:
    """An attribute that is missing leaves its key owned and empty."""
    given = RECEIPTS.contributions("place", "lines", item("#PLACE"), {"merchant_name": {"S": "Baker"}})

    assert {
        "merchant_name": "Baker",
        "merchant_category": None,
        "formatted_address": None,
        "phone_number": None,
        "place_id": None,
    } == {each.key: each.value for each in given}


def test_flat_messages_of_every_kind_have_a_rule() -> None:
    """Older producers' messages are about the same items."""
    assert {
        "COMPACTION_RUN": FlatMessage("run", "delta_s3_prefix"),
        "RECEIPT_PLACE": FlatMessage("place", image_from=("changes",)),
        "RECEIPT_METADATA": FlatMessage("place", image_from=("changes",)),
        "RECEIPT_WORD_LABEL": FlatMessage("label", image_from=("record_snapshot", "changes")),
        "RECEIPT": FlatMessage("receipt"),
        "RECEIPT_LINE": FlatMessage("line"),
        "RECEIPT_WORD": FlatMessage("word"),
    } == RECEIPTS.flat_messages


def test_the_meaning_of_receipts_is_what_it_was() -> None:
    """Snapshots made under the shipped mapping stay usable: its meaning does not change within a language."""
    assert "6f0ee13b4b9ac775f707ca8d8f41bfc3a6e9e003657a1d2d923d18d9b69234da" == RECEIPTS.digest
