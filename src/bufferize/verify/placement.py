"""Takes devices out of code: what was written for a GPU becomes the same thing on the CPU.

In and out: syntax trees. The proof moves modules and inputs itself, so a mined `.to("cuda")` would
only get in its way.
"""

from __future__ import annotations

import ast
import re

from bufferize.verify.scopes import dotted

DEVICE = re.compile(r"^(cuda|mps|xpu|npu|cpu|hpu)(:\d+)?$")
MOVES = frozenset({"cuda", "cpu", "xpu", "npu", "pin_memory"})


def on_cpu(tree: ast.Module) -> ast.Module:
    """`tree` with device moves dropped and devices replaced; positions are kept."""
    placed: ast.Module = _OnCpu().visit(tree)
    return ast.fix_missing_locations(placed)


class _OnCpu(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = dotted(node.func)
        if name.startswith("torch.") and name.endswith(".is_available"):
            return ast.copy_location(ast.Constant(False), node)
        if name == "torch.device":
            node.args, node.keywords = [ast.copy_location(ast.Constant("cpu"), node)], []
            return node
        if isinstance(node.func, ast.Attribute) and name != f"torch.{node.func.attr}":
            if node.func.attr in MOVES:
                return node.func.value
            if node.func.attr == "to":
                return self._without_device(node, node.func.value)
        node.keywords = [
            k
            for k in map(self._placed, node.keywords)
            if k is not None and not (k.arg == "device" and name.startswith("torch."))
        ]
        return node

    def _without_device(self, node: ast.Call, moved: ast.expr) -> ast.AST:
        node.args = [arg for arg in node.args if not _is_device(arg)]
        node.keywords = [
            k for k in node.keywords if k.arg not in {"device", "non_blocking", "copy"}
        ]
        return node if node.args or node.keywords else moved

    def _placed(self, keyword: ast.keyword) -> ast.keyword:
        if keyword.arg == "device" and not (
            isinstance(keyword.value, ast.Constant) and keyword.value.value is None
        ):
            keyword.value = ast.copy_location(ast.Constant("cpu"), keyword.value)
        return keyword

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str) and DEVICE.match(node.value):
            return ast.copy_location(ast.Constant("cpu"), node)
        return node


def _is_device(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str | int) and not isinstance(node.value, bool)
    if isinstance(node, ast.Call):
        return dotted(node.func) == "torch.device"
    if isinstance(node, ast.IfExp):
        return _is_device(node.body) or _is_device(node.orelse)
    last = dotted(node).rpartition(".")[2].lower()
    return "device" in last or "gpu" in last or last in {"dev", "cuda", "rank", "local_rank"}
