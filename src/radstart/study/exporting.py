"""A run of a study as one file with its convention inside."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from radstart.backbones import Backbone, build, stated_backbone
from radstart.core.errors import RadstartError
from radstart.core.files import read_toml
from radstart.core.hashing import file_sha256
from radstart.dataset import open_dataset, working_copy
from radstart.study.runs import is_done, outcome
from radstart.study.spec import read_spec
from radstart.weights import (
    GIVES_SCORES,
    Convention,
    Exported,
    Network,
    export_network,
    format_of,
    network_of_weights,
    outputs_of,
    resolve_arms,
    start_model,
    stated_convention,
)

COMPARED = 8  # cases of the run whose scores the network must give
TOLERANCE = 1e-3  # of their probabilities: the run may have been computed on another device
OLDER = "run radstart compare with the same --out again"


def export(
    source: str | Path,
    out: str | Path,
    format: str = "",  # noqa: A002 - the option's name
    colour: bool | None = None,
    backbone: str = "",
    offline: bool = False,
) -> Exported:
    """Write a run of a study, or starting weights, as one file with the convention inside.

    A full run is its network and classifier; a frozen run the network that it started from with
    the probe behind it; weights with a classifier give its classes, others pooled features. What
    the file takes and gives: `radstart.weights.export_network`. A run's network is first held
    against the run's own scores of some cases, where the study's images are there.

    Args:
        source: STUDY/runs/ID, a weights folder or file, or a name of the catalog.
        out: the file to write.
        format: "onnx", "torch"; "" = by the ending of `out` (.onnx, .pt2).
        colour: whether the file is to take colour; None = as the study's images, else as the
            network's own channels.
        backbone: timm's name, where weights do not state it.
        offline: open no connection.

    Raises:
        RadstartError: no such run or weights, a run without a model, its weights are gone, or the
            file would compute something else.
    """
    format_of(Path(out), format)
    folder = Path(str(source).removeprefix("run:"))
    if (folder / "spec.toml").is_file() and (folder / "receipt.toml").is_file():
        network = network_of_run(folder, colour)
    else:
        network = network_of_weights(str(source), colour, backbone, offline)
    return export_network(network, Path(out), format)


def network_of_run(folder: Path, colour: bool | None = None) -> Network:
    """Return a finished run's network as it is exported, held against the run's own scores.

    Args:
        folder: STUDY/runs/ID; a full run may stand anywhere.
        colour: whether the file is to take colour; None = as the study's images, else grey.

    Raises:
        RadstartError: not finished, made by an older radstart, its start is gone or has changed,
            or the network does not give the scores of the run's cases.
    """
    if not is_done(folder) or outcome(folder)["state"] != "done":
        reason = str(outcome(folder)["reason"]) if is_done(folder) else "it is not finished"
        raise RadstartError("this run has no model", str(folder), reason, "choose another run")
    known = read_toml(folder / "receipt.toml")
    if "probe" not in known:
        raise RadstartError("made by an older radstart", str(folder), remedy=OLDER)
    if known["task"] != "classification":
        raise RadstartError("cannot be exported yet", str(folder), f"task {known['task']}")
    stated = known["backbone"]
    backbone = stated_backbone(stated["name"], stated.get("switches", {}), str(folder))
    convention = stated_convention(known["convention"], 0, f"{folder}: receipt.toml")
    classes = tuple(map(str, known["classes"]))
    kept = load_file(folder / "model.safetensors")
    module: nn.Module
    if known["probe"]:
        module = _Probed(_start(folder, known, backbone, convention), kept["weight"], kept["bias"])
    else:
        module = build(backbone, len(classes), channels=len(convention.mean))
        module.load_state_dict(kept)
    study = folder.resolve().parents[1]
    images = _some_images(study, folder, convention.size)
    network = Network(
        module.eval(),
        convention,
        classes,
        GIVES_SCORES,
        colour if colour is not None else images is not None and images[0].ndim == 4,
        {
            "backbone": backbone.text(),
            "source": f"run {folder.name} of {study.name}: {known['arm']}",
            "weights_sha256": file_sha256(folder / "model.safetensors"),
            "receipt_sha256": file_sha256(folder / "receipt.toml"),
        },
    )
    agreement = _held_against(network, images, folder) if images else "its images are not here"
    return replace(network, about={**network.about, "run": agreement})


def _start(
    folder: Path, known: dict[str, Any], backbone: Backbone, convention: Convention
) -> nn.Module:
    """Return the network that a frozen run took its features from.

    Raises:
        RadstartError: its weights are gone, or are others now.
    """
    study = folder.resolve().parents[1] / "study.toml"
    if not study.is_file():
        raise RadstartError(
            "a frozen run needs its study around it", str(folder), f"no {study}",
            "name it as STUDY/runs/ID",
        )  # fmt: skip
    asked = {spec.name: spec for spec in read_spec(study).arm}
    spec = asked[known["arm"]]
    needed = (spec, asked[spec.rest]) if spec.kind == "moments" else (spec,)
    arm = resolve_arms(needed, backbone.name, convention.size, (0.5, 0.5))[0]
    arm = replace(arm, backbone=backbone, convention=convention)
    sha256 = arm.source.sha256 if arm.source else ""
    if sha256 != known.get("receipt", {}).get("sha256", ""):
        raise RadstartError(
            "the weights that this run started from have changed", spec.start, sha256[:16],
            "put back the file that its receipt names",
        )  # fmt: skip
    return start_model(arm, 0, int(known["seed"]))[0]


class _Probed(nn.Module):
    """A network of pooled features with a linear probe behind it."""

    def __init__(self, features: nn.Module, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.features = features
        self.probe = nn.Linear(*weight.shape)
        with torch.no_grad():
            self.probe.weight.copy_(weight.T)
            self.probe.bias.copy_(bias)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.probe(self.features(images))
        return logits


def _some_images(
    study: Path, run: Path, size: int
) -> tuple[NDArray[np.uint8], pd.DataFrame] | None:
    """Return the pixels and the rows of a few cases of a run, None where they are not here."""
    if not (study / "dataset" / "dataset.toml").is_file():
        return None
    dataset = open_dataset(study / "dataset").kept()
    cases = pd.read_parquet(run / "cases.parquet")
    cases = cases.iloc[:: max(1, len(cases) // COMPARED)][:COMPARED]
    row = dict(zip(dataset.rows["image"], dataset.rows["row"], strict=True))
    chosen = [int(row[case]) for case in cases["case"]]
    return np.ascontiguousarray(working_copy(dataset, size)[chosen]), cases


def _held_against(
    network: Network, images: tuple[NDArray[np.uint8], pd.DataFrame], folder: Path
) -> str:
    """Return in words that the network gives the run's own scores.

    Raises:
        RadstartError: it does not.
    """
    pixels, cases = images
    wanted = cases[[f"score_{name}" for name in network.classes]].to_numpy()
    apart = float(np.abs(outputs_of(network, pixels)[1] - wanted).max())
    if not apart <= TOLERANCE:
        raise RadstartError(
            "this network does not give the scores of its run", str(folder),
            f"probabilities differ by {apart:.1e}", "was it made with other versions?",
        )  # fmt: skip
    return f"gives the run's scores of {len(cases)} cases, largest difference {apart:.1e}"
