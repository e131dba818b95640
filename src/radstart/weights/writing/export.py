"""A network with its convention inside, as ONNX or as a torch.export program.

Whoever runs such a file feeds pixels and cannot choose another scale, mean or channel order.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radstart.core.errors import RadstartError, nearest
from radstart.core.files import whole_file
from radstart.core.random import stream
from radstart.weights.convention import Convention, apply_convention
from radstart.weights.open import Wanted, decided, open_whole

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-4  # largest difference of a probability; of logits and features, of the largest one
ONNX_BYTES = 2_000_000_000  # protobuf holds no more in one file
GIVES_SCORES, GIVES_LOGITS = ("logits", "probabilities"), ("logits",)
GIVES_FEATURES = ("features",)
RESIZE = (
    "longest side to {size} pixels, aspect kept (area when shrinking, linear when enlarging), in "
    "the middle of black; deeper than 8 bits: divided so that the set's largest value is 255"
)


@dataclass(frozen=True, eq=False)
class Network:
    """What is exported.

    Attributes:
        module: float (B, C, S, S) -> (B, K), in evaluation mode.
        convention: how pixels become its input.
        classes: name of every output; () = the outputs are features.
        gives: GIVES_SCORES, where one class is true and the others are not; GIVES_LOGITS where
            nothing says so; GIVES_FEATURES without classes.
        colour: whether it is fed colour, (B, S, S, 3), or grey, (B, S, S).
        about: what else the file says of itself: text by name.
    """

    module: nn.Module
    convention: Convention
    classes: tuple[str, ...] = ()
    gives: tuple[str, ...] = GIVES_FEATURES
    colour: bool = False
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        path: of the file.
        format: a key of FORMATS.
        outputs: their names.
        difference: the largest between the file's numbers and PyTorch's, on the test pattern:
            of probabilities; of logits or features as a share of the largest.
        facts: what the file says of itself.
    """

    path: Path
    format: str
    outputs: tuple[str, ...]
    difference: float
    facts: dict[str, str]

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to know of the file."""
        yield f"wrote      {self.path}"
        yield f"input      pixels: {self.facts['input']}"
        yield f"resize     before it: {self.facts['resize']}"
        yield f"convention {self.facts['convention_text']}, inside the file"
        yield f"outputs    {', '.join(self.outputs)}: {self.facts['outputs']}"
        yield f"checked    largest difference to PyTorch {self.difference:.1e} on a test pattern"


class Fed(nn.Module):
    """A network behind its convention: uint8 pixels in, logits and probabilities out."""

    def __init__(self, module: nn.Module, convention: Convention, probabilities: bool) -> None:
        """Keep the network and its convention."""
        super().__init__()
        self.module = module
        self.convention = convention
        self.probabilities = probabilities

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return (logits, probabilities) (B, K), or (features,) (B, F)."""
        outputs = self.module(apply_convention(self.convention, pixels))
        return (outputs, outputs.softmax(1)) if self.probabilities else (outputs,)


def format_of(out: Path, format: str = "") -> str:  # noqa: A002 - the option's name
    """Return the format of a file to be written: as asked, else by the file's ending.

    Raises:
        RadstartError: neither says one.
    """
    found = format or next((k for k, end in FORMATS.items() if out.suffix == end), "")
    if found not in FORMATS:
        got, remedy = format or out.name, nearest(format, FORMATS)
        raise RadstartError("unknown format", "--format", got, f"{remedy} (.onnx, .pt2)")
    return found


