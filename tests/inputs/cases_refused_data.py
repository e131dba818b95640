"""Sources and parts that are refused: one line, exit code 2, nothing half-written."""

import numpy as np
from input_case import IMAGES, Case
from PIL import Image

LABELS = "check --labels"


def bytes_case(key, what, labels, said, remedy):
    """Return a case of a labels.csv of these bytes."""

    def make(work):
        work.labels = labels

    return Case(key, what, make, said, remedy)


def option_case(key, what, said, remedy, *options):
    """Return a case of options that do not suit a source that is well."""
    return Case(key, what, lambda work: work.options.extend(options), said, remedy)


def header_case(key, what, header, said, remedy, *options):
    """Return a case of a CSV with another header."""

    def make(work):
        work.rows[0] = header
        work.options.extend(options)

    return Case(key, what, make, said, remedy)


def label_case(key, what, value, said, remedy):
    """Return a case of other labels: a function of the row's number."""
    return Case(key, what, lambda work: work.relabel(1, value), said, remedy)


def one_row(work):
    work.rows = work.rows[:2]


def labels_are_a_folder(work):
    (work.place / "folder").mkdir()
    work.options += ["--labels", work.place / "folder"]


TABLES = [
    bytes_case("csv-empty", "a CSV of 0 bytes", b"", "is empty (got 0 bytes)", LABELS),
    bytes_case("csv-blank", "a CSV of blank lines", b"\n \n", "is empty (got 3 bytes)", LABELS),
    bytes_case("csv-bom", "a CSV of a byte order mark alone", b"\xef\xbb\xbf", "has no rows",
               LABELS),
    bytes_case("csv-header", "a CSV with a header alone", b"image,label\n", "has no rows",
               LABELS),
    bytes_case("csv-binary", "a spreadsheet instead of a CSV", b"PK\x03\x04\0\0", "is not text",
               "export it as CSV"),
    bytes_case("csv-utf-16", "UTF-16 that breaks off", b"\xff\xfea", "is not text",
               "export it as CSV in UTF-8"),
    bytes_case("csv-quote", "a quote that is not closed", b'image,label\na,"x\nb,y\n',
               "line 2: cannot be read as CSV", "mend the quotes there"),
    bytes_case("csv-field", "a cell of 200,000 characters",
               b"image,label\na," + b"x" * 200_000 + b"\n", "line 2: cannot be read as CSV",
               "mend the quotes there"),
    Case("csv-absent", "labels that are not there",
         lambda work: work.options.extend(["--labels", work.place / "nothing.csv"]),
         "nothing.csv: cannot read the labels", LABELS),
    Case("csv-folder", "labels that are a folder", labels_are_a_folder, "cannot read the labels",
         LABELS),
    Case("one-row", "one row", one_row, "the label column 'label' has one value",
         "name another with --label-column"),
]  # fmt: skip

COLUMNS = [
    header_case("no-image-column", "no image column", ["file", "label", "patient_id"],
                "has no image column 'image'", "name one with --image-column"),
    header_case("no-label-column", "no label column", ["image", "grade", "patient_id"],
                "has no label column 'label'", "name one with --label-column"),
    header_case("label-misspelt", "a label column of nearly this name",
                ["image", "lable", "patient_id"], "has no label column 'label'",
                "did you mean lable?"),
    option_case("column-unknown", "a named column that is not there", "has no fold column 'folds'",
                "name one with --fold-column", "--fold-column", "folds"),
    header_case("column-twice", "a column that stands there twice", ["image", "label", "label"],
                "a column stands twice in the header", "rename one of the two"),
    header_case("label-is-image", "one column for image and label",
                ["image", "label", "patient_id"], "image and label are the same column",
                "name another with --label-column", "--label-column", "image"),
    option_case("label-off", "the label column switched off", "cannot be switched off",
                "name a column", "--label-column", ""),
    option_case("patient-off", "the patient column switched off",
                "column 'patient_id' groups images and cannot be switched off",
                "leave the option out", "--patient-column", ""),
    header_case("exam-off", "the exam column switched off", ["image", "label", "exam_id"],
                "column 'exam_id' groups images and cannot be switched off",
                "leave the option out", "--exam-column", ""),
    label_case("constant", "one label for all rows", lambda k: "a",
               "the label column 'label' has one value", "name another with --label-column"),
    label_case("no-labels", "no labels at all", lambda k: "NaN",
               "the label column 'label' has no values", "name another with --label-column"),
    option_case("positive", "a positive class that is none",
                "--positive: is none of two classes (got 'c')",
                "known: a, b", "--positive", "c"),
]  # fmt: skip


def two_units(work):
    work.relabel(2, lambda k: f"p{k % 2}")


def two_units_of_a_class(work):
    work.relabel(1, lambda k: "b" if k < 4 else "a")


