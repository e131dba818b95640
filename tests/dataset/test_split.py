"""Splits of a dataset: whole units, alike classes, an audit that would show a fault."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import radstart
from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, write_toml
from radstart.core.random import stream
from radstart.dataset import SplitSpec, find_units, split_dataset
from radstart.dataset import dealing as dealing_module
from radstart.dataset.dealing import deal_units, tally
from radstart.dataset.grouping import Keys, group_rows
from radstart.dataset.tables import ROW_SCHEMA


def write(folder, rows, content="abc"):
    """Write what a split reads of a dataset: rows.parquet and dataset.toml."""
    n = len(rows)
    rows = pd.DataFrame({"row": range(n), "image": [f"i{k:04d}.png" for k in range(n)], **rows})
    if "content" not in rows:
        rows["content"] = [f"{k:032x}" for k in range(n)]
    table = pa.Table.from_pandas(rows, preserve_index=False)
    for name in ROW_SCHEMA.names:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(n, ROW_SCHEMA.field(name).type))
    folder.mkdir(exist_ok=True)
    pq.write_table(table, folder / "rows.parquet", row_group_size=97)
    write_toml(folder / "dataset.toml", {"schema": 1, "name": "d", "content": content})
    return folder


@pytest.fixture
def hospital(tmp_path):
    """Return a dataset of 300 patients, 1,200 images, 3 sites, a label and two findings."""
    rng = np.random.default_rng(0)
    patient = np.sort(rng.integers(0, 300, 1200))
    label = np.where(rng.random(1200) < 0.8, patient % 3, rng.integers(0, 4, 1200))
    rows = pd.DataFrame({
        "label": [f"c{k}" if k < 3 or patient[i] % 2 else None for i, k in enumerate(label)],
        "patient": [f"p{k}" for k in patient],
        "exam": [f"e{k // 2}" for k in range(1200)],
        "site": [f"s{k % 3}" for k in patient],
        "sex": [("F", "M", None)[k % 3] for k in patient // 2],
        "age": rng.uniform(20, 80, 300)[patient],
        "target.a": np.where(rng.random(1200) < 0.1, np.nan, (rng.random(1200) < 0.05) * 1.0),
        "target.b": (rng.random(1200) < 0.3) * 1.0,
    })  # fmt: skip
    return write(tmp_path / "hospital", rows)


def together(table, column, value):
    """Return how many values of a column stand in several parts."""
    both = pd.DataFrame({"key": np.asarray(value), "part": table[column]}).dropna()
    return int((both.groupby("key")["part"].nunique() > 1).sum())


def test_parts_keep_patients_whole_and_share_every_label_alike(hospital):
    split = radstart.split(hospital)
    rows, table = pd.read_parquet(hospital / "rows.parquet"), split.rows
    assert table.columns.tolist() == ["row", "image", "unit", "part"]
    assert table["image"].tolist() == rows["image"].tolist()
    assert table["row"].tolist() == list(range(1200))
    assert together(table, "part", rows["patient"]) == 0
    assert table["unit"].tolist() == rows["patient"].tolist()
    share = {"train": 0.7, "validation": 0.15, "test": 0.15}
    for column in ("label", "target.a", "target.b"):
        for value, n in rows[column].value_counts().items():
            counts = table["part"][rows[column] == value].value_counts()
            for part in share:
                assert counts[part] == pytest.approx(share[part] * n, abs=max(4, 0.05 * n))
    assert table["part"].value_counts()["train"] == pytest.approx(840, abs=12)


def test_the_audit_says_what_the_table_holds(hospital):
    split = radstart.split(hospital, folds=4, repeats=2, name="cv")
    rows, table, audit = pd.read_parquet(hospital / "rows.parquet"), split.rows, split.audit
    assert table.columns.tolist() == ["row", "image", "unit", "fold_1", "fold_2"]
    assert (table["fold_1"] != table["fold_2"]).mean() > 0.5
    for part in audit["part"]:
        of_part = table[f"fold_{part['repeat']}"] == int(part["name"])
        assert part["images"] == of_part.sum()
        assert part["units"] == rows["patient"][of_part].nunique()
        for entry in part["classes"]:
            values = rows[entry["column"]]
            values = values if entry["column"] == "label" else values.map("{:g}".format)
            mine = of_part & (values == entry["class"])
            assert entry["images"] == mine.sum()
            assert entry["units"] == rows["patient"][mine].nunique()
    assert len(audit["part"]) == 8
    assert len(audit["part"][0]["classes"]) == 4 + 2 + 2
    several = audit["in_several_parts"]
    exams = max(together(table, f"fold_{k}", rows["exam"]) for k in (1, 2))
    assert several.pop("exams") == exams > 0  # of two patients, by their numbers
    assert set(several.values()) == {0}
    unit = audit["unit"]
    assert (unit["kind"], unit["images"]) == ("patient", 1200)
    assert unit["units"] == rows["patient"].nunique()
    assert unit["largest"] == rows["patient"].value_counts().max()
    assert audit["command"] == "radstart split DATASET --name cv --folds 4 --repeats 2"


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(hospital):
    first = radstart.split(hospital, seed=3, name="a")
    bytes_, text = first.path.read_bytes(), first.path.with_suffix(".toml").read_text()
    again = radstart.split(hospital, seed=3, name="a")
    assert again.path.read_bytes() == bytes_
    assert again.path.with_suffix(".toml").read_text() == text
    assert radstart.split(hospital, seed=4, name="b").path.read_bytes() != bytes_
    opened = radstart.open_split(hospital, "a")
    assert opened.audit == first.audit
    with pytest.raises(RadstartError, match="did you mean"):
        radstart.open_split(hospital, "aa")


def test_another_split_of_that_name_is_not_overwritten(hospital):
    made = radstart.split(hospital)
    before = made.path.read_bytes()
    with pytest.raises(RadstartError, match="another split of that name"):
        radstart.split(hospital, seed=1)
    write_toml(hospital / "dataset.toml", {"schema": 1, "name": "d", "content": "other"})
    with pytest.raises(RadstartError, match="another split of that name"):
        radstart.split(hospital)
    assert made.path.read_bytes() == before


def test_a_column_of_sites_stays_on_one_side(hospital):
    split = radstart.split(hospital, group_column="site")
    rows, table = pd.read_parquet(hospital / "rows.parquet"), split.rows
    assert together(table, "part", rows["site"]) == together(table, "part", rows["patient"]) == 0
    assert set(table["unit"]) == {"site s0", "site s1", "site s2"}
    assert set(table["part"]) == {"train", "validation", "test"}
    assert any("largest unit" in note for note in split.audit["notes"])
    with pytest.raises(RadstartError, match=r"fewer units that keep each 'site'.*3 units, 5"):
        radstart.split(hospital, group_column="site", folds=5, name="x")
    with pytest.raises(RadstartError, match="did you mean site"):
        radstart.split(hospital, group_column="sites", name="x")
    with pytest.raises(RadstartError, match="empty"):
        radstart.split(hospital, group_column="fold", name="x")


@pytest.mark.parametrize("unit", ["exam", "series", "image"])
def test_a_known_patient_cannot_be_left_unused(hospital, unit):
    with pytest.raises(RadstartError, match=r"1200 rows have a known patient.*unused"):
        radstart.split(hospital, unit=unit)
    assert not (hospital / "splits").exists()


def test_a_unit_that_rows_lack_is_refused(tmp_path):
    rows = pd.DataFrame({"label": ["a", "b"] * 20, "patient": ["p1", None, "", "p3"] * 10})
    with pytest.raises(RadstartError, match="20 of 40 rows have no known patient"):
        radstart.split(write(tmp_path / "d", rows), unit="patient")
    split = radstart.split(tmp_path / "d")
    assert split.audit["unit"]["kind"] == "mixed"
    assert "patient 20" in split.audit["unit"]["why"]
    assert any("Patients unknown" in note for note in split.audit["notes"])
    near = pd.DataFrame({"label": ["a", "b"] * 20, "near": [k // 2 for k in range(40)]})
    with pytest.raises(RadstartError, match="known near-duplicate group"):
        radstart.split(write(tmp_path / "near", near), unit="image")


def test_series_volumes_and_near_duplicates_stay_together_without_patients(tmp_path):
    n = 240
    rows = pd.DataFrame({"label": ["a", "b", "c"] * 80})
    rows["series"] = [f"s{k // 4}" if k < 80 else None for k in range(n)]
    rows["volume"] = [k // 5 if 80 <= k < 160 else -1 for k in range(n)]
    rows["near"] = [k // 3 if k >= 160 else -1 for k in range(n)]
    split = radstart.split(write(tmp_path / "d", rows))
    for column in ("series", "volume", "near"):
        known = rows[column].where(rows[column] != -1)
        assert together(split.rows, "part", known) == 0
        assert rows[column].nunique() > 10
    units = split.rows["unit"]
    assert units[0] == "series s0"
    assert units[80] == "series volume 16"
    assert units[161] == units[160] == "image i0160.png"
    assert split.audit["unit"]["kind"] == "mixed"


def test_identical_pictures_join_patients_and_alike_ones_do_not(tmp_path):
    n = 400
    rows = pd.DataFrame({"label": ["a", "b"] * 200, "patient": [f"p{k // 2}" for k in range(n)]})
    rows["content"] = [f"{k - k % 10:032x}" if k % 10 in (0, 9) else f"{k:032x}" for k in range(n)]
    rows["near"] = [k // 10 for k in range(n)]
    split = radstart.split(write(tmp_path / "d", rows))
    several = split.audit["in_several_parts"]
    assert together(split.rows, "part", rows["content"]) == several["identical_pictures"] == 0
    assert together(split.rows, "part", rows["near"]) == several["near_duplicate_groups"] > 5
    assert any("near-duplicates stand in several" in note for note in split.audit["notes"])
    assert split.rows["unit"][9] == split.rows["unit"][0] == "p0"
    assert split.audit["unit"]["rows_that_have"]["identical_pictures"] == 80


def test_fingerprints_of_any_length_are_compared_in_full(tmp_path):
    rows = pd.DataFrame({"label": ["a", "b"] * 20})
    rows["content"] = ["c1", "c10", *(f"c{k}" for k in range(100, 136)), "c1", None]
    split = radstart.split(write(tmp_path / "d", rows))
    assert split.audit["unit"]["rows_that_have"]["identical_pictures"] == 2
    assert split.rows["unit"][38] == split.rows["unit"][0]
    assert split.audit["unit"]["units"] == 39


def test_a_small_budget_begins_with_a_unit_of_every_class(tmp_path):
    rows = pd.DataFrame({"patient": [f"p{k}" for k in range(400)]})
    rows["label"] = [f"rare {k}" if k < 6 else "common" for k in (np.arange(400) // 8)]
    split = radstart.split(write(tmp_path / "d", rows), budgets=[0.05])
    table = split.rows.assign(label=rows["label"])
    for part, n in (("train", 14), ("validation", 3)):
        marked = table[(table["part"] == part) & table["budget_0.05"]]
        assert len(marked) == n
    assert table[(table["part"] == "train") & table["budget_0.05"]]["label"].nunique() == 7


def test_rows_that_are_not_kept_have_no_part(tmp_path):
    rows = pd.DataFrame({"label": ["a", "b"] * 100, "patient": [f"p{k // 2}" for k in range(200)]})
    rows["keep"] = [k % 10 != 0 for k in range(200)]
    split = radstart.split(write(tmp_path / "d", rows), budgets=[0.5])
    assert split.rows["part"].isna().tolist() == (~rows["keep"]).tolist()
    assert split.rows["budget_0.5"].isna().tolist() == (~rows["keep"]).tolist()
    assert split.audit["unit"]["not_kept"] == 20
    assert sum(part["images"] for part in split.audit["part"]) == 180


@pytest.mark.parametrize("folds", [0, 5])
def test_budgets_are_nested_units_and_have_every_class(hospital, folds):
    split = radstart.split(hospital, budgets=[0.5, 0.1, 0.25], folds=folds, stratify=["label"])
    rows, table = pd.read_parquet(hospital / "rows.parquet"), split.rows
    small, middle, large = (table[f"budget_{b}"] for b in ("0.1", "0.25", "0.5"))
    assert (small <= middle).all()
    assert (middle <= large).all()
    trained = np.ones(1200, bool) if folds else (table["part"] != "test").to_numpy()
    for budget, marked in ((0.1, small), (0.25, middle), (0.5, large)):
        assert together(table.assign(m=marked), "m", rows["patient"]) == 0
        share = rows["patient"][trained & marked].nunique() / rows["patient"][trained].nunique()
        assert share == pytest.approx(budget, abs=0.02)
        assert rows["label"][trained & marked].nunique() == 4
        entry = next(e for e in split.audit["budget"] if e["budget"] == budget)
        assert entry["images"] == (trained & marked).sum()
        assert entry["units"] == rows["patient"][trained & marked].nunique()
    assert folds or small[~trained].all()


def test_ages_are_shared_out_by_quantiles_and_unknown_names_are_refused(hospital):
    split = radstart.split(hospital, stratify=["age", "sex", "label"], shares=[0.5, 0.5])
    rows, table = pd.read_parquet(hospital / "rows.parquet"), split.rows
    assert set(table["part"]) == {"train", "test"}
    bands = [c for c in split.audit["part"][0]["classes"] if c["column"] == "age"]
    assert len(bands) == 5
    assert bands[0]["class"].startswith("below")
    means = rows["age"].groupby(table["part"]).mean()
    assert abs(means["train"] - means["test"]) < 1.5
    with pytest.raises(RadstartError, match="did you mean age"):
        radstart.split(hospital, stratify=["agee"], name="x")


OUT_OF_RANGE = [
    ({"shares": (0.5,)}, "--shares"),
    ({"shares": (0.5, 0, 0.5)}, "--shares"),
    ({"shares": (0.5, float("nan"), 0.5)}, "--shares"),
    ({"folds": 1}, "--folds"),
    ({"folds": -1}, "--folds"),
    ({"repeats": 0}, "--repeats"),
    ({"budgets": (0.5, 0.5)}, "--budgets"),
    ({"budgets": (1.0,)}, "--budgets"),
    ({"name": "../x"}, "--name"),
    ({"name": ""}, "--name"),
    ({"unit": "patients"}, "did you mean patient"),
    ({"seed": -1}, "--seed"),
]


@pytest.mark.parametrize(("given_", "said"), OUT_OF_RANGE)
def test_out_of_range_is_one_line(hospital, given_, said):
    with pytest.raises(RadstartError, match=said):
        split_dataset(hospital, SplitSpec(**given_))
    assert not (hospital / "splits").exists()


def test_no_dataset_a_newer_one_and_a_broken_table_are_one_line(tmp_path):
    with pytest.raises(RadstartError, match="not a dataset folder"):
        radstart.split(tmp_path)
    write_toml(tmp_path / "dataset.toml", {"schema": 99, "name": "d", "content": "c"})
    with pytest.raises(RadstartError, match="newer radstart"):
        radstart.split(tmp_path)
    write_toml(tmp_path / "dataset.toml", {"schema": 1, "name": "d", "content": "c"})
    with pytest.raises(RadstartError, match="cannot read the table"):
        radstart.split(tmp_path)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(RadstartError, match="cannot read the table"):
        radstart.split(tmp_path)
    pq.write_table(pa.table({"row": [0]}), tmp_path / "rows.parquet")
    with pytest.raises(RadstartError, match=r"columns are missing.*image"):
        radstart.split(tmp_path)


def test_damaged_columns_are_one_line_and_leave_nothing(hospital):
    """Bytes of every column chunk are changed: the names of images are read last, while writing."""
    path = hospital / "rows.parquet"
    whole = path.read_bytes()
    group = pq.ParquetFile(path).metadata.row_group(5)
    damaged = 0
    for k in range(group.num_columns):
        chunk = group.column(k)
        if chunk.path_in_schema not in ("row", "image", "patient", "label", "content", "exam"):
            continue
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        bytes_ = bytearray(whole)
        bytes_[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
        path.write_bytes(bytes_)
        with pytest.raises(RadstartError, match="cannot read the table"):
            radstart.split(hospital)
        damaged += 1
        assert not any((hospital / "splits").glob("*"))
    assert damaged == 6


def test_too_few_units(tmp_path):
    rows = pd.DataFrame({"label": ["a"] * 9, "patient": ["p", "q", "q"] * 3})
    with pytest.raises(RadstartError, match="2 units, 3 parts"):
        radstart.split(write(tmp_path / "d", rows))
    rows = pd.DataFrame({"label": ["a"] * 8 + ["b"], "patient": [f"p{k}" for k in range(9)]})
    split = radstart.split(write(tmp_path / "e", rows))
    assert any(note.endswith("too few units: label b.") for note in split.audit["notes"])


def test_the_command_line_makes_what_python_makes(hospital, cli):
    words = ("--folds", 3, "--seed", 5, "--stratify", "label,sex", "--budgets", "0.2, 0.4")
    code, out, err = cli("split", hospital, "--name", "a", *words)
    assert (code, err) == (0, "")
    assert "1200 images of" in out
    assert "fold 3:" in out
    radstart.split(
        hospital, name="b", folds=3, seed=5, stratify=["label", "sex"], budgets=[0.2, 0.4]
    )
    a, b = (radstart.open_split(hospital, name) for name in "ab")
    assert a.path.read_bytes() == b.path.read_bytes()
    assert a.audit["part"] == b.audit["part"]
    for wrong in ("0.7;0.3", "x"):
        code, out, err = cli("split", hospital, "--shares", wrong)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1


few = st.sampled_from([None, None, None, "1", "2", "3", "10"])


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(few, few, few, few, few), min_size=1, max_size=25))
def test_groups_are_those_of_the_rules_one_row_at_a_time(cells):
    """The arithmetic on codes, against rules applied until nothing changes."""
    code = {None: -1, "1": 0, "2": 1, "3": 2, "10": 3}
    patient, exam, series, near, picture = (
        np.array([code[cell[k]] for cell in cells], np.int64) for k in range(5)
    )
    n = len(cells)
    found = group_rows(Keys(patient, exam, series, near, picture, np.full(n, -1)))

    def only(group, value, row):
        owners = {value[k] for k in range(n) if group[k] == group[row] >= 0 and value[k] >= 0}
        return owners.pop() if len(owners) == 1 else -1

    e = [exam[k] if exam[k] >= 0 else only(series, exam, k) for k in range(n)]
    p = [patient[k] if patient[k] >= 0 else only(e, patient, k) for k in range(n)]
    p = [p[k] if p[k] >= 0 else only(series, p, k) for k in range(n)]
    keys = []
    for k in range(n):
        for name, value in (("p", p[k]), ("e", e[k]), ("s", series[k]), ("n", near[k])):
            if value >= 0:
                keys.append((name, value))
                break
        else:
            keys.append(("i", k))
    owner = {}
    for g in {value for value in near if value >= 0}:
        known = {keys[k] for k in range(n) if near[k] == g and keys[k][0] in "pe"}
        if len(known) == 1:
            owner["n", g] = known.pop()
    joined = [{key, ("x", picture[k])} if picture[k] >= 0 else {key} for k, key in enumerate(keys)]
    joined += [
        {key, ("n", near[k])} for k, key in enumerate(keys) if key[0] == "s" and near[k] >= 0
    ]
    joined += [{key, other} for key, other in owner.items()]
    changed = True
    while changed:
        changed = False
        for a in range(len(joined)):
            for b in range(a):
                if joined[a] & joined[b] and joined[a] != joined[b]:
                    joined[a] = joined[b] = joined[a] | joined[b]
                    changed = True
    for a in range(n):
        for b in range(n):
            assert (found.unit[a] == found.unit[b]) == bool(joined[a] & joined[b])


def test_units_of_a_split_are_those_of_a_study(hospital):
    rows = pd.read_parquet(hospital / "rows.parquet")
    rows["patient"] = rows["patient"].where(rows.index % 7 > 0)
    rows["content"] = [f"{k // 2:032x}" if k % 50 < 2 else f"9{k:031x}" for k in range(len(rows))]
    write(hospital, rows.drop(columns=["row", "image"]))
    units = find_units(pd.read_parquet(hospital / "rows.parquet"))
    split = radstart.split(hospital)
    pairs = set(zip(split.rows["unit"], units.unit, strict=True))
    assert len(pairs) == len(set(units.unit)) == split.audit["unit"]["units"]
    assert {a for a, _ in pairs} == set(units.unit)
    assert split.audit["unit"]["kind"] == units.kind


@pytest.mark.parametrize(("one_by_one", "most"), [(10_000, 8), (300, 40)])
def test_dealing_shares_rare_and_frequent_classes_alike(one_by_one, most, monkeypatch):
    """Also where the bulk is dealt in turns."""
    monkeypatch.setattr(dealing_module, "_ONE_BY_ONE", one_by_one)
    rng = np.random.default_rng(0)
    unit = np.sort(rng.integers(0, 6000, 20_000))
    main = np.where(rng.random(20_000) < 0.8, (unit * 7) % 10, rng.integers(0, 10, 20_000))
    findings = [np.where(rng.random(20_000) < 0.3, -1, rng.random(20_000) < p) for p in (0.01, 0.2)]
    held = tally(unit, 6000, [main, *(f.astype(np.int64) for f in findings)])
    shares = np.array([0.7, 0.2, 0.1])
    part = deal_units(held, shares, stream(0, "x"))
    images = held.by_part(part, 3)
    assert images.sum() == held.count.sum()
    wanted = shares[:, None] * images.sum(axis=0)
    assert np.abs(images - wanted).max() <= most
    drawn = np.random.default_rng(1).choice(3, 6000, p=shares)
    assert np.abs(held.by_part(drawn, 3) - wanted).max() > 80


def test_folds_are_as_even_as_those_of_scikit_learn():
    """One label, units of many sizes: the largest deviation of a class from its fifth, summed."""
    from sklearn.model_selection import StratifiedGroupKFold

    ours = theirs = 0.0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        n_units = int(rng.integers(100, 300))
        unit = np.repeat(
            np.arange(n_units), 1 + rng.geometric(rng.choice([0.1, 0.3, 0.8]), n_units)
        )
        own = rng.choice(4, n_units, p=rng.dirichlet(np.full(4, 2.0)))[unit]
        label = np.where(rng.random(len(unit)) < 0.7, own, rng.integers(0, 4, len(unit)))
        held = tally(unit, n_units, [label])
        mine = deal_units(held, np.ones(5), stream(0, "x"))
        other = np.zeros(n_units, int)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
        for k, (_, test) in enumerate(folds.split(np.zeros(len(unit)), label, unit)):
            other[unit[test]] = k
        images, others = held.by_part(mine, 5), held.by_part(other, 5)
        ours += np.abs(images - images.sum(axis=0) / 5).max()
        theirs += np.abs(others - others.sum(axis=0) / 5).max()
    assert ours <= theirs


@pytest.mark.parametrize("one_by_one", [10_000, 50])
def test_a_large_unit_is_made_up_for(one_by_one, monkeypatch):
    """One site with 60 % of all images goes to training; the others fill the rest."""
    monkeypatch.setattr(dealing_module, "_ONE_BY_ONE", one_by_one)
    sizes = np.array([6000, *[1] * 4000])
    unit = np.repeat(np.arange(4001), sizes)
    held = tally(unit, 4001, [np.arange(10_000) % 2])
    images = held.by_part(deal_units(held, np.array([0.7, 0.15, 0.15]), stream(0, "x")), 3)[:, -1]
    assert images.tolist() == pytest.approx([7000, 1500, 1500], abs=3)


def test_nothing_identifying_but_names_of_units_is_written(hospital):
    audit = (radstart.split(hospital).path.with_suffix(".toml")).read_text()
    assert "p17" not in audit
    assert str(hospital) not in audit
    assert read_toml(hospital / "splits" / "split.toml")["schema"] == 1