def export_network(network: Network, out: Path, format: str = "") -> Exported:  # noqa: A002
    """Write a network with its convention inside; it is compared with PyTorch's first.

    The input `pixels` is uint8, 0..255: (B, S, S) grey or (B, S, S, 3) RGB, B free, S the
    convention's size. Resizing comes before, everything else is inside: channels, order, scale,
    mean and standard deviation. The outputs, float32, are `logits` and `probabilities` (B, K), K in
    the order of the classes; `logits` alone where classes may be true together; or `features`
    (B, F) of a network without classes.

    Args:
        network: what to write; its module is left as it was.
        out: the file.
        format: "onnx", "torch", "" = by the ending of `out`.

    Raises:
        RadstartError: the extra `export` is not installed, the network cannot be written in this
            format, or the file computes something else than PyTorch: nothing is written then.
    """
    chosen = format_of(out, format)
    if chosen == "onnx":
        _onnx_parts()
    fed = Fed(network.module, network.convention, network.gives == GIVES_SCORES).eval()
    facts = _facts(network)
    names = network.gives
    with _frozen(fed), torch.no_grad():
        pattern = fixed_pattern(network)
        expected = outputs_of(network, pattern)
        if network.classes and expected[0].shape[1] != len(network.classes):
            raise RadstartError(
                "the classes are not those of the network", str(out),
                f"{len(network.classes)} names, {expected[0].shape[1]} outputs",
            )  # fmt: skip
        program = _program(fed, pattern[:2], out)
        with whole_file(out) as temporary:
            write, run = {"onnx": (_write_onnx, _run_onnx), "torch": (_write_torch, _run_torch)}[
                chosen
            ]
            write(program, temporary, names, facts)
            difference = 0.0
            for images in (pattern, pattern[:1]):  # any number of images at a time
                found = run(temporary, images)
                difference = max(difference, _compared(found, expected, len(images), names, out))
    return Exported(out, chosen, names, difference, facts)


def _facts(network: Network) -> dict[str, str]:
    size = network.convention.size
    shape = f"(B, {size}, {size}, 3) RGB" if network.colour else f"(B, {size}, {size}) grey"
    if network.classes:
        outputs = f"(B, {len(network.classes)}), the classes in this order"
    else:
        outputs = "(B, F), pooled"
    return {
        "radstart": version("radstart"),
        "input": f"uint8 {shape}, 0..255",
        "resize": RESIZE.format(size=size),
        "size": str(size),
        "convention": json.dumps(network.convention.record()),
        "convention_text": network.convention.text(),
        "outputs": outputs,
        "classes": json.dumps(list(network.classes), ensure_ascii=False),
        **network.about,
    }


def outputs_of(network: Network, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """Return what the exported file is to give for pixels: [logits, probabilities] or [features].

    Args:
        network: to be exported.
        pixels: uint8 (B, S, S) or (B, S, S, 3).
    """
    fed = Fed(network.module, network.convention, network.gives == GIVES_SCORES).eval()
    with torch.inference_mode():
        return [output.numpy() for output in fed(torch.from_numpy(np.ascontiguousarray(pixels)))]


def fixed_pattern(network: Network) -> NDArray[np.uint8]:
    """Return the pixels that a file is tested with: noise, a ramp, a disc on black."""
    size = network.convention.size
    noise = stream(0, "export", size).integers(0, 256, (size, size))
    y, x = np.mgrid[:size, :size] / max(1, size - 1)
    ramp = 255 * (x + y) / 2
    disc = 200.0 * ((x - 0.45) ** 2 + (y - 0.55) ** 2 < 0.1) + 40 * x * (x < 0.8)
    grey = np.stack([noise, ramp, disc]).astype(np.uint8)
    if not network.colour:
        return grey
    return np.stack([grey, grey[:, ::-1], 255 - grey // 2], axis=3)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Ask no gradients of the parameters while the block runs, and no warnings of the exporters."""
    asking = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own use of what it deprecates
            yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


def _program(fed: Fed, pixels: NDArray[np.uint8], out: Path) -> Any:
    """Return the program of a network for any number of images."""
    try:
        return torch.export.export(
            fed,
            (torch.from_numpy(np.ascontiguousarray(pixels)),),
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1)}},
        )
    except Exception as error:
        raise _impossible(out, error) from error