def class_only_in_training(work):
    work.relabel(1, lambda k: "ab"[k // 2 % 2])
    work.add_column("split", lambda k: ["train", "test"][k % 4 == 0])


def split_value(work, value, at):
    work.add_column("split", lambda k: value if k == at else ["train", "test"][k > 30])


def folds(work, n, *options):
    work.relabel(1, lambda k: "ab"[k // 2 % 2])
    work.add_column("fold", lambda k: str(k // 4 % n + 1))
    work.options.extend(options)


def small_budget(work):
    work.relabel(1, lambda k: "ab"[k // 2 % 2])
    work.options += ["--budgets", "0.01"]


def leak(work):
    work.relabel(2, lambda k: f"p{k}" if k else "p30")
    work.add_column("split", lambda k: "test" if k > 29 else "train")


def leak_without_patients(work):
    work.rows = [row[:2] for row in work.rows]
    work.add_column("split", lambda k: "test" if k > 30 else "train")
    pixels = np.asarray(Image.open(work.data / "i00.png"))
    work.picture("i38.png", pixels)


READ_ONCE = ("dataset",)
PARTS = [
    Case("units", "fewer units than parts", two_units, "fewer units than parts",
         "add data", leaves=READ_ONCE),
    Case("class-drawn", "a class of two units", two_units_of_a_class, "class 'b' is missing",
         "a class needs units in all 3 parts", leaves=READ_ONCE),
    Case("class-split", "a class that the split column has in training alone",
         class_only_in_training, "class 'b' is missing from the test part",
         '--split-column "" draws the parts', leaves=READ_ONCE),
    Case("split-value", "a value of the split column that means no part",
         lambda work: split_value(work, "tset", 3), "line 5, i03.png", "did you mean test",
         leaves=READ_ONCE),
    Case("split-empty", "an empty cell in the split column",
         lambda work: split_value(work, "", 3), "an empty cell", "an empty label leaves a row out",
         leaves=READ_ONCE),
    Case("no-test", "a split column without a test part",
         lambda work: work.add_column("split", lambda k: "train"), "gives no test part",
         "to have the parts drawn", leaves=READ_ONCE),
    Case("one-fold", "one fold", lambda work: folds(work, 1), "one fold makes no parts",
         "to have the parts drawn", leaves=READ_ONCE),
    Case("no-such-fold", "a fold that is not there",
         lambda work: folds(work, 5, "--test-fold", "6"),
         "--test-fold: no such fold (got '6')", "known: 1, 2, 3, 4, 5", leaves=READ_ONCE),
    Case("same-fold", "one fold for test and validation",
         lambda work: folds(work, 5, "--test-fold", "2", "--validation-fold", "2"),
         "test and validation are the same fold", "name two folds", leaves=READ_ONCE),
    Case("leakage", "a patient in two parts", leak, "1 patient number stands in more than one part",
         "choose --leakage=regroup", leaves=READ_ONCE),
    Case("leakage-picture", "one picture in two parts, patients unknown", leak_without_patients,
         "1 identical image stands in more than one part", "choose --leakage=regroup",
         leaves=READ_ONCE),
    Case("budget-small", "a budget too small for a unit of every class", small_budget,
         "budget: is too small", "the smallest that works here is", leaves=READ_ONCE),
]  # fmt: skip


def many_missing(work):
    for k in range(3):
        work.row(f"no{k}.png")


def all_cut(work):
    for k in range(IMAGES):
        path = work.data / f"i{k:02d}.png"
        path.write_bytes(path.read_bytes()[:40])


def nothing(work):
    work.folders = True


def one_folder(work):
    work.folders = True
    for k in range(4):
        work.picture(f"a/{k}.png")


def loose(work):
    work.folders = True
    for k in range(4):
        work.picture(f"{k}.png")
    (work.data / "table.csv").write_text("image,label\n")


def absent(work):
    work.folders = True
    work.data.rmdir()


def a_file(work):
    absent(work)
    work.data.write_text("x")


def named(work, path):
    work.words = ["compare", path, "--out", work.out, "--backbone", "test_resnet"]


def inside(work):
    work.folder = "DATA/OUT"


SOURCES = [
    Case("too-many", "more than 5 % of the rows", many_missing,
         "too many rows are rejected: 3 of 43, 5% is the most", "correct these rows"),
    Case("all-broken", "no image that can be read", all_cut,
         "too many rows are rejected: 40 of 40", "correct these rows"),
    Case("data-absent", "DATA that is not there", absent, "DATA: is not a folder",
         "name the folder of the images", empty=True),
    Case("data-file", "DATA that is a file", a_file, "DATA: is not a folder",
         "name the folder of the images", empty=True),
    Case("data-long", "a path longer than a system takes",
         lambda work: named(work, work.place / ("x" * 300)), "is not a folder",
         "name the folder of the images"),
    Case("data-empty", "an empty DATA", nothing, "DATA: no class folders with images",
         "name a CSV with --labels, or make one folder for each class", empty=True),
    Case("one-class-folder", "one class folder", one_folder, "the images lie in one folder only",
         "make one folder for each class", empty=True),
    Case("no-class-folders", "images without folders beside a CSV", loose,
         "no class folders with images", "--labels table.csv", empty=True),
    Case("folders-columns", "columns without a CSV",
         lambda work: (one_folder(work), work.options.extend(["--label-column", "x"])),
         "--label-column: needs a CSV", "name --labels", empty=True),
    Case("out-inside", "--out inside DATA", inside, "lies inside DATA, which is never written to",
         "choose another --out"),
]  # fmt: skip

REFUSED_DATA = {
    "The CSV": TABLES,
    "Columns and labels": COLUMNS,
    "DATA": SOURCES,
    "Parts and budgets": PARTS,
}
