"""The detective's findings in words: for a terminal, a page, a warning."""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from radstart.backbones import Backbone
from radstart.core.errors import short
from radstart.weights.convention import Convention
from radstart.weights.detective.answers import CLEAR, RESAMPLED
from radstart.weights.detective.candidates import Candidate, mirrored, scale_name, switch_value
from radstart.weights.detective.detection import ASKED, Answer, Detection, Scored
from radstart.weights.detective.first_layer import implied

UNLIKE = 0.3  # a larger gap of the best candidate: the images are unlike those of the training
SHOWN = 14  # candidates in a terminal
BAR = 10  # signs
IN = " " * 4


def sentences(detection: Detection) -> tuple[str, ...]:
    """Return what was found, in a few sentences, the answer first."""
    said = [_headline(detection)]
    open_ = [a for a in detection.answers if not a.picked and a.question != "bn_eps"]
    said += [f"{ASKED[a.question].capitalize()}: cannot tell ({a.why})." for a in open_]
    said.append(against_stated(detection))
    best = detection.best
    if best.gap is not None and best.gap > UNLIKE:
        said.append(
            f"Even the best candidate is {best.gap:.2f} remembered standard deviations away: the "
            "images are unlike those that the statistics come from, so a small lead means nothing."
        )
    if probed := _probe_sentence(detection):
        said.append(probed)
    if detection.remade:
        said.append(
            f"The running statistics were made after the training: {detection.remade}. They tell "
            "how the network was fed when they were made, and nothing of the training before."
        )
    if refused := [s for s in detection.scored if s.refused and detection.kind == "features"]:
        listed = ", ".join(detection.name(s.candidate) for s in refused)
        said.append(f"Ruled out, since features of different images become alike: {listed}.")
    if detection.kind == "features" and not any(a.by == "probe" for a in detection.answers):
        said.append(
            "This network has no batch norms that remember their input: without labels only a "
            "collapse of its features rules something out."
        )
    return tuple(said)


def _probe_sentence(detection: Detection) -> str:
    """Return which candidate a frozen probe works best with, and whether it can tell."""
    probed = [(s, s.probe) for s in detection.scored if s.probe is not None]
    if not probed or detection.kind == "features":
        return ""
    (first, best), *_ = sorted(probed, key=lambda pair: pair[1].loss)
    against = next(s for s, known in probed if known.low == known.high == 0)
    winner = detection.name(first.candidate)
    said = f"A frozen probe works best with {winner} (log loss {best.loss:.3f})"
    if first is against:
        near = [s.candidate for s, known in probed if s is not first and known.low <= 0]
        apart = f"not clearly better than with {detection.name(near[0])}" if near else "clearly"
        return f"{said}, {apart}."
    clear = "clearly" if best.high < 0 else "not clearly"
    return f"{said}, {clear} better than with {detection.name(against.candidate)}."


def _headline(detection: Detection) -> str:
    picked = _picked(detection)
    return f"Picked: {picked}." if picked else "Cannot tell how these weights were fed."


def _picked(detection: Detection) -> str:
    picked = [a for a in detection.answers if a.picked and a.question != "bn_eps"]
    return ", ".join(f"{ASKED[a.question]} {a.picked}" for a in picked)


def against_stated(detection: Detection) -> str:
    """Return what is to be said of the stated convention."""
    stated = f"Stated is {_stated_text(detection)}"
    if lost := _lost(detection, detection.stated):
        return f"{stated}: it loses clearly ({lost[0]})."
    asked = [a for a in detection.answers if a.question in ("scale", "order")]
    if all(a.picked for a in asked) and asked:
        return f"{stated}: it agrees."
    return f"{stated}: nothing here speaks clearly against it."


def _stated_text(detection: Detection) -> str:
    convention = detection.stated
    order = f" {convention.order}" if len(convention.mean) == 3 else ""
    return f"{scale_name(convention)}{order} ({convention.source})"


def warning(detection: Detection, convention: Convention) -> str:
    """Return one line that warns of a convention that clearly loses; "" = it does not.

    Switches of the network that clearly lose are named too.
    """
    lost = _lost(detection, convention)
    if not lost:
        return ""
    better = _picked(detection)
    picks = f"; radstart weights check picks {better}" if better else ""
    return f"the convention that goes with these weights loses clearly: {'; '.join(lost)}{picks}"


