"""The page of radstart weights check."""

import re
from dataclasses import replace

import pytest

from radstart.backbones import Backbone
from radstart.report import write_detection_page
from radstart.report.detection import render_detection
from radstart.weights import Answer, Detection, ProbeScore, Scored, Value, detection_record
from radstart.weights.convention import named_convention
from radstart.weights.detective.candidates import Candidate
from radstart.weights.detective.collapse import Diversity
from radstart.weights.detective.first_layer import Remembered, implied

MEMORY = Remembered((-0.06, -0.10, -0.18), (0.001,) * 3, 0.52)
SWITCHES = (("activation", "relu6"), ("bn_eps", 1e-3))


def scored(scale, gap, low=None, high=None, refused=""):
    convention = named_convention(scale, 224, "test")
    known = implied(MEMORY, convention)
    return Scored(
        Candidate(scale, convention, SWITCHES, ("clip",) if scale == "imagenet" else ()),
        gap, low, high, 0.1, known, refused=refused or known.impossible,
    )  # fmt: skip


@pytest.fixture
def detection():
    """Return a detection: one scale picked, the activation open, the stated scale loses."""
    values = (Value("-1to1", 0.14), Value("imagenet", 0.30, 0.16, 0.12, 0.21))
    answers = (
        Answer("scale", "-1to1", ("-1to1",), values, "activations", "gap 0.140 against 0.300"),
        Answer("order", "", ("RGB", "BGR"), (), "", "grey images cannot show it"),
        Answer("activation", "", ("relu6", "relu"), (Value("relu6", 0.14),), "", "too <near>"),
    )
    return Detection(
        kind="batch norms",
        backbone=Backbone("mobilenetv1_025"),
        switches=SWITCHES,
        stated=named_convention("imagenet", 224, "catalog"),
        images=48, views=48, units=31, coloured=False, seed=0, tried=9,
        scored=(scored("-1to1", 0.14, 0.12, 0.17), scored("imagenet", 0.30, 0.26, 0.35),
                scored("0to255", 4.9, 2.0, 12.0), scored("caffe", 1.4)),
        answers=answers, remembered=MEMORY, remade="all 52 counters of batches stand at 1",
        file="weights.h5", sha256="ab" * 32, data="chest", patients_known=True,
    )  # fmt: skip


def test_the_page_is_self_contained_and_says_what_was_found(detection, tmp_path):
    """No script, nothing fetched; answer, warning, candidates, questions, what was remade."""
    page = write_detection_page(detection_record(detection), tmp_path / "a" / "check.html")
    text = page.read_text(encoding="utf-8")

    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert "Picked: input scale -1to1." in text
    assert "The stated convention loses clearly" in text
    assert "Input scale imagenet where -1to1 fits (gap 0.140 against 0.300)" in text
    assert "Stated is" not in text
    assert "made after the training: all 52 counters" in text
    assert "too &lt;near&gt;" in text
    assert text.count('class="badge own"') == 1
    assert text.count("badge better") == 1
    assert "like ImageNet’s photographs" in text
    assert "clip makes nearly the same input" in text
    assert "1 other candidate, seen on a few views only" in text


def test_figures_place_the_numbers(detection):
    """The best candidate's mark lies left of the second one's, and far ones are cut."""
    text = render_detection(detection_record(detection))
    marks = [float(x) for x in re.findall(r'href="#s\d" x="([\d.]+)%"', text)]

    assert marks[0] < marks[1] < marks[2] <= 95.01
    assert "An arrowhead marks what goes on beyond the axis" in text


def test_a_probe_and_a_network_without_batch_norms(detection):
    """Both have a section of their own; nothing undefined is printed."""
    probes = (ProbeScore(0.61, 0.0, 0.0, 0.0), ProbeScore(0.72, 0.11, 0.02, 0.2))
    listed = [replace(s, probe=p) for s, p in zip(detection.scored, probes, strict=False)]
    probed = render_detection(detection_record(replace(detection, scored=tuple(listed))))
    flat = [replace(s, gap=None, low=None, high=None, implied=None, refused="",
                    diversity=Diversity(0.2, 3.0, 0.8)) for s in detection.scored]  # fmt: skip
    features = replace(detection, kind="features", scored=tuple(flat), remembered=None, remade="")
    page = render_detection(detection_record(features))

    assert "What a frozen probe makes of them" in probed
    assert "0.720" in probed
    assert "Do the features still tell images apart?" in page
    assert "What the first layer remembers" not in page
    for text in (probed, page):
        body = text.partition("</style>")[2]
        assert not re.search(r"\b(None|nan|undefined|inf)\b", body)
