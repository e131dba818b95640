"""Runs `radstart ingest` in forks of this process, with what stops it somewhere on its way.

An audit hook, in the ingest and in each of its worker processes, counts what they do to the files
of the dataset (open for writing, rename, link, remove, make or remove a folder) over all of them
together. Just before number `at` the ingest or the process at hand is killed, or interrupted, or
the disk is full from there on. It is a program of its own (`stopping.py JOB.json`), since a process
that is to be forked should have few threads.
"""

import errno
import hashlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

EVENTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}
MATTERS = {"os.remove": True, "os.mkdir": False}  # whether the file is to be there
HOOK = "import stopping; stopping.hook()\n"


def hook():
    """Count, and stop something: what the variable STOPPING says."""
    if "STOPPING" not in os.environ:
        return
    job = json.loads(os.environ["STOPPING"])
    mine = b"p" if os.getpid() == job["parent"] else b"w"

    def watch(event, arguments):
        writes = event in EVENTS
        if event == "open":
            _, mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if flags else mode != "r"
        if not writes or not str(arguments[0]).startswith(job["out"]):
            return
        exists = os.path.lexists(arguments[0]) if event in MATTERS else None
        if exists is not None and exists != MATTERS[event]:
            return  # nothing will change
        file = os.open(job["count"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, mine)
        count = os.fstat(file).st_size
        os.close(file)
        if job["how"] == "full" and count >= job["at"] and event != "os.remove":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if count == job["at"]:
            _stop(job)

    sys.addaudithook(watch)


def _stop(job):
    if job["how"] == "parent":
        os.kill(job["parent"], signal.SIGKILL)
        time.sleep(0.5)  # the kernel ends this one, too
    elif job["how"] == "self":
        os.kill(os.getpid(), signal.SIGKILL)
    elif job["how"] == "interrupt":
        os.kill(job["parent"], signal.SIGINT)
        time.sleep(0.2)


def one(source, out, key, at):
    """Kill an ingest at one point; end with 9 where it was killed."""
    _hooked(out.with_name(f"hooked {out.name}"))
    count = out.with_name(f"count {out.name}")
    count.unlink(missing_ok=True)
    sys.exit(-ended(start([str(source), "--key", str(key)], out, count, at, "parent")))


def _hooked(folder):
    """Let worker processes begin with the hook."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(HOOK)
    search = [str(folder), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(search)


def start(words, out, count, at=0, how=""):
    """Start `radstart ingest` in a fork; return its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        job = {"out": str(out), "count": str(count), "at": at, "how": how, "parent": os.getpid()}
        os.environ["STOPPING"] = json.dumps(job)
        hook()
        from radstart.cli import main
        from radstart.ingest import plan

        plan.SCAN_FILES, plan.PART_IMAGES = 6, 8
        main(["ingest", *words, "--out", str(out), "--workers", "1"])
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid):
    """Return how a fork ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def made(out):
    """Return what an ingest gave: hashes of pixels, masks and every column, names of all files."""
    import pyarrow.parquet as pq

    found = {}
    for path in sorted(p for p in Path(out).rglob("*") if p.is_file()):
        name = path.relative_to(out).as_posix()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            found |= {f"{name} {c}": _hash(str(table[c].to_pylist())) for c in table.column_names}
        elif name == "dataset.toml":
            lines = path.read_text().splitlines()
            found[name] = _hash(
                "\n".join(line for line in lines if line[:5] not in ("made ", "name "))
            )
        else:
            found[name] = _hash(path.read_bytes())
    return found


def _hash(content):
    content = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()


def half_written(out):
    """Return temporary files, but for those of claims, which hold nothing."""
    return [path.name for path in Path(out).rglob("*.tmp") if path.parent.name != "claims"]


def main(file):
    """Do what the file asks for, and write what came of it beside it."""
    job = json.loads(file.read_text())
    base, words = file.parent, job["words"]
    _hooked(base / "hooked")
    import radstart.cli
    import radstart.ingest.archive  # noqa: F401  (here, so that forks have it)

    code = ended(start(words, base / "reference", base / "count"))
    events = (base / "count").read_text()
    found = {"reference": made(base / "reference"), "code": code, "events": events, "cases": []}
    share, of = job.get("share", (0, 1))
    for how in job["hows"]:
        points = [n for n, who in enumerate(events, start=1) if how != "self" or who == "w"]
        for at in points[share::of]:
            out, count = base / "out", base / "counted"
            pid = start(words, out, count, at, how)
            while job.get("together") and not count.exists():
                time.sleep(0.01)
            together = [ended(start(words, out, base / "other"))] if job.get("together") else []
            case = {"how": how, "at": at, "first": ended(pid), "together": together}
            case["half"] = half_written(out)
            case["second"] = ended(start(words, out, base / "other"))
            now = made(out)
            case["same"] = now == found["reference"]
            names = sorted({*now, *found["reference"]})
            case["differing"] = [n for n in names if now.get(n) != found["reference"].get(n)]
            found["cases"].append(case)
            shutil.rmtree(out)
            count.unlink(missing_ok=True)
    file.with_name("found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "one":
        one(*map(Path, sys.argv[2:5]), int(sys.argv[5]))
    main(Path(sys.argv[1]))
