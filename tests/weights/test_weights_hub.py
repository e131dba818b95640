"""The hub library fetches; here: what it fetched is right, and every failure is one line.

The hub is a stand-in that answers as the real one does: HEAD of /OWNER/NAME/resolve/... with
X-Repo-Commit, X-Linked-Etag, X-Linked-Size and a redirect to another host that holds the bytes.
"""

import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from evil_server import Server, give, in_turn, status
from huggingface_hub import close_session, constants

from radstart.core.errors import RadstartError
from radstart.weights.remote import hub
from radstart.weights.remote.download import Access
from radstart.weights.remote.hub import best_files, fetch_hub, hub_names

REPO, FILE, COMMIT = "me/net", "model.safetensors", "c" * 40
BODY = np.random.default_rng(0).bytes(300_000)
HASH = hashlib.sha256(BODY).hexdigest()
SOURCE = Path(hub.__file__).parents[2]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No proxy, no token, no cache of the person who tests, and no pauses."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE", "HF_HUB_CACHE"):
        monkeypatch.setattr(constants, name, getattr(constants, name))  # as it was, afterwards
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # what it resumes by: 10 MB
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    yield
    close_session()


@pytest.fixture
def site():
    """Return the hub's server."""
    opened = Server()
    yield opened
    opened.close()


@pytest.fixture
def store():
    """Return the server that holds the bytes."""
    opened = Server()
    yield opened
    opened.close()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub"