def _lost(detection: Detection, convention: Convention) -> list[str]:
    """Return in what a convention, or a switch of the network, clearly loses."""
    lost = []
    name = scale_name(convention)
    names = {name}
    for scored in detection.scored:
        one = scored.candidate
        if name == one.scale or name in one.twins:
            names |= {one.scale, *one.twins}
    scale, order = detection.picked("scale"), detection.picked("order")
    refused = [s for s in detection.scored if s.candidate.scale in names and s.refused]
    if scale and scale.picked not in names:
        lost.append(f"input scale {name} where {scale.picked} fits ({scale.why})")
    elif refused and not scale:
        lost.append(f"input scale {name}: {refused[0].refused}")
    if order and len(convention.mean) == 3 and order.picked != convention.order:
        lost.append(f"channel order {convention.order} where {order.picked} fits ({order.why})")
    own = Candidate(name, convention, detection.switches)
    for question, _ in detection.switches:
        answer = detection.picked(question)
        if question != "bn_eps" and answer and answer.picked != own.value(question):
            lost.append(
                f"{ASKED[question]} {own.value(question)} where {answer.picked} fits ({answer.why})"
            )
    return lost


def use(detection: Detection) -> tuple[Convention, Backbone]:
    """Return the stated convention and network with everything that was picked in its place."""
    best, convention = detection.best.candidate, detection.stated
    if detection.picked("scale") and scale_name(convention) not in (best.scale, *best.twins):
        convention = replace(best.convention, source="radstart weights check")
    order = detection.picked("order")
    if order and order.picked != convention.order:
        turned = mirrored(Candidate("", convention, ())).convention
        convention = replace(turned, source="radstart weights check")
    own = dict(detection.switches)
    better = {q: value for q, value in best.switches if detection.picked(q) and own[q] != value}
    network = detection.backbone
    return convention, replace(network, switches={**network.switches, **better})


# A terminal -----------------------------------------------------------------------------------


def detection_lines(detection: Detection, width: int = 80) -> list[str]:
    """Return what a terminal shows, in lines of `width` signs at most."""
    colour = "coloured" if detection.coloured else "grey"
    patients = f" of {detection.units} patients" if detection.patients_known else ""
    views = f", {detection.views} views" if detection.views != detection.images else ""
    head = [
        ("weights", f"{detection.file} (sha256 {detection.sha256[:12]})" if detection.file else ""),
        ("network", detection.backbone.text()),
        ("stated", _stated_text(detection)),
        ("images", f"{detection.data}: {detection.images} {colour} images{patients}{views}"),
    ]
    listed = [f"{name:<9} {short(text, width - 10)}" for name, text in head if text]
    listed += ["", *_table(detection, width), ""]
    for answer in detection.answers:
        listed.append(f"{ASKED[answer.question]:<24} {answer.picked or 'cannot tell'}")
        listed += textwrap.wrap(answer.why, width, initial_indent=IN, subsequent_indent=IN)
    listed.append("")
    for sentence in sentences(detection):
        listed += textwrap.wrap(sentence, width)
    for note in detection.notes:
        listed += textwrap.wrap(f"note: {note}", width)
    return listed


def _table(detection: Detection, width: int) -> list[str]:
    shown = _shown(detection)
    features = detection.kind == "features"

    def value(s: Scored) -> float:
        if features:
            return s.diversity.variation if s.diversity else 0.0
        return s.gap or 0.0

    probed = any(s.probe for s in shown)
    beside = {id(s): f"{s.probe.loss:.3f}" if s.probe else "" for s in shown}
    name, room = "PROBE", 5
    if not probed:
        name, room = ("", 0) if features else ("95 % INTERVAL", 14)
        beside = {id(s): "" if s.low is None else f"[{s.low:.3f}, {s.high:.3f}]" for s in shown}
    left = width - room - BAR - 14
    own = detection.own
    lines = [
        f"  {'CANDIDATE':<{left}} {'VARIES' if features else 'GAP':>7}  {name:<{room}}".rstrip()
    ]
    most = max((value(s) for s in shown if not s.refused), default=1.0) or 1.0
    for scored in shown:
        sign = ("*" if scored is own else " ") + (">" if scored is detection.marked else " ")
        bar = "#" * max(1, round(BAR * min(1.0, value(scored) / most)))
        if scored.refused:
            bar = "collapsed" if features else "impossible"
        text = short(detection.name(scored.candidate), left)
        number = f"{value(scored):7.3f}"
        lines.append(f"{sign}{text:<{left}} {number}  {beside[id(scored)]:<{room}} {bar}".rstrip())
    if more := len(detection.scored) - len(shown):
        lines.append(f"  and {more} others")
    return [*lines, "  * as stated    > picked; where it cannot tell, as stated"]


