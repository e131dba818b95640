"""What is read correctly."""

import os
import unicodedata

import numpy as np
from input_case import IMAGES, Case
from PIL import Image

from radstart.dataset import text

GREY = np.random.default_rng(2).integers(0, 256, (6, 9), dtype=np.uint8)
RGB = np.random.default_rng(3).integers(0, 256, (6, 9, 3), dtype=np.uint8)
DEEP = GREY.astype(np.uint16) * 200 + 3
PALETTE = Image.fromarray(RGB).quantize(16)


def stored(dataset, name):
    """Return the pixels that were kept of an image."""
    return dataset.pixels(dataset.rows["image"].tolist().index(name))


def image_case(key, what, pixels, wanted, said, name="", near=0, **options):
    """Return a case of one more image, and the pixels that must be kept of it."""
    name = name or f"{key}.png"

    def check(work, dataset):
        kept = stored(dataset, name)
        assert (kept.shape, kept.dtype) == (wanted.shape, wanted.dtype)
        assert np.abs(kept.astype(int) - wanted.astype(int)).max() <= near

    def make(work):
        work.row(work.picture(name, pixels, **options))

    return Case(key, what, make, said, check=check)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


FLAT = np.full((16, 16, 3), (200, 40, 90), np.uint8)
SMOOTH = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 4
WIDE = np.repeat(np.arange(60, dtype=np.uint8), 20)[None].repeat(30, axis=0)
IMAGE_CASES = [
    image_case("16-bit-png", "16-bit PNG", DEEP, DEEP, "kept with 16 bits"),
    image_case(
        "16-bit-tiff", "16-bit TIFF, most significant byte first",
        Image.frombytes("I;16B", (9, 6), DEEP.astype(">u2").tobytes()), DEEP,
        "kept with 16 bits", "deep.tif",
    ),
    image_case(
        "palette", "palette", PALETTE, np.asarray(PALETTE.convert("RGB")), "its colours"
    ),
    image_case(
        "palette-see-through", "palette with transparency", PALETTE,
        np.asarray(PALETTE.convert("RGB")), "its colours; the transparency is dropped",
        transparency=bytes(range(16)),
    ),
    image_case(
        "cmyk", "CMYK JPEG", Image.fromarray(FLAT).convert("CMYK"), FLAT, "turned into RGB",
        "cmyk.jpg", 5, quality=100,
    ),
    image_case(
        "alpha", "colour with an alpha channel", np.dstack([RGB, GREY]), RGB,
        "its colours; alpha is dropped, what lies under it is kept",
    ),
    image_case(
        "grey-alpha", "grey with an alpha channel",
        Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(255 - GREY)]), GREY,
        "its grey values; alpha is dropped",
    ),
    image_case(
        "one-bit", "1 bit per pixel", GREY > 127, np.where(GREY > 127, 255, 0).astype(np.uint8),
        "0 and 255",
    ),
    image_case(
        "exif", "turned by EXIF", GREY, np.rot90(GREY, -1), "upright", **turned(6)
    ),
    image_case(
        "exif-16-bit", "16 bits and turned by EXIF", DEEP, np.rot90(DEEP, -1), "upright, 16 bits",
        **turned(6),
    ),
    image_case(
        "exif-mirrored", "mirrored by EXIF", RGB, np.fliplr(RGB), "unmirrored", **turned(2)
    ),
    image_case(
        "grey-as-rgb", "grey stored as RGB", np.repeat(GREY[..., None], 3, axis=2), GREY,
        "grey",
    ),
    *(
        image_case(suffix, name, pixels, pixels, "as it is", f"x.{suffix}", near, **options)
        for suffix, name, pixels, near, options in (
            ("jpg", "JPEG", SMOOTH, 3, {"quality": 100}),
            ("bmp", "BMP", RGB, 0, {}),
            ("tif", "TIFF", RGB, 0, {}),
            ("webp", "WebP", RGB, 0, {"lossless": True}),
            ("gif", "GIF of one frame", SMOOTH, 0, {}),
        )
    ),
    image_case(
        "upper-case", "a suffix in capitals", GREY, GREY, "as it is", "sub/folder/X.PNG"
    ),
    Case(
        "large", "larger than 512 pixels",
        lambda work: work.row(work.picture("large.png", WIDE)),
        "shrunk to 512 pixels on the longest side",
        check=lambda work, dataset: np.testing.assert_equal(
            stored(dataset, "large.png").shape, (13, 512)
        ),
    ),
]  # fmt: skip

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))


def name_case(key, what, name, cell=None, said="found"):
    """Return a case of an image of this name, written in the CSV as `cell`."""

    def make(work):
        work.picture(name)
        work.row(name if cell is None else cell)

    def check(work, dataset):
        assert name in text(dataset.rows, "image").tolist()

    return Case(key, what, make, said, check=check)


NAME_CASES = [
    name_case("spaces", "spaces in a name", "two words .png"),
    name_case("spaces-around", "spaces around a name", "x.png", "  x.png "),
    name_case("unicode", "unicode in a name", "ä–日本.png"),
    name_case(
        "unicode-form", "unicode written in its other form", DECOMPOSED, COMPOSED, "found: é is é"
    ),
    name_case("newline", "a line break in a name", "new\nline.png"),
    name_case("delimiters", "commas, semicolons, quotes in a name", 'a;b,"c".png'),
    name_case("backslash", "a folder written with \\", "sub/x.png", "sub\\x.png"),
    name_case("dot", "a name that begins with ./", "x.png", "./x.png"),
]


