"""The input: receipts whose words are records, and the stream records that change them.

A change is given twice: as the stream records that the product gets, and as the batched call that
somebody with Chroma alone would make to the same effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.support.table import Table

COLLECTION = "words"
MAPPING = Path(__file__).with_name("words.yaml")

WORDS_OF_A_LINE = 5
WORDS_OF_A_RECEIPT = 200
WORDS_OF_AN_IMAGE = 600

Vectors = npt.NDArray[np.float32]

_VOCABULARY = ("TOTAL", "TAX", "CASH", "CHANGE", "VISA", "STORE", "THANK", "YOU", "MILK", "BREAD", "BANANAS", "COFFEE")


@dataclass(frozen=True, slots=True)
class Word:
    """Where a word stands; the number counts over all receipts."""

    number: int

    @property
    def image(self) -> str:
        return f"IMAGE#{self.number // WORDS_OF_AN_IMAGE:08d}"

    @property
    def below(self) -> str:
        """The rest of its key, below the image's."""
        receipt, place = divmod(self.number % WORDS_OF_AN_IMAGE, WORDS_OF_A_RECEIPT)
        line, word = divmod(place, WORDS_OF_A_LINE)
        return f"RECEIPT#{receipt + 1:05d}#LINE#{line + 1:05d}#WORD#{word + 1:05d}"

    @property
    def id(self) -> str:
        return f"{self.image}#{self.below}"

    @property
    def text(self) -> str:
        return _VOCABULARY[self.number * 7919 % len(_VOCABULARY)]


@dataclass(frozen=True, slots=True)
class Records:
    """Some records, as Chroma takes them."""

    ids: list[str]
    vectors: Vectors
    documents: list[str]
    metadatas: list[dict[str, Any]]


def records(words: Sequence[Word], dimension: int, *, edition: int = 0) -> Records:
    """Return the records of *words*; another *edition* has other vectors."""
    documents = [" ".join(Word(word.number + step).text for step in range(-2, 3)) for word in words]
    return Records(
        [word.id for word in words],
        _vectors([word.number for word in words], dimension, edition),
        documents,
        [_metadata(word) for word in words],
    )


def _vectors(numbers: Sequence[int], dimension: int, edition: int) -> Vectors:
    """Return unit vectors around a hundred centres, as those of texts are."""
    chance = np.random.default_rng([numbers[0], len(numbers), edition])
    around = _centres(dimension)[np.array(numbers) * 7919 % 100]
    vectors = around + 0.7 * chance.standard_normal((len(numbers), dimension)) / np.sqrt(dimension)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@cache
def _centres(dimension: int) -> npt.NDArray[np.float64]:
    centres = np.random.default_rng(11).standard_normal((100, dimension))
    return np.asarray(centres / np.linalg.norm(centres, axis=1, keepdims=True))


def _metadata(word: Word) -> dict[str, Any]:
    number = word.number
    return {
        "text": word.text,
        "x": number * 37 % 1000 / 1000,
        "y": number * 53 % 1000 / 1000,
        "left": Word(number - 1).text,
        "right": Word(number + 1).text,
    }


@dataclass(frozen=True, slots=True)
class Labels:
    """The same change of some labels, for the product and for Chroma alone."""

    events: list[dict[str, Any]]
    ids: list[str]
    metadatas: list[dict[str, Any]]


class Editor:
    """Writes to the table, and says what Chroma alone would be told.

    Args:
        records: Words that exist.
        generation: Later ones have later positions.
    """

    def __init__(self, records: int, *, generation: int) -> None:
        self.table = Table(
            arn=f"arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:{generation:02d}.000"
        )
        self._chance = np.random.default_rng(generation)
        self._records = records
        self._receipts = iter(self._chance.permutation(records // WORDS_OF_A_RECEIPT).tolist() * 50)
        self._new = records
        self._turn = 0

    def labels(self, count: int) -> Labels:
        """Change the label of *count* words that lie anywhere."""
        self._turn += 1
        label, valid = ("total", "date", "item", "address")[self._turn % 4], self._turn % 8 < 6
        chosen = self._chance.choice(self._records, count, replace=False)
        return self.label([Word(int(number)) for number in chosen], label, valid=valid)

    def label(self, words: Sequence[Word], label: str, *, valid: bool) -> Labels:
        """Give these words a label."""
        status = "VALID" if valid else "INVALID"
        events = [self.table.put(word.image, f"{word.below}#LABEL#{label}", validation_status=status) for word in words]
        return Labels(events, [word.id for word in words], [{f"label_{label}": valid}] * len(words))

    def merchant(self) -> Labels:
        """Give one receipt, of 200 words, a merchant."""
        first = Word(next(self._receipts) * WORDS_OF_A_RECEIPT)
        self._turn += 1
        place = {
            "merchant_name": f"Corner Market {self._turn}",
            "merchant_category": "grocery",
            "formatted_address": f"{self._turn} Main Street, Springfield",
            "phone_number": f"555-01{self._turn:02d}",
            "place_id": f"place-{self._turn:08d}",
        }
        receipt = first.below.partition("#LINE")[0]
        event = self.table.put(first.image, f"{receipt}#PLACE", **place)
        words = [Word(first.number + step) for step in range(WORDS_OF_A_RECEIPT)]
        return Labels([event], [word.id for word in words], [place] * len(words))

    def new_words(self, count: int) -> list[Word]:
        """Return words that do not exist yet, whole images of them (the last one in part)."""
        self._new += -self._new % WORDS_OF_AN_IMAGE
        words = [Word(self._new + step) for step in range(count)]
        self._new += count
        return words

    def runs(self, addresses: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Announce deltas, given as (image, address)."""
        return [
            self.table.put(
                image,
                f"RECEIPT#00001#COMPACTION_RUN#{address.replace('/', '-')}",
                words_delta_prefix=address,
                words_state="PENDING",
            )
            for image, address in addresses
        ]


def by_image(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Yield the words of each image."""
    rest = iter(words)
    while some := list(islice(rest, WORDS_OF_AN_IMAGE)):
        yield some
