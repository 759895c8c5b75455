"""One edit as new statements: which calls and bindings, with which parentheses.

Takes the edit and its values, gives `Call`s and `Binding`s: `layout` makes lines of them. libcst
says what kind of expression a value is and refuses what is none.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

import libcst as cst

from bufferize.errors import UnreadableFile
from bufferize.model import Edit, Registration
from bufferize.rewrite.layout import Binding, Call, Piece

# libcst's native parser overflows the stack some 3,000 levels down, and with it the process. Text
# up to MOST_CHARACTERS cannot reach that far; Python 3.10 parses chains of any length.
MOST_CHARACTERS = 4_000
DEEPEST = 800
TOO_DEEP = "an expression nested too deeply to be rewritten: split it"

# A method call binds to these as they stand.
_ATOMS = (
    cst.Name,
    cst.Attribute,
    cst.Call,
    cst.Subscript,
    cst.List,
    cst.ListComp,
    cst.Dict,
    cst.DictComp,
    cst.Set,
    cst.SetComp,
)
# These need parentheses as an argument, on the right of `=`, too.
_LOOSE = (cst.Yield, cst.NamedExpr, cst.Tuple, cst.StarredElement)


def build(edit: Edit, values: Sequence[Piece], bound: Piece | None) -> list[Call | Binding]:
    """The statements that take the place of the edited one; `values` go with the registrations."""
    built: list[Call | Binding] = []
    if edit.bind is not None and bound is not None:
        loose = isinstance(_parse(bound.text), (cst.NamedExpr, cst.Yield))
        built.append(Binding(edit.bind[0] + " = ", _in_parentheses(bound) if loose else bound))
    for registration, value in zip(edit.registrations, values, strict=True):
        argument = _argument(registration, value)
        if edit.constructor:
            built.append(_constructor_call(edit, registration, argument))
        else:
            name = Piece(registration.name)
            flag = Piece(f"persistent={registration.persistent}")
            head = _code(cst.Attribute(_parse(edit.receiver), cst.Name("register_buffer"))) + "("
            built.append(Call(head, (name, argument, flag)))
    return built


def _constructor_call(edit: Edit, registration: Registration, value: Piece) -> Call:
    """`self.x = nn.Buffer(...)`, or `setattr(...)` where the name is made at run time."""
    flag = Piece(f"persistent={registration.persistent}")
    name = _literal(registration.name)
    if name is None:
        head = f"setattr({edit.receiver}, {registration.name}, {edit.constructor}("
        return Call(head, (value, flag), "))")
    head = f"{edit.receiver}.{name} = {edit.constructor}("
    return Call(head, (value, flag))


def _literal(name: str) -> str | None:
    try:
        value = ast.literal_eval(name)
    except ValueError:
        return None
    return value if isinstance(value, str) and value.isidentifier() else None


def _argument(registration: Registration, value: Piece) -> Piece:
    node = _parse(value.text)
    if registration.suffix:
        closed = isinstance(node, _ATOMS) or bool(node.lpar)
        text = value.text if closed else _in_parentheses(value).text
        return replace(value, text=text + registration.suffix)
    return _in_parentheses(value) if isinstance(node, _LOOSE) and not node.lpar else value


def _in_parentheses(value: Piece) -> Piece:
    return replace(value, text=f"({value.text})")


def _parse(text: str) -> cst.BaseExpression:
    """The expression, which may run over lines; ValueError if it is none."""
    if len(text) > MOST_CHARACTERS:
        _check_depth(text)
    try:
        node = cst.parse_expression(f"({text})")
    except cst.ParserSyntaxError as error:
        raise ValueError(f"no expression: {text!r}") from error
    except RecursionError:
        raise UnreadableFile(TOO_DEEP) from None
    return node.with_changes(lpar=node.lpar[1:], rpar=node.rpar[:-1])


def _check_depth(text: str) -> None:
    level: list[ast.AST] = [ast.parse(f"({text})", mode="eval")]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise UnreadableFile(TOO_DEEP)


def _code(node: cst.BaseExpression) -> str:
    return cst.Module([]).code_for_node(node)
