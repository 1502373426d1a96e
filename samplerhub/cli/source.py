"""The fields of a component as its source says, without importing it: importing one takes seconds.

Classes and the names that they use are followed through modules, from what is written there. What is made in another
way, by a function or a decorator, is not known, and neither is a module that is not Python source.
"""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec

OPAQUE = ("pydantic", "typing", "abc")
"""Packages whose classes have no fields of a component."""


@dataclass(frozen=True, slots=True)
class SourceField:
    """A field."""

    name: str
    help: str = ""
    choices: tuple[str, ...] = ()
    """The values that it may have, where they are written out."""
    part: str = ""
    """The role of the component that it holds."""


@dataclass(frozen=True)
class Module:
    """A module that is read and not run."""

    name: str
    tree: ast.Module
    package: bool

    def find(self, name: str) -> tuple[Module, ast.AST] | None:
        """Return what a name stands for, a class or an expression, with the module where it is written."""
        for node in _statements(self.tree.body):
            match node:
                case ast.ClassDef(name=known) if known == name:
                    return self, node
                case ast.Assign(targets=[ast.Name(id=known)], value=value) if known == name:
                    return self, value
                case ast.AnnAssign(target=ast.Name(id=known), value=ast.expr() as value) if known == name:
                    return self, value
                case ast.ImportFrom(names=names):
                    for alias in names:
                        if (alias.asname or alias.name) == name and (module := read(self._absolute(node))):
                            return module.find(alias.name) if module is not self else None
        return None

    def behind(self, expression: ast.expr) -> tuple[Module, ast.AST] | None:
        """Return what a name, or a name in a module, stands for."""
        match expression:
            case ast.Subscript(value=value):
                return self.behind(value)
            case ast.Name(id=name):
                return self.find(name)
            case ast.Attribute(value=value, attr=name):
                module = read(self._module_called(ast.unparse(value)))
                return module.find(name) if module else None
        return None

    def _absolute(self, node: ast.ImportFrom) -> str:
        parts = self.name.split(".")
        above = parts[: len(parts) - node.level + self.package] if node.level else []
        return ".".join([*above, *([node.module] if node.module else [])])

    def _module_called(self, name: str) -> str:
        for node in _statements(self.tree.body):
            match node:
                case ast.Import(names=names):
                    for alias in names:
                        if name == (alias.asname or alias.name):
                            return alias.name
                case ast.ImportFrom(names=names):
                    for alias in names:
                        if name == (alias.asname or alias.name):
                            return f"{self._absolute(node)}.{alias.name}"
        return ""


def fields(target: str) -> tuple[SourceField, ...]:
    """Return the fields of the class that an entry names, its own before those that it inherits.

    Args:
        target: Where it is, "package.module:Class".
    """
    name, _, path = target.partition(":")
    module = read(name)
    found = module.find(path) if module else None
    if found is None or not isinstance(found[1], ast.ClassDef):
        return ()
    return tuple(field for field in _collected(*found).values() if field is not None)


@cache
def read(name: str) -> Module | None:
    """Return a module, or None where there is no source of it; no package above it is imported."""
    top, *below = name.split(".")
    if not top or top in OPAQUE:
        return None
    try:
        spec = find_spec(top)
        for i in range(len(below)):
            places = spec.submodule_search_locations if spec else None
            spec = PathFinder.find_spec(".".join([top, *below[: i + 1]]), places) if places is not None else None
        if spec is None or not (spec.origin or "").endswith(".py"):
            return None
        with tokenize.open(str(spec.origin)) as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, ImportError):
        return None
    return Module(name, tree, spec.submodule_search_locations is not None)


def _collected(module: Module, node: ast.AST) -> dict[str, SourceField | None]:
    """Return the fields of a class by name; None for what it has as a class variable."""
    if not isinstance(node, ast.ClassDef):
        return {}
    found: dict[str, SourceField | None] = {}
    for statement, after in zip(node.body, [*node.body[1:], None]):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if not name.startswith("_"):
                if "ClassVar" in ast.unparse(annotation):
                    found[name] = None
                    continue
                text = (
                    after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
                )
                members = list(_members(module, annotation))
                choices = dict.fromkeys(value for kind, value in members if kind == "choice")
                part = next((value for kind, value in members if kind == "part"), "")
                found[name] = SourceField(name, " ".join(str(text).split()), tuple(choices), part)
    for base in node.bases:
        behind = module.behind(base)
        for name, field in (_collected(*behind) if behind else {}).items():
            found.setdefault(name, field)
    return found


def _members(module: Module, annotation: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the values that an annotation writes out, and the role of a part."""
    match annotation:
        case ast.BinOp(left=left, right=right, op=ast.BitOr()):
            members = [*_members(module, left), *_members(module, right)]
            yield from members
            if isinstance(right, ast.Constant) and right.value is None and members:
                yield "choice", "none"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            for value in values.elts if isinstance(values, ast.Tuple) else [values]:
                if isinstance(value, ast.Constant):
                    yield "choice", str(value.value)
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, *marks])):
            yield from _members(module, kind)
            for mark in marks:
                match mark:
                    case ast.Call(func=ast.Name(id="Part"), args=[ast.Constant(value=role)]):
                        yield "part", str(role)
        case ast.Name(id="bool"):
            yield from (("choice", "true"), ("choice", "false"))
        case ast.Name():
            behind = module.behind(annotation)
            if behind and isinstance(behind[1], ast.expr) and behind[1] is not annotation:
                yield from _members(*behind)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those under ``if`` and ``try`` included."""
    for node in body:
        yield node
        match node:
            case ast.If(body=inner, orelse=other) | ast.Try(body=inner, orelse=other):
                yield from _statements([*inner, *other])
