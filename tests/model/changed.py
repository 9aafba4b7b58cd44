"""The reference model under a changed mapping; like the other it imports nothing of the product.

`CHANGED` is the receipts mapping with every kind of change: a key renamed, keys dropped, a key added, a rule renamed,
values and a fold changed, a rule that sets nothing in a collection any more, and one that begins to set something.
Existence is decided as before; what items give is said here anew.
"""

from __future__ import annotations

from typing import Any

from tests.model.histories import IMAGES, RECEIPTS, TAILS
from tests.model.reference import Record, Reference

CHANGED = """\
mapping: 1
table: {partition_key: PK, sort_key: SK}
collections:
  words: IMAGE#{image_id}#RECEIPT#{receipt_id:05d}#LINE#{line_id:05d}#WORD#{word_id:05d}
  lines: IMAGE#{image_id}#RECEIPT#{receipt_id:05d}#LINE#{line_id:05d}
rules:
  run:
    item: {PK: "IMAGE#{image_id}", SK: "RECEIPT#{receipt_id:05d}#COMPACTION_RUN#{run_id}"}
    merge:
      words: {delta: words_delta_prefix, state: words_state, count: words_merged_vectors, error: words_error}
      lines: {delta: lines_delta_prefix, state: lines_state, count: lines_merged_vectors, error: lines_error}
  place:
    item: {PK: "IMAGE#{image_id}", SK: "RECEIPT#{receipt_id:05d}#PLACE"}
    set:
      words, lines: {merchant: merchant_name, phone_number: phone_number, ignored: ignored}
  tag:
    item: {PK: "IMAGE#{image_id}", SK: "RECEIPT#{receipt_id:05d}#LINE#{line_id:05d}#WORD#{word_id:05d}#LABEL#{label}"}
    set:
      words:
        tag_{label}: {from: validation_status, values: {VALID: true}, otherwise: false}
        label_status:
          from: validation_status
          values: {VALID: good}
          otherwise: bad
          fold: {first: [bad, good]}
  receipt:
    item: {PK: "IMAGE#{image_id}", SK: "RECEIPT#{receipt_id:05d}"}
    removal_deletes: [words, lines]
  line:
    item: {PK: "IMAGE#{image_id}", SK: "RECEIPT#{receipt_id:05d}#LINE#{line_id:05d}"}
    removal_deletes: [words, lines]
  word:
    item: {PK: "IMAGE#{image_id}", SK: "RECEIPT#{receipt_id:05d}#LINE#{line_id:05d}#WORD#{word_id:05d}"}
    set: {words: [text]}
    removal_deletes: [words]
"""

NARROWER = CHANGED.replace("    set: {words: [text]}\n", "")
"""The same, but that a removed word does not tell two things."""


def long_there() -> dict[tuple[str, str], dict[str, Any] | None]:
    """Return the items that the table held before the stream of a history began."""
    return {(image, receipt + tail): {"text": "x"} for image in IMAGES for receipt in RECEIPTS for tail in TAILS}


class ChangedReference(Reference):
    """What the published records must be under `CHANGED`."""

    sets_text = True

    def _overlaid(self, collection: str, id_: str, row: Record) -> Record:
        vector, document, metadata = row
        owned: dict[str, Any] = {}
        statuses: list[bool] = []
        for (pk, sk), item in self.items.items():
            parts, given = sk.split("#"), item or {}
            if parts[2:] == ["PLACE"] and id_.startswith(f"{pk}#{'#'.join(parts[:2])}#"):
                owned |= {"merchant": given.get("merchant_name"), "phone_number": given.get("phone_number")}
                owned["ignored"] = given.get("ignored")
            if self.sets_text and collection == "words" and len(parts) == 6 and id_ == f"{pk}#{sk}":
                owned["text"] = given.get("text")
            if collection == "words" and "LABEL" in parts and id_ == f"{pk}#{'#'.join(parts[:6])}":
                valid = given.get("validation_status") == "VALID"
                owned[f"tag_{parts[7]}"] = None if item is None else valid
                owned.setdefault("label_status", None)
                statuses += [] if item is None else [valid]
        if statuses:
            owned["label_status"] = "good" if all(statuses) else "bad"
        return vector, document, {key: value for key, value in {**metadata, **owned}.items() if value is not None}


class NarrowerReference(ChangedReference):
    """What the published records must be under `NARROWER`."""

    sets_text = False
