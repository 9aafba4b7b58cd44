"""Walks a state machine of Step Functions, as far as this project's needs it: tasks, maps, and paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Invoke = Callable[[Mapping[str, Any]], Any]


def walk(machine: Mapping[str, Any], value: Any, invoke: Invoke) -> Any:
    """Run the states of *machine* on *value*; *invoke* is the one function that its tasks call."""
    name = machine["StartAt"]
    while True:
        state = machine["States"][name]
        result = _task(state, value, invoke) if state["Type"] == "Task" else _map(state, value, invoke)
        if "ResultSelector" in state:
            result = _filled(state["ResultSelector"], result, {})
        if "ResultPath" in state:
            field = state["ResultPath"].removeprefix("$.")
            assert "." not in field
            result = {**value, field: result}
        value = _at(state.get("OutputPath", "$"), result, {})
        if state.get("End"):
            return value
        name = state["Next"]


def _task(state: Mapping[str, Any], value: Any, invoke: Invoke) -> Any:
    assert state["Resource"].endswith(":::lambda:invoke")
    given = _filled(state["Parameters"], value, {})
    assert given.keys() == {"FunctionName", "Payload"}
    return {"Payload": invoke(given["Payload"]), "StatusCode": 200}


def _map(state: Mapping[str, Any], value: Any, invoke: Invoke) -> Any:
    items = _at(state["ItemsPath"], value, {})
    each = [_filled(state["ItemSelector"], value, {"Map": {"Item": {"Value": item}}}) for item in items]
    return [walk(state["ItemProcessor"], one, invoke) for one in each]


def _filled(template: Any, value: Any, context: Mapping[str, Any]) -> Any:
    if not isinstance(template, dict):
        return template
    return {
        key.removesuffix(".$"): _at(part, value, context) if key.endswith(".$") else _filled(part, value, context)
        for key, part in template.items()
    }


def _at(path: str, value: Any, context: Mapping[str, Any]) -> Any:
    found, steps = (context, path[3:]) if path.startswith("$$.") else (value, path[2:])
    for step in filter(None, steps.split(".")):
        found = found[step]
    return found
