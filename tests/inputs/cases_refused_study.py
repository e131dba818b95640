"""Folders, disks, names, values and weights that are refused."""

import contextlib
import errno
import os
import pickle
import subprocess
import tempfile
from pathlib import Path
from unittest import mock

from input_case import BACKBONE, Case

from conftest import write_weights
from radstart.core.files import read_json, read_toml, write_json, write_toml
from radstart.study import DataSpec, StudySpec, checked, write_spec
from radstart.weights import parse_arm

ANOTHER_OUT = "choose another --out"


def held_study(work, **changes):
    """Write the study.toml of a study of this DATA into OUT, with some keys changed."""
    question = {
        "data": DataSpec(str(work.data), str(work.data / "labels.csv")),
        "arm": (parse_arm("random"),),
        "policies": ("frozen",),
        "seeds": 1,
        "backbone": BACKBONE,
        "image_size": 32,
    }
    write_spec(checked(StudySpec(**{**question, **changes})), work.out / "study.toml")


def newer_study(work):
    held_study(work)
    stated = read_toml(work.out / "study.toml")
    write_toml(work.out / "study.toml", {**stated, "schema": 99})


def held_dataset(work, **changes):
    """Write a dataset.toml into OUT/dataset."""
    facts = {"schema": 1, "name": "x", "source": "x", "target": "label", "classes": ["a", "b"]}
    write_toml(work.out / "dataset" / "dataset.toml", {**facts, "content": "x", **changes})


def text_in(work, name, text="x"):
    path = work.place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def other_data(work):
    held_study(work, data=DataSpec(str(work.place / "OTHER")))


def below_a_file(work):
    text_in(work, "FILE")
    work.folder = "FILE/OUT"


FOLDERS = [
    Case("out-other-data", "--out holds a study of other data", other_data,
         "data was path 'OTHER', labels ''", ANOTHER_OUT),
    Case("out-other-question", "--out holds a study of another question",
         lambda work: held_study(work, margin=0.1), "margin was 0.1, is 0.02", ANOTHER_OUT),
    Case("out-more-seeds", "--out holds a study of more seeds",
         lambda work: held_study(work, seeds=5), "seeds was 5, is 1", ANOTHER_OUT),
    Case("out-newer-study", "--out holds a study of a newer format", newer_study,
         "made by a newer radstart (got schema 99, known up to 1)", "update radstart"),
    Case("out-newer-dataset", "--out holds a dataset of a newer format",
         lambda work: held_dataset(work, schema=99),
         "made by a newer radstart (got schema 99, known up to 2)", "update radstart"),
    Case("out-damaged-dataset", "--out holds a dataset that lacks its tables", held_dataset,
         "rows.parquet: is missing (got no such file)", "delete the dataset folder"),
    Case("out-strange-dataset", "OUT/dataset holds something else",
         lambda work: text_in(work, "OUT/dataset/thesis.txt"), "is not a dataset folder",
         ANOTHER_OUT),
    Case("out-strange", "--out holds something else", lambda work: text_in(work, "OUT/thesis.txt"),
         "this folder holds something else", "choose an empty --out"),
    Case("out-broken-study", "--out holds a study.toml that is none",
         lambda work: text_in(work, "OUT/study.toml", "x = ["), "study.toml: cannot read",
         "mend it"),
    Case("out-file", "--out is a file", lambda work: text_in(work, "OUT"),
         "is a file, not a folder", ANOTHER_OUT),
    Case("out-below-file", "--out lies below a file", below_a_file,
         "cannot write (got Not a directory)", ANOTHER_OUT),
]  # fmt: skip


def can_mount():
    """Tell whether this process may mount a file system of its own."""
    with tempfile.TemporaryDirectory() as place, mounted(Path(place), "size=4k") as done:
        return done


@contextlib.contextmanager
def mounted(place, options):
    """Mount a small file system in memory while the block runs; yield whether that went well."""
    words = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
    try:
        done = not subprocess.run(words, capture_output=True, check=False).returncode
    except OSError:
        done = False
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=True)


def on_a_disk(work, options):
    """Put OUT on a file system of its own."""
    (work.place / "DISK").mkdir()
    work.folder = "DISK/OUT"
    work.during = mounted(work.place / "DISK", options)


