"""What the detective found: candidates with their scores, answers to questions, and words."""

from collections.abc import Mapping
from dataclasses import dataclass

from radstart.backbones import Backbone
from radstart.weights.convention import Convention
from radstart.weights.detective.candidates import (
    REFINED,
    Candidate,
    Switches,
    scale_name,
    switch_text,
)
from radstart.weights.detective.collapse import Diversity
from radstart.weights.detective.first_layer import Implied, Remembered

ASKED = {
    "scale": "input scale",
    "order": "channel order",
    "activation": "activation",
    "pad_type": "padding",
    "stride_in_first_conv": "strides",
    "pool_count": "pools",
    "bn_eps": "eps of the batch norms",
}


@dataclass(frozen=True)
class ProbeScore:
    """A frozen probe on a candidate's features, out of fold.

    Attributes:
        loss: mean log loss over units, nats.
        difference, low, high: this candidate's loss minus that of the best by gap, with an
            interval over units; all 0 for that one itself.
    """

    loss: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Scored:
    """A candidate and its scores.

    Attributes:
        candidate: what was tried.
        gap: between what batch norms see and what they remember, in remembered standard
            deviations: median over channels, mean over layers. None = there are none.
        low, high: its interval over images and layers; None where only a few views were tried.
        response: how much more strongly the later layers answer than they remember: log ratio of
            standard deviations.
        implied: what the training images were, were this the right candidate.
        diversity: of the features, for networks without batch norms.
        refused: why it cannot be; "" = it can.
        probe: where labels were given.
    """

    candidate: Candidate
    gap: float | None
    low: float | None = None
    high: float | None = None
    response: float | None = None
    implied: Implied | None = None
    diversity: Diversity | None = None
    refused: str = ""
    probe: ProbeScore | None = None


@dataclass(frozen=True)
class Value:
    """One answer to a question: its best candidate's gap, and how far it is behind the best."""

    value: str
    gap: float
    behind: float = 0.0
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What is said to one question.

    Attributes:
        question: a key of ASKED.
        picked: the value; "" = cannot tell.
        left: values that cannot be told apart, the best one first; one alone where picked.
        values: all that were tried, best first.
        by: what decided: "activations", "first layer", "late layers", "probe" or "".
        why: in a sentence.
    """

    question: str
    picked: str
    left: tuple[str, ...]
    values: tuple[Value, ...]
    by: str
    why: str


@dataclass(frozen=True)
class Detection:
    """What was found about a weights file with some images.

    Attributes:
        kind: "batch norms", or "features" for networks without.
        backbone: the network as it was stated, with its switches.
        switches: the value that each switch in question has in it.
        stated: the convention that was stated for it.
        images, views, units, coloured: what was looked at.
        patients_known: whether the units are patients; else each image is one.
        seed: of the sample of images and of the resampling.
        tried: how many candidates.
        scored: all of them, those that can be first, then by gap; those that saw all views have
            intervals.
        answers: in the order of ASKED.
        remembered: by the first layer; None = it does not tell.
        remade: signs that the running statistics were made after the training; "" = none.
        notes: what else a reader must know.
        file, sha256: of the weights.
        data: name of the folder of images.
    """

    kind: str
    backbone: Backbone
    switches: Switches
    stated: Convention
    images: int
    views: int
    units: int
    coloured: bool
    seed: int
    tried: int
    scored: tuple[Scored, ...]
    answers: tuple[Answer, ...]
    remembered: Remembered | None = None
    remade: str = ""
    notes: tuple[str, ...] = ()
    file: str = ""
    sha256: str = ""
    data: str = ""
    patients_known: bool = False

    def answer(self, question: str) -> Answer | None:
        """Return what is said to a question, None where it was not asked."""
        return next((a for a in self.answers if a.question == question), None)

    def picked(self, question: str) -> Answer | None:
        """Return what is said to a question where a value was picked, else None."""
        known = self.answer(question)
        return known if known and known.picked else None

    @property
    def best(self) -> Scored:
        """What was picked; where nothing was, what is stated if it cannot be told from the best."""
        wanted = {a.question: a.picked for a in self.answers if a.picked}
        own = self.own
        for answer in self.answers:
            if answer.picked or own is None:
                continue
            stated = own.candidate.value(answer.question)
            if stated in answer.left or answer.question == REFINED:
                wanted[answer.question] = stated
        seen = [s for s in self.scored if s.low is not None] or list(self.scored)

        def last(s: Scored) -> tuple[int, bool, float]:
            gap = float("inf") if s.gap is None else s.gap
            return _misses(s.candidate, wanted), bool(s.refused), gap

        return min(seen, key=last)

    @property
    def marked(self) -> Scored | None:
        """The candidate that a table marks: the best one, None where nothing speaks for it."""
        best = self.best
        spoken = self.kind != "features" or any(answer.picked for answer in self.answers)
        return best if spoken or best is self.own else None

    def name(self, candidate: Candidate) -> str:
        """Return a candidate's text, with order and eps where they tell candidates apart."""
        text = candidate.text()
        if not self.coloured:
            text = text.replace(f" {candidate.order}", "", 1)
        own, base = dict(candidate.switches), dict(self.switches)
        if REFINED in own and own[REFINED] != base.get(REFINED):
            text += f", {switch_text(REFINED, own[REFINED])}"
        return text

    @property
    def own(self) -> Scored | None:
        """The candidate that is the stated convention with the stated switches."""
        name, order = scale_name(self.stated), self.stated.order
        for scored in self.scored:
            one = scored.candidate
            named = name == one.scale or name in one.twins
            ordered = one.order in ("grey", order) or not self.coloured
            if named and ordered and one.switches == self.switches:
                return scored
        return None


def _misses(candidate: Candidate, wanted: Mapping[str, str]) -> int:
    known = {"scale", "order", *(name for name, _ in candidate.switches)}
    return sum(candidate.value(q) != value for q, value in wanted.items() if q in known)