def publish(site, store, files, guard=lambda answer: answer, gives=give, **headers):
    """Serve a repository's files under `main` and their commit, large ones from the store."""
    for name, body in files.items():
        found = hashlib.sha256(body).hexdigest()
        said = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{found}"',
            "X-Linked-Size": str(len(body)),
            "ETag": '"of the pointer"',
            "Location": store.serve(f"/{found}", gives(body)),
        } | {key.replace("_", "-"): value for key, value in headers.items()}
        for revision in ("main", COMMIT):
            site.serve(f"/{REPO}/resolve/{revision}/{name}", guard(status(302, said)))
    listed = {"id": REPO, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
    text = json.dumps(listed).encode()
    said = {"Content-Type": "application/json"}
    for revision in ("main", COMMIT):
        path = f"/api/models/{REPO}/revision/{revision}"
        site.serve(path, guard(status(200, said, text)))


def fetch(site, cache, file=FILE, repo=REPO, **options):
    """Fetch from the stand-in."""
    aim(site, cache)
    own = {key: options.pop(key) for key in ("revision", "sha256") if key in options}
    return fetch_hub(repo, file, Access(**{"timeout": 1.0, **options}), **own)


def aim(site, cache=None):
    """Let the hub's own settings be the stand-in and this cache, until the test ends."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, site.base)
    constants.HUGGINGFACE_CO_URL_TEMPLATE, constants.ENDPOINT = template, site.base
    constants.HF_HUB_CACHE = str(cache or constants.HF_HUB_CACHE)


def hub_files(repo, site, cache=None, **options):
    """Return the weights files of the stand-in's repository."""
    aim(site, cache)
    return best_files(hub_names(repo, Access(**options)), repo)


def refused(call, *words, **options):
    """Return the one line of a refusal."""
    with pytest.raises(RadstartError) as error:
        call(*words, **options)
    line = str(error.value)
    assert "\n" not in line
    assert "Traceback" not in line
    return line


def guarded(refusal, *tokens):
    """Return a guard: who brings none of `tokens` gets `refusal`."""
    known = {f"Bearer {token}" for token in tokens}

    def guard(answer):
        def guarded_answer(handler):
            (answer if handler.headers.get("Authorization") in known else refusal)(handler)

        return guarded_answer

    return guard


def no_sockets(monkeypatch):
    def forbidden(*words, **options):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(socket, "create_connection", forbidden)


def test_a_file_comes_into_the_hubs_cache_with_its_commit(site, store, cache, monkeypatch, capfd):
    """The token goes to the hub and not to the store; progress is told, nothing is printed."""
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    publish(site, store, {FILE: BODY})
    told = []
    path, commit = fetch(site, cache, progress=lambda *n: told.append(n))

    assert commit == COMMIT
    assert path == cache / "models--me--net" / "snapshots" / COMMIT / FILE
    assert path.read_bytes() == BODY
    assert set(site.headers("authorization", "HEAD")) == {"Bearer hf_s3cret"}
    assert store.headers("authorization") == [None]
    assert told == sorted(told)
    assert told[-1] == (len(BODY), len(BODY))
    assert capfd.readouterr() == ("", "")


def test_what_is_cached_is_not_fetched_again(site, store, cache):
    """Of a branch the hub is asked whether it moved; of a commit it is not asked at all."""
    publish(site, store, {FILE: BODY})
    path, _ = fetch(site, cache)
    assert fetch(site, cache) == (path, COMMIT)
    assert len(store.seen) == 1

    site.seen.clear()
    assert fetch(site, cache, revision=COMMIT) == (path, COMMIT)
    assert site.seen == []


def test_a_file_in_a_folder_keeps_its_commit(site, store, cache):
    """The commit is read from the path above all of the file's folders."""
    publish(site, store, {"a/b/w.pt": BODY})

    path, commit = fetch(site, cache, "a/b/w.pt")
    assert (path.parts[-3:], commit) == (("a", "b", "w.pt"), COMMIT)


def test_a_small_file_is_given_by_the_hub_itself(site, cache):
    """No redirect, and a git hash that is no SHA-256 of the content."""
    said = {"X-Repo-Commit": COMMIT}
    site.serve(f"/{REPO}/resolve/main/config.json", give(b"{}", etag=f'"{"d" * 40}"', headers=said))

    assert fetch(site, cache, "config.json")[0].read_bytes() == b"{}"


def test_offline_gives_what_is_cached_and_opens_no_connection(site, store, cache, monkeypatch):
    """By option, and by the hub library's own variable."""
    publish(site, store, {FILE: BODY, "other.pt": BODY[:9]})
    path, _ = fetch(site, cache)
    no_sockets(monkeypatch)

    assert fetch(site, cache, offline=True) == (path, COMMIT)
    assert fetch(site, cache, offline=True, revision=COMMIT) == (path, COMMIT)
    assert hub_files(REPO, site, cache, offline=True) == (FILE,)
    for options in ({"file": "other.pt"}, {"revision": "v2"}, {"repo": "me/none"}):
        line = refused(fetch, site, cache, offline=True, **options)
        assert "--offline, and not in the hub's cache" in line
        assert "run the same command once with network" in line
    assert "--offline" in refused(hub_files, "me/none", site, cache, offline=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(site, cache) == (path, COMMIT)
    assert "--offline" in refused(fetch, site, cache, "other.pt")
    assert "--offline" in refused(hub_files, "me/none", site, cache)


def test_a_gated_repository_says_what_to_do(site, store, cache, monkeypatch):
    """Without a token, with one that has not accepted, with one that has."""
    gate = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}
    publish(site, store, {FILE: BODY}, guarded(status(401, gate), "good"))
    for call in (lambda: fetch(site, cache), lambda: hub_files(REPO, site)):
        line = refused(call)
        assert "me/net: gated: its licence has to be accepted first" in line
        assert "(got 401, no token was sent)" in line
        assert "accept it at https://huggingface.co/me/net" in line
        assert "set HF_TOKEN or run `hf auth login`" in line

    publish(site, store, {FILE: BODY}, guarded(status(403, gate), "good"))
    line = refused(fetch, site, cache, token="other")
    assert "(got 403, your token was sent)" in line
    assert "other" not in line
    assert fetch(site, cache, token="good")[0].read_bytes() == BODY
    monkeypatch.setenv("HF_TOKEN", "good")
    assert hub_files(REPO, site) == (FILE,)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status(401, {"X-Error-Code": "RepoNotFound"}), "no such repository, or a private one"),
        (status(404, {"X-Error-Code": "RepoNotFound"}), "no such repository, or a private one"),
        (status(404, {"X-Error-Code": "RevisionNotFound"}), "no such revision (got v9)"),
        (status(404, {"X-Error-Code": "EntryNotFound"}), "no such file in this repository"),
        (status(403), "the hub refuses the token (got 403)"),
        (
            status(401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
            "the hub refuses the token (got 401)",
        ),
        (status(418), "the hub does not give the file (got 418); try again later"),
        (status(503), "the hub does not give the file (got 503); try again later"),
        (status(200, {"ETag": '"x"'}, b"<html>Sign in</html>"), "what answers is not a hub"),
    ],
)
def test_what_the_hub_refuses_is_one_line(site, cache, answer, words):
    """Of a file, whatever its code."""
    site.serve(f"/{REPO}/resolve/v9/{FILE}", answer)

    assert words in refused(fetch, site, cache, revision="v9")