def failing(call, number, place, after=0):
    """Return a patch of `os.CALL` that fails below `place` from the given call on."""
    real = getattr(os, call)
    calls = []

    def fail(path, *rest, **options):
        shown = (
            path if isinstance(path, str | os.PathLike) else os.readlink(f"/proc/self/fd/{path}")
        )
        if str(shown).startswith(str(place)):
            calls.append(shown)
            if len(calls) > after:
                raise OSError(number, os.strerror(number), str(shown))
        return real(path, *rest, **options)

    return mock.patch.object(os, call, fail)


def injected(call, number):
    def make(work):
        work.during = failing(call, number, work.out)

    return make


FREE = "free space or choose another place"
DISKS = [
    Case("disk-full", "a disk of 16 kB", lambda work: on_a_disk(work, "size=16k"),
         "cannot write (got No space left on device)", FREE, needs="mount"),
    Case("disk-read-only", "a read-only disk", lambda work: on_a_disk(work, "ro"),
         "cannot write (got Read-only file system)", ANOTHER_OUT, needs="mount"),
    Case("disk-full-error", "a disk that is full when a file is made durable",
         injected("fsync", errno.ENOSPC), "No space left on device", FREE),
    Case("read-only-error", "a folder that cannot be made: read-only",
         injected("mkdir", errno.EROFS), "cannot write (got Read-only file system)", ANOTHER_OUT),
    Case("forbidden-error", "a folder that cannot be made: not permitted",
         injected("mkdir", errno.EACCES), "cannot write (got Permission denied)", ANOTHER_OUT),
]  # fmt: skip


def options(key, what, said, remedy, *words, leaves=()):
    return Case(key, what, lambda work: work.options.extend(words), said, remedy, leaves=leaves)


def asked(key, what, said, remedy, text="", **tables):
    return Case(key, what, lambda work: work.question(text, **tables), said, remedy)


def file_asked(key, what, said, remedy, text):
    """Return a case of a study.toml of this text."""

    def make(work):
        text_in(work, "question.toml", text)
        work.words = ["compare", work.place / "question.toml", "--out", work.out]

    return Case(key, what, make, said, remedy)


def numerics_asked(key, what, said, remedy="copy a study's numerics.toml", **changed):
    """Return a case of a numerics.toml that differs from a sound one in these keys."""
    sound = {"dtype": "'float32'", "memory_format": "'contiguous'", "threads": "1",
             "instructions": "'AVX2'", "device": "'cpu'"}  # fmt: skip

    def make(work):
        lines = [f"{name} = {value}" for name, value in (sound | changed).items()]
        text_in(work, "mine.toml", "\n".join(lines))
        work.options += ["--numerics", str(work.place / "mine.toml")]

    return Case(key, what, make, said, remedy)


def beside_a_file(work):
    work.question()
    work.options += ["--seeds", "9", "--flip"]


NAMES = [
    options("backbone", "an unknown backbone", "unknown backbone (got test_resnat)",
            "did you mean test_resnet", "--backbone", "test_resnat"),
    options("no-backbone", "no backbone", "no arm states a backbone", "add --backbone",
            "--backbone", ""),
    options("arm", "an unknown start", "unknown start (got randm)", "did you mean random",
            "--arms", "randm"),
    options("arm-incomplete", "a start without its path", "incomplete start (got file:)",
            "write NAME=file:PATH", "--arms", "file:"),
    options("arm-of-moments", "moments of an arm that is not there",
            "moments needs an arm with weights", "add NAME=file:PATH", "--arms", "moments:w"),
    options("arm-twice", "two arms of one name", "two arms of one name", "name one: NAME=START",
            "--arms", "random,random"),
    Case("not-utf8", "a name in the question that is not UTF-8",
         lambda work: work.options.extend(["--positive", os.fsdecode(b"\xff")]),
         "positive: is not UTF-8", "rename it"),
    options("no-arm", "no arm", "a study needs an arm", "add --arms", "--arms", ""),
    options("policy", "an unknown policy", "unknown policy (got frosen)", "did you mean frozen",
            "--policies", "frosen"),
    options("metric", "an unknown metric", "unknown metric (got aurok)", "did you mean auroc",
            "--metric", "aurok"),
    options("reference", "an unknown reference", "unknown reference (got randm)",
            "did you mean random", "--reference", "randm"),
    options("leakage-name", "an unknown remedy for leakage", "unknown leakage (got regrup)",
            "did you mean regroup", "--leakage", "regrup"),
    options("device", "an unknown device", "--device: unknown device (got gpu7)",
            "use auto, cpu, cuda or cuda:1", "--device", "gpu7"),
    options("device-meta", "a device that computes nothing", "--device: unknown device (got meta)",
            "use auto, cpu, cuda or cuda:1", "--device", "meta"),
    options("processes", "no process", "--processes: out of range (got 0)", "use 1 or more",
            "--processes", "0"),
    options("numerics", "numerics that are not there", "no.toml: cannot read", "check the path",
            "--numerics", "no.toml"),
    numerics_asked("numerics-type", "numerics with text for a number",
                   "mine.toml: threads: out of range (got 'two')", threads="'two'"),
    numerics_asked("numerics-dtype", "numerics of an unknown type",
                   "mine.toml: dtype: out of range (got 'float8')", dtype="'float8'"),
    numerics_asked("numerics-key", "numerics with an unknown key",
                   "mine.toml: thread: unknown key", "did you mean threads", thread="2"),
    options("option", "an unknown option", "--sedes", "radstart compare --help", "--sedes", "3"),
    asked("key", "an unknown key in study.toml", "sedes: unknown key", "did you mean seeds",
          "sedes = 3"),
    asked("data-key", "an unknown key in [[data]]", "[[data]] pth: unknown key",
          "did you mean path", data="pth = 'x'"),
    asked("arm-key", "an unknown key in [[arm]]", "[[arm]] stat: unknown key",
          "did you mean start", arm="stat = 'random'"),
    asked("task", "an unknown task", "unknown task (got clasification)",
          "did you mean classification", "task = 'clasification'"),
]  # fmt: skip

