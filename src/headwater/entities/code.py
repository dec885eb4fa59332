"""Fingerprints of code: the same for the same source on every machine and Python, another one where it may do something
else.

Comments, layout and docstrings do not count. What a function calls counts where it is a method of its own class or a
function of its own module, and so do the plain constants that it names there. What it calls elsewhere is not seen.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from decimal import Decimal
from types import FunctionType
from typing import Any

DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
PLAIN = (bool, int, float, str, bytes, Decimal, date, timedelta)


def code_of(functions: Iterable[Callable[..., Any]], owner: type | None = None) -> str:
    """The fingerprint of functions, in their order. Arguments: owner: the class whose methods they are."""
    digest = hashlib.blake2b(digest_size=8)
    seen: set[Callable[..., Any]] = set()
    waiting = list(functions)
    while waiting:
        function = waiting.pop(0)
        if function in seen:
            continue
        seen.add(function)
        tree = _tree_of(function)
        digest.update((_text_of(function) if tree is None else _canonical(tree)).encode())
        named, constants = _named_in(function, tree, owner)
        digest.update(repr(constants).encode())
        waiting += named
    return digest.hexdigest()


def _tree_of(function: Callable[..., Any]) -> ast.AST | None:
    """None where there is no source, or it is a piece of a line."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None


def _text_of(function: Callable[..., Any]) -> str:
    """Byte code in place of source: of this Python's version only."""
    code = getattr(function, "__code__", None)
    return repr(function) if code is None else repr((code.co_code, code.co_consts, code.co_names))


def _named_in(
    function: Callable[..., Any], tree: ast.AST | None, owner: type | None
) -> tuple[list[Callable[..., Any]], list[tuple[str, str]]]:
    """The functions beside it that it names, and the constants with their values, in the order of their names."""
    if not isinstance(function, FunctionType):
        return [], []
    closure = inspect.getclosurevars(function)
    names = {**closure.globals, **closure.nonlocals}
    found = [
        names[name]
        for name in sorted(names)
        if isinstance(names[name], FunctionType) and names[name].__module__ == function.__module__
    ]
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} if tree else set()
    for name in sorted(attributes) if owner is not None else ():
        value = inspect.getattr_static(owner, name, None)
        method = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(method, FunctionType):
            found.append(method)
    return found, [(name, repr(names[name])) for name in sorted(names) if isinstance(names[name], PLAIN)]


def _canonical(node: object) -> str:
    """A syntax tree as text. Written here, not by `ast.dump` or `ast.unparse`, whose texts differ between Pythons."""
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = [type(node).__name__]
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list) and name == "body" and isinstance(node, DOCUMENTED) and ast.get_docstring(node):
            value = value[1:]
        if isinstance(node, ast.JoinedStr):  # Python 3.12 puts empty pieces into some
            value = [one for one in node.values if not (isinstance(one, ast.Constant) and one.value == "")]
        if value is not None and value != [] and name not in ("ctx", "kind", "type_comment"):
            parts.append(f"{name}={_canonical(value)}")
    return "(" + " ".join(parts) + ")"
