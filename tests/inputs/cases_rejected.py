"""Rows that are rejected: they are listed with line, reason and remedy, and the study goes on."""

import io
import os
import struct
import zlib

import numpy as np
from input_case import IMAGES, Case
from PIL import Image

NEXT = IMAGES + 2  # the line of the first row that a case adds
SMALL = np.random.default_rng(4).integers(0, 256, (40, 40), dtype=np.uint8)
FRAMES = [Image.fromarray(SMALL), Image.fromarray(255 - SMALL)]


def png_that_claims(side):
    """Return a PNG of a few bytes whose header says that it is a square of this side."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def half(kind):
    """Return the first half of an image file."""
    whole = io.BytesIO()
    FRAMES[0].save(whole, kind)
    return whole.getvalue()[: len(whole.getvalue()) // 2]


def file_case(key, what, content, said, remedy="fetch it again", name=None):
    """Return a case of one more file with these bytes."""
    name = name or f"{key}.png"

    def make(work):
        (work.data / name).write_bytes(content)
        work.row(name)

    return Case(key, what, make, said, remedy, lines=[NEXT])


def saved_case(key, what, image, said, remedy, name=None, **options):
    """Return a case of one more image, saved by Pillow."""
    name = name or f"{key}.png"

    def make(work):
        work.row(work.picture(name, image, **options))

    return Case(key, what, make, said, remedy, lines=[NEXT])


def cell_case(key, what, cell, said, remedy):
    """Return a case of one more row with this cell for its image."""
    return Case(key, what, lambda work: work.row(cell), said, remedy, lines=[NEXT])


def animated(suffix):
    return saved_case(
        f"animated-{suffix}", f"animated {suffix.upper()}",
        FRAMES[0], "animated or of many pages (2 frames)", "save the frame that counts",
        f"moving.{suffix}", save_all=True, append_images=FRAMES[1:],
    )  # fmt: skip


FILES = [
    cell_case("missing", "a missing file", "no.png", "no such file", "correct the name"),
    file_case("empty", "an empty file", b"", "an empty file (0 bytes)"),
    file_case("cut-png", "a truncated PNG", half("PNG"), "cut off or broken"),
    file_case("cut-jpg", "a truncated JPEG", half("JPEG"), "cut off or broken", name="cut.jpg"),
    file_case("broken-png", "a PNG with a few of its pixels", png_that_claims(50), "broken"),
    file_case("text", "a text file called .png", b"hello", "text, no image", "leave it out"),
    file_case("page", "a web page instead of the image", b"<html>404</html>", "text, no image",
              "leave it out", "page.jpg"),
    file_case("dicom", "a DICOM file of zeros", b"\0" * 128 + b"DICM" + b"\0" * 64,
              "not a DICOM file", "save it as DICOM", "image.dcm"),
    saved_case("ppm", "an image in another format", FRAMES[0], "not an image", "save it as PNG",
               "x.ppm"),
    *(animated(suffix) for suffix in ("gif", "png", "webp")),
    file_case("bomb", "a picture that claims 60,000 x 60,000 pixels", png_that_claims(60_000),
              "claims 3600000000 pixels, more than 100 million", "save it smaller"),
    file_case("large-claim", "a picture that claims 11,000 x 11,000 pixels",
              png_that_claims(11_000), "claims 11000 x 11000 pixels", "save it smaller"),
    saved_case("floats", "floating-point pixels", Image.fromarray(SMALL.astype(np.float32)),
               "floating-point pixels", "8 or 16 bits", "floats.tif"),
    saved_case("wide", "whole numbers beyond 16 bits",
               Image.fromarray(SMALL.astype(np.int32) * 1000),
               "whole numbers outside of 0 to 65535", "8 or 16 bits", "wide.tif"),
    Case("folder", "a folder called x.png",
         lambda work: ((work.data / "x.png").mkdir(), work.row("x.png")), "not a file",
         "name the image inside it", lines=[NEXT]),
]  # fmt: skip


def linked_out(work):
    Image.fromarray(SMALL).save(work.place / "secret.png")
    os.symlink(work.place / "secret.png", work.data / "link.png")
    work.row("link.png")


def through_a_folder(work):
    (work.place / "elsewhere").mkdir()
    Image.fromarray(SMALL).save(work.place / "elsewhere" / "x.png")
    os.symlink(work.place / "elsewhere", work.data / "sub")
    work.row("sub/x.png")


def absolute(work):
    Image.fromarray(SMALL).save(work.place / "secret.png")
    work.row(str(work.place / "secret.png"))


def loop(work):
    os.symlink("loop.png", work.data / "loop.png")
    work.row("loop.png")


RELATIVE = "write it relative to DATA"
PATHS = [
    cell_case("dots", "..", "../secret.png", "a path with '..'", RELATIVE),
    cell_case("dots-inside", ".. that comes back into DATA", "sub/../i00.png", "a path with '..'",
              RELATIVE),
    Case("absolute", "an absolute path", absolute, "an absolute path", RELATIVE, lines=[NEXT]),
    cell_case("drive", "an absolute path of Windows", "C:\\x.png", "an absolute path", RELATIVE),
    cell_case("share", "a network path of Windows", "\\\\host\\x.png", "an absolute path",
              RELATIVE),
    Case("link", "a link out of DATA", linked_out, "a link out of DATA", "copy it into DATA",
         lines=[NEXT]),
    Case("folder-link", "a linked folder out of DATA", through_a_folder, "a link out of DATA",
         "copy it into DATA", lines=[NEXT]),
    Case("link-loop", "a link to itself", loop, "a link that leads nowhere", "mend the link",
         lines=[NEXT]),
    cell_case("no-name", "no name", " ", "no image is named", "fill the cell in"),
    cell_case("below-a-file", "a path below a file", "i00.png/x", "no such file", "correct"),
    cell_case("long-name", "a name of 600 characters", "a" * 600, "not a path", "correct"),
]  # fmt: skip


def extra_cell(work):
    work.labels = work.rendered().encode() + b"i00.png,a,p00,more\n"


def repeated(work):
    work.rows.append(work.rows[1])


def other_label(work):
    work.row("i00.png", "b", "p00")


def unlabelled_repeat(work):
    work.row("i00.png", "", "p00")


def same_picture(work):
    pixels = np.asarray(Image.open(work.data / "i00.png"))
    work.row(work.picture("copy.png", np.repeat(pixels[..., None], 3, axis=2)), "b")


ROWS = [
    Case("extra-cell", "more cells than the header", extra_cell, "4 cells where the header has 3",
         "quote what holds the delimiter", lines=[NEXT]),
    Case("repeated", "a row that stands there twice", repeated,
         "the image stands in line 2 already", "take one of the two out", lines=[NEXT]),
    Case("repeated-unlabelled", "a row that stands there again without its label",
         unlabelled_repeat, "the image stands in line 2 already", "take one of the two out",
         lines=[NEXT]),
    Case("two-labels", "one file under two labels", other_label,
         "one image under two labels: line 2 (a) and line 42 (b)", "correct the wrong one",
         lines=[2, NEXT]),
    Case("two-labels-picture", "one picture in two files under two labels", same_picture,
         "the same picture under two labels: line 2 (a) and line 42 (b)", "correct the wrong one",
         lines=[2, NEXT]),
]  # fmt: skip


def folders(work):
    work.folders = True
    for k in range(40):
        work.picture(f"{'ab'[k % 2]}/{k:02d}.png")


def folder_link(work):
    folders(work)
    (work.place / "elsewhere").mkdir()
    os.symlink(work.place / "elsewhere", work.data / "c")


def file_link(work):
    folders(work)
    Image.fromarray(SMALL).save(work.place / "secret.png")
    os.symlink(work.place / "secret.png", work.data / "a" / "link.png")


def at_the_root(work):
    folders(work)
    work.picture("root.png")


def not_utf8(work):
    folders(work)
    os.link(work.data / "a/00.png", os.fsencode(work.data / "a") + b"/\xff.png")


FOLDERS = [
    Case("folders-link", "class folders: a linked folder", folder_link,
         "a linked folder is not entered", "copy it into DATA", lines=[0], empty=True),
    Case("folders-file-link", "class folders: a link out of DATA", file_link,
         "a link out of DATA", "copy it into DATA", lines=[0], empty=True),
    Case("folders-root", "class folders: an image beside them", at_the_root,
         "lies in no class folder", "move it into one", lines=[0], empty=True),
    Case("folders-not-utf8", "class folders: a name that is not UTF-8", not_utf8,
         "a name that is not UTF-8", "rename it", lines=[0], empty=True),
]  # fmt: skip

REJECTED = {"Files": FILES, "Paths": PATHS, "Rows": ROWS, "Class folders": FOLDERS}