FILES = [
    file_asked("toml", "a study.toml that is no TOML", "question.toml: cannot read", "mend it",
               "seeds = = 3"),
    file_asked("toml-deep", "a study.toml of 100,000 brackets", "question.toml: cannot read",
               "mend it", "x = " + "[" * 100_000),
    file_asked("toml-empty", "an empty study.toml", "needs one [[data]] table", "add", ""),
    file_asked("toml-no-arm", "a study.toml without an arm", "needs [[arm]] tables", "add",
               "[[data]]\npath = 'DATA'"),
    file_asked("toml-tables", "text where tables belong", "needs one [[data]] table (got str)",
               "add", "data = 'x'"),
    file_asked("toml-no-start", "an [[arm]] without its start", "arms: unknown start (got nothing)",
               "known: random, file, run, hub, moments",
               "[[data]]\npath = 'DATA'\n[[arm]]\nname = 'a'"),
    asked("toml-elements", "text in a list of numbers", "budgets: wrong type (got ['all'])",
          "a list", "budgets = ['all']"),
    asked("toml-truth", "yes or no for a number", "margin: wrong type (got True)", "a number",
          "margin = true"),
    asked("toml-data", "a study.toml of two data sets", "needs one [[data]] table", "leave one",
          data="[[data]]\npath = 'DATA'"),
    asked("toml-newer", "a study.toml of a newer format",
          "made by a newer radstart (got schema 2, known up to 1)", "update radstart",
          "schema = 2"),
    asked("toml-schema", "a schema that is no number", "schema: wrong type (got 'one')", "write 1",
          "schema = 'one'"),
    asked("toml-type", "text for a number", "seeds: wrong type (got '3')", "whole number",
          "seeds = '3'"),
    asked("toml-fraction", "a fraction for a whole number", "seeds: wrong type (got 3.5)",
          "whole number", "seeds = 3.5"),
    asked("toml-list", "a number for a list", "budgets: wrong type (got 0.5)", "a list",
          "budgets = 0.5"),
    asked("toml-flag", "a number for yes or no", "flip: wrong type (got 1)", "true or false",
          "flip = 1"),
    asked("toml-choice", "none of the choices", "leakage: wrong type (got 'ignore')",
          "stop, regroup, drop, allow", "leakage = 'ignore'"),
    Case("toml-options", "options beside a study.toml", beside_a_file,
         "the question stands in the file (got --seeds, --flip)", "edit the file instead"),
]  # fmt: skip


def value(option, given, said, remedy, key=""):
    """Return a case of an option's value that is out of range."""
    name = option.removeprefix("--")
    return options(
        key or f"{name}={given or 'none'}", f"`{option} {given or repr(given)}`", said, remedy,
        option, given,
    )  # fmt: skip


