"""Explanations of mappings and events as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from chroma_lifecycle.intake.explain import Effect, ExplainedEvent, ExplainedMapping, Outcome, OwnedKey


def mapping_text(mapping: ExplainedMapping) -> str:
    """Return what a mapping owns, for people."""
    return "\n".join(_mapping_lines(mapping)) + "\n"


def events_text(events: Iterable[ExplainedEvent]) -> str:
    """Return what events would do, for people."""
    return "\n".join(line for event in events for line in _event_lines(event)) + "\n"


def _mapping_lines(mapping: ExplainedMapping) -> Iterator[str]:
    yield f"mapping {mapping.digest[:12]}, ordering {mapping.ordering}"
    for name, pattern in mapping.collections.items():
        shards = mapping.shards.get(name)
        yield f"collection {name}: {pattern}" + (f", in {shards.count} shards by {shards.by}" if shards else "")
    for rule in mapping.rules:
        yield f"rule {rule.name} (line {rule.line}): {rule.item}"
        if rule.when:
            yield f"  when {_yaml(rule.when)}"
        for effect in rule.effects:
            yield from _effect_lines(effect)


def _effect_lines(effect: Effect) -> Iterator[str]:
    name, merge = effect.collection, effect.merge
    if merge:
        yield f"  {name}: merges the delta in {merge['delta']} when {merge['state']} is PENDING; ids {effect.run_ids}"
    if effect.removal_deletes:
        yield f"  {name}: REMOVE deletes {effect.reach}"
    if effect.keys:
        yield f"  {name}: keys on {effect.reach}"
    for key in effect.keys:
        source = ", ".join(f"{word} {_yaml(part)}" for word, part in key.source.items())
        yield f"    {key.name}: {source}; {_feeders(key)}"


def _feeders(key: OwnedKey) -> str:
    if not key.feeders:
        return "one item"
    return f"several items (one for each {', '.join(key.feeders)}), fold {_yaml(key.fold)}"


def _event_lines(event: ExplainedEvent) -> Iterator[str]:
    yield f"{event.event_name} {event.item}"
    if event.ignored is not None:
        yield f"  ignored: {event.ignored}"
    elif event.problem is not None:
        yield f"  bad input: {event.problem}"
    else:
        values = ", ".join(f"{name}={text}" for name, text in (event.values or {}).items())
        yield f"  rule {event.rule} (line {event.line}): {values}"
        for outcome in event.outcomes:
            yield from _outcome_lines(outcome)


def _outcome_lines(outcome: Outcome) -> Iterator[str]:
    name = outcome.collection
    if outcome == Outcome(name):
        yield f"  {name}: nothing"
    if outcome.problem is not None:
        yield f"  {name}: bad input: {outcome.problem}"
    if outcome.run:
        yield f"  {name}: begins a run of the delta {outcome.run}; ids {outcome.run_ids}"
    if outcome.deletes:
        yield f"  {name}: deletes {outcome.reach}"
    if outcome.moves:
        yield f"  {name}: keys on {outcome.reach}, by {', '.join(outcome.moves)} alone (a partial image)"
    if outcome.keys:
        yield f"  {name}: keys on {outcome.reach}"
    for key in outcome.keys:
        value = "nothing" if key.value is None else _json(key.value)
        yield f"    {key.name}: {value}" + (f", fold {_yaml(key.fold)}" if key.fold else "")


def _yaml(part: object) -> str:
    """Return a part of a meaning as a mapping would write it."""
    if isinstance(part, Mapping):
        return "{" + ", ".join(f"{name.strip(chr(34))}: {_yaml(each)}" for name, each in part.items()) + "}"
    if isinstance(part, list):
        return "[" + ", ".join(map(_yaml, part)) + "]"
    return part if isinstance(part, str) else _json(part)


def _json(part: object) -> str:
    return json.dumps(part, ensure_ascii=False)
