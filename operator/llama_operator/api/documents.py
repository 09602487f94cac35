"""YAML text as LlamaDeployments, with every problem at its line: what a file holds is told before any cluster sees it.

    text -> documents     as kubectl reads it
    document -> value     plain objects, lists and scalars; a key given twice, a tag or a key that is no text is a problem of its own
    problem -> place      the key of its field, or of the nearest field around it that is written

An unquoted scalar means what it does to kubectl (https://github.com/kubernetes-sigs/yaml/blob/master/goyaml.v2/resolve.go): `yes` is true,
017 is 15, 1e3 is a number; a date is the text that JSON would hold. No text makes this module raise or take long: text, nesting and what
aliases expand to are bounded, and past a bound there is a problem.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from llama_operator.api.problems import Problem, show
from llama_operator.api.v1alpha1 import API_VERSION, GROUP, KIND
from llama_operator.api.validation import validate, warnings

TEXT_LIMIT = 1_000_000
"""Characters of a text. etcd refuses requests of more than 1.5 MiB (https://etcd.io/docs/v3.5/dev-guide/limit/), and a file is read as fast
as a person looks up."""

DEPTH_LIMIT = 64
"""Objects and lists within each other. A PodSpec needs some ten."""

SIZE_LIMIT = 1_000_000
"""Cost of a document's values with its aliases written out: VALUE_COST for each, and one for each of its characters."""

VALUE_COST = 32

PROBLEMS_LIMIT = 100
"""Problems of one document that are told: a person corrects some and looks again."""

_TAG = "tag:yaml.org,2002:"
_BY_KIND: dict[type[yaml.Node], str] = {
    yaml.ScalarNode: f"{_TAG}str",
    yaml.SequenceNode: f"{_TAG}seq",
    yaml.MappingNode: f"{_TAG}map",
}
_PLAIN = "plain"
"""The tag of a scalar that has neither quotes nor a tag."""
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*|0[xX][0-9a-fA-F_]+|0[bB][01_]+|0o?[0-7_]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {".nan": math.nan, ".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf}
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """A place in a text. Both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Located:
    """A problem, and where in the text it lies."""

    problem: Problem
    place: Place

    @property
    def message(self) -> str:
        """All of it in one line."""
        return f"line {self.place.line}, column {self.place.column}: {self.problem.message}"


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of a text. `value` is what it says; None, with problems, where it cannot be read."""

    value: Any
    begins: Place
    problems: tuple[Located, ...] = ()
    root: yaml.Node | None = field(default=None, repr=False, compare=False)

    @property
    def readable(self) -> bool:
        """There is a value, whatever else is wrong."""
        return self.value is not None

    def place(self, path: str) -> Place:
        """Where a dotted field is written, as a Problem names it; where it is not, the place of the nearest field around it."""
        found, node, rest = self.begins, self.root, path
        while node is not None and rest:
            keyed = [(name, mark, child) for name, mark, child in _children(node) if rest == name or rest.startswith(f"{name}.")]
            if not keyed:
                break
            name, found, node = max(keyed, key=lambda item: len(item[0]))  # a key may hold dots itself
            rest = rest[len(name) + 1 :]
        return found

    def locate(self, problems: Iterable[Problem]) -> list[Located]:
        """The problems at their places."""
        return [Located(problem=problem, place=self.place(problem.field)) for problem in problems]


def check_text(text: str) -> list[Located]:
    """Every problem and warning of every LlamaDeployment in a YAML text, in the order of its lines. Other kinds are passed over."""
    documents, mine = read_documents(text), False
    found = [located for document in documents for located in document.problems]
    for document in documents:
        if document.readable and not _foreign(document.value):
            mine = True
            problems = [*validate(document.value), *warnings(document.value)]
            found += document.locate([*problems[:PROBLEMS_LIMIT], *_untold(len(problems) - PROBLEMS_LIMIT)])
    if not mine and not found:
        allowed, remedy = f"at least one object of kind {KIND}", f"Begin with apiVersion: {API_VERSION}."
        problem = Problem(field="document", given="no such object", allowed=allowed, remedy=remedy)
        found = [Located(problem=problem, place=Place(line=1, column=1))]
    return sorted(found, key=lambda located: located.place)


def _untold(more: int) -> list[Problem]:
    """That there are more problems than are told."""
    remedy = "Correct the others first."
    return [Problem(field="document", given=f"{more} problems more than are told", allowed="none", remedy=remedy)] if more > 0 else []


def read_documents(text: str) -> list[Document]:
    """The documents of a YAML text, empty ones left out. After one that is no YAML nothing more can be read: it is the last."""
    start = Place(line=1, column=1)
    if len(text) > TEXT_LIMIT:
        return [_broken(f"a text of {len(text)} characters", f"at most {TEXT_LIMIT}", "Split the file.", start)]
    documents: list[Document] = []
    try:
        loader = _Loader(text)
        roots = iter(loader.next_root, None)
        documents.extend(_document(root) for root in roots if not (root.tag == _PLAIN and root.value in _NULL))
    except yaml.reader.ReaderError as error:
        before = text[: error.position].rpartition("\n")[2]
        place = Place(line=text.count("\n", 0, error.position) + 1, column=len(before) + 1)
        documents.append(_broken("a character that YAML does not allow", "printable text", "Remove it, or escape it in quotes.", place))
    except _Refused as refused:
        documents.append(Document(value=None, begins=refused.located.place, problems=(refused.located,)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = f"text that is no YAML ({error.problem or error.context})"
        remedy = "Indent with blanks, not with tabs." if "\\t" in told else "Correct the text there or on the lines before."
        documents.append(_broken(told, "well-formed YAML", remedy, _place(mark) if mark else start))
    return documents


class _Refused(Exception):
    """A document that is not read any further."""

    def __init__(self, located: Located) -> None:
        super().__init__(located.message)
        self.located = located


class _Loader(yaml.SafeLoader):
    """PyYAML's parser, bounded in depth and without its own ideas of what a plain scalar is: `_plain` decides that."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def next_root(self) -> yaml.Node | None:
        """The root of the next document; None after the last."""
        try:
            return self.get_node() if self.check_node() else None
        except (ValueError, OverflowError) as error:  # an escape beyond Unicode, a directive of thousands of digits
            raise _refused("text that is no YAML", "well-formed YAML", "Correct the text there.", self.get_mark()) from error

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """One node. Raises _Refused past DEPTH_LIMIT."""
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise _too_deep(self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:  # noqa: ARG002 -- PyYAML's signature
        """The tag of a node that has none: a plain scalar keeps that it was plain."""
        return _PLAIN if kind is yaml.ScalarNode and implicit[0] else _BY_KIND[kind]


@dataclass(kw_only=True)
class _Reading:
    """What has been found while a document's values are made. Paths are tuples, joined only where a problem names one."""

    problems: list[Located] = field(default_factory=list)
    size: int = 0

    def value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        """The value of a node. Raises _Refused past a bound: aliases may expand without end, or contain themselves."""
        self.size += VALUE_COST + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
        if self.size > SIZE_LIMIT:
            allowed = f"at most some {SIZE_LIMIT // VALUE_COST} values, aliases written out"
            raise _refused("a document that is too large", allowed, "Split it, or write its aliases out.", node.start_mark)
        if len(path) >= DEPTH_LIMIT:
            raise _too_deep(node.start_mark)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._object(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(child, (*path, str(index))) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        return self._refuse(path, f"the tag {show(node.tag)}", "plain YAML", "Remove the tag.", node)

    def _object(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, child in _own(node):
            name = self._scalar(key, path) if isinstance(key, yaml.ScalarNode) else None
            if not isinstance(name, str):
                self._refuse(path, "a key that is no text", "a text", "Write it in quotes.", key)
                continue
            if name in lines:
                self._refuse((*path, name), "the same key twice", "each key once", f"Remove one; the other is on line {lines[name]}.", key)
            lines[name] = key.start_mark.line + 1
            made[name] = self.value(child, (*path, name))
        for source in _merged(node):
            value = self.value(source, (*path, "<<"))
            if isinstance(value, dict):
                made = value | made
            else:
                self._refuse((*path, "<<"), show(value), "an object, or a list of objects", "Correct what is merged.", source)
        return made

    def _scalar(self, node: yaml.ScalarNode, path: tuple[str, ...]) -> Any:
        read = _READ.get(node.tag)
        if read is None:
            return self._refuse(path, f"the tag {show(node.tag)}", "plain YAML", "Remove the tag.", node)
        try:
            return read(_paired(node.value))
        except UnicodeError:
            return self._refuse(path, "an escape that is no character", "Unicode text", "Correct the escape.", node)
        except ValueError:  # a tag that does not fit its text, or a number of more digits than Python reads
            return self._refuse(path, show(node.value), "a value of its type", "Correct it, or write it in quotes.", node)

    def _refuse(self, path: tuple[str, ...], given: str, allowed: str, remedy: str, node: yaml.Node) -> None:
        problem = Problem(field=".".join(path) or "document", given=given, allowed=allowed, remedy=remedy)
        self.problems.append(Located(problem=problem, place=_place(node.start_mark)))
        if len(self.problems) > PROBLEMS_LIMIT:
            raise _refused("a document with more problems than are told", "none", "Correct the others first.", node.start_mark)


def _document(root: yaml.Node) -> Document:
    reading, begins = _Reading(), _place(root.start_mark)
    try:
        value = reading.value(root, ())
    except _Refused as refused:
        return Document(value=None, begins=begins, problems=(*reading.problems, refused.located))
    return Document(value=value, begins=begins, problems=tuple(reading.problems), root=root)


def _children(node: yaml.Node) -> Iterator[tuple[str, Place, yaml.Node]]:
    """What lies in a node, under which name, and where that is written: its own keys before those that it merges."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield str(index), _place(child.start_mark), child
    elif isinstance(node, yaml.MappingNode):
        for key, child in _own(node):
            if isinstance(key, yaml.ScalarNode):
                yield key.value, _place(key.start_mark), child
        for source in _merged(node):
            yield from _children(source)


def _own(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    return ((key, child) for key, child in node.value if not _is_merge(key))


def _merged(node: yaml.MappingNode) -> Iterator[yaml.Node]:
    """The nodes behind `<<`, the one that counts most first."""
    for key, child in node.value:
        if _is_merge(key):
            yield from child.value if isinstance(child, yaml.SequenceNode) else [child]


def _is_merge(key: yaml.Node) -> bool:
    return key.tag == _PLAIN and key.value == "<<"


def _paired(text: str) -> str:
    """The text with JSON's pairs of escapes made one character. Raises UnicodeError for half a pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16") if _SURROGATE.search(text) else text


def _plain(text: str) -> Any:
    """What an unquoted scalar means."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return _int(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return _SPECIAL.get(text.lower(), text)


def _int(text: str) -> int:
    digits = text.replace("_", "").lower()
    octal = re.fullmatch("([-+]?)0o?([0-7]+)", digits)
    return int(octal[1] + octal[2], 8) if octal else int(digits, 0)


def _bool(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError(text)
    return text in _TRUE


_READ: dict[str, Callable[[str], Any]] = {
    _PLAIN: _plain,
    f"{_TAG}str": str,
    f"{_TAG}int": _int,
    f"{_TAG}float": float,
    f"{_TAG}bool": _bool,
    f"{_TAG}null": lambda _: None,
}
"""How the text of a scalar is read, by its tag."""


def _foreign(value: Any) -> bool:
    """A well-formed object of another kind, as files for kubectl hold beside ours."""
    if not isinstance(value, dict):
        return False
    version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        return False
    return kind != KIND and not version.startswith(f"{GROUP}/")


def _place(mark: yaml.Mark) -> Place:
    return Place(line=mark.line + 1, column=mark.column + 1)


def _broken(given: str, allowed: str, remedy: str, place: Place) -> Document:
    problem = Problem(field="document", given=given, allowed=allowed, remedy=remedy)
    return Document(value=None, begins=place, problems=(Located(problem=problem, place=place),))


def _refused(given: str, allowed: str, remedy: str, mark: yaml.Mark) -> _Refused:
    (located,) = _broken(given, allowed, remedy, _place(mark)).problems
    return _Refused(located)


def _too_deep(mark: yaml.Mark) -> _Refused:
    allowed = f"at most {DEPTH_LIMIT} objects and lists within each other"
    return _refused("a document nested deeper", allowed, "Flatten it; an alias must not contain itself.", mark)