SHARES = "use shares above 0, at most 1"
VALUES = [
    *(value("--budgets", given, "budgets: out of range", SHARES)
      for given in ("0", "-0.5", "0.5,2", "nan", "inf", "")),
    value("--budgets", "0.5,0.5", "budgets: out of range (got", "use each once"),
    value("--budgets", "all", "--budgets: not a number (got all)", "1.0"),
    *(value("--seeds", given, f"seeds: out of range (got {given})", "use 1 to 1000")
      for given in ("0", "-1", "1001")),
    *(value("--seeds", given, f"(got {given})", "radstart compare --help")
      for given in ("many", "1.5")),
    value("--seeds", "", "(got nothing)", "radstart compare --help"),
    value("--seed", "-1", "seed: out of range (got -1)", "use 0 to"),
    value("--seed", str(2**70), "seed: out of range", "use 0 to"),
    value("--policies", "", "policies: out of range", "use at least one"),
    value("--policies", "full,full", "policies: out of range", "use each once"),
    *(value("--margin", given, "margin: out of range", "use 0 or more")
      for given in ("-1", "nan", "inf")),
    *(value("--image-size", given, "image_size: out of range", "use 16 to 1024 pixels")
      for given in ("7", "5000")),
    *(value("--epochs", given, "epochs: out of range", "use 1 to 10000")
      for given in ("0", "10001")),
    value("--workers", "-1", "--workers: out of range", "use 0 or more"),
    asked("level", "`level = 1.0` in study.toml", "level: out of range (got 1.0)",
          "use 0.5 to below 1", "level = 1.0"),
]  # fmt: skip


def with_weights(work, *words, change=None):
    """Write a weights folder W and ask for it."""
    folder = write_weights(work.place / "W")
    if change:
        change(folder)
    work.options += ["--arms", f"w=file:{folder}", *words]


def change_config(folder, **changes):
    write_json(folder / "config.json", {**read_json(folder / "config.json"), **changes})


def bare(work):
    with_weights(work, "--backbone", "test_vit")
    work.options += ["--arms", f"w=file:{work.place / 'W' / 'model.safetensors'}"]


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def file_of(name, content):
    def make(work):
        (work.place / name).write_bytes(content)
        work.options += ["--arms", f"w=file:{work.place / name}"]

    return make


class Code:
    """Pickles as a call that must never be made."""

    def __reduce__(self):
        return os.remove, ("/nothing/to/remove",)


WEIGHTS = [
    options("weights-absent", "weights that are not there",
            "/no/such/file: no such weights file", "correct the path", "--arms",
            "w=file:/no/such/file"),
    Case("weights-other", "weights of another architecture", bare,
         "weights do not fit test_vit", "nothing was loaded"),
    Case("weights-config", "a weights folder whose config.json names another architecture",
         lambda work: with_weights(
             work, change=lambda folder: change_config(folder, architecture="test_vit")),
         "weights do not fit test_vit", "nothing was loaded"),
    Case("weights-unknown", "a weights folder of an unknown architecture",
         lambda work: with_weights(
             work, change=lambda folder: change_config(folder, architecture="test_resnat")),
         "unknown backbone (got test_resnat)", "did you mean test_resnet"),
    Case("weights-layout", "a config.json of something else",
         lambda work: with_weights(
             work, change=lambda folder: write_json(folder / "config.json", {})),
         "not timm's local layout", "with --backbone"),
    Case("weights-cut", "a truncated weights file", lambda work: with_weights(work, change=cut),
         "not a readable weights file", "fetch it again"),
    Case("weights-empty", "a weights file of 0 bytes", file_of("w.safetensors", b""),
         "not a readable weights file", "fetch it again"),
    Case("weights-text", "a text file called .pth", file_of("w.pth", b"hello"),
         "w.pth: not a readable weights file", "fetch it again"),
    Case("weights-code", "a pickle that calls something", file_of("w.pth", pickle.dumps(Code())),
         "holds pickled code, which is not executed", "radstart weights convert"),
    Case("weights-folder", "a folder without weights",
         lambda work: ((work.place / "E").mkdir(),
                       work.options.extend(["--arms", f"w=file:{work.place / 'E'}"])),
         "no model.safetensors in this folder", "name a file inside it"),
    Case("weights-image-size", "a backbone of another image size",
         lambda work: work.options.extend(["--backbone", "test_vit", "--image-size", "40"]),
         "has patches of 16 pixels", "give a multiple of it"),
]  # fmt: skip


