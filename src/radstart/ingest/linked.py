"""A dataset that is there already, for a study: its kept, labelled rows; its pixels stay there."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason, read_toml, remove_leftovers, temporary_name
from radstart.dataset import Dataset, open_dataset, save_dataset
from radstart.ingest.checks import class_order


def is_dataset(path: Path) -> bool:
    """Return whether a folder is a dataset."""
    return os.path.isfile(path / "dataset.toml")


def link_dataset(
    data: Path, out: Path, positive: str | None = None, replace: bool = False
) -> Dataset:
    """Return the kept rows of a dataset as one in `out`, whose shards are links to the other's.

    Args:
        data: the dataset's folder; it is never written to.
        out: folder of the study's dataset.
        positive: the positive one of two classes.
        replace: another dataset in `out` gives way.

    Raises:
        RadstartError: no dataset, fewer than two classes, another dataset in `out`, or it cannot
            be written.
    """
    given = open_dataset(data).kept()
    if not given.target:
        raise RadstartError(
            "has no labels", str(data), f"{len(given)} images", "ingest it with --labels"
        )
    labels = set(given.rows["label"].dropna())
    classes = class_order(labels, given.target, str(data), len(given), positive)
    if is_dataset(out):
        facts = read_toml(out / "dataset.toml")
        if (facts.get("source"), facts.get("classes")) == (given.content, list(classes)):
            return open_dataset(out)
        if not replace:
            raise RadstartError(
                "holds a dataset made from other images, labels or columns (or they have changed)",
                str(out), f"now {len(given)} images",
                "choose another --out, or delete this folder",
            )  # fmt: skip
        shutil.rmtree(out)
    temporary = out.with_name(temporary_name(out.name))
    made = [parent for parent in out.parents if not parent.exists()]
    try:
        remove_leftovers(out.parent, out.name)
        temporary.mkdir(parents=True)
        for name in ("pixels", "masks"):
            if (data / name).is_dir():
                (temporary / name).symlink_to(os.path.realpath(data / name))
        save_dataset(
            temporary,
            name=given.name,
            target=given.target,
            classes=classes,
            rows={str(name): given.rows[name].tolist() for name in given.rows},
            rejected={str(name): given.rejected[name].tolist() for name in given.rejected},
            source=given.content,
            columns=given.facts.get("columns", {}),
            how=given.facts.get("how", {}),
        )
        temporary.rename(out)
    except OSError as error:
        raise RadstartError(
            "cannot write the dataset",
            str(out),
            os_reason(error),
            "free space or choose another place",
        ) from error
    except RadstartError as error:
        error.where = error.where.replace(str(temporary), str(out))
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # leave no empty folders behind; stops at one that is in use
            for parent in made:
                parent.rmdir()
    return open_dataset(out)
