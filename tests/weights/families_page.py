"""The tables of docs/weights.md: every family, how its loading is proved, and a real receipt.

    python tests/weights/families_page.py            # the tables of today's catalog and stand-ins
    python tests/weights/families_page.py --measure  # and runs every stand-in (half an hour)

Each stand-in is a test (test_weights_standins.py): the loader's network gives the original's
features within 1e-5 of the largest one. A test holds the page to the catalog and the stand-ins.
"""

import contextlib
import io
import platform
import re
import sys
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]

from standins.cnn import TRAININGS  # noqa: E402
from standins.every import EVERY  # noqa: E402
from standins.proof import prove  # noqa: E402
from standins.standin import StandIn  # noqa: E402

from radstart.cli import main  # noqa: E402
from radstart.weights.catalog import Family, families, find  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "weights.md"
SHARED = HERE.parents[2] / "shared" / "weights"
REAL = SHARED / "mobilenetv1_025_imagenet_torch" / "mobilenetV1X0.25_pretrain.tar"
REFUSED = SHARED / "resnet20_cifar10_torch" / "resnet20-12fca82f.th"
SAID = {"yes": "loadable", "steps": "needs steps", "no": "not loadable"}
NOT_MEASURED = "not measured"

Key = tuple[str, str]  # entry, against what
Measured = dict[Key, str]  # largest difference, as the page shows it


def key_of(standin: StandIn) -> Key:
    """Return what stands in a stand-in's row before the difference."""
    return f"`{standin.entry}`", f"{standin.verified}, {standin.size} px"


def read_measured(text: str) -> Measured:
    """Return the differences that the page shows."""
    cells = [line.strip("| ").split(" | ") for line in _part(text, "standins").splitlines()]
    return {(row[0], row[1]): row[2] for row in cells if row[0].startswith("`")}


def measured() -> Measured:
    """Run every stand-in; return its largest difference."""
    found: Measured = {}
    for standin in EVERY:
        with tempfile.TemporaryDirectory() as folder:
            proof = prove(standin, Path(folder))
        assert proof.apart <= standin.tolerance, standin.entry
        assert proof.receipt.parameters_assigned == proof.receipt.parameters_total, standin.entry
        found[key_of(standin)] = f"{proof.apart:.1e}" if proof.apart else "0"
        print(*key_of(standin), found[key_of(standin)], flush=True)
    return found


def machine() -> str:
    """Return the processor, versions and the date."""
    import timm
    import torch

    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    name = model[1] if model else platform.machine()
    versions = f"torch {torch.__version__}, timm {timm.__version__}, one thread, float32"
    return f"Measured on {date.today().isoformat()}: {name}, {versions}."


def standins_table(known: Measured) -> str:
    """Return one row per stand-in."""
    rows = ["| file | against | largest difference |", "| --- | --- | --- |"]
    rows += [
        f"| {entry} | {against} | {known.get((entry, against), NOT_MEASURED)} |"
        for entry, against in map(key_of, EVERY)
    ]
    return "\n".join(rows)


def families_table(known: Measured) -> str:
    """Return one row per family."""
    rows = [
        "| family | files | licence, terms | stated input | proved against | files proved | "
        "largest difference |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows += [family_row(family, known) for family in families()]
    return "\n".join(rows)


def family_row(family: Family, known: Measured) -> str:
    """Return a family's row."""
    counts = Counter(entry.loadable for entry in family.entries)
    licences = sorted({entry.licence for entry in family.entries})
    terms = sorted({entry.terms for entry in family.entries if entry.terms})
    inputs = sorted({stated(entry.convention) for entry in family.entries if entry.convention})
    own = [standin for standin in EVERY if standin.entry.partition("/")[0] == family.name]
    apart = [known.get(key_of(standin), NOT_MEASURED) for standin in own]
    cells = (
        f"{family.name}: {family.title}",
        ", ".join(f"{counts[key]} {SAID[key]}" for key in SAID if counts[key]),
        "; ".join(licences) + (f" ({', '.join(terms)})" if terms else ""),
        ", ".join(inputs) or "-",
        proved(family, own),
        f"{len({standin.entry for standin in own})} of {len(family.entries)}" if own else "-",
        max(apart, key=_number, default="-"),
    )
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _number(text: str) -> float:
    return float("inf") if text == NOT_MEASURED else float(text)


def proved(family: Family, own: list[StandIn]) -> str:
    """Return against what, in words; else why there is nothing to prove, or where it is proved."""
    originals = list(dict.fromkeys(standin.verified for standin in own))
    if originals:
        more = f"; and {len(originals) - 4} more" if len(originals) > 4 else ""
        return "; ".join(originals[:4]) + more
    if family.name == "own":
        kinds = dict.fromkeys(c.standin.verified for c in TRAININGS if c.origin == "ssl")
        return "; ".join(kinds) + ": tests/weights/test_adapters_cnn.py"
    origins = {entry.origin for entry in family.entries} - {"", "timm"}
    like = sorted({s.entry for s in EVERY if find(s.entry).origin in origins})
    if like:
        return f"the layout of {', '.join(like)}"
    return "; ".join(dict.fromkeys(entry.why for entry in family.entries if entry.why))


def stated(convention: object) -> str:
    """Return a convention's name, or that it has numbers of its own."""
    return convention if isinstance(convention, str) else "own mean and std"


def receipts() -> str:
    """Return what the command line says of a real file, and of one that is refused."""
    parts = []
    for path, backbone, code in ((REAL, "mobilenetv1_025", 0), (REFUSED, "resnet18", 2)):
        call = ["weights", "check", str(path), "--backbone", backbone]
        said = f"$ radstart {' '.join(call)}\n{_said(call, code)}".replace(f"{path.parent}/", "")
        parts.append(f"```\n{said.strip()}\n```")
    return "\n".join(parts)


def _said(call: list[str], expected: int) -> str:
    """Return what the command line prints, on either stream."""
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main(call)
        except SystemExit as end:
            code = int(end.code or 0)
    assert code == expected, out.getvalue()
    return out.getvalue()


def page(known: Measured | None = None) -> str:
    """Return the page with the tables of today's catalog.

    Args:
        known: differences that were measured now; None = those that the page shows.
    """
    text = PAGE.read_text(encoding="utf-8")
    if known is not None:
        text = _put(text, "machine", machine())
    known = read_measured(text) if known is None else known
    text = _put(text, "families", families_table(known))
    text = _put(text, "standins", standins_table(known))
    return _put(text, "receipt", receipts()) if REAL.is_file() else text


def _part(text: str, name: str) -> str:
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- /{name} -->")[0]


def _put(text: str, name: str, content: str) -> str:
    before, _, rest = text.partition(f"<!-- {name} -->\n")
    after = rest.partition(f"<!-- /{name} -->")[2]
    return f"{before}<!-- {name} -->\n{content}\n<!-- /{name} -->{after}"


if __name__ == "__main__":
    PAGE.write_text(page(measured() if "--measure" in sys.argv else None), encoding="utf-8")
