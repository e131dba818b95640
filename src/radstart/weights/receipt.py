"""What a load did, tensor by tensor, counted in tensors and in parameters."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from radstart.backbones import Switch
from radstart.core.errors import few


@dataclass(frozen=True)
class Share:
    """What became of some tensors; every tensor that counts is in one share alone.

    Attributes:
        kind: of the backbone, "as named", "renamed" (of the same shape), "reshaped" (perhaps
            renamed, too), "computed", "redrawn" (moments: mean and variance alone are the file's)
            or "fresh" (let pass: not the file's); of the file, "dropped" (by its origin's rules)
            or "left out" (let pass).
        place: "backbone" or "file": whose tensors are counted.
        tensors: how many, `num_batches_tracked` and the classifier apart.
        parameters: numbers in them; of the backbone's the trainable ones.
    """

    kind: str
    place: str
    tensors: int
    parameters: int


@dataclass(frozen=True)
class Receipt:
    """What a load did. Parameters are numbers in trainable tensors.

    Attributes:
        file: name of the weights file.
        sha256: its hash.
        entry: its name in the catalog, "" = none.
        origin: the adapter that read its names.
        licence: in words, "" = nothing is stated.
        backbone: architecture with its switches.
        container: path of the dictionary that was taken, "" = the file itself.
        beside: what else the file holds (optimizer, epoch, ...).
        prefix: removed from every name.
        switches: what the network computes beside its tensors.
        assigned: tensors of the backbone that hold the file's values, `num_batches_tracked` apart.
        renamed, reshaped, computed: how many of them had another name; another shape or order of
            axes; were computed from several of the file's (folded biases, joined q, k and v).
        counters: `num_batches_tracked` copied: no match of anything trained.
        defaulted: names that the file lacks and that hold no trained value
            (`num_batches_tracked` alone).
        dropped: tensors of the file left out by its origin's rules: classifiers, decoders.
        partial: names that --allow-partial let pass: left at fresh values, or left out.
        parameters_assigned, parameters_renamed, parameters_reshaped, parameters_computed,
        parameters_dropped: numbers in those tensors.
        parameters_total: numbers in all trainable tensors of the backbone.
        shares: the same without overlap; those of the backbone add up to `parameters_total`.
        stem: what was done to the first convolution, "" = nothing.
        positions: what was done, or is done at each image, to position embeddings.
        head: whether a trained classifier was kept, in words; "" = it was not.
        notes: what else a reader must know.
    """

    file: str
    sha256: str
    entry: str = ""
    origin: str = "timm"
    licence: str = ""
    backbone: str = ""
    container: str = ""
    beside: tuple[str, ...] = ()
    prefix: str = ""
    switches: dict[str, Switch] = field(default_factory=dict)
    assigned: int = 0
    renamed: int = 0
    reshaped: int = 0
    computed: int = 0
    counters: int = 0
    defaulted: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    parameters_assigned: int = 0
    parameters_renamed: int = 0
    parameters_reshaped: int = 0
    parameters_computed: int = 0
    parameters_dropped: int = 0
    parameters_total: int = 0
    shares: tuple[Share, ...] = ()
    stem: str = ""
    positions: str = ""
    head: str = ""
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, object]:
        """Return the receipt as TOML and JSON state it."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    def short(self) -> str:
        """Return the receipt in a few words."""
        share = f"{self.parameters_assigned:,} of {self.parameters_total:,} parameters"
        dropped = f", {len(self.dropped)} tensors dropped" if self.dropped else ""
        partial = f", PARTIAL: {len(self.partial)} tensors let pass" if self.partial else ""
        return share + dropped + partial

    def lines(self) -> Iterator[str]:
        """Yield the receipt as a terminal shows it, at most some 80 columns wide."""
        yield _line("file", f"{self.file}, sha256 {self.sha256[:16]}")
        if self.entry:
            yield _line("catalog", self.entry)
        yield _line("licence", self.licence or "not stated")
        yield _line("backbone", self.backbone)
        taken = self.container or "the file itself"
        yield _line("taken", taken + (f", prefix {self.prefix}" if self.prefix else ""))
        if self.beside:
            yield _line("beside it", few(self.beside))
        yield _line("names", f"{self.origin}")
        share = self.parameters_assigned / max(1, self.parameters_total)
        yield _line(
            "loaded",
            f"{self.assigned} tensors, {self.parameters_assigned:,} of "
            f"{self.parameters_total:,} parameters ({share:.1%})",
        )
        for name in ("renamed", "reshaped", "computed"):
            if count := getattr(self, name):
                numbers = getattr(self, f"parameters_{name}")
                yield _line(f"  {name}", f"{count} tensors, {numbers:,} parameters")
        if self.counters or self.defaulted:
            text = f"{self.counters} counters copied, {len(self.defaulted)} absent"
            yield _line("  beside", text + " (num_batches_tracked)")
        if self.dropped:
            count = f"{len(self.dropped)} tensors, {self.parameters_dropped:,} numbers: "
            yield _line("dropped", count + few(self.dropped))
        if self.partial:
            yield _line("PARTIAL", f"{len(self.partial)} let pass: {few(self.partial)}")
        for name in ("stem", "positions", "head"):
            if text := getattr(self, name):
                yield _line(name, text)
        for note in self.notes:
            yield _line("note", note)


def redrawn(shares: tuple[Share, ...]) -> tuple[Share, ...]:
    """Return the shares where of every tensor that was loaded mean and variance alone are kept."""
    loaded = [one for one in shares if one.place == "backbone" and one.kind != "fresh"]
    tensors, parameters = (sum(getattr(s, n) for s in loaded) for n in ("tensors", "parameters"))
    rest = tuple(one for one in shares if one not in loaded)
    return (Share("redrawn", "backbone", tensors, parameters), *rest)


def _line(name: str, text: str) -> str:
    return f"{name:<10} {text}"
