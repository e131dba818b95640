"""What many tests share: tiny images, tiny weights and one small finished study."""

import csv
import fcntl
import functools
import os
import re
import shutil
import subprocess

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: bit-identity, and a shared machine

import pytest

os.fsync = os.fstat  # what a power cut leaves is not the matter here, and disks are slow

# A study of the tests looks at validation every few steps and waits for one look only, so that a
# training takes a fraction of a second and still passes through plateau, decay and stop.
QUICK = {
    "check_steps": 2,
    "plateau_checks": 1,
    "final_checks": 1,
    "grid": (1e-3, 3e-3),
    "grid_growth": 0,
}
BACKBONE = "test_resnet"


SLOW = re.compile(r"^pytestmark = (\[[^\]]*)?pytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path, config):
    """Without the slow tests, files that hold no others are not read: their imports take long."""
    if config.option.markexpr == "not slow" and collection_path.suffix == ".py":
        return bool(SLOW.search(collection_path.read_text(encoding="utf-8"))) or None
    return None


def pytest_collection_modifyitems(items):
    """Put what needs the finished study first: one worker makes it while the other goes on."""
    items.sort(key=lambda item: not {"finished", "facts", "prepared"} & set(item.fixturenames))


def made_once(tmp_path_factory, name, make):
    """Return what `make(folder)` made for all workers: the first to come makes it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Let studies train with the short recipe QUICK."""
    from radstart.training import Recipe

    monkeypatch.setattr("radstart.study.prepare.Recipe", functools.partial(Recipe, **QUICK))


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Return a folder of some 150 images of 32 pixels, 50 patients, with labels.csv.

    The CSV holds image, label and patient_id alone, so that parts are drawn.
    """
    from radstart.phantom import Phantom, write_phantom

    def make(folder):
        path = write_phantom(Phantom(patients=50, contrast=0.5, side=32), folder)
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with path.open("w", encoding="utf-8", newline="") as file:
            names = ["image", "label", "patient_id"]
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    return made_once(tmp_path_factory, "images", make)


@pytest.fixture(scope="session")
def table(images):
    """Return the rows of labels.csv: image, label, patient_id."""
    with (images / "labels.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def write_labels(tmp_path):
    """Return a function that writes rows (dictionaries) as a CSV and returns its path."""

    def write(rows, name="labels.csv"):
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


def write_weights(folder, backbone=BACKBONE, seed=5, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)):
    """Write random weights with uneven batch-norm statistics in timm's local layout."""
    import torch
    from safetensors.torch import save_file

    from radstart.backbones import Backbone, build
    from radstart.core.files import write_json

    model = build(Backbone(backbone), 10, seed)
    draw = torch.Generator().manual_seed(seed)
    tensors = model.state_dict()
    for key, tensor in tensors.items():
        if key.endswith("running_mean"):
            tensor.normal_(0, 0.1, generator=draw)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=draw)
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    stated = {"input_size": [3, 64, 64], "mean": list(mean), "std": list(std)}
    write_json(folder / "config.json", {"architecture": backbone, "pretrained_cfg": stated})
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Return a weights folder of the tests' backbone: 64 pixels, its own mean and std."""
    return made_once(tmp_path_factory, "weights", write_weights)


@pytest.fixture
def other_weights(tmp_path):
    """Return a function (folder name, keywords of write_weights) -> another weights folder."""
    return lambda name, **options: write_weights(tmp_path / name, **options)


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No proxy, no token and no weights of the person who tests."""
    from huggingface_hub import close_session, constants

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield
    close_session()


@pytest.fixture
def shelf(alone, monkeypatch, tmp_path, weights):
    """Return a Shelf: a small catalog and a hub, served from here."""
    from huggingface_hub import constants

    from radstart.weights import catalog
    from shelf import Shelf, clear_catalog

    (tmp_path / "served").mkdir()
    opened = Shelf(tmp_path / "served", weights)
    monkeypatch.setattr(catalog, "CATALOG", opened.catalog)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, opened.site.base)
    monkeypatch.setattr(constants, "ENDPOINT", opened.site.base)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    clear_catalog()
    yield opened
    clear_catalog()
    opened.close()


def snapshot(folder):
    """Return (bytes, mtime_ns) of every file below `folder`."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def finished(tmp_path_factory, images, weights):
    """Return a study's folder: three arms, two policies, two budgets, two seeds.

    It was made in two calls: one arm, one policy, one budget, one seed, then everything. Beside it
    lies `first`, a copy of `trials/` and `runs/` after the first call, with their times.
    """
    import shutil

    import radstart
    from radstart.training import Recipe

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            recipe = functools.partial(Recipe, **QUICK)
            patch.setattr("radstart.study.prepare.Recipe", recipe)
            ask = functools.partial(
                radstart.compare, images, out=folder, image_size=32, epochs=4, numerics="fp32"
            )
            ask(arms=[f"w=file:{weights}"], policies=["full"], seeds=1)
            for name in ("trials", "runs"):
                shutil.copytree(folder / name, folder.with_name("first") / name)
            ask(
                arms=[f"w=file:{weights}", "random", "moments:w"],
                policies=["full", "frozen"],
                budgets=[0.5, 1.0],
                seeds=2,
            )

    return made_once(tmp_path_factory, "finished", make)


def prepared_again(study):
    """Return a study, prepared from its own folder."""
    from radstart.core.progress import Progress
    from radstart.study import read_spec
    from radstart.study.prepare import prepare

    return prepare(
        read_spec(study / "study.toml"),
        study,
        device="cpu",
        workers=0,
        numerics="auto",
        progress=Progress(),
    )


@pytest.fixture(scope="session")
def facts(finished):
    """Return the facts of the finished study."""
    from radstart.core.files import read_json

    return read_json(finished / "facts.json")


@pytest.fixture
def cli(capsys):
    """Return a function that runs the command line here and returns (code, stdout, stderr)."""
    from radstart.cli import main

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


@pytest.fixture
def small_disk(tmp_path):
    """Return a function options ("size=3m", "ro") -> a file system; called again, it is changed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def mount(options):
        how = ["-o", f"remount,{options}"] if mounted else ["-t", "tmpfs", "-o", options, "tmpfs"]
        able = shutil.which("mount") is not None
        command = ["mount", *how, folder]
        if not able or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("SKIPPED: no file system can be mounted here: NOT TESTED on a full disk")
        mounted.append(folder)
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)
