"""A text that two patterns both match, as the witness that they can meet.

Segment by segment, ``before{x}after = other{y}rest`` is solved for the placeholders, as
equations of texts with one unknown on each side; the solution is then filled in and tried
on both patterns, which knows about numbers. Placeholders of the two patterns are unrelated,
also where they are named alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product

from chroma_lifecycle.intake.patterns import Pattern, Segment

_TRIES = 10_000  # only a number that one key writes in two ways needs more than one


@dataclass(frozen=True, slots=True)
class _Text:
    """A text with at most one unknown part."""

    before: str
    unknown: str | None = None
    after: str = ""

    def bound(self, known: Mapping[str, _Text]) -> _Text:
        if self.unknown is None or self.unknown not in known:
            return self
        inner = known[self.unknown]
        if inner.unknown is None:
            return _Text(self.before + inner.before + self.after)
        return _Text(self.before + inner.before, inner.unknown, inner.after + self.after)


def common_text(one: Pattern, other: Pattern) -> str | None:
    """Return a text that both patterns match, or ``None`` if there is none."""
    if len(one.segments) != len(other.segments):
        return None
    left, right = _texts(one, "<"), _texts(other, ">")
    segments = zip(left + right, one.segments + other.segments, strict=True)
    numbers = {
        text.unknown: Segment("", segment.name, segment.digits)
        for text, segment in segments
        if text.unknown is not None and segment.digits is not None
    }
    # What one side says outright is solved first: then few are left with many solutions.
    equations = sorted(zip(left, right, strict=True), key=lambda sides: all(text.unknown for text in sides))
    for known in _solutions(equations, {}):
        for text in islice(_filled(left, known, numbers), _TRIES):
            if one.match(text) is not None and other.match(text) is not None:
                return text
    return None


def _texts(pattern: Pattern, side: str) -> list[_Text]:
    # A number that is written in two ways is two unknown texts; the pattern compares them at the end.
    return [_Text(each.before, each.name and side + each.placeholder, each.after) for each in pattern.segments]


def _solutions(equations: list[tuple[_Text, _Text]], known: dict[str, _Text]) -> Iterator[dict[str, _Text]]:
    if not equations:
        yield known
        return
    (left, right), *rest = equations
    for step in _solve(left.bound(known), right.bound(known)):
        yield from _solutions(rest, {name: text.bound(step) for name, text in known.items()} | step)


def _solve(one: _Text, other: _Text) -> Iterator[dict[str, _Text]]:
    """Yield what makes the two texts equal; an unknown is never empty."""
    if one.unknown is None:
        if other.unknown is not None:
            yield from _solve(other, one)
        elif one.before == other.before:
            yield {}
    elif other.unknown is None:
        text, length = other.before, len(one.before) + len(one.after)
        if text.startswith(one.before) and text.endswith(one.after) and len(text) > length:
            yield {one.unknown: _Text(text[len(one.before) : len(text) - len(one.after)])}
    elif len(one.before) < len(other.before):
        yield from _solve(other, one)
    elif one.before.startswith(other.before):
        lead = one.before[len(other.before) :]
        if one.unknown == other.unknown:
            yield from _solve_repeated(lead, one, other)
        else:
            yield from _solve_pair(lead, one, other)


def _solve_pair(lead: str, one: _Text, other: _Text) -> Iterator[dict[str, _Text]]:
    """Solve ``lead x after = y rest``."""
    assert one.unknown is not None
    assert other.unknown is not None
    if one.after.endswith(other.after):
        yield {other.unknown: _Text(lead, one.unknown, one.after.removesuffix(other.after))}
    elif other.after.endswith(one.after):
        tail = other.after.removesuffix(one.after)
        if not lead:
            yield {one.unknown: _Text("", other.unknown, tail)}
            return
        between = f"{one.unknown}{other.unknown}"
        yield {other.unknown: _Text(lead, between), one.unknown: _Text("", between, tail)}
        for cut in range(1, len(lead) + 1):
            shared = lead[cut:]
            if tail.startswith(shared) and tail != shared:
                yield {other.unknown: _Text(lead[:cut]), one.unknown: _Text(tail.removeprefix(shared))}


def _solve_repeated(lead: str, one: _Text, other: _Text) -> Iterator[dict[str, _Text]]:
    """Solve ``lead x = x tail``: a beginning of ``lead lead lead ...``, and two rounds show every kind."""
    assert one.unknown is not None
    if not other.after.endswith(one.after):
        return
    tail = other.after.removesuffix(one.after)
    if not lead and not tail:
        yield {}
        return
    for length in range(1, 2 * len(lead) + 1):
        text = (lead * 3)[:length]
        if lead + text == text + tail:
            yield {one.unknown: _Text(text)}


def _filled(texts: list[_Text], known: Mapping[str, _Text], numbers: Mapping[str, Segment]) -> Iterator[str]:
    """Yield *texts* joined by ``#``, with something in the place of each part that is still unknown."""
    bound = [text.bound(known) for text in texts]
    part = next((text.unknown for text in bound if text.unknown is not None), None)
    if part is None:
        yield "#".join(text.before for text in bound)
        return
    for filling in _fillings(part, known, numbers):
        step = {part: _Text(filling)}
        yield from _filled(bound, {name: text.bound(step) for name, text in known.items()} | step, numbers)


def _fillings(part: str, known: Mapping[str, _Text], numbers: Mapping[str, Segment]) -> Iterator[str]:
    """Yield texts for an unknown part that suit every number it is a part of."""
    spellings = [(name[0], segment, _Text("", name).bound(known)) for name, segment in numbers.items()]
    uses = [(side, segment, text) for side, segment, text in spellings if text.unknown == part]
    if not uses:
        yield "x"
        return
    widest = max(segment.digits or 1 for _, segment, _ in spellings) + 1
    digits = [
        text.rjust(length, fill) for length in range(1, widest) for text, fill in (("1", "1"), ("1", "0"), ("0", "0"))
    ]
    candidates = list[str]()
    for (side, segment, text), (on, spelling, other) in product(uses, spellings):
        if (side, segment.name) != (on, spelling.name):
            continue
        # The same number, perhaps written in another way, of which nothing, some or all is known.
        for inner in digits if other.unknown else [""]:
            if _is_number(whole := other.before + inner + other.after, spelling):
                candidates.append(segment.filled(whole).removeprefix(text.before).removesuffix(text.after))
    for each in dict.fromkeys(candidates):
        if each and all(_is_number(text.before + each + text.after, segment) for _, segment, text in uses):
            yield each


def _is_number(text: str, segment: Segment) -> bool:
    return Pattern((segment,)).match(text) is not None
