"""Expressions in CEL, the Common Expression Language (https://cel.dev), read and evaluated by celpy. Pure.

What is told here: where in its text an expression is wrong, which names it uses, and what it comes to. It
ends: CEL has no loops but macros over lists, and each evaluation has a budget that every node, and every
value that is put together, is charged to. Patterns are RE2's, which are linear in the text.

One thing is otherwise than in the language's definition, for rules over YAML that leaves things out:
``has(a.b.c)`` is false when any of them is missing or null; other errors inside of it are errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import lark
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError, CELParser
from celpy.evaluation import Activation, CELEvalError, Evaluator, base_functions

from reconciler.engine.cel_functions import ARITHMETIC, FUNCTIONS, CelError, Exhausted, Missing
from reconciler.engine.cel_words import marked, noun, shown, told

__all__ = [
    "LONGEST",
    "Budget",
    "CelError",
    "Chain",
    "Exhausted",
    "Expression",
    "Missing",
    "evaluate",
    "is_truth",
    "marked",
    "moment",
    "parse",
    "shown",
    "to_cel",
]

LONGEST: Final = 4_000
"""Characters of one expression."""
_DEEPEST: Final = 60
_STEPS: Final = 50_000
"""What one evaluation may cost: a node costs 1, a value that is put together as much as it holds."""

_MACROS: Final = frozenset({"map", "filter", "all", "exists", "exists_one"})
_PASSED: Final = frozenset(
    {"expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary", "member"}
)


@dataclass(slots=True)
class Budget:
    """What is left to spend. ``error``: the first error that an evaluation met, where it began."""

    left: int = _STEPS
    error: CELEvalError | None = None

    def spend(self, cost: int) -> None:
        """Raises Exhausted when too little is left."""
        self.left -= cost
        if self.left < 0:
            raise Exhausted("it takes too long, or makes too large a value")


@dataclass(frozen=True, slots=True)
class Chain:
    """A name with the fields that are asked of it, ``resource.spec.config``: its parts, and where it
    stands."""

    parts: tuple[str, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """An expression that can be read. ``names``: variables that it takes from outside."""

    text: str
    tree: Any
    names: frozenset[str]
    chains: tuple[Chain, ...]

    @property
    def chain(self) -> Chain | None:
        """The expression, where it is one chain and nothing else."""
        found = [chain for chain in self.chains if ".".join(chain.parts) == self.text.strip()]
        return found[0] if found else None


# ---- reading ---------------------------------------------------------------------------------------------


def parse(text: str) -> Expression:
    """Read an expression. Raises CelError that says where it is wrong."""
    if len(text) > LONGEST:
        raise CelError(f"an expression of {len(text):,} characters is too long: {LONGEST:,} are the most")
    try:
        tree = _collapsed(CELParser().parse(text), 0)
        chains, calls = _scanned(tree)
    except CELParseError as error:
        raise _syntax(text, error) from error
    except RecursionError as error:
        raise CelError("it is nested too deeply") from error
    for name, line, column in calls:
        if name not in FUNCTIONS and name not in _MACROS and name not in ("has", "dyn"):
            raise CelError(f"there is no function {name}", line, column)
    return Expression(text, tree, frozenset(chain.parts[0] for chain in chains), chains)


def _syntax(text: str, error: CELParseError) -> CelError:
    line, column = error.line or 0, error.column or 0
    token = getattr(error.__context__, "token", None)
    if line < 1 or column < 1 or (token is not None and token.type == "$END"):
        lines = text.rstrip().split("\n")
        return CelError("it ends too early", len(lines), len(lines[-1]) + 1)
    found = re.match(r"[\w.]+|\S", text.split("\n")[line - 1][column - 1 :])
    return CelError(f"{found[0]!r} does not fit here" if found else "it cannot be read", line, column)


def _collapsed(node: Any, depth: int) -> Any:
    """The tree without nodes that only pass on what stands below: the grammar has ten for each name."""
    if not isinstance(node, lark.Tree):
        return node
    while node.data in _PASSED and len(node.children) == 1 and isinstance(node.children[0], lark.Tree):
        node = node.children[0]
    if depth > _DEEPEST:
        raise CelError("it is nested too deeply", *_place(node))
    if node.data in ("member_object", "dot_ident", "dot_ident_arg"):
        raise CelError("messages and packages of protocol buffers are not known here", *_place(node))
    return lark.Tree(str(node.data), [_collapsed(child, depth + 1) for child in node.children], node.meta)


def _place(node: Any) -> tuple[int, int]:
    meta = node.meta
    return (0, 0) if meta.empty else (meta.line, meta.column)


Called = tuple[str, int, int]


def _scanned(tree: Any) -> tuple[tuple[Chain, ...], tuple[Called, ...]]:
    chains: list[Chain] = []
    calls: list[Called] = []

    def walk(here: Any, bound: frozenset[str]) -> None:
        node = here  # untyped: what children are depends on the rule
        if not isinstance(here, lark.Tree):
            return
        if (chain := _chain(node)) is not None:
            if chain.parts[0] not in bound:
                chains.append(chain)
            return
        if node.data == "ident_arg":
            name = node.children[0]
            calls.append((str(name), name.line, name.column))
            if name in ("has", "dyn") and not _arguments(node, 1):
                raise CelError(f"{name}() takes one argument", name.line, name.column)
            if name == "has" and _arguments(node, 1)[0].data != "member_dot":
                raise CelError(
                    "has() asks for a field, as in has(resource.spec.tags)", name.line, name.column
                )
        if node.data == "member_dot_arg":
            name = node.children[1]
            if name in ("reduce", "min"):  # celpy has them, the language has not
                raise CelError(f"there is no macro {name}", name.line, name.column)
            if name in _MACROS:
                given = _arguments(node, 2)
                variable = _chain(given[0]) if given else None
                if variable is None or len(variable.parts) != 1:
                    what = f"{name}() takes the name of a variable and an expression"
                    raise CelError(what, name.line, name.column)
                walk(node.children[0], bound)
                walk(given[1], bound | {variable.parts[0]})
                return
            calls.append((str(name), name.line, name.column))
        for child in node.children:
            walk(child, bound)

    walk(tree, frozenset())
    return tuple(chains), tuple(calls)


def _arguments(node: Any, number: int) -> list[Any]:
    """The arguments of a call, empty when there are not so many."""
    last = node.children[-1]
    given = list(last.children) if isinstance(last, lark.Tree) and last.data == "exprlist" else []
    return given if len(given) == number else []


def _chain(node: Any) -> Chain | None:
    if node.data == "primary" and node.children[0].data == "ident":
        name = node.children[0].children[0]
        return Chain((str(name),), name.line, name.column)
    if node.data == "member_dot":
        below = _chain(node.children[0])
        return below and Chain((*below.parts, str(node.children[1])), below.line, below.column)
    return None


# ---- values ----------------------------------------------------------------------------------------------


def to_cel(value: Any) -> Any:
    """A JSON value as CEL has it; numbers too large for 64 bits as text. Keep it: it costs as it is long."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return celtypes.StringType(str(value))
    if isinstance(value, Mapping):
        return celtypes.MapType({celtypes.StringType(key): to_cel(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return celtypes.ListType([to_cel(item) for item in value])
    return json_to_cel(value)


def moment(text: str) -> Any:
    """An RFC 3339 time as CEL has it."""
    return celtypes.TimestampType(text)


def _weight(value: Any) -> int:
    """How much a value holds; counting stops above what any budget can pay."""
    total = 0
    waiting = [value]
    while waiting and total <= _STEPS:
        here = waiting.pop()
        total += 1
        if isinstance(here, (str, bytes)):
            total += len(here) // 16
        elif isinstance(here, Mapping):
            waiting += here.values()
        elif isinstance(here, list):
            waiting += here
    return total


# ---- evaluating ------------------------------------------------------------------------------------------


class _Functions(Activation):
    """Where celpy's evaluator finds functions and operators."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._known = functions

    def __str__(self) -> str:
        return "names"  # celpy puts it into messages

    def resolve_function(self, name: str) -> Any:
        return self._known[name]


class _Evaluator(Evaluator):
    """celpy's, with a budget. Names are looked up in one mapping: there are no packages to search."""

    def __init__(self, ast: Any, variables: Mapping[str, Any], functions: _Functions, budget: Budget) -> None:
        super().__init__(ast, functions)
        self.variables = variables
        self.functions = functions
        self.budget = budget

    def sub_evaluator(self, ast: Any) -> Evaluator:
        return _Evaluator(ast, self.variables, self.functions, self.budget)

    def evaluate(self, context: Any = None) -> Any:
        outer = self.variables
        self.variables = {**outer, **(context or {})}
        try:
            value = self.visit(self.ast)
        finally:
            self.variables = outer
        if isinstance(value, CELEvalError):
            raise value
        return value

    def ident_value(self, name: str, root_scope: bool = False) -> Any:
        return self.variables[name] if name in self.variables else self.functions.resolve_function(name)

    def _visit_tree(self, tree: Any) -> Any:
        self.budget.spend(1)
        value = super()._visit_tree(tree)
        if isinstance(value, CELEvalError):
            if self.budget.error is None or self.budget.error.line is None:
                self.budget.error = value
        elif _makes(tree) and isinstance(value, (str, bytes, list, dict)):
            self.budget.spend(_weight(value))
        return value

    def method_eval(self, object: Any, method_ident: Any, exprlist: Any = None) -> Any:
        self.budget.spend(_weight(object) // 4)
        return super().method_eval(object, method_ident, exprlist)

    def function_eval(self, name_token: Any, exprlist: Any = None) -> Any:
        given = [] if exprlist is None or isinstance(exprlist, CELEvalError) else list(exprlist)
        self.budget.spend(sum(map(_weight, given)))
        wanted: Any = exprlist if isinstance(exprlist, CELEvalError) else given
        return super().function_eval(name_token, wanted)

    def member_dot(self, tree: Any) -> Any:
        member, name = self.visit(tree.children[0]), str(tree.children[1])
        if isinstance(member, CELEvalError):
            return member
        if member is None:
            return CELEvalError(f"null has no field {name!r}", KeyError, None, token=tree.children[1])
        if not isinstance(member, celtypes.MapType):
            what = f"{noun(type(member))} has no fields, and {name!r} is asked of it"
            return CELEvalError(what, TypeError, None, token=tree.children[1])
        if name not in member:
            return CELEvalError(f"there is no {name!r} here", KeyError, None, token=tree.children[1])
        return member[name]

    def macro_has_eval(self, exprlist: Any) -> Any:
        before = self.budget.error
        value = self.visit(exprlist.children[0])
        if isinstance(value, CELEvalError):
            if not any(part is KeyError or part is IndexError for part in value.args):
                return value
            self.budget.error = before
            return celtypes.BoolType(False)
        return celtypes.BoolType(value is not None)


def _makes(tree: Any) -> bool:
    """A node that puts a value together; others hand on what exists."""
    if tree.data == "primary":
        return tree.children[0].data in ("list_lit", "map_lit", "ident_arg")
    return tree.data in ("addition", "member_dot_arg")


def evaluate(expression: Expression, variables: Mapping[str, Any], budget: Budget) -> Any:
    """What the expression comes to, with variables in CEL's values (:func:`to_cel`, :func:`moment`).

    Raises CelError when it comes to nothing.
    """

    def charged(name: str) -> Callable[[Any, Any], Any]:
        operation = base_functions[name]

        def run(left: Any, right: Any) -> Any:
            budget.spend(_weight(left) + _weight(right))
            return operation(left, right)

        return run

    functions = _Functions({**FUNCTIONS, **ARITHMETIC, **{name: charged(name) for name in _COMPARING}})
    budget.error = None
    try:
        return _Evaluator(expression.tree, variables, functions, budget).evaluate()
    except CELEvalError as error:
        raise told(budget.error or error) from error
    except RecursionError as error:
        raise CelError("it is nested too deeply") from error
    except CelError:
        raise
    except Exception as error:  # celpy's operators raise whatever Python raises
        place = budget.error or CELEvalError()
        what = f"it cannot be evaluated ({type(error).__name__}: {str(error)[:80]})"
        raise CelError(what, place.line or 0, place.column or 0) from error


_COMPARING: Final = ("_==_", "_!=_", "_in_")


def is_truth(value: Any) -> bool:
    """Whether an expression came to true or false, and not to something else."""
    return isinstance(value, (bool, celtypes.BoolType))
