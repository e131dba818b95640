"""Any weights -> our weights folder: model.safetensors, card.toml, timm's config.json."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from safetensors.torch import save_file

from radstart.backbones import Switch
from radstart.core.errors import RadstartError, nearest
from radstart.core.files import os_reason, remove_leftovers, sync, temporary_name
from radstart.core.hashing import file_sha256
from radstart.core.progress import Progress
from radstart.weights.catalog import Entry, find, find_set, set_names
from radstart.weights.open import Wanted, Whole, decided, find_source, open_whole
from radstart.weights.reading.files import read_container
from radstart.weights.reading.pickles import asked_globals
from radstart.weights.source import Source
from radstart.weights.writing.card import TENSORS, Card, write_card
from radstart.weights.writing.plain import write_config
from radstart.weights.writing.trusted import WARNING, unpickled


@dataclass(frozen=True)
class Converted:
    """A weights folder that was written.

    Attributes:
        folder: where it is.
        card: what it says.
        whole: the network as it was loaded.
    """

    folder: Path
    card: Card
    whole: Whole

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to know: the receipt, and what plain timm makes of it."""
        yield from self.whole.receipt.lines()
        for note in self.card.notes:
            if note not in self.whole.receipt.notes:
                yield f"note       {note}"
        outputs = len(self.whole.classes)
        names = "" if self.whole.named or not outputs else ", which nobody names (--classes)"
        yield f"classes    {outputs or 'none'}{names}"
        how = self.card.plain_timm
        told = f"does not load it: {how}" if how else "loads it, with the same outputs"
        yield f"plain timm {told}"
        yield f"wrote      {self.folder} (an arm: NAME=file:{self.folder})"


