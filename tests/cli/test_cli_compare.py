"""The command line: parse, call, print; one line and exit code 2 for what a person can mend."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from conftest import made_once, snapshot
from radstart.cli import app
from radstart.core.files import read_json, read_toml

FLAGS = Path(__file__).with_name("flags.txt")


def commands(group, before=()):
    """Yield (words, command) of every verb."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name), command


VERBS = dict(commands(typer.main.get_command(app)))


def verb_id(words):
    return " ".join(words)


def one_line(err):
    """Return the only line on stderr, which is radstart's."""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("radstart: ")
    return lines[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory, images, weights):
    """Return a small finished study's folder; not to be written to."""
    import radstart

    def make(folder):
        radstart.compare(
            images, out=folder, arms=[f"w=file:{weights}"], policies=["frozen"], seeds=1,
            image_size=32, numerics="fp32",
        )  # fmt: skip

    return made_once(tmp_path_factory, "small", make)


@pytest.fixture
def small(made, tmp_path):
    """Return a copy of the small finished study that `words` asks for, in tmp_path / study."""
    return shutil.copytree(made, tmp_path / "study")


@pytest.fixture
def words(images, weights, tmp_path):
    """Return the words of a small study into tmp_path / study."""
    return [
        *("compare", images, "--out", tmp_path / "study", "--arms", f"w=file:{weights}"),
        *("--policies", "frozen", "--seeds", "1", "--image-size", "32", "--numerics", "fp32"),
    ]


def test_the_flags_are_those_of_the_snapshot():
    """A new, renamed or lost option shows in flags.txt, where a person sees it."""
    found = [
        f"{verb_id(words)} {'/'.join([*p.opts, *p.secondary_opts])}"
        for words, command in VERBS.items()
        for p in command.params
    ]

    assert "\n".join(found) + "\n" == FLAGS.read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS, ids=verb_id)
def test_every_verb_has_help_with_examples(cli, verb):
    """Each option says what it is for."""
    code, out, err = cli(*verb, "--help")

    assert (code, err) == (0, "")
    assert "Example" in out
    assert f"radstart {verb_id(verb)}" in out
    for parameter in VERBS[verb].params:
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in out
            assert parameter.help, parameter.name


def test_the_program_alone_lists_its_verbs_and_its_version(cli):
    """`radstart`, `radstart --help`, `radstart --version`."""
    assert all(verb[0] in cli("--help")[1] for verb in VERBS)
    assert all(verb[0] in cli("stats", "--help")[1] for verb in [("compare",)])

    code, out, _ = cli("--version")
    assert (code, out.split()[0]) == (0, "radstart")


def test_the_program_without_a_verb_says_how_it_is_used(cli):
    """`radstart` alone, and `radstart stats` alone, show their verbs on lines of their own."""
    for words in ([], ["stats"]):
        _, out, err = cli(*words)
        assert "Usage: radstart" in out + err
        assert len((out + err).splitlines()) > 3


