"""How often the convention detective is right, says that it cannot tell, or is wrong.

    python benchmarks/detective.py                print the tables
    python benchmarks/detective.py --run          measure what is not measured yet (hours)
    python benchmarks/detective.py --write        put the tables into docs/detective.md

Real weights of which the input is known, on photographs and on radiology images of several kinds.
Needs ../shared/weights and ../shared/data, and scikit-image for its photographs. CLEAR, the lead
that an answer needs, was chosen on the sets of TUNED; those of HELD were not looked at before.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from radstart.backbones import SWITCHES, Backbone, Switch
from radstart.core.files import write_json
from radstart.dataset import square_views
from radstart.ingest import Sample, sample_images
from radstart.weights import Wanted, decided, detect, network_of
from radstart.weights.convention import Convention, grey, named_convention
from radstart.weights.detective.detection import Detection

HERE = Path(__file__).parent
PAGE, KEPT = HERE.parent / "docs" / "detective.md", HERE / "results" / "detective.json"
SHARED = HERE.parents[1] / "shared"
BEGIN, END = "<!-- detective -->", "<!-- /detective -->"
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "rocket")
TUNED = ("chest_xray_kermany", "brain_tumor_cheng", "breast_us_busi", "bone_age_hand")
HELD = ("lung_ct_iqothnccd", "knee_xray_osteoporosis", "mednist", "chest_multilabel",
        "chest_covid_findings")  # fmt: skip
SETS = ("photographs", *TUNED, *HELD)
IMAGES = 32
QUESTIONS = ("scale", "order", "activation", "pad_type", "bn_eps")
NAMES = {"scale": "scale", "order": "order", "activation": "activation", "pad_type": "padding",
         "bn_eps": "eps"}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """Weights of which the input is known.

    Attributes:
        title: in the tables.
        path: inside ../shared/weights.
        truth: the right answer to every question.
        remade: whether their statistics were made after the training.
        backbone: timm's or radstart's name; "" = `build` makes the network.
        build: an architecture of no such name, and the tensors' prefix to take off.
        values: of the switches, for these.
        convention: stated; the true one.
    """

    title: str
    path: str
    truth: Mapping[str, str]
    backbone: str = ""
    remade: bool = False
    build: Callable[[], nn.Module] | None = None
    prefix: str = ""
    size: int = 224
    channels: int = 3
    values: Mapping[str, tuple[Switch, ...]] = field(default_factory=dict)


class _Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without parameters (He et al. 2016, option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()
        self.room = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        if self.room:
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.room, self.room))
        return self.act2(x + y)


class _ResNet20(nn.Module):
    """The CIFAR network of He et al. 2016, features out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.act = nn.ReLU()
        self.layer1 = nn.Sequential(*(_Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(_Block(16, 32, 2), _Block(32, 32, 1), _Block(32, 32, 1))
        self.layer3 = nn.Sequential(_Block(32, 64, 2), _Block(64, 64, 1), _Block(64, 64, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.act(self.bn1(self.conv1(x))))
        return torch.mean(self.layer3(self.layer2(x)), dim=(2, 3))


class _BoneAge(nn.Module):
    """Four convolutions with batch norms, as the file's page describes them; features out."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, drops in (
            (1, 32, 5, 1), (32, 64, 3, 1), (64, 128, 3, 0), (128, 256, 3, 0)
        ):  # fmt: skip
            layers += [nn.Conv2d(inputs, outputs, kernel, 2, kernel // 2)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(), *(nn.Identity() for _ in range(drops))]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mean(self.net(x), dim=(2, 3))


_RELUS: dict[str, tuple[Switch, ...]] = {
    "activation": ("relu", "relu6", "leaky_relu_0.1"), "bn_eps": (1e-5, 1e-3)
}  # fmt: skip
_TF = {"scale": "-1to1", "order": "RGB", "activation": "relu6", "pad_type": "same"}
NETWORKS = {
    "torch": Known(
        "MobileNetV1 x0.25, PyTorch",
        "mobilenetv1_025_imagenet_torch/mobilenetV1X0.25_pretrain.tar",
        {"scale": "imagenet", "order": "RGB", "activation": "leaky_relu_0.1",
         "pad_type": "symmetric", "bn_eps": "1e-05"}, "mobilenetv1_025",
    ),
    "keras": Known(
        "MobileNetV1 x0.25, Keras",
        "mobilenetv1_025_imagenet_keras_notop/mobilenet_2_5_224_tf_no_top.h5",
        {**_TF, "bn_eps": "0.001"}, "mobilenetv1_025",
    ),
    "resnet20": Known(
        "ResNet-20, CIFAR-10", "resnet20_cifar10_torch/resnet20-12fca82f.th",
        {"scale": "imagenet", "order": "RGB", "activation": "relu", "bn_eps": "1e-05"},
        build=_ResNet20, prefix="module.", size=32, values=_RELUS,
    ),
    "boneage": Known(
        "bone-age network, hand radiographs", "boneage_cnn_rsna_torch/torch_model.pt",
        {"scale": "0to1", "activation": "relu", "bn_eps": "1e-05"},
        build=_BoneAge, prefix="encoder.", channels=1, values=_RELUS,
    ),
    "tf2": Known(
        "MobileNetV2, ImageNet, from int8", "mobilenetv2_100_imagenet_tf2",
        {**_TF, "bn_eps": "1e-05"}, "", True,
    ),
    "bird": Known(
        "MobileNetV2, iNaturalist birds, from int8", "mobilenetv2_100_inat_bird_slim",
        {**_TF, "bn_eps": "1e-05"}, "", True,
    ),
}  # fmt: skip
FEWER = {"tf2": ("photographs", *TUNED[:2]), "bird": ("photographs", *TUNED[:2]),
         "resnet20": SETS, "boneage": SETS[1:]}  # fmt: skip


def photographs(folder: Path) -> Path:
    """Write scikit-image's coloured photographs as PNG files."""
    from skimage import data

    pictures = {name: getattr(data, name)() for name in PHOTOGRAPHS}
    pictures["motorcycle"] = data.stereo_motorcycle()[0]
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.ascontiguousarray(picture[..., ::-1]))
    return folder


def sampled(name: str, seed: int) -> Sample:
    """Return the images of a set."""
    if name == "photographs":
        with tempfile.TemporaryDirectory() as folder:
            return sample_images(photographs(Path(folder)), most=IMAGES, seed=seed)
    folder = SHARED / "data" / name
    return sample_images(folder, most=IMAGES, seed=seed)


def detection(known: Known, sample: Sample, seed: int) -> Detection:
    """Return what the detective finds; stated is a wrong convention, so that it gets no hint."""
    views, index = square_views(sample.pixels, known.size, IMAGES, seed)
    units = [sample.units[i] for i in index.tolist()]
    path = SHARED / "weights" / known.path
    stated = named_convention("0to1" if known.truth["scale"] != "0to1" else "imagenet",
                              known.size, "stated wrongly")  # fmt: skip
    if known.build is None:
        arm = decided(Wanted(path, backbone=known.backbone))
        return detect(lambda b: network_of(arm, b), Backbone(arm.backbone.name), stated, views,
                      units, images=len(sample.pixels), seed=seed)  # fmt: skip
    return detect(_load(known, path), Backbone(known.title), _one(stated, known), views, units,
                  values=known.values, images=len(sample.pixels), seed=seed)  # fmt: skip


def _one(convention: Convention, known: Known) -> Convention:
    return grey(convention) if known.channels == 1 else convention


def _load(known: Known, path: Path) -> Callable[[Backbone], nn.Module]:
    kept = torch.load(path, map_location="cpu", weights_only=True)
    tensors = {
        name.removeprefix(known.prefix): tensor
        for name, tensor in kept.get("state_dict", kept).items()
        if name.startswith(known.prefix) and "linear" not in name
    }

    def load(backbone: Backbone) -> nn.Module:
        assert known.build is not None
        model = known.build()
        model.load_state_dict(tensors)
        for name, value in backbone.switches.items():
            SWITCHES[name](model, value)
        return model.eval()

    return load


def measure(again: bool) -> None:
    """Measure every network on every set that is not kept yet; each result is kept at once."""
    torch.set_num_threads(1)
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() and not again else {}
    todo: list[tuple[str, str]] = []
    for remade in (False, True):
        for name in SETS:
            todo += [(k, name) for k, known in NETWORKS.items() if known.remade == remade]
    for key, name in todo:
        known, place = NETWORKS[key], f"{key}/{name}"
        if place not in kept and name in FEWER.get(key, SETS):
            started = time.process_time()
            found = detection(known, sampled(name, 0), 0)
            kept[place] = _result(found, known) | {"seconds": time.process_time() - started}
            write_json(KEPT, dict(sorted(kept.items())))
            print(place, _verdict(kept[place]), flush=True)


def _result(found: Detection, known: Known) -> dict[str, Any]:
    """Return what is kept of a detection."""
    answers = {}
    for answer in found.answers:
        true = known.truth.get(answer.question)
        if true is None:
            continue
        gaps = {value.value: round(value.gap, 4) for value in answer.values}
        other = min((g for v, g in gaps.items() if v != true), default=None)
        answers[answer.question] = {
            "picked": answer.picked, "left": list(answer.left), "by": answer.by, "true": true,
            "gap": gaps.get(true), "other": other,
        }  # fmt: skip
    return {
        "images": found.images, "units": found.units, "coloured": found.coloured,
        "tried": found.tried, "gap": round(found.best.gap or 0.0, 4), "remade": found.remade,
        "answers": answers,
    }  # fmt: skip


def verdict(answer: Mapping[str, Any]) -> str:
    """Return "right", "wrong", "open", or "excluded": open, the truth not among what is left."""
    if answer["picked"]:
        return "right" if answer["picked"] == answer["true"] else "wrong"
    return "open" if answer["true"] in answer["left"] else "excluded"


def _verdict(result: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {verdict(v)}" for k, v in result["answers"].items())


SIGNS = {"right": "right", "wrong": "**wrong**", "open": "cannot tell", "excluded": "**excluded**"}


def tables() -> str:
    """Return the tables as Markdown."""
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    lines = []
    for key, known in NETWORKS.items():
        rows = [name for name in SETS if f"{key}/{name}" in kept]
        if not rows:
            continue
        asked = [q for q in QUESTIONS if q in kept[f"{key}/{rows[0]}"]["answers"]]
        lines += [f"**{known.title}**: {', '.join(known.truth.values())}.", ""]
        lines += [f"| images | gap | {' | '.join(NAMES[q] for q in asked)} |"]
        lines += ["| --- " * (2 + len(asked)) + "|"]
        for name in rows:
            result = kept[f"{key}/{name}"]
            cells = [_cell(q, result["answers"].get(q)) for q in asked]
            mark = " (held out)" if name in HELD else ""
            lines.append(f"| {name}{mark} | {result['gap']:.2f} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, *_counts(kept)])


def _cell(question: str, answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return "not asked"
    said = SIGNS[verdict(answer)]
    if answer["by"] in ("first layer", "late layers"):
        return f"{said} ({answer['by']})"
    if question != "order" and answer["gap"] is not None and answer["other"] is not None:
        return f"{said} ({answer['gap']:.2f}, next {answer['other']:.2f})"
    return said


def _counts(kept: Mapping[str, Any]) -> list[str]:
    """Return how often an answer is right, open or wrong, for photographs and for radiology."""
    lines = ["| original statistics | answers | right | cannot tell | wrong |", "| --- " * 5 + "|"]
    own = [key for key, known in NETWORKS.items() if not known.remade]
    for title, names in (
        ("photographs", ("photographs",)),
        ("radiology, looked at before", TUNED),
        ("radiology, held out", HELD),
    ):
        for question in QUESTIONS:
            found = [
                verdict(kept[f"{key}/{name}"]["answers"][question])
                for key in own
                for name in names
                if question in kept.get(f"{key}/{name}", {}).get("answers", {})
            ]
            if not found:
                continue
            right, open_ = found.count("right"), found.count("open")
            wrong = len(found) - right - open_
            lines.append(
                f"| {title}: {NAMES[question]} | {len(found)} | {right} | {open_} | {wrong} |"
            )
    return lines


def page_with(text: str) -> str:
    """Return the page with the tables between its marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> None:
    """Measure, print or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="store_true", help="measure what is not kept yet")
    parser.add_argument("--again", action="store_true", help="with --run: measure everything")
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    asked = parser.parse_args()
    if asked.run:
        measure(asked.again)
    if asked.write:
        PAGE.write_text(page_with(tables()), encoding="utf-8")
    else:
        print(tables())


if __name__ == "__main__":
    main()
