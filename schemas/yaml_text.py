"""YAML that people write: read, or refused with the line and what is wrong, whatever it is."""

from __future__ import annotations

import re
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.constructor import RoundTripConstructor, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from schemas.base import PlanwatchError

#: Brackets that are open at once, at most: with thousands of them the parser takes seconds and then gives up.
OPEN_MAX = 100
_BRACKETS = re.compile(r"[\[\]{}]")


class _SafeConstructor(SafeConstructor):
    def construct_document(self, node: Node) -> Any:
        _check_keys(node)
        return super().construct_document(node)


class _LineConstructor(RoundTripConstructor):
    def construct_document(self, node: Node) -> Any:
        _check_keys(node)
        return super().construct_document(node)


def load_yaml(text: str, file: str, typ: Literal["rt", "safe"] = "safe") -> Any:
    """The document in a text; none in an empty one. `rt` keeps the lines of its parts (`.lc`).

    Raises PlanwatchError with the file, and the line where it is known.
    """
    yaml = YAML(typ=typ, pure=True)
    yaml.Constructor = _SafeConstructor if typ == "safe" else _LineConstructor
    try:
        _check_nesting(text)
        return yaml.load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PlanwatchError(f"{file}, line {line}: not valid YAML: {error.problem or error.context}.") from error
    except (YAMLError, ValueError) as error:  # a character, a number or a date that there is none of
        raise PlanwatchError(f"{file}: not valid YAML: {str(error).partition(chr(10))[0]}.") from error
    except RecursionError as error:
        raise PlanwatchError(f"{file}: it is nested too deep; write it flatter.") from error
    except Exception as error:  # the library raises whatever it stumbles over
        raise PlanwatchError(f"{file}: not valid YAML: {type(error).__name__}: {error}.") from error


def _check_nesting(text: str) -> None:
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth = max(depth + (1 if bracket[0] in "[{" else -1), 0)
        if depth > OPEN_MAX:
            line = text.count("\n", 0, bracket.start()) + 1
            raise ValueError(f"more than {OPEN_MAX} brackets are open in line {line}")


def _check_keys(root: Node) -> None:
    """Raise where a name is a list or has settings of its own: nested, they would take for ever to be hashed."""
    todo, seen = [root], set()
    while todo:
        node = todo.pop()
        if not isinstance(node, CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        for part in node.value:
            if isinstance(node, MappingNode):
                if not isinstance(part[0], ScalarNode):
                    raise MarkedYAMLError(
                        problem="the name of a setting is one word or a text", problem_mark=part[0].start_mark
                    )
                todo.append(part[1])
            else:
                todo.append(part)
