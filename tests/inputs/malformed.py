"""Strategies that spoil one thing of a `Work`: its CSV, images, folders, study.toml, options, OUT.

Each draws a list of changes, applies them, and leaves the rest of the input as it was.
"""

import json
import os
import string
from collections.abc import Callable

from hypothesis import strategies as st
from input_case import BACKBONE, IMAGES, Work

Draw = Callable[[st.SearchStrategy], object]

PRINTED = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
NUMBERS = st.one_of(
    st.integers(-3, 70).map(str),
    st.floats().map(str),
    st.sampled_from(["1e400", "-0", "0x10", "1_0", "٣", "½", str(2**64), "", " ", "nan"]),
)
LISTS = st.lists(NUMBERS | st.sampled_from(["full", "frozen", "random"]), max_size=4)
NAMES = st.one_of(
    PRINTED,
    st.sampled_from(
        ["a", "random", "moments:random", "file:", "run:/", "x=file:~nobody/x", "~", ".."]
    ),
    st.sampled_from(["/dev/null", "/proc/self/mem", "x" * 300, "a=b=random", "\x1b[31m", "\udcff"]),
)
SPOILS = st.sampled_from(
    [b"\0", b'"', b"'", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b",", b";", b"\t", b"image",
     b"\x1a", b"\xe2\x80\xa8", b"\x85", b"i00.png", b"../", b"/", b"NaN", b"=1+1", b"\\"]
)  # fmt: skip


def _spoiled(draw: Draw, content: bytes) -> bytes:
    """Return bytes with a few places overwritten, cut out, filled in or said twice."""
    for _ in range(draw(st.integers(1, 4))):
        at = int(draw(st.floats(0, 1)) * len(content))
        width = draw(st.integers(0, 40))
        new = draw(st.one_of(SPOILS, st.binary(max_size=8), st.just(content[at : at + width] * 2)))
        content = content[:at] + new + content[at + width :]
    return content[: int(draw(st.sampled_from([1, 1, 1, 0.5, 0.01, 0])) * len(content))]


def spoil_csv(work: Work, draw: Draw) -> None:
    """Change bytes of labels.csv, its encoding, its header, or the length of a cell."""
    if draw(st.integers(0, 3)) == 0:
        work.rows[0] = draw(st.lists(st.sampled_from([*work.rows[0], "split", ""]), max_size=5))
    if draw(st.integers(0, 9)) == 0:
        work.rows[draw(st.integers(1, IMAGES))][draw(st.integers(0, 2))] = "x" * 140_000
    column = draw(st.integers(0, 2))
    for row in draw(st.sets(st.integers(1, IMAGES), max_size=4)):
        work.rows[row][column] = draw(NAMES)
    delimiter, ending = (
        draw(st.sampled_from(",,,;;\t|")),
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
    )
    encoding = draw(
        st.sampled_from(["utf-8"] * 5 + ["utf-16", "utf-32", "latin-1", "cp500", "utf-7"])
    )
    content = work.rendered(delimiter, ending).encode(encoding, "replace")
    work.labels = _spoiled(draw, content) if draw(st.booleans()) else content


MAGIC = st.sampled_from(
    [b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"RIFF", b"BM"]
)


def spoil_images(work: Work, draw: Draw) -> None:
    """Cut, flip or relabel the bytes of one image, or of many."""
    for suffix in ("jpg", "tif", "gif", "webp", "bmp"):
        work.row(work.picture(f"x.{suffix}"))
    names = [row[0] for row in work.rows[1:]]
    for name in draw(st.lists(st.sampled_from(names[-8:]), min_size=1, max_size=4)):
        path = work.data / name
        content = path.read_bytes()
        kind = draw(st.sampled_from(["cut", "flip", "magic", "spoil"]))
        at = int(draw(st.floats(0, 1)) * len(content))
        if kind == "cut":
            content = content[:at]
        elif kind == "flip":
            content = (
                content[:at] + bytes(255 - b for b in content[at : at + 3]) + content[at + 3 :]
            )
        elif kind == "magic":
            magic = draw(MAGIC)
            content = magic + content[len(magic) :]
        else:
            content = _spoiled(draw, content)
        path.write_bytes(content)


def spoil_folders(work: Work, draw: Draw) -> None:
    """Add folders, links, odd names and files in the place of folders; with or without a CSV."""
    work.folders = draw(st.booleans())
    shapes = ["folder", "link", "loop", "out", "odd", "gone", "image", "table", "deep", "classes"]
    for k, shape in enumerate(draw(st.lists(st.sampled_from(shapes), min_size=1, max_size=5))):
        here = work.data / draw(st.sampled_from([".", "a", "train", "Test", ".hidden", "b.png"]))
        if here.is_file():
            continue
        here.mkdir(parents=True, exist_ok=True)
        if shape in ("folder", "deep"):
            here.joinpath(*"abcdefgh"[: 8 if shape == "deep" else 1], f"{k}.png").mkdir(
                parents=True
            )
        elif shape in ("link", "loop", "out"):
            goal = {"link": ".", "loop": f"{k}.png", "out": str(work.place)}[shape]
            os.symlink(goal, here / f"{k}.png")
        elif shape == "odd":
            name = draw(st.binary(min_size=1, max_size=9)).replace(b"\0", b"0").replace(b"/", b"_")
            with open(os.fsencode(here) + b"/" + b"_" + name + b".png", "wb") as file:
                file.write(b"x")
        elif shape == "gone":
            (work.data / f"i{k:02d}.png").unlink(missing_ok=True)
        elif shape == "table" and work.folders:
            (work.data / "labels.csv").mkdir(exist_ok=True)
        else:
            work.picture(f"{here.name}/{k}.png" if here != work.data else f"{k}.png")


