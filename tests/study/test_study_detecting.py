"""radstart weights check --images: from files to a page."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from radstart.backbones import Backbone, build
from radstart.core.files import write_json
from radstart.report import write_detection_page
from radstart.study import check_convention
from radstart.weights import Wanted, apply_convention, detection_lines, detection_record
from radstart.weights.convention import named_convention

pytestmark = pytest.mark.slow

SIZE = 48


def picture(rng, bright):
    coarse = torch.from_numpy(rng.normal(size=(1, 3, 6, 6)))
    field = torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic")[0]
    field = 0.3 * field + field.mean(dim=0) + (0.9 if bright else 0.0)
    values = torch.tensor((0.45, 0.42, 0.38)).view(3, 1, 1) + 0.25 * field
    return (255 * values.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return 40 images of 20 patients with two classes, and their table."""
    folder = tmp_path_factory.mktemp("detecting")
    rng, rows = np.random.default_rng(0), []
    for k in range(40):
        name, bright = f"{k:02}.png", (k // 2) % 2 == 0
        Image.fromarray(picture(rng, bright)).save(folder / name)
        label = "bright" if bright else "dark"
        rows.append({"image": name, "label": label, "patient_id": f"p{k // 2}"})
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def file(folder, tmp_path_factory):
    """Return a weights folder, fed -1..1 in its training; its page says ImageNet's numbers."""
    from safetensors.torch import save_file

    model = build(Backbone("test_resnet"), 0, seed=3)
    images = np.stack([np.asarray(Image.open(p)) for p in sorted(folder.glob("*.png"))])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    model.train()
    true = named_convention("-1to1", SIZE, "")
    with torch.no_grad():
        model(apply_convention(true, torch.from_numpy(images)))
    target = tmp_path_factory.mktemp("file")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()},
              target / "model.safetensors")  # fmt: skip
    stated = {"input_size": [3, SIZE, SIZE], "mean": [0.485, 0.456, 0.406],
              "std": [0.229, 0.224, 0.225]}  # fmt: skip
    write_json(target / "config.json", {"architecture": "test_resnet", "pretrained_cfg": stated})
    return target


@pytest.fixture(autouse=True)
def few_views(monkeypatch):
    """Look at each image once or twice, and probe four candidates: seconds, not a minute."""
    monkeypatch.setattr("radstart.study.detecting.VIEWS", 12)
    monkeypatch.setattr("radstart.study.detecting.PROBED", 4)


def test_from_files_to_a_page(file, folder, tmp_path):
    """The scale is found, a probe compares the inputs, nothing is written beside the images."""
    before = sorted(path.name for path in folder.iterdir())
    found = check_convention(file, folder, labels=folder / "labels.csv", most=16, device="cpu")
    page = write_detection_page(detection_record(found), tmp_path / "check.html")
    probed = [s for s in found.scored if s.probe]

    assert found.answer("scale").picked == "-1to1"
    assert found.own.candidate.scale == "imagenet"
    assert found.patients_known
    assert (found.images, found.units) == (16, 16)
    assert len(probed) >= 3
    assert found.own in probed
    assert "probe: cross-validated log loss of 40 cases, 20 units" in found.notes[-1]
    assert max(map(len, detection_lines(found))) <= 80
    assert "What a frozen probe makes of them" in page.read_text(encoding="utf-8")
    assert sorted(path.name for path in folder.iterdir()) == before


def test_without_labels_there_is_no_probe(file, folder):
    """And the table that lies there is named."""
    found = check_convention(file, folder, most=8, device="cpu")

    assert not any(s.probe for s in found.scored)
    assert any("labels.csv was not read" in note for note in found.notes)
    assert not found.patients_known


@pytest.mark.slow
def test_a_transformer_is_told_by_its_probe_alone(folder, tmp_path):
    """Or not at all; the answer says by what."""
    from safetensors.torch import save_file

    model = build(Backbone("test_vit"), 0, seed=1)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "vit.safetensors"
    )
    found = check_convention(
        Wanted(tmp_path / "vit.safetensors", backbone="test_vit"), folder,
        labels=folder / "labels.csv", most=10, device="cpu",
    )  # fmt: skip

    answer = found.answer("scale")
    assert found.kind == "features"
    assert answer.by in ("", "probe")
    assert (answer.picked == "") == (answer.by == "")
    assert any(s.probe for s in found.scored)