@pytest.mark.parametrize(
    "words",
    [
        *(None, ["--help"], ["compare", "--help"], ["--version"], ["weights", "list"]),
        ["weights", "show", "radimagenet"],
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(words):
    """torch, timm and pandas are imported inside the verbs."""
    call = "import radstart; radstart.__version__"
    if words:
        call = f"from radstart.cli import main\ntry: main({words!r})\nexcept SystemExit: pass"
    heavy = [
        "torch",
        "timm",
        "torchvision",
        "pandas",
        "scipy",
        "sklearn",
        "matplotlib",
        "cv2",
        "pyarrow",
    ]
    text = f"import sys\n{call}\nprint('HEAVY', [m for m in {heavy} if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_a_dry_run_prints_the_plan_and_trains_nothing(cli, words, tmp_path):
    """Data, arms, work, time and what can be shown; no trials, no runs, no facts."""
    code, out, err = cli(*words, "--dry-run")

    assert code == 0
    assert out == "nothing was trained (--dry-run)\n"
    for said in ("data  ", "arms  ", "0 trials, 1 runs", "time  ", "can show  ", "MB"):
        assert said in err
    left = {path.name for path in (tmp_path / "study").iterdir()}
    assert left == {"dataset"}


def test_a_study_prints_its_answer_and_its_report_can_be_written_again(cli, words, tmp_path):
    """Two sentences, the report's path, exit code 0; `report` writes the same page."""
    code, out, _ = cli(*words)
    page = tmp_path / "study" / "report.html"
    assert code == 0
    facts = read_json(tmp_path / "study" / "facts.json")
    assert out.splitlines() == [*facts["answer"], f"report: {page}"]
    first = page.read_bytes()
    page.unlink()

    code, out, err = cli("report", tmp_path / "study")
    assert (code, out, err) == (0, f"report: {page}\n", "")
    assert page.read_bytes() == first


@pytest.mark.slow
def test_of_a_repeated_option_the_last_one_wins(cli, words, tmp_path):
    """So that a command can be recalled and changed at its end."""
    code, *_ = cli(*words, "--seeds", "7", "--budgets", "0.1", "--seeds", "1", "--budgets", "1")

    stated = read_toml(tmp_path / "study" / "study.toml")
    assert code == 0
    assert (stated["seeds"], stated["budgets"]) == (1, [1.0])


@pytest.mark.slow
def test_a_studys_file_asks_the_same_question(cli, small, tmp_path):
    """`compare STUDY/study.toml --out STUDY` continues; a copy elsewhere is the same question."""
    before = snapshot(small)["study.toml"][0]
    runs = snapshot(small / "runs")

    assert cli("compare", small / "study.toml", "--out", small)[0] == 0
    assert snapshot(small)["study.toml"][0] == before
    assert snapshot(small / "runs") == runs
    other = tmp_path / "other"
    assert cli("compare", small / "study.toml", "--out", other, "--numerics", "fp32")[0] == 0
    assert (other / "study.toml").read_bytes() == before
    assert {path.name for path in (other / "runs").iterdir()} == {
        name.split("/")[0] for name in runs
    }


@pytest.mark.slow
def test_the_same_command_continues_what_python_began(cli, words, small):
    """Command line and Python build the same question: nothing is done again."""
    before = snapshot(small / "runs")

    assert cli(*words)[0] == 0
    assert snapshot(small / "runs") == before


@pytest.mark.slow
def test_a_study_without_a_margin_can_be_continued(cli, words):
    """`--margin 0` twice is one question."""
    assert cli(*words, "--margin", "0")[0] == 0

    assert cli(*words, "--margin", "0")[0] == 0


def test_what_is_no_option_value_is_one_line_too(cli, tmp_path):
    """Missing arguments, unknown verbs."""
    for given in (["compare"], ["compare", "x"], ["compair"], ["stats", "compair"], ["report"]):
        code, out, err = cli(*given)
        assert (code, out) == (2, "")
        assert "--help" in one_line(err)


def test_a_report_of_a_place_below_a_file_is_one_line(cli, tmp_path):
    """A path that cannot be."""
    (tmp_path / "file").touch()

    code, _, err = cli("report", tmp_path / "file" / "study")
    assert code == 2
    assert "no facts to report" in one_line(err)


def test_a_report_of_no_study_is_one_line(cli, tmp_path):
    """A folder without facts, and facts that are none."""
    assert "no facts to report" in one_line(cli("report", tmp_path)[2])
    (tmp_path / "facts.json").write_text("[1, 2")

    code, _, err = cli("report", tmp_path)
    assert code == 2
    assert "cannot read" in one_line(err)
    assert not (tmp_path / "report.html").exists()


def test_debug_keeps_the_traceback(words):
    """`--debug` shows where a refusal came from."""
    from radstart.cli import main
    from radstart.core.errors import RadstartError

    with pytest.raises(RadstartError):
        main([*map(str, words), "--metric", "x", "--debug"])


def test_as_a_program_of_its_own(tmp_path):
    """`python -m radstart.cli`: exit code 2, one line on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "radstart.cli", "report", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )

    assert (done.returncode, done.stdout) == (2, "")
    one_line(done.stderr)