FITTING = {
    "policies": LISTS.map(json.dumps),
    "budgets": st.lists(st.floats(0, 1.2), max_size=3).map(repr),
    **dict.fromkeys(("seeds", "seed", "image_size", "epochs"), st.integers(-2, 1100).map(str)),
    **dict.fromkeys(("margin", "level"), st.floats().map(str)),
    **dict.fromkeys(
        ("backbone", "reference", "metric", "task", "test_fold"), NAMES.map(json.dumps)
    ),
    "flip": st.sampled_from(["true", "false"]),
    "leakage": st.sampled_from(["'stop'", "'drop'", "'regroup'", "'allow'", "'stop '"]),
    "schema": st.integers(-1, 3).map(str),
}
TOML = st.one_of(
    st.sampled_from(
        ["true", "[]", "{}", "[[]]", "nan", "-inf", "1979-05-27", "'x'", '"\\u0000"', "'''x\ny'''",
         "[1, 'x']", "{a = 1}", "0.5", "3", str(2**70), "[0.5, 0.5]", "['full']", "'~nobody'", "''",
         '"DATA\\u0000"', "[" * 3000]
    ),
    st.integers().map(str),
)  # fmt: skip
KEYS = st.sampled_from([*FITTING, "data", "arm"]) | st.text(string.ascii_lowercase, min_size=1)


def spoil_question(work: Work, draw: Draw) -> None:
    """Change values, keys and bytes of a study.toml."""
    main = {"backbone": f"'{BACKBONE}'", "image_size": "32", "seeds": "1", "policies": "['frozen']"}
    data = {"path": "'DATA'", "labels": "'labels.csv'"}
    arm = {"start": "'random'"}
    for spoil in draw(st.lists(st.sampled_from(["fit", "main", "data", "arm"]), max_size=2)):
        if spoil == "fit":
            key = draw(st.sampled_from(sorted(FITTING)))
            main[key] = draw(FITTING[key])
        elif spoil == "main":
            main[draw(KEYS)] = draw(TOML)
        elif spoil == "data":
            data[draw(st.sampled_from([*data, "label_column", "positive"]))] = draw(TOML)
        else:
            arm[draw(st.sampled_from(["name", "start"]))] = draw(TOML | NAMES.map(json.dumps))
    text = "".join(f"{key} = {value}\n" for key, value in main.items())
    for title, table in (("data", data), ("arm", arm)):
        text += f"[[{title}]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
    content = text.encode("utf-8", "replace")
    content = _spoiled(draw, content) if draw(st.integers(0, 3)) == 0 else content
    (work.place / "question.toml").write_bytes(content)
    work.words = ["compare", work.place / "question.toml", "--out", work.out]


OPTIONS = {
    **{f"--{name}": NUMBERS for name in ("seeds", "seed", "margin", "image-size", "epochs")},
    **{f"--{name}": LISTS.map(",".join) for name in ("budgets", "policies", "arms")},
    **{f"--{name}": NAMES for name in ("arms", "backbone", "reference", "metric", "leakage")},
    **{f"--{name}-column": NAMES for name in ("image", "label", "patient", "split", "fold", "age")},
    **{f"--{name}": NAMES for name in ("labels", "positive", "test-fold", "validation-fold")},
    "--device": st.sampled_from(["cpu", "cpu:9", "cuda:99", "", "xla", "1", "hpu:x"]) | NAMES,
    "--workers": NUMBERS,
    "--numerics": NAMES,
}


def spoil_options(work: Work, draw: Draw) -> None:
    """Give one to three options a value that a tired person might type."""
    for option in draw(st.lists(st.sampled_from(sorted(OPTIONS)), min_size=1, max_size=3)):
        value = draw(OPTIONS[option])
        work.options += [f"{option}={value}"]


def spoil_out(work: Work, draw: Draw) -> None:
    """Put spoiled files of a study, or anything else, into OUT beforehand."""
    places = ["study.toml", "numerics.toml", "dataset/dataset.toml", "dataset/rows.parquet"]
    places += ["dataset/rejected.parquet", "dataset/pixels/0000.bin", "claims", "x", "dataset"]
    held = st.sampled_from(
        [b"schema = 1\n", b"schema = 'x'\n", b"schema = 9\n", b"PAR1", b"", b"x = [", b"\xff\xfe",
         b'schema = 1\nname = "x"\ntarget = "label"\nclasses = ["a"]\ncontent = "x"\n']
    )  # fmt: skip
    for name in draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        path = work.out / name
        if not path.exists() and not any(above.is_file() for above in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(draw(held | st.binary(max_size=40)))


SPOILED = {
    "csv": spoil_csv,
    "images": spoil_images,
    "folders": spoil_folders,
    "question": spoil_question,
    "options": spoil_options,
    "out": spoil_out,
}