def _shown(detection: Detection) -> list[Scored]:
    """Return the first candidates; the stated and the best one are always among them."""
    shown = list(detection.scored[:SHOWN])
    for needed in (detection.own, detection.best):
        if needed is not None and needed not in shown:
            shown[-1] = needed
    return sorted(shown, key=detection.scored.index)


# A page ---------------------------------------------------------------------------------------


def detection_record(detection: Detection) -> dict[str, Any]:
    """Return everything that a page shows, as plain values for JSON."""
    own = detection.own
    plain = {
        name: getattr(detection, name)
        for name in ("file", "sha256", "data", "kind", "images", "views", "units",
                     "patients_known", "coloured", "seed", "tried", "remade")
    }  # fmt: skip
    memory = detection.remembered
    lost, said = _lost(detection, detection.stated), sentences(detection)
    return {
        "schema": 1,
        **plain,
        "backbone": detection.backbone.text(),
        "stated": {**detection.stated.record(), "text": _stated_text(detection)},
        "scored": [
            {**_record(s, s is own, s is detection.marked), "name": detection.name(s.candidate)}
            for s in detection.scored
        ],
        "implied": _implied_records(detection),
        "answers": [_answer_record(answer) for answer in detection.answers],
        "remembered": _plain(asdict(memory)) if memory else None,
        "notes": list(detection.notes),
        "sentences": [s for s in said if not (lost and s == against_stated(detection))],
        "lost": lost,
        "clear": CLEAR,
        "resampled": RESAMPLED,
    }


def _implied_records(detection: Detection) -> list[dict[str, Any]]:
    """Return what each scale makes of the first layer's memory; the possible ones in both orders.

    The likely ones come first.
    """
    if detection.remembered is None:
        return []
    scales = {s.candidate.scale: s.candidate for s in reversed(detection.scored)}
    best = detection.best.candidate
    rows = []
    for one in scales.values():
        for candidate in [one, mirrored(one)] if one.order != "grey" else [one]:
            known = implied(detection.remembered, candidate.convention)
            usual = candidate.order == one.convention.order
            if usual or not known.impossible:
                picked = (one.scale, candidate.order) == (best.scale, best.order)
                named = {"scale": one.scale, "order": candidate.order, "picked": picked}
                rows.append({**named, **_plain(asdict(known))})
    return sorted(rows, key=lambda row: (bool(row["impossible"]), not row["like"]))


def _answer_record(answer: Answer) -> dict[str, Any]:
    by_gap = bool(answer.values) and answer.by != "probe" and answer.question != "order"
    needed = CLEAR * answer.values[0].gap if by_gap else None
    listed = _plain(asdict(answer)) | ({} if by_gap else {"values": []})
    return {**listed, "asked": ASKED[answer.question], "needed": needed}


def _record(scored: Scored, own: bool, best: bool) -> dict[str, Any]:
    one = scored.candidate
    return {
        "scale": one.scale,
        "order": one.order,
        "switches": dict(one.switches),
        "values": {name: switch_value(name, value) for name, value in one.switches},
        "twins": list(one.twins),
        "convention": one.convention.record(),
        "stated": own,
        "picked": best,
        **_plain({k: v for k, v in asdict(scored).items() if k != "candidate"}),
    }


def _plain(value: Any) -> Any:
    """Return a value as strict JSON has it: what is undefined is None."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value