def table_case(key, what, labels, check=None, said="all rows", **change):
    """Return a case of a CSV whose bytes are `labels(work)`."""

    def make(work):
        work.labels = labels(work)

    def every_row(work, dataset):
        assert len(dataset) == IMAGES
        assert text(dataset.rows, "label").tolist() == [row[1] for row in work.rows[1:]]
        assert text(dataset.rows, "patient").tolist() == [row[2] for row in work.rows[1:]]

    return Case(key, what, make, said, check=check or every_row, **change)


def with_latin_1(work):
    work.relabel(2, lambda k: f"Müller {k // 2}")
    return work.rendered(";", "\r\n").encode("latin-1")


def with_quotes(work):
    work.relabel(1, lambda k: ["fracture, left", 'a "normal" one'][k % 2])
    return work.rendered().encode()


def with_blank_lines(work):
    return work.rendered().replace("\n", "\n\n,,\n").encode()


def with_capitals(work):
    work.rows[0] = [" Image ", "LABEL", "Patient_ID"]
    return work.rendered().encode()


def with_empty_cells(work):
    return work.rendered().replace("\n", ",,\n").encode()


TABLE_CASES = [
    table_case("bom", "UTF-8 with a byte order mark", lambda w: w.rendered().encode("utf-8-sig")),
    table_case("utf-16", "UTF-16", lambda w: w.rendered().encode("utf-16")),
    table_case("semicolons", "semicolons", lambda w: w.rendered(";").encode()),
    table_case("tabs", "tabs", lambda w: w.rendered("\t").encode()),
    table_case("latin-1", "Latin-1 with semicolons and CRLF", with_latin_1),
    table_case("crlf", "CRLF", lambda w: w.rendered(ending="\r\n").encode()),
    table_case("cr", "CR alone", lambda w: w.rendered(ending="\r").encode()),
    table_case("quoted", "quoted commas and quotes in labels", with_quotes),
    table_case("blank-lines", "blank lines", with_blank_lines),
    table_case("no-last-line-end", "no line end at the end", lambda w: w.rendered()[:-1].encode()),
    table_case("capitals", "a header with capitals and spaces", with_capitals),
    table_case("empty-cells", "empty cells beyond the header", with_empty_cells),
]


def named_columns(work):
    work.rows[0] = ["file", "finding", "who"]
    work.options += ["--image-column", "file", "--label-column", "finding"]
    work.options += ["--patient-column", "who"]


def check_columns(work, dataset):
    assert dataset.facts["columns"] == {"image": "file", "label": "finding", "patient": "who"}


def without_labels(work):
    for k, mark in enumerate(("", "NaN", "NA", "n/a", "null", "<NA>", "#N/A", "  ")):
        work.row(work.picture(f"new{k}.png"), mark)


def check_unlabelled(work, dataset):
    assert len(dataset) == IMAGES + 8
    assert (text(dataset.rows, "label") == "").sum() == 8


def twins(work):
    name = work.picture("twin.png", Image.open(work.data / "i00.png"))
    work.row(name, "a", "another patient")


def check_twins(work, dataset):
    names = dataset.rows["image"].tolist()
    content = dataset.rows["content"].tolist()
    assert content[names.index("twin.png")] == content[names.index("i00.png")]


def inside_link(work):
    work.row("link.png")
    os.symlink("real.png", work.data / "link.png")
    work.picture("real.png")


def check_link(work, dataset):
    real = np.asarray(Image.open(work.data / "real.png"))
    np.testing.assert_array_equal(stored(dataset, "link.png"), real)


OTHER_CASES = [
    Case(
        "columns", "columns of other names, with --image-column, ...", named_columns, "all rows",
        check=check_columns,
    ),
    Case("nan", "labels that are empty, NaN, NA, N/A, null", without_labels,
         "the rows count as unlabelled", check=check_unlabelled),
    Case("twins", "one picture in two files of one label", twins,
         "both rows; the two are one unit, kept in one part", check=check_twins),
    Case("link-inside", "a link to an image inside DATA", inside_link, "the image",
         check=check_link),
]  # fmt: skip


def class_folders(work, parts=("",)):
    work.folders = True
    for part in parts:
        for k in range(20):
            work.picture(f"{part}{'ill' if k % 2 else 'normal'}/deeper/{k}.png")


def hidden_files(work):
    class_folders(work)
    (work.data / "ill" / ".hidden.png").write_bytes(b"x")
    (work.data / "normal" / "notes.txt").write_text("x")


def check_folders(work, dataset):
    assert (len(dataset), dataset.target) == (20, "folder")
    assert dataset.classes == ("normal", "ill")
    assert set(dataset.rows["line"]) == {0}


def check_parts(work, dataset):
    found = dataset.rows["split"].value_counts().to_dict()
    assert found == {"Train": 20, "val": 20, "test": 20}


FOLDER_CASES = [
    Case("class-folders", "class folders without a CSV", class_folders,
         "the folders are the labels", check=check_folders, empty=True),
    Case("part-folders", "Train, val, test with class folders in each",
         lambda work: class_folders(work, ("Train/", "val/", "test/")),
         "the folders are labels and parts", check=check_parts, empty=True),
    Case("hidden-files", "hidden files and other files in class folders", hidden_files,
         "passed over", check=check_folders, empty=True),
]  # fmt: skip

READ = {
    "Images": IMAGE_CASES,
    "Names of files": NAME_CASES,
    "CSV": TABLE_CASES,
    "Rows": OTHER_CASES,
    "Class folders": FOLDER_CASES,
}
