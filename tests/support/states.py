"""Walks a state machine of Step Functions, as far as this project's needs it: tasks, maps, paths, and what fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

Invoke = Callable[[Mapping[str, Any]], Any]


class ExecutionFailed(Exception):
    """An execution, or a state of it, ended by an error that nothing caught."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause


def walk(machine: Mapping[str, Any], value: Any, invoke: Invoke) -> Any:
    """Run the states of *machine* on *value*; *invoke* is the one function that its tasks call.

    An error is known by the name of its class, as Lambda tells it; what can be tried again is, without a pause.

    Raises:
        ExecutionFailed: A state failed, and no other one was to follow; or one that fails was reached.
    """
    name = machine["StartAt"]
    while True:
        state = machine["States"][name]
        if state["Type"] == "Fail":
            raise ExecutionFailed(*(_said(state, field, value) for field in ("Error", "Cause")))
        try:
            result = _tried(state, value, invoke)
        except ExecutionFailed as failure:
            caught = _catcher(state, failure)
            told = {"Error": failure.error, "Cause": failure.cause}
            value, name = {**value, _field(caught["ResultPath"]): told}, caught["Next"]
            continue
        if "ResultSelector" in state:
            result = _filled(state["ResultSelector"], result, {})
        if "ResultPath" in state:
            result = {**value, _field(state["ResultPath"]): result}
        value = _at(state.get("OutputPath", "$"), result, {})
        if state.get("End"):
            return value
        name = state["Next"]


def _said(state: Mapping[str, Any], field: str, value: Any) -> str:
    return str(_at(state[f"{field}Path"], value, {}) if f"{field}Path" in state else state[field])


def _field(path: str) -> str:
    field = path.removeprefix("$.")
    assert "." not in field
    return field


def _tried(state: Mapping[str, Any], value: Any, invoke: Invoke) -> Any:
    tries = Counter[int]()
    while True:
        try:
            return _task(state, value, invoke) if state["Type"] == "Task" else _map(state, value, invoke)
        except ExecutionFailed as failure:
            retry = _matching(state.get("Retry", ()), failure)
            if retry is None or tries[id(retry)] == retry["MaxAttempts"]:
                raise
            tries[id(retry)] += 1


def _catcher(state: Mapping[str, Any], failure: ExecutionFailed) -> Mapping[str, Any]:
    caught = _matching(state.get("Catch", ()), failure)
    if caught is None:
        raise failure
    return caught


def _matching(rules: Any, failure: ExecutionFailed) -> Mapping[str, Any] | None:
    return next((rule for rule in rules if {failure.error, "States.ALL"} & {*rule["ErrorEquals"]}), None)


def _task(state: Mapping[str, Any], value: Any, invoke: Invoke) -> Any:
    assert state["Resource"].endswith(":::lambda:invoke")
    given = _filled(state["Parameters"], value, {})
    assert given.keys() == {"FunctionName", "Payload"}
    try:
        return {"Payload": invoke(given["Payload"]), "StatusCode": 200}
    except Exception as problem:
        raise ExecutionFailed(type(problem).__name__, str(problem)) from problem


def _map(state: Mapping[str, Any], value: Any, invoke: Invoke) -> Any:
    items = _at(state["ItemsPath"], value, {})
    each = [_filled(state["ItemSelector"], value, {"Map": {"Item": {"Value": item}}}) for item in items]
    try:
        return [walk(state["ItemProcessor"], one, invoke) for one in each]
    except ExecutionFailed as failure:  # the children are executions of their own
        raise ExecutionFailed("States.ExceedToleratedFailureThreshold", failure.cause) from failure


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