@pytest.mark.parametrize("repo", ["me/net/x", "me//net", "../net", "me/..", "", "me/n et"])
def test_what_is_no_name_of_a_repository_is_refused(site, cache, repo):
    """Before the hub is asked."""
    assert "not the name of a repository" in refused(fetch, site, cache, repo=repo)
    assert site.seen == []


@pytest.mark.parametrize("file", ["../../w.pt", "/etc/passwd", "a/../../w.pt", ""])
def test_what_is_no_name_of_a_file_in_it_is_refused(site, cache, file):
    """Nothing is read or written outside of the cache."""
    assert "not the name of a file" in refused(fetch, site, cache, file)
    assert "not the name of a file" in refused(fetch, site, cache, file, offline=True)
    assert site.seen == []


def test_a_store_that_breaks_off_is_resumed(site, store, cache):
    """By the hub library, from the byte that it has."""
    publish(site, store, {FILE: BODY})
    store.serve(f"/{HASH}", in_turn(give(BODY, cut=100_000), give(BODY, stall=50_000), give(BODY)))

    assert fetch(site, cache)[0].read_bytes() == BODY
    assert store.headers("Range") == [None, "bytes=100000-", "bytes=150000-"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_store_that_always_breaks_off_is_given_up(site, store, cache, ranges):
    """Also one that begins anew each time, which the library would follow for ever."""
    publish(site, store, {FILE: BODY})
    again = give(BODY, cut=0 if ranges else 90_000, ranges=ranges)
    store.serve(f"/{HASH}", in_turn(give(BODY, cut=100_000), again))

    line = refused(fetch, site, cache)
    assert "broke off" in line
    assert "try again later" in line
    assert list(cache.rglob(FILE)) == []
    assert len(store.seen) < 25


@pytest.mark.parametrize("size", ["299999", "300001", "100"])
def test_a_wrong_size_is_no_file(site, store, cache, size):
    """Smaller or larger than what comes."""
    publish(site, store, {FILE: BODY}, X_Linked_Size=size)

    line = refused(fetch, site, cache)
    assert "not as long as the hub states" in line or "larger than the limit" in line
    assert list(cache.rglob(FILE)) == []


def test_other_bytes_than_the_hub_states_are_removed(site, store, cache):
    """The library holds the length against them, and not the hash that names them."""
    publish(site, store, {FILE: BODY})
    store.serve(f"/{HASH}", give(bytes(len(BODY))))
    line = refused(fetch, site, cache)
    assert "not what the hub states, and was removed" in line
    assert HASH in line

    store.serve(f"/{HASH}", give(BODY))
    assert fetch(site, cache)[0].read_bytes() == BODY


def test_a_known_hash_is_held_against_the_file(site, store, cache):
    """Whole or its first digits; a repository that changed says so."""
    publish(site, store, {FILE: BODY})
    assert fetch(site, cache, sha256=HASH[:8].upper())[1] == COMMIT

    line = refused(fetch, site, cache, sha256="0" * 64)
    assert "another file than is known" in line
    assert "name the revision that you mean" in line


def test_a_pointer_in_place_of_a_file_is_refused(site, store, cache):
    """What a repository holds whose large files were never uploaded."""
    publish(site, store, {FILE: b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n"})

    assert "a git-LFS pointer came, not the file" in refused(fetch, site, cache)


def test_a_file_larger_than_the_limit_is_refused_before_its_first_byte(site, store, cache):
    """By what the hub states."""
    publish(site, store, {FILE: BODY})

    assert "larger than the limit of 0.3 MB" in refused(fetch, site, cache, max_bytes=299_999)
    assert store.seen == []


def test_a_disk_without_room_is_said_before_the_first_byte(site, store, cache, monkeypatch):
    """Where the library only warns."""
    publish(site, store, {FILE: BODY})
    free = SimpleNamespace(free=1000)
    monkeypatch.setattr("huggingface_hub.file_download.shutil.disk_usage", lambda path: free)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        line = refused(fetch, site, cache)
    assert "Not enough free disk space" in line
    assert "set HF_HOME" in line
    assert store.seen == []


def test_a_cache_that_cannot_be_written_is_one_line(site, store, tmp_path):
    """A file where the folder should be."""
    publish(site, store, {FILE: BODY})
    (tmp_path / "file").write_text("x")

    assert "cannot be stored in the hub's cache" in refused(fetch, site, tmp_path / "file")


def test_without_network_the_cache_is_used_and_else_little_time_is_lost(site, store, cache):
    """One attempt: the library's own would last half a minute."""
    publish(site, store, {FILE: BODY})
    path, _ = fetch(site, cache)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = SimpleNamespace(base=f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert fetch(nobody, cache) == (path, COMMIT)
        line = refused(fetch, nobody, cache, "other.pt")
        assert "no connection to the hub" in line
        assert "check the network" in line
        assert "no connection" in refused(hub_files, REPO, nobody)


def test_a_broken_environment_is_one_line(site, cache, monkeypatch):
    """Certificates that are not there."""
    close_session()
    monkeypatch.setenv("SSL_CERT_FILE", "/none")

    assert "cannot prepare a connection" in refused(fetch, site, cache)
    assert site.seen == []


def test_a_hub_that_stalls_is_left(site, cache):
    """After the time that was given."""
    site.serve(f"/{REPO}/resolve/main/{FILE}", lambda handler: site.stopped.wait(20))

    assert "the connection to the hub broke off" in refused(fetch, site, cache, timeout=0.2)


def test_weights_files_are_ranked(site, store):
    """safetensors before pickles, the root before folders; shards and optimizers are none."""
    files = [
        "README.md",
        "config.json",
        "deep/model.safetensors",
        "model-00001-of-00002.safetensors",
        "net.pt",
        "net.pth",
        "open_clip_pytorch_model.bin",
        "optimizer.bin",
        "other.safetensors",
        "pytorch_model.bin",
        "training_args.bin",
        "model.safetensors",
        "model.onnx",
    ]
    publish(site, store, dict.fromkeys(files, b"x"))

    assert hub_files(REPO, site) == (
        "model.safetensors",
        "pytorch_model.bin",
        "open_clip_pytorch_model.bin",
        "other.safetensors",
        "net.pth",
        "net.pt",
        "deep/model.safetensors",
    )


def test_a_repository_without_weights_in_one_file_says_what_it_holds(site, store):
    """Shards are none."""
    names = ["README.md", "model-00001-of-00002.safetensors"]
    publish(site, store, dict.fromkeys(names, b"x"))

    line = refused(hub_files, REPO, site)
    assert "no weights in one file" in line
    assert "README.md, model-00001-of-00002.safetensors" in line


def test_the_librarys_log_is_quiet_and_then_as_it_was(site, store, cache):
    """It would print its own account of what is resumed."""
    publish(site, store, {FILE: BODY})
    store.serve(f"/{HASH}", in_turn(give(BODY, cut=100_000), give(BODY)))
    logger, printed = logging.getLogger("huggingface_hub"), logging.Handler()
    said = []
    printed.emit = said.append
    before = logger.level
    logger.addHandler(printed)
    try:
        fetch(site, cache)
        assert said == []
        logger.warning("heard")
        assert len(said) == 1
    finally:
        logger.removeHandler(printed)
    assert logger.level == before


def test_the_other_way_of_the_library_tells_the_same_bar():
    """Xet, which no stand-in speaks: its reporter's calls alone are proved."""
    from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter

    told = []
    bar = hub._bar("me/net", lambda *n: told.append(n), 100, 1000)
    with XetDownloadProgressReporter(
        reconstruction_desc="net", total=100, log_level=logging.WARNING, tqdm_class=bar
    ) as reporter:
        for done in (10, 60, 100):
            reporter.update_progress(
                SimpleNamespace(
                    total_bytes=100,
                    total_bytes_completed=done,
                    total_transfer_bytes_completed=done // 2,
                    total_bytes_completion_rate=1.0,
                    total_transfer_bytes_completion_rate=1.0,
                )
            )

    assert told == [(10, 100), (60, 100), (100, 100)]


def test_the_hubs_own_settings_are_used(site, store, tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_TOKEN, in a process of its own, with nothing else said."""
    refusal = status(401, {"X-Error-Code": "GatedRepo"})
    publish(site, store, {FILE: BODY}, guarded(refusal, "hf_s3cret"))
    code = (
        "from radstart.weights.remote.hub import best_files, fetch_hub, hub_names\n"
        f"(name,) = best_files(hub_names({REPO!r}), {REPO!r})\n"
        f"print(*fetch_hub({REPO!r}, name))\n"
    )
    own = {"HF_ENDPOINT": site.base, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_s3cret"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=SOURCE,
        env=dict(os.environ) | own,
        capture_output=True,
        text=True,
    )

    path = tmp_path / "hub" / "models--me--net" / "snapshots" / COMMIT / FILE
    assert (done.returncode, done.stdout) == (0, f"{path} {COMMIT}\n"), done.stderr
    assert done.stderr == ""
