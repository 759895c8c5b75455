"""Attributes that the object under construction gets: plain writes, registrations, deletions."""

from __future__ import annotations

import ast

from bufferize.project import ClassInfo
from bufferize.tensors import values as v
from bufferize.tensors.frame import Attribute, Frame, Instance, Write
from bufferize.tensors.values import Kind, Value


def write_key(node: ast.AST, attribute: str) -> int:
    return hash((id(node), attribute))


def write(
    attribute: str,
    value: Value,
    node: ast.AST,
    expression: ast.expr | None,
    form: str,
    receiver: str,
    frame: Frame,
    dynamic: str = "",
) -> None:
    """`self.attribute = value` on this path."""
    instance = frame.instance
    if instance is None:
        return
    earlier = instance.attributes.get(attribute)
    if Kind.PARAMETER in value.kinds and value.kinds <= {Kind.PARAMETER, Kind.NONE}:
        form_, slot = "parameter", "parameter"
    elif value.kinds == {Kind.MODULE}:
        form_, slot = "module", "module"
    elif v.BUFFER in value.traits:
        form_, slot = "register", "buffer"
    else:
        form_, slot = form, "plain"
    kept = earlier is not None and earlier.slots == {"buffer"} and slot == "plain"
    key = write_key(node, attribute)
    _record(
        key, attribute, value, node, expression, form_, receiver, frame, instance, earlier, dynamic
    )
    slots = frozenset({"buffer"}) if kept else frozenset({slot})
    writes = (earlier.writes if earlier else frozenset()) | {key}
    instance.attributes[attribute] = Attribute(value, writes, slots)


def _record(
    key: int,
    attribute: str,
    value: Value,
    node: ast.AST,
    expression: ast.expr | None,
    form: str,
    receiver: str,
    frame: Frame,
    instance: Instance,
    earlier: Attribute | None,
    dynamic: str = "",
    persistent: bool | None = None,
) -> None:
    frame.run.writes.append(
        Write(
            key,
            attribute,
            value,
            node,  # type: ignore[arg-type]
            expression,
            form,
            frame.module,
            _lexical_owner(frame),
            frame.function,
            receiver,
            frame.context,
            instance.initialised,
            earlier,
            instance.cls,
            dynamic,
            persistent,
        )
    )


def _lexical_owner(frame: Frame) -> ClassInfo | None:
    current: Frame | None = frame
    while current is not None:
        if current.owner is not None:
            return current.owner
        current = current.around
    return None


def record_setattr(positional: list[Value], node: ast.Call, frame: Frame) -> None:
    """`setattr(self, name, value)`, the name a literal or not."""
    name = positional[1].constant
    literal = isinstance(name, str) and isinstance(node.args[1], ast.Constant)
    attribute = str(name) if isinstance(name, str) else pattern_of(node.args[1])
    dynamic = "" if literal else ast.unparse(node.args[1])
    receiver = ast.unparse(node.args[0])
    write(attribute, positional[2], node, node.args[2], "setattr", receiver, frame, dynamic)


def pattern_of(node: ast.expr) -> str:
    """A computed attribute name with its open places in braces: 'pos_{i}', '{name}'."""
    if isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            elif isinstance(part, ast.FormattedValue):
                parts.append("{" + ast.unparse(part.value) + "}")
        return "".join(parts)
    return "{" + ast.unparse(node) + "}"


def register(
    method: str, positional: list[Value], keywords: dict[str, Value], node: ast.Call, frame: Frame
) -> None:
    """register_buffer, register_parameter and add_module called by hand."""
    if frame.instance is None:
        return
    value = (
        positional[1]
        if len(positional) > 1
        else keywords.get("tensor", keywords.get("param", v.UNKNOWN))
    )
    flag = positional[2] if len(positional) > 2 else keywords.get("persistent")
    persistent = (
        flag.constant
        if flag is not None and isinstance(flag.constant, bool)
        else flag is None or None
    )
    name = (positional[0] if positional else keywords.get("name", v.UNKNOWN)).constant
    names = (name,) if isinstance(name, str) else _names_of_loop(node, frame)
    for attribute in names or (pattern_of(node.args[0]) if node.args else "{?}",):
        _register(method, attribute, value, persistent, node, frame.instance, frame)


def _register(
    method: str,
    attribute: str,
    value: Value,
    persistent: bool | None,
    node: ast.Call,
    receiver: Instance,
    frame: Frame,
) -> None:
    slot, form = {
        "register_buffer": ("buffer", "register"),
        "register_parameter": ("parameter", "parameter"),
    }.get(method, ("module", "module"))
    earlier = receiver.attributes.get(attribute)
    key = write_key(node, attribute)
    _record(
        key, attribute, value, node, None, form, "self", frame, receiver, earlier, "", persistent
    )
    if slot == "buffer" and value.is_unknown:
        value = v.tensor()
    writes = (earlier.writes if earlier else frozenset()) | {key}
    receiver.attributes[attribute] = Attribute(value, writes, frozenset({slot}))


def _names_of_loop(node: ast.Call, frame: Frame) -> tuple[str, ...]:
    """The names in `for name in ("a", "b"): self.register_buffer(name, None)`."""
    from bufferize.tensors.evaluate import evaluate

    name = node.args[0] if node.args else None
    if not isinstance(name, ast.Name) or frame.function is None:
        return ()
    for loop in ast.walk(frame.function.node):
        if not isinstance(loop, ast.For) or not isinstance(loop.target, ast.Name):
            continue
        if loop.target.id == name.id and any(child is node for child in ast.walk(loop)):
            found = [item.constant for item in evaluate(loop.iter, frame).items or ()]
            names = tuple(text for text in found if isinstance(text, str))
            return names if len(names) == len(found) else ()
    return ()


def delete(attribute: str, node: ast.AST, frame: Frame) -> None:
    """`del self.attribute`."""
    instance = frame.instance
    if instance is None:
        return
    earlier = instance.attributes.pop(attribute, None)
    key = write_key(node, attribute)
    _record(key, attribute, v.OTHER, node, None, "delete", "self", frame, instance, earlier)
