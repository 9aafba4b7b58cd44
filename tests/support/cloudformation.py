"""Reads a CloudFormation template and resolves it for given parameters, as far as this project's needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DROPPED = object()
"""What ``AWS::NoValue`` resolves to: the property or list element is left out."""

PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::StackName": "stack",
    "AWS::NoValue": DROPPED,
}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags, read as their long forms."""


def _short_tag(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_tag)


def read(path: Path) -> dict[str, Any]:
    """Return the template, functions in their long form."""
    template: dict[str, Any] = yaml.load(path.read_text(), _Loader)
    return template


class Stack:
    """A template as it would be deployed with *parameters*: conditions decided, functions carried out.

    ``Ref`` of a resource gives its logical name, ``GetAtt`` gives ``Name.Attribute``.
    """

    def __init__(self, template: dict[str, Any], parameters: Mapping[str, str] | None = None) -> None:
        self._template = template
        given = dict(parameters or {})
        unknown = given.keys() - template["Parameters"].keys()
        assert not unknown, f"no parameters of the template: {unknown}"
        self.parameters = {name: given.get(name, each.get("Default")) for name, each in template["Parameters"].items()}
        self.resources = {
            name: self._resolve({key: value for key, value in each.items() if key != "Condition"})
            for name, each in template["Resources"].items()
            if "Condition" not in each or self.condition(each["Condition"])
        }

    def refusals(self) -> list[str]:
        """Return why CloudFormation would not begin: parameters that do not fit their pattern, and rules that fail."""
        patterns = {name: each.get("AllowedPattern", ".*") for name, each in self._template["Parameters"].items()}
        unfit = [name for name, value in self.parameters.items() if not re.fullmatch(patterns[name], str(value))]
        return unfit + [
            each["AssertDescription"]
            for rule in self._template.get("Rules", {}).values()
            if self._resolve(rule.get("RuleCondition", True))
            for each in rule["Assertions"]
            if not self._resolve(each["Assert"])
        ]

    def condition(self, name: str) -> bool:
        """Return whether a named condition holds."""
        return bool(self._resolve(self._template["Conditions"][name]))

    def of_type(self, kind: str) -> dict[str, Any]:
        """Return the properties of all resources of a type, by logical name."""
        return {name: each.get("Properties", {}) for name, each in self.resources.items() if each["Type"] == kind}

    def properties(self, name: str) -> dict[str, Any]:
        """Return the properties of a resource."""
        properties: dict[str, Any] = self.resources[name]["Properties"]
        return properties

    def _resolve(self, part: Any) -> Any:
        if isinstance(part, list):
            return [each for each in map(self._resolve, part) if each is not DROPPED]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            ((function, argument),) = part.items()
            if function == "Condition" and isinstance(argument, str):
                return self.condition(argument)
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, argument)
        resolved = {key: self._resolve(value) for key, value in part.items()}
        return {key: value for key, value in resolved.items() if value is not DROPPED}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                return ".".join(argument)
            case "Fn::Sub":
                text, named = (argument, {}) if isinstance(argument, str) else argument
                values = self._resolve(named)
                return re.sub(
                    r"\$\{([^}]+)\}",
                    lambda found: str(values[found[1]] if found[1] in values else self._named(found[1])),
                    text,
                )
            case "Fn::If":
                return self._resolve(argument[1] if self.condition(argument[0]) else argument[2])
            case "Fn::FindInMap":
                name, first, second = map(self._resolve, argument)
                return self._template["Mappings"][name][str(first)][second]
            case "Fn::Join":
                return argument[0].join(str(each) for each in _list(self._resolve(argument[1])))
        return _decide(function, [self._resolve(each) for each in argument])

    def _ref(self, name: str) -> Any:
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        assert name in self._template["Resources"], f"{name} is neither a parameter nor a resource"
        return name

    def _named(self, name: str) -> Any:
        return name if "." in name else self._ref(name)


def _decide(function: str, values: list[Any]) -> bool:
    match function:
        case "Fn::Equals":
            return str(values[0]) == str(values[1])
        case "Fn::Not":
            return not values[0]
        case "Fn::And":
            return all(values)
        case "Fn::Or":
            return any(values)
    raise AssertionError(f"{function} is not resolved here")


def _list(value: Any) -> list[Any]:
    return value.split(",") if isinstance(value, str) else value