def of_nobody(key, what, said, remedy, *words, leaves=()):
    """Return a case of arms on a machine that has no weights, and fetches none."""

    def make(work):
        own = {"RADSTART_CACHE": str(work.place / "CACHE")}
        work.during = contextlib.ExitStack()
        work.during.enter_context(mock.patch.dict(os.environ, own))
        cached = mock.patch("huggingface_hub.constants.HF_HUB_CACHE", str(work.place / "HUB"))
        work.during.enter_context(cached)
        work.options += ["--offline", *words]

    return Case(key, what, make, said, remedy, leaves=leaves)


def fed(key, what, said, remedy, *words, leaves=()):
    return Case(key, what, lambda work: with_weights(work, *words), said, remedy, leaves=leaves)


ARMS = [
    of_nobody("arm-offline", "weights that are not here, and `--offline`",
              "--offline, and not in the hub's cache", "run the same command once with network",
              "--arms", "imagenet/resnet50"),
    of_nobody("arm-steps", "weights behind a form or a drive", "has to be got by hand",
              "radstart weights get radimagenet/resnet50 --from FILE --accept",
              "--arms", "radimagenet", "--backbone", "resnet50"),
    of_nobody("arm-terms", "weights whose terms nobody accepted",
              "radiologynet/resnet50: no licence is stated for the weights",
              "accept that once: radstart weights get radiologynet/resnet50 --accept",
              "--arms", "radiologynet", "--backbone", "resnet50"),
    of_nobody("arm-none", "weights that cannot be loaded", "cpmid: cannot be loaded",
              "No repository, weights or model card", "--arms", "cpmid"),
    of_nobody("arm-backbone", "a family without weights for the backbone",
              "imagenet: no weights for test_resnet: it has resnet18", "name one of these",
              "--arms", "imagenet"),
    of_nobody("arm-entry", "a family's weights that it does not have",
              "imagenet/resnet5: unknown weights", "did you mean imagenet/resnet50",
              "--arms", "imagenet/resnet5"),
    of_nobody("arm-hub", "a repository without its owner", "hub: not OWNER/NAME (got net)",
              "write hub:OWNER/NAME", "--arms", "hub:net"),
    of_nobody("arm-some", "one arm of two that cannot be had",
              "1 of 2 arms cannot be had: imagenet/resnet50: timm/", "--skip-unavailable",
              "--arms", "random,imagenet/resnet50"),
    of_nobody("arm-reference", "the reference cannot be had", "the reference cannot be had",
              "choose another --reference", "--skip-unavailable",
              "--arms", "imagenet/resnet50,random"),
    of_nobody("arm-all", "no arm can be had", "no arm can be had: imagenet/resnet50: ",
              "choose other arms", "--skip-unavailable", "--arms",
              "imagenet/resnet50,moments:imagenet/resnet50"),
    options("known-as", "an unknown public set",
            "known_as: no such public set in the catalog (got rsna-pneumonai)",
            "did you mean rsna-pneumonia", "--known-as", "rsna-pneumonai"),
    options("seen", "an unknown remedy for what was seen", "unknown seen (got ignore)",
            "known: stop, mark", "--seen", "ignore"),
    fed("convention", "an unknown convention", "unknown convention (got imagenot)",
        "did you mean imagenet", "--convention", "w=imagenot"),
    fed("convention-channels", "a convention of another number of channels",
        "convention of w: has another number of channels (got -1024to1024)",
        "these weights take 3", "--convention", "w=-1024to1024"),
    fed("convention-arm", "a convention for an arm that is not there",
        "no arm of this name (got v)", "known: w", "--convention", "v=imagenet"),
    fed("convention-twice", "two conventions for one arm", "two conventions for one arm (got w)",
        "give one", "--convention", "w=imagenet", "--convention", "w=caffe"),
    fed("partial", "a glob without its arm", "--allow-partial: not ARM=VALUE (got fc.*)",
        "write --allow-partial ARM=VALUE", "--allow-partial", "fc.*"),
    fed("keep-head", "a classifier whose classes are not stated",
        "cannot keep its classifier: the classes are not those of the study (got none stated",
        "leave --keep-head out", "--keep-head", "w", leaves=("dataset",)),
    value("--rates", "0", "rates: out of range", "use learning rates above 0"),
    value("--rates", "fast", "--rates: not a number (got fast)", "1.0"),
]  # fmt: skip

REFUSED_STUDY = {
    "The folder of the study": FOLDERS,
    "Disks": DISKS,
    "Names": NAMES,
    "study.toml": FILES,
    "Values": VALUES,
    "Weights": WEIGHTS,
    "Arms": ARMS,
}
