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
    numbers = {text.unknown: segment for text, segment in segments if segment.digits is not None}
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


def _filled(texts: list[_Text], known: Mapping[str, _Text], numbers: Mapping[str | None, Segment]) -> Iterator[str]:
    """Yield *texts* joined by ``#``, with something in the place of each part that is still unknown."""
    bound = [text.bound(known) for text in texts]
    open_parts = list(dict.fromkeys(text.unknown for text in bound if text.unknown is not None))
    for choice in product(*(_fillings(part, known, numbers) for part in open_parts)):
        filling = {part: _Text(text) for part, text in zip(open_parts, choice, strict=True)}
        yield "#".join(text.bound(filling).before for text in bound)


def _fillings(part: str, known: Mapping[str, _Text], numbers: Mapping[str | None, Segment]) -> list[str]:
    """Return texts for an unknown part that suit every number it is a part of."""
    uses = [(_Text("", name).bound(known), segment) for name, segment in numbers.items()]
    uses = [(text, segment) for text, segment in uses if text.unknown == part]
    if not uses:
        return ["x"]
    widest = max(segment.digits or 1 for _, segment in uses) + 1
    ones = ["1" * length for length in range(1, widest)]
    padded = ["1".zfill(length) for length in range(2, widest)]
    return [
        each
        for each in ones + padded
        if all(_is_number(text.before + each + text.after, segment) for text, segment in uses)
    ]


def _is_number(text: str, segment: Segment) -> bool:
    return Pattern((Segment("", segment.name, segment.digits),)).match(text) is not None