def _impossible(out: Path, error: Exception) -> RadstartError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RadstartError(
        "this network cannot be written in this format", str(out), reason[:200],
        "try the other one: --format torch or onnx",
    )  # fmt: skip


def _compared(
    found: list[NDArray[Any]],
    expected: list[NDArray[Any]],
    images: int,
    names: tuple[str, ...],
    out: Path,
) -> float:
    """Return the largest difference of what a reader looks at.

    Raises:
        RadstartError: some output differs by more than TOLERANCE.
    """
    for name, got, right in zip(names, found, expected, strict=True):
        scale = 1.0 if name == "probabilities" else max(1e-6, float(np.abs(right).max()))
        apart = float(np.abs(got - right[:images]).max()) / scale
        if not apart <= TOLERANCE:
            raise RadstartError(
                "the exported file computes something else than PyTorch", str(out),
                f"{name} differ by {apart:.1e}", f"at most {TOLERANCE:g} is let pass",
            )  # fmt: skip
    return apart


def _write_torch(
    program: Any, path: Path, names: tuple[str, ...], facts: Mapping[str, str]
) -> None:
    text = json.dumps({**facts, "names": list(names)}, ensure_ascii=False, indent=1)
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"radstart.json": text})


def _run_torch(path: Path, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
    with path.open("rb") as file:
        program = torch.export.load(file)
    outputs = program.module()(torch.from_numpy(np.ascontiguousarray(pixels)))
    return [output.numpy() for output in outputs]


def _onnx_parts() -> tuple[Any, Any]:
    """Return (onnx, onnxruntime).

    Raises:
        RadstartError: one of the extra's three packages is not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise RadstartError(
            "needs packages that are not installed", "--format onnx", str(error.name),
            "pip install 'radstart[export]', or --format torch",
        ) from error  # fmt: skip
    return onnx, onnxruntime


def _write_onnx(program: Any, path: Path, names: tuple[str, ...], facts: Mapping[str, str]) -> None:
    onnx, _ = _onnx_parts()
    held = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if held > ONNX_BYTES:
        raise RadstartError(
            "too large for one ONNX file", str(path.name), f"{held / 1e9:.1f} GB of tensors",
            "use --format torch",
        )  # fmt: skip
    try:
        exported = torch.onnx.export(
            program, dynamo=True, input_names=["pixels"], output_names=list(names), verbose=False
        )
    except Exception as error:
        raise _impossible(path, error) from error
    assert exported is not None
    model = exported.model_proto
    _name_batch(model)
    for name, text in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"radstart.{name}", text
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _name_batch(model: Any) -> None:
    """Call the free side of every tensor "batch", whatever name it was given."""
    graph = model.graph
    free = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param == free:
                side.dim_param = "batch"


def _run_onnx(path: Path, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
    _, onnxruntime = _onnx_parts()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, torch.get_num_threads())
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(output) for output in session.run(None, {"pixels": pixels})]


def network_of_weights(
    source: str, colour: bool | None = None, backbone: str = "", offline: bool = False
) -> Network:
    """Return starting weights as they are exported: with their own classifier if they have one.

    Args:
        source: a weights folder or file, or what an arm's start may be.
        colour: whether the file is to take colour; None = as many channels as the network has.
        backbone: timm's name, where the weights do not state it.
        offline: open no connection.

    Raises:
        RadstartError: not to be had, or not whole.
    """
    found = open_whole(decided(Wanted(source, backbone=backbone, offline=offline)))
    record = json.dumps(found.receipt.record(), sort_keys=True)
    return Network(
        found.model,
        found.convention,
        found.classes,
        GIVES_LOGITS if found.classes else GIVES_FEATURES,
        len(found.convention.mean) == 3 if colour is None else colour,
        {
            "backbone": found.backbone.text(),
            "source": found.source.entry or found.source.path.name,
            "licence": found.source.licence,
            "weights_sha256": found.source.sha256,
            "receipt_sha256": hashlib.sha256(record.encode()).hexdigest(),
        },
    )