def convert_weights(
    wanted: Wanted,
    out: str | Path,
    *,
    classes: Sequence[str] = (),
    name: str = "",
    licence: str = "",
    saw: Sequence[str] = (),
    trust: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Write weights as a folder of ours: three channels, timm's names, everything stated.

    `model.safetensors` holds the network whole, its own classifier too; `card.toml` says what it
    is, where it is from and how it is fed, and leads wherever radstart reads the folder; timm's
    `config.json` lets plain `timm.create_model("local-dir:OUT", pretrained=True)` give the same
    outputs (to 1e-5, tried), or refuse where timm cannot say what the network needs.

    Args:
        wanted: the weights; nothing of them may be partial.
        out: folder to be made.
        classes: names of the classifier's outputs, in order; () = as stated.
        name: of the weights; "" = the catalog's or the folder's.
        licence: in words; "" = as stated.
        saw: sets of the catalog that the weights were trained on, beside those that are stated:
            `compare` then marks test sets that they have seen.
        trust: unpickle a file that asks for code: **this runs the file's code**, in a process of
            its own, as far as possible without network.
        progress: told before a file's code is run.

    Raises:
        RadstartError: not to be had, not whole, `out` is there already, code without `trust`.
    """
    folder = Path(out).expanduser()
    if os.path.lexists(folder):
        raise RadstartError("there is something already", str(folder), "", "choose another --out")
    found = find_source(wanted)
    seen = dict.fromkeys((*found.saw, *map(_set_named, saw)))
    found = replace(found, licence=licence or found.licence, saw=tuple(seen))
    with _plain_tensors(found, wanted, trust, progress or Progress()) as (plain, notes):
        asked = wanted if plain is found else replace(wanted, take="")
        whole = open_whole(decided(asked, plain), channels=3)
    receipt = replace(
        whole.receipt, file=found.path.name, sha256=found.sha256,
        notes=(*whole.receipt.notes, *notes),
    )  # fmt: skip
    whole = _with_names(replace(whole, receipt=receipt, source=found), classes)
    entry = find(found.entry) if found.entry else None
    with _new_folder(folder) as temporary:
        tensors = {k: v.detach().contiguous().clone() for k, v in whole.model.state_dict().items()}
        save_file(tensors, temporary / TENSORS, {"format": "pt"})
        card = _card(whole, temporary, entry, name or found.entry or folder.name)
        write_card(card, temporary)
    return Converted(folder, card, whole)


@contextmanager
def _plain_tensors(
    found: Source, wanted: Wanted, trust: bool, progress: Progress
) -> Iterator[tuple[Source, tuple[str, ...]]]:
    """Yield the source, or what came out of its pickle where that asks for code, and notes."""
    asked, take = asked_globals(found.path), wanted.take
    if not asked or _is_plain(found, take):
        yield found, ()
        return
    if not trust:
        read_container(found.path, found.sha256, take)  # says so, and what it asks for
    progress.line(WARNING.format(name=found.path.name))
    with unpickled(found.path, take) as result:
        plain = replace(found, path=result.path, sha256=file_sha256(result.path), take="")
        try:
            yield plain, result.notes()
        except RadstartError as error:
            if error.where != str(result.path):
                raise
            raise RadstartError(error.what, str(found.path), error.got, error.remedy) from error


def _is_plain(found: Source, take: str) -> bool:
    """Return whether torch's safe reader reads the file, however it is laid out inside."""
    try:
        read_container(found.path, found.sha256, take)
    except RadstartError as error:
        return not error.what.startswith("holds pickled code")
    return True


def read_switches(texts: Sequence[str]) -> dict[str, Switch]:
    """Read switches as a person writes them: KEY=VALUE, VALUE a number, true, false or a word.

    Raises:
        RadstartError: no KEY=VALUE.
    """
    found: dict[str, Switch] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise RadstartError("not KEY=VALUE", "--switch", text, "write --switch bn_eps=0.001")
        found[key] = _value(value)
    return found


def _value(text: str) -> Switch:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _set_named(text: str) -> str:
    """Return the catalog's name of a set.

    Raises:
        RadstartError: no such set.
    """
    found = find_set(text)
    if found is None:
        raise RadstartError("no such set in the catalog", "--saw", text, nearest(text, set_names()))
    return found


def _with_names(whole: Whole, classes: Sequence[str]) -> Whole:
    """Return the network with the names that a person gives to its classes.

    Raises:
        RadstartError: there are more or fewer outputs, or two of one name.
    """
    if not classes:
        return whole
    if len(classes) != len(whole.classes):
        raise RadstartError(
            "the classifier has another number of outputs", "--classes", str(len(classes)),
            f"it has {len(whole.classes)}",
        )  # fmt: skip
    if len(set(classes)) != len(classes):
        raise RadstartError("two classes of one name", "--classes", ", ".join(classes))
    return replace(whole, classes=tuple(classes), named=True)


def _card(whole: Whole, folder: Path, entry: Entry | None, name: str) -> Card:
    """Write config.json and return the card of a folder that holds the tensors already."""
    plain = write_config(folder, whole, name)
    return Card(
        name=name,
        backbone=whole.backbone,
        convention=whole.convention,
        tensors_sha256=file_sha256(folder / TENSORS),
        origin=whole.receipt.origin,
        entry=whole.source.entry,
        file=whole.source.path.name,
        sha256=whole.source.sha256,
        licence=whole.source.licence,
        terms=entry.terms if entry else "",
        citation=entry.citation if entry else "",
        saw=whole.source.saw,
        classes=whole.classes if whole.named else (),
        plain_timm=plain,
        notes=(*whole.notes, *whole.receipt.notes),
        receipt=whole.receipt.record(),
        radstart=version("radstart"),
    )


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, which it becomes when the block ends well."""
    temporary = folder.with_name(temporary_name(folder.name))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.parent, folder.name)
        temporary.mkdir()
        yield temporary
        for path in temporary.iterdir():
            sync(path)
        temporary.rename(folder)
        sync(folder.parent)
    except OSError as error:
        raise RadstartError(
            "cannot write", str(folder), os_reason(error), "free space or choose another --out"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
