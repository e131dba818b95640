"""radstart demo."""

from pathlib import Path
from typing import Annotated

import typer

BACKBONE = "test_resnet"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for images, studies and report.html.")] = Path(
        "demo"
    ),
) -> None:
    """Pretrain on a generated archive, then ask whether that start helps on a small new task.

    \b
    Example:
      radstart demo --out demo
    """
    import shutil

    import radstart
    from radstart.core.progress import Progress
    from radstart.phantom import Phantom, write_phantom

    say = Progress(shown=True).line
    say("1 of 3: an archive of generated images with four kinds of findings")
    archive, task = out / "archive", out / "nodule_or_ring"
    write_phantom(Phantom(200, ("normal", "nodule", "ring", "streak"), 0.4, 32, seed=1), archive)
    write_phantom(Phantom(160, ("nodule", "ring"), 0.3, 32, seed=2), task)
    say("2 of 3: training on the archive from random values: that makes the start `archive`")
    pretrained = radstart.compare(
        archive, out=out / "archive_study", arms=["random"], backbone=BACKBONE,
        policies=["full"], seeds=1, image_size=32, epochs=20,
        processes=2, numerics="fp32", progress=True,
    )  # fmt: skip
    run = pretrained.path / "runs" / pretrained.runs["run"].iloc[0]
    say("3 of 3: does it help to tell nodules from rings in new patients?")
    study = radstart.compare(
        task, out=out / "study", arms=["random", "moments:archive", f"archive=run:{run}"],
        policies=["full", "frozen"], budgets=[0.25, 1.0], seeds=5, image_size=32, epochs=20,
        processes=2, numerics="fp32", progress=True,
    )  # fmt: skip
    shutil.copyfile(study.path / "report.html", out / "report.html")
    shutil.copytree(study.path / "tables", out / "tables", dirs_exist_ok=True)  # its links
    for line in study.facts["answer"]:
        print(line)
    print(f"report: {(out / 'report.html').resolve()}")
