"""The command line: parse, call one function, print. torch is imported inside the verbs."""

import os
import signal
import sys
from contextlib import suppress
from itertools import pairwise

import typer
from typer.exceptions import Abort, Exit, TyperException

from radstart import __version__
from radstart.cli.compare import compare
from radstart.cli.demo import demo
from radstart.cli.ingest import ingest
from radstart.cli.inspect import inspect
from radstart.cli.report import report
from radstart.cli.split import split
from radstart.cli.stats import stats
from radstart.cli.status import status
from radstart.cli.weights import weights
from radstart.core.errors import RadstartError, one_line, short

STOPPED = 130  # as shells say it: 128 + SIGINT

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(compare)
app.command()(inspect)
app.command()(report)
app.command()(status)
app.command()(split)
app.command()(demo)
app.command()(ingest)
app.add_typer(stats, name="stats")
app.add_typer(weights, name="weights")


@app.callback(invoke_without_command=True)
def version_only(version: bool = typer.Option(False, "--version", help="Print it.")) -> None:
    """Compare starting weights for radiology models, and say whether the difference is real."""
    if version:
        print(f"radstart {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of the person at the keyboard are one line and exit code 2."""
    if sys.stdout is None or sys.stderr is None:  # closed by whoever starts it: nobody reads
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    # Threads that spin while they wait for each other slow a shared machine down.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    with suppress(ValueError):  # in the main thread only
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's stop
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    try:
        code = typer.main.get_command(app)(given, prog_name="radstart", standalone_mode=False)
    except RadstartError as error:
        if debug:
            raise
        sys.exit(_fail(str(error)))
    except Exit as end:
        sys.exit(end.exit_code)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a verb alone: its help is the answer
            print(error.format_message(), file=sys.stderr)
            sys.exit(2)
        first = " ".join(["radstart", *given[:1]])
        verb = getattr(getattr(error, "ctx", None), "command_path", first)
        said = error.format_message() + _received(error, given)
        sys.exit(_fail(f"{said}; see {verb} --help"))
    except (KeyboardInterrupt, Abort):
        code = STOPPED
    except BrokenPipeError:
        sys.exit(1)
    if code == STOPPED:  # also what typer makes of Ctrl-C
        begins_anew = given[:1] == ["weights"] and given[1:2] != ["get"]
        told = "nothing was written" if begins_anew else "the same command continues"
        _fail(f"stopped; {told}", STOPPED)
    sys.exit(code if isinstance(code, int) else 0)


def _received(error: TyperException, given: list[str]) -> str:
    """Return " (got ...)" with the value of the option at fault, where one was given."""
    options = getattr(getattr(error, "param", None), "opts", [])
    values = [word.partition("=")[2] for word in given if word.partition("=")[0] in options]
    values += [after for word, after in pairwise(given) if word in options]
    return f" (got {short(values[-1]) or 'nothing'})" if values else ""


def _fail(line: str, code: int = 2) -> int:
    print("radstart: " + one_line(line), file=sys.stderr)
    return code
