"""The graph of an archive, as JSON, becomes a torch.fx.GraphModule of real modules.

A convolution, linear layer or norm whose tensors all belong to one path becomes the torch.nn module there, so that
it has channels and groups as attributes, and can be trained, re-estimated, copied and shrunk as any other.
"""

import operator
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from keyword import iskeyword
from typing import Any

import torch
from torch import Tensor, fx, nn

from explorer.errors import BadInput
from explorer.graph.aten import written
from explorer.zoo.archived_layers import LAYERS, Operation, layer_module

Json = Mapping[str, Any]

SCALAR_TYPES: Mapping[int, torch.dtype] = {  # torch._export.serde.schema.ScalarType
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
CONSTANTS = {"as_none": None, "as_device": torch.device("cpu"), "as_layout": torch.strided}
OWNERS = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
DROPOUTS = {"dropout": nn.Dropout, "dropout_": nn.Dropout, "feature_dropout": nn.Dropout2d}
BATCHED = ("view", "reshape", "expand")  # whose first size is the batch, where it is written as a number
PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_string", "as_bool", "as_bools")
NAME = re.compile(r"[^.\"\\]+(\.[^.\"\\]+)*")  # torch.fx writes names into source, within quotes


def is_name(name: str) -> bool:
    """Whether a module's tensor, or a module, may be called so."""
    code = any(iskeyword(part) for part in name.split("."))
    return name.isprintable() and NAME.fullmatch(name) is not None and not code


def rebuild_module(
    program: Json, tensors: Mapping[str, Tensor]
) -> tuple[fx.GraphModule, tuple[int, ...] | None]:
    """The module, and the shape of its input with a batch of one (None: not known).

    `program` is the "graph_module" of the archive's JSON, `tensors` its parameters, buffers and constants by name.
    Raises BadInput for a graph that cannot be rebuilt, KeyError and the like for one that is not consistent.
    """
    rebuilding = _Rebuilding(program, tensors)
    return rebuilding.run(), rebuilding.shape


class _Rebuilding:
    """One graph on its way; `values` are the results so far, by their names in the archive."""

    def __init__(self, program: Json, tensors: Mapping[str, Tensor]) -> None:
        self.json = program["graph"]
        self.signature = program["signature"]
        self.tensors = tensors
        self.root: nn.Module = nn.Module()
        self.graph = fx.Graph()
        self.values: dict[str, Any] = {}
        self.names: dict[str, str] = {}  # of parameters, buffers and constants: value -> name in the module
        self.passing: set[str] = set()  # names of buffers that are not in the state dict
        inputs = [name for spec in self.signature["input_specs"] if (name := self._declared(spec))]
        if len(inputs) != 1:
            raise BadInput(f"it takes {len(inputs)} inputs; the explorer takes networks of one, the images.")
        self.image = self.values[inputs[0]] = self.graph.placeholder("input")
        self.sizes = self.json["tensor_values"][inputs[0]]["sizes"]
        self.uses = Counter(name for node in self.json["nodes"] for name in _tensors_of(node))
        self.ties = Counter(id(tensor) for tensor in tensors.values())
        self.inside: dict[str, set[str]] = defaultdict(set)
        for name in tensors:
            path, _, attribute = name.rpartition(".")
            self.inside[path].add(attribute)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """That of the input; sizes that may vary are those of the example that it was exported with."""
        sizes = [_size(each) for each in self.sizes[1:]]
        return None if None in sizes else (1, *(size for size in sizes if size is not None))

    def run(self) -> fx.GraphModule:
        """Rebuild call after call."""
        for node in self.json["nodes"]:
            if (result := self._call(node)) is not None:
                self._keep(node["outputs"], result)
        outputs = []
        for spec in self.signature["output_specs"]:
            if "user_output" not in spec:
                raise BadInput(
                    f"it changes its own tensors ({next(iter(spec))}): was it exported in training mode?"
                )
            outputs.append(self._argument(spec["user_output"]["arg"]))
        self.graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
        self.graph.lint()
        self.root = model = fx.GraphModule(self.root, self.graph)
        self._name_ties()
        return model

    def _declared(self, spec: Json) -> str:
        """The value's name if it is an input of the user's; tensors of the module are noted."""
        ((kind, body),) = spec.items()
        if kind == "user_input":
            return str(body["arg"]["as_tensor"]["name"])
        if kind not in OWNERS:
            raise BadInput(f"it takes a {kind}; the explorer takes networks of one input, the images.")
        name = body[OWNERS[kind]]
        if name not in self.tensors:
            raise BadInput(f"its tensor {name} is missing.")
        self.names[body["arg"]["name"]] = name
        if kind != "parameter" and not body.get("persistent"):
            self.passing.add(name)
        return ""

    # ---- calls

    def _call(self, node: Json) -> fx.Node | None:
        target = str(node["target"])
        name = target.split(".")[3] if target.startswith("torch.ops.aten.") else ""
        if any(each["name"] == "training" and each["arg"].get("as_bool") for each in node["inputs"]):
            raise BadInput("it was exported in training mode: call model.eval() first.")
        if name in DROPOUTS:
            return self._dropout(node, DROPOUTS[name])
        if name in LAYERS and (layer := self._layer(node, name)) is not None:
            return layer
        args = [self._argument(each["arg"]) for each in node["inputs"] if each["kind"] != 2]
        kwargs = {each["name"]: self._argument(each["arg"]) for each in node["inputs"] if each["kind"] == 2}
        if not all(key.isidentifier() for key in kwargs):  # torch.fx writes them into source
            raise BadInput(f"it calls {target} with arguments that have no names.")
        call = written(target, tuple(args), kwargs, self._rank(node))
        if call is None:
            return None
        args = list(call.args)
        if call.target in BATCHED and len(args) > 1 and self._is_batch(args[1], node):
            args[1] = self.graph.call_method("size", (self.image, 0))
        return self.graph.create_node(call.op, call.target, tuple(args), dict(call.kwargs))

    def _keep(self, outputs: list[Json], result: fx.Node) -> None:
        """Note what a call returns under the archive's names: one value, or the parts of a tuple or list."""
        if len(outputs) == 1 and not _is_list(outputs[0]):
            self.values.update(dict.fromkeys(_names(outputs[0]), result))
            return
        for place, name in enumerate(name for each in outputs for name in _names(each)):
            if self.uses[name] or any(name in _names(each) for each in self.json["outputs"]):
                self.values[name] = self.graph.call_function(operator.getitem, (result, place))

    def _is_batch(self, size: Any, node: Json) -> bool:
        """Whether a first size written as a number is that of the batch that the network was exported with."""
        fixed = "as_int" in self.sizes[0] and type(size) is int and size == _size(self.sizes[0])
        of_module = not set(_tensors_of(node)).isdisjoint(self.names)
        return fixed and (not of_module or ".expand." in node["target"])  # a class token is expanded

    def _rank(self, node: Json) -> int | None:
        """The number of dimensions of the first tensor."""
        first = next(iter(_tensors_of(node)), None)
        return (
            len(self.json["tensor_values"][first]["sizes"]) if first in self.json["tensor_values"] else None
        )

    def _layer(self, node: Json, name: str) -> fx.Node | None:
        """A call of a torch.nn module at the path of the operator's tensors, if nothing else uses them."""
        given = {each["name"]: each["arg"] for each in node["inputs"]}
        values = {key: arg["as_tensor"]["name"] for key, arg in given.items() if "as_tensor" in arg}
        image = values.pop("input", None) or values.pop("self", None)
        if image is None or not values or any(value not in self.names for value in values.values()):
            return None
        names = {key: self.names[value] for key, value in values.items()}
        path = next(iter(names.values())).rpartition(".")[0]
        parent, _, child = path.rpartition(".")
        own = {key: self.tensors[each] for key, each in names.items()}
        alone = (
            path
            and all(each == f"{path}.{key}" for key, each in names.items())
            and self.inside[path] <= {*names, "num_batches_tracked"}
            and all(self.uses[value] == 1 for value in values.values())
            and all(self.ties[id(tensor)] == 1 for tensor in own.values())
            and child not in self._owner(parent)._modules
        )
        if not alone:
            return None
        literals = {key: self._argument(arg) for key, arg in given.items() if "as_tensor" not in arg}
        module = layer_module(Operation(name, literals, own, self._rank(node)))
        if module is None:
            return None
        if module._buffers.get("num_batches_tracked") is not None:
            counted = self.tensors.get(f"{path}.num_batches_tracked")
            module._buffers["num_batches_tracked"] = torch.tensor(0) if counted is None else counted
        self._owner(parent).add_module(child, module)
        return self.graph.call_module(path, (self.values[image],))

    def _dropout(self, node: Json, kind: type[nn.Module]) -> fx.Node:
        """A dropout module at its place in the exported network: it drops nothing until the network is trained."""
        image, share, *_ = [self._argument(each["arg"]) for each in node["inputs"]]
        innermost = str(node["metadata"].get("nn_module_stack", "")).split(";")[-1].split(",")
        path = innermost[1] if len(innermost) == 3 and ".dropout." in innermost[2] else ""
        parent, _, child = path.rpartition(".")
        if not is_name(path) or child in self._owner(parent)._modules:
            parent, child = "", f"dropout_{len(self.graph.nodes)}"
        self._owner(parent).add_module(child, kind(share))
        return self.graph.call_module(f"{parent}.{child}".lstrip("."), (image,))

    # ---- values

    def _owner(self, path: str) -> nn.Module:
        """The module at a path; what is not there yet is an empty module."""
        module = self.root
        for part in filter(None, path.split(".")):
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        return module

    def _put(self, name: str) -> None:
        """Put a tensor of the module in its place."""
        path, _, attribute = name.rpartition(".")
        tensor, owner = self.tensors[name], self._owner(path)
        if isinstance(tensor, nn.Parameter):
            owner.register_parameter(attribute, tensor)
        else:
            owner.register_buffer(attribute, tensor, persistent=name not in self.passing)

    def _name_ties(self) -> None:
        """Put tied tensors also where the graph does not name them."""
        tensors = (*self.root.named_parameters(), *self.root.named_buffers())
        used = {id(tensor): name for name, tensor in tensors}
        for name, tensor in self.tensors.items():
            if used.get(id(tensor), name) != name:
                self._put(name)

    def _value(self, name: str) -> Any:
        """The result of that name; a tensor of the module is put in its place when it is first used."""
        if name not in self.values and name in self.names:
            self._put(self.names[name])
            with self.graph.inserting_after(self.image):
                self.values[name] = self.graph.get_attr(self.names[name])
        return self.values[name]

    def _argument(self, argument: Json) -> Any:
        """An argument of the JSON as torch.fx takes it."""
        ((kind, value),) = argument.items()
        if kind in PLAIN:
            return value
        if kind in ("as_tensor", "as_optional_tensor", "as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._element(value)
        if kind in ("as_tensors", "as_optional_tensors", "as_sym_ints", "as_sym_floats"):
            return [self._element(each) for each in value]
        if kind == "as_scalar_type":
            return SCALAR_TYPES[value]
        if kind == "as_memory_format":
            return MEMORY_FORMATS[value]
        if kind in CONSTANTS:
            return CONSTANTS[kind]
        raise BadInput(f"it has an argument of the kind {kind}, which the explorer does not know.")

    def _element(self, value: Json) -> Any:
        """A value by its name, or a number, or nothing."""
        ((kind, content),) = value.items()
        if kind in ("name", "as_name"):
            return self._value(content)
        return self._element(content) if kind == "as_tensor" else None if kind == "as_none" else content


def _is_list(output: Json) -> bool:
    return next(iter(output)) in ("as_tensors", "as_optional_tensors", "as_sym_ints")


def _names(argument: Any) -> Iterator[str]:
    """The names of all values in an argument."""
    if isinstance(argument, list):
        for each in argument:
            yield from _names(each)
    elif isinstance(argument, Mapping):
        for key, value in argument.items():
            if key in ("name", "as_name"):
                yield value
            else:
                yield from _names(value)


def _tensors_of(node: Json) -> Iterator[str]:
    for each in node["inputs"]:
        yield from _names(each["arg"])


def _size(size: Json) -> int | None:
    """A size that is a number, or that the exporting example had."""
    if "as_int" in size:
        return int(size["as_int"])
    hint = size["as_expr"].get("hint") or {}
    return int(hint["as_int"]) if "as_int" in hint else None
