"""ONNX, with the extra `onnx`: written by torch's exporter, checked by onnx and run by onnxruntime."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from explorer.errors import ExplorerError
from explorer.export.program import Program, Trial, require_same
from explorer.graph.quiet import quiet

if TYPE_CHECKING:
    from onnx import ModelProto

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # x scale of the outputs: other kernels, which sum in another order
MOST_BYTES = 2**31 - 2**20  # of one protobuf message, and so of one file
OPERATOR = re.compile(r"OpOverload\(op='([\w.]+)'|torch\.ops\.([\w.]+)\]")


def require_onnx() -> None:
    """Raise ExplorerError, with the command that installs them, unless the packages of the extra are there."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ExplorerError(
            f"Writing ONNX needs {', '.join(missing)}, not installed here. Run: pip install "
            "'pruning-explorer[onnx]'"
        )


def onnx_bytes(program: Program, name: str, about: str) -> bytes:
    """An ONNX model of one file. Its dynamic batch, if there is one, is called `batch`.

    Raises ExplorerError for an operator that torch's exporter does not know, naming it, and for more than 2 GB.
    """
    require_onnx()
    inputs = len(program.exported.graph_signature.user_inputs)
    outputs = len(program.exported.graph_signature.user_outputs)
    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            made = torch.onnx.export(
                program.exported,
                input_names=["input"] if inputs == 1 else None,
                output_names=["logits"] if outputs == 1 else None,
                dynamo=True,
                verbose=False,
            )
            assert made is not None  # it is for the exporter of old
            model = made.model_proto
        except Exception as error:
            raise ExplorerError(
                f"torch.onnx cannot write {name}: {_why(error)}. Nothing was written. Write that operation with "
                "others, or export a torch.export archive."
            ) from error
    model.graph.name = name
    model.doc_string = about
    if program.any_batch:
        _name_batch(model)
    if model.ByteSize() > MOST_BYTES:
        raise ExplorerError(
            f"{name} has {model.ByteSize():,} bytes, and an ONNX file holds 2 GB at most. Nothing was written. "
            "Keep less of the network, or export a torch.export archive."
        )
    return model.SerializeToString()


def _why(error: BaseException) -> str:
    """The operator that defeated the exporter, where it says so; else its message's first line."""
    found = OPERATOR.search(str(error))
    if found:
        return f"it has no translation of the operator {found[1] or found[2]}"
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return lines[0].strip(" .") if lines else type(error).__name__


def _name_batch(model: "ModelProto") -> None:
    """Call the free dimension `batch`, wherever the exporter's own name for it stands."""
    graph = model.graph
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(rf"\b{symbol}\b", "batch", dim.dim_param)


def check_onnx(content: bytes, trials: Sequence[Trial]) -> None:
    """Raise ExplorerError unless onnx finds the model sound, and onnxruntime's answers are torch's.

    Tolerance: 1e-4 x the largest number of the answer.
    """
    import onnx
    import onnxruntime

    try:
        onnx.checker.check_model(content, full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its warnings go to the terminal
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        answers = [
            session.run(None, dict(zip(names, (each.numpy() for each in trial.inputs), strict=True)))
            for trial in trials
        ]
    except Exception as error:  # each of the two libraries has exceptions of its own
        raise ExplorerError(
            f"The ONNX model would not run in onnxruntime: {str(error).strip().partition(chr(10))[0]}. Nothing "
            "was written. Export a torch.export archive, or the Python file."
        ) from error
    for answer, trial in zip(answers, trials, strict=True):
        require_same("The ONNX model", [torch.from_numpy(each) for each in answer], trial, TOLERANCE)
