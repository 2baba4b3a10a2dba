"""From a walked network to the cost terms: sizes as linear forms of the widths (see values.CostTerms)."""

import json
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from explorer.errors import ExplorerError
from explorer.graph.labels import Value, compact, identity
from explorer.graph.tracing import Shape, Traced
from explorer.graph.units import Units
from explorer.graph.walk import Walk
from explorer.values import CostTerms, read_only

SAFETENSORS_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class _Forms:
    """Collects distinct linear forms; form 0 is the constant 1."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._groups = len(units.groups)
        self._rows: dict[bytes, int] = {}
        self._lengths: dict[tuple[int, int, int], int] = {}
        self._sizes = np.array([group.size for group in units.groups], dtype=np.int64)
        self.constant: list[int] = []
        self.coefficient: list[NDArray[np.int64]] = []
        self.fixed(1)

    def fixed(self, length: int) -> int:
        return self._add(length, np.zeros(self._groups, dtype=np.int64))

    def length(self, labels: Tensor) -> int:
        """The form of an axis' length: positions in no group are constant."""
        key = identity(labels)
        if key not in self._lengths:
            self._lengths[key] = self._length(labels)
        return self._lengths[key]

    def _length(self, labels: Tensor) -> int:
        group = self._units.pairs(labels)[:, 0]
        counts = np.bincount(group[group >= 0], minlength=self._groups)
        multiplicity = counts / self._sizes
        coefficient = multiplicity.astype(np.int64)
        if (coefficient != multiplicity).any():
            raise ExplorerError(
                "Units of one channel group have different numbers of positions on an axis. This is a fault of the "
                "explorer: please report it with the network."
            )
        return self._add(int((group < 0).sum()), coefficient)

    def _add(self, constant: int, coefficient: NDArray[np.int64]) -> int:
        key = constant.to_bytes(8, "little") + coefficient.tobytes()
        if key not in self._rows:
            self._rows[key] = len(self.constant)
            self.constant.append(constant)
            self.coefficient.append(coefficient)
        return self._rows[key]


def activation_axes(walk: Walk, traced: Traced) -> dict[fx.Node, list[Tensor]]:
    """For every operator's result, the flat labels of each axis (or joint axes) that carries channels."""
    axes = {}
    for node in traced.results:
        value = walk.values.get(node)
        found = []
        for leaf in tree_leaves(value) if not isinstance(value, Value) else [value]:
            if isinstance(leaf, Value):
                found += [_flat(field) for field in leaf.fields]
        axes[node] = found
    return axes


def _flat(field: Tensor) -> Tensor:
    """The labels along the dimensions that the field varies along, flattened."""
    return compact(field).reshape(-1)


def _padded(rows: list[list[int]]) -> NDArray[np.int64]:
    width = max((len(row) for row in rows), default=1) or 1
    return np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64).reshape(
        len(rows), width
    )


def build_terms(walk: Walk, traced: Traced, units: Units, axes: dict[fx.Node, list[Tensor]]) -> CostTerms:
    """Everything that `costs` needs, as arrays."""
    forms = _Forms(units)
    tensors, tensor_forms, counted = _tensors(walk, traced, forms)
    row = {name: index for index, (name, _, _) in enumerate(tensors)}
    live = _live(traced, forms, axes)
    return CostTerms(
        constant=read_only(np.array(forms.constant, dtype=np.int64)),
        coefficient=read_only(np.stack(forms.coefficient)),
        tensors=tuple(tensors),
        tensor_forms=read_only(tensor_forms),
        counted=read_only(counted),
        **_file(tensors, tensor_forms, traced),
        layer_tensor=read_only(np.array([row[layer.weight] for layer in walk.layers], dtype=np.int64)),
        positions=read_only(np.array([layer.positions for layer in walk.layers], dtype=np.int64)),
        other_macs=sum(call.macs for call in walk.fixed),
        **live,
    )


def _tensors(
    walk: Walk, traced: Traced, forms: _Forms
) -> tuple[list[tuple[str, str, int]], NDArray[np.int64], NDArray[np.bool_]]:
    """All tensors of the state dict: name, type, rank; forms of their dimensions; whether they are counted."""
    tensors, rows, counted = [], [], []
    for name, tensor in traced.twin.state.items():
        first = traced.twin.tensors[name]
        row = []
        for dim, length in enumerate(tensor.shape):
            axis = walk.axes.get((first, dim))
            row.append(forms.fixed(length) if axis is None else forms.length(axis.labels))
        tensors.append((name, SAFETENSORS_DTYPES.get(tensor.dtype, "F32"), tensor.dim()))
        rows.append(row)
        counted.append(first == name and isinstance(tensor, nn.Parameter))
    return tensors, _padded(rows), np.array(counted, dtype=bool)


def _file(
    tensors: list[tuple[str, str, int]], tensor_forms: NDArray[np.int64], traced: Traced
) -> dict[str, Any]:
    """How a safetensors file holds the tensors: widest type first, then by name, a tied tensor once."""
    rows = [row for row, (name, _, _) in enumerate(tensors) if traced.twin.tensors.get(name, name) == name]
    rows.sort(key=lambda row: (-BYTES[tensors[row][1]], tensors[row][0]))
    header, digits = {}, len(rows) * (tensor_forms.shape[1] + 2)
    for name, dtype, rank in (tensors[row] for row in rows):
        header[name] = {"dtype": dtype, "shape": [0] * rank, "data_offsets": [0, 0]}
    return {
        "stored": read_only(np.array(rows, dtype=np.int64)),
        "stored_bytes": read_only(np.array([BYTES[tensors[row][1]] for row in rows], dtype=np.int64)),
        "header_text": len(json.dumps(header, separators=(",", ":")).encode()) - digits,
    }


def _live(traced: Traced, forms: _Forms, axes: dict[fx.Node, list[Tensor]]) -> dict[str, Any]:
    """Sizes and lifetimes of the storages that hold activations, in execution order."""
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    shape_forms: dict[int, tuple[list[int], int]] = {}
    weights = {
        shape.storage for node in traced.results if node.op == "get_attr" for shape in _shapes(traced, node)
    }
    for step, node in enumerate(traced.results):
        for source in node.all_input_nodes:
            for shape in _shapes(traced, source):
                dies[shape.storage] = step
        for shape in _shapes(traced, node):
            if shape.storage in weights or shape.storage in born:
                continue
            born[shape.storage], dies[shape.storage] = step, step
            carried = [forms.length(labels) for labels in axes[node]]
            elements = math.prod(shape.shape)
            for labels in axes[node]:
                elements //= max(len(labels), 1)
            shape_forms[shape.storage] = (carried, elements)
    order = list(born)
    return {
        "live_forms": read_only(_padded([shape_forms[storage][0] for storage in order])),
        "live_factor": read_only(np.array([shape_forms[storage][1] for storage in order], dtype=np.int64)),
        "born": read_only(np.array([born[storage] for storage in order], dtype=np.int64)),
        "dies": read_only(np.array([dies[storage] for storage in order], dtype=np.int64)),
    }


def _shapes(traced: Traced, node: fx.Node) -> list[Shape]:
    return [leaf for leaf in tree_leaves(traced.results[node]) if isinstance(leaf, Shape)]
