"""A download is the published file, whole, or one line; a server may do what it likes."""

import hashlib
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trustme
from evil_server import Server, give, in_turn, redirect, status, with_token
from safetensors.torch import save

from radstart.core.errors import RadstartError
from radstart.core.files import read_json
from radstart.weights.remote import download
from radstart.weights.remote.download import Access, cache_folder, fetch_url

SOURCE = Path(download.__file__).parents[2]
BODY = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
HASH = hashlib.sha256(BODY).hexdigest()
TENSORS = save({"a.weight": torch.arange(50_000.0)})
# what another process runs
CALL = """
from pathlib import Path
from radstart.weights.remote.download import Access, fetch_url
def main(url, folder):
    print(fetch_url(url, Path(folder), Access(timeout=20.0, pause=0.01)))
"""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server():
    opened = Server()
    yield opened
    opened.close()


@pytest.fixture
def another():
    """Return a server at another origin."""
    opened = Server()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secure(authority, monkeypatch, tmp_path):
    """Return a server that speaks TLS with a certificate that is trusted here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    opened = Server(context, "localhost")
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "weights"


@pytest.fixture
def no_sockets(monkeypatch):
    """Forbid every connection and every look-up of a name."""

    def forbidden(*words, **options):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(socket, "create_connection", forbidden)


def fetch(url, folder, **options):
    own = {key: options.pop(key) for key in ("name", "sha256") if key in options}
    access = Access(**{"timeout": 0.5, "pause": 0.001, **options})
    return fetch_url(url, folder, access, **own)


def refused(url, folder, **options):
    """Return the one line of a refusal; no file has the file's name then."""
    there = set(names(folder))
    with pytest.raises(RadstartError) as error:
        fetch(url, folder, **options)
    assert {n for n in names(folder) if not n.endswith((".part", ".part.json"))} <= there
    line = str(error.value)
    assert "\n" not in line
    return line


def names(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_a_file_comes_whole_under_its_name_and_once(server, folder):
    """With a note of where it came from, nothing beside it, and the progress that was made."""
    url = server.serve("/a/net.pth", give(BODY))
    told = []
    path = fetch(f"{url}?token=secret", folder, progress=lambda *n: told.append(n))

    assert path == folder / "net.pth"
    assert path.read_bytes() == BODY
    assert names(folder) == ["net.pth", "net.pth.origin.json"]
    note = read_json(folder / "net.pth.origin.json")
    assert (note["url"], note["sha256"], note["bytes"]) == (url, HASH, len(BODY))
    assert "secret" not in (folder / "net.pth.origin.json").read_text()
    assert told == sorted(told)
    assert told[-1] == (len(BODY), len(BODY))

    assert fetch(f"{url}?token=secret", folder) == path
    assert len(server.seen) == 1


@pytest.mark.parametrize("digits", [64, 8])
def test_a_published_hash_is_held_against_the_file(server, folder, digits):
    """Its first eight digits, as torchvision's names carry them, or all of it."""
    url = server.serve("/net.pth", give(BODY))

    assert fetch(url, folder, sha256=HASH[:digits].upper()).read_bytes() == BODY


def test_a_server_that_gives_another_file_is_found_out(server, folder):
    """Both hashes are named, nothing is kept, and it is not asked twice."""
    url = server.serve("/net.pth", give(OTHER))
    line = refused(url, folder, sha256=HASH)

    assert HASH in line
    assert hashlib.sha256(OTHER).hexdigest() in line
    assert names(folder) == []
    assert len(server.seen) == 1


def test_a_connection_that_breaks_off_is_resumed(server, folder):
    """Each request asks for the rest, on condition that it is still the same file."""
    url = server.serve("/net.pth", in_turn(*[give(BODY, cut=100_000)] * 2, give(BODY)))

    assert fetch(url, folder).read_bytes() == BODY
    assert server.headers("Range") == [None, "bytes=100000-", "bytes=200000-"]
    assert server.headers("If-Range") == [None, '"v1"', '"v1"']


def test_a_server_that_always_breaks_off_is_given_up_and_the_next_call_goes_on(server, folder):
    """A bounded number of times; what came is kept, and said."""
    url = server.serve("/net.pth", in_turn(give(BODY, cut=100_000), give(BODY, cut=0)))
    line = refused(url, folder)

    assert len(server.seen) <= download.TRIES + 2
    assert "broke off" in line
    assert "it goes on from the 0.1 MB that are here" in line
    assert names(folder) == ["net.pth.part", "net.pth.part.json"]

    server.seen.clear()
    server.serve("/net.pth", give(BODY))
    assert fetch(url, folder).read_bytes() == BODY
    assert server.headers("Range") == ["bytes=100000-"]
    assert names(folder) == ["net.pth", "net.pth.origin.json"]


def test_a_server_that_stalls_is_left_and_resumed(server, folder):
    """After the time that was given, not after the server's."""
    url = server.serve("/net.pth", in_turn(give(BODY, stall=150_000), give(BODY)))
    began = time.monotonic()

    assert fetch(url, folder, timeout=0.3).read_bytes() == BODY
    assert time.monotonic() - began < 5
    assert server.headers("Range") == [None, "bytes=150000-"]


def test_a_server_that_only_stalls_is_given_up(server, folder):
    """Before the first byte as well as behind the headers."""
    url = server.serve("/net.pth", lambda handler: server.stopped.wait(20))
    assert "nothing came for 0.1 s" in refused(url, folder, timeout=0.1)

    url = server.serve("/net.pth", give(BODY, stall=0))
    assert "nothing came for 0.1 s" in refused(url, folder, timeout=0.1)


def test_a_server_that_drips_is_a_stall(server, folder):
    """A byte now and then keeps every read alive; the download is not."""
    url = server.serve("/net.pth", give(BODY, drip=(10, 0.05)))

    assert "bytes in 0.2 s" in refused(url, folder, timeout=0.2)


def test_a_length_beyond_what_comes_is_never_a_whole_file(server, folder):
    """However often the server is asked."""
    url = server.serve("/net.pth", give(BODY, length=len(BODY) + 5))

    assert "broke off" in refused(url, folder)
    assert "net.pth" not in names(folder)


def test_a_length_short_of_the_file_is_found_by_its_hash_or_its_own_header(server, folder):
    """What comes has the stated length; it is the file's end that is missing."""
    url = server.serve("/net.pth", give(BODY, length=200_000))
    assert "as published" in refused(url, folder, sha256=HASH)

    url = server.serve("/model.safetensors", give(TENSORS, length=100_000))
    line = refused(url, folder)
    assert f"100000 bytes where its safetensors header states {len(TENSORS)}" in line
    assert names(folder) == []


def test_a_server_that_cannot_resume_starts_over_cleanly(server, folder):
    """Status 200 in answer to a Range is the whole file from its first byte."""
    url = server.serve(
        "/net.pth", in_turn(give(BODY, cut=100_000), give(BODY, ranges=False, cut=50_000))
    )
    refused(url, folder)
    assert (folder / "net.pth.part").stat().st_size == 50_000

    server.serve("/net.pth", give(BODY, ranges=False))
    assert fetch(url, folder).read_bytes() == BODY


def test_a_file_replaced_on_the_server_is_never_mixed_with_the_old_one(server, folder):
    """By a server that honours If-Range, and by one that answers 206 of the new file."""
    url = server.serve("/net.pth", in_turn(give(BODY, cut=100_000), give(OTHER, etag='"v2"')))
    assert fetch(url, folder).read_bytes() == OTHER

    def careless(handler):
        handler.headers.replace_header("If-Range", '"v2"')
        give(OTHER, etag='"v2"')(handler)

    url = server.serve(
        "/b.pth", in_turn(give(BODY, cut=100_000), careless, give(OTHER, etag='"v2"'))
    )
    assert fetch(url, folder).read_bytes() == OTHER


def test_a_part_of_another_url_is_not_continued(server, folder):
    """Of the same name, the same length and the same mark."""
    url = server.serve("/a/net.pth", in_turn(give(OTHER, cut=100_000), give(OTHER, cut=0)))
    refused(url, folder)
    server.seen.clear()

    assert fetch(server.serve("/b/net.pth", give(BODY)), folder).read_bytes() == BODY
    assert server.headers("Range") == [None]


def test_a_part_of_another_file_under_the_same_mark_is_found_by_the_hash(server, folder):
    """It is fetched once more from the start; the second time it is not believed."""
    url = server.serve("/net.pth", in_turn(give(OTHER, cut=100_000), give(OTHER, cut=0)))
    refused(url, folder, sha256=HASH)
    server.serve("/net.pth", give(BODY))
    server.seen.clear()

    assert fetch(url, folder, sha256=HASH).read_bytes() == BODY
    assert server.headers("Range") == ["bytes=100000-", None]


def test_without_a_mark_of_the_version_only_a_hash_allows_to_resume(server, folder):
    """ETag, else Last-Modified; a weak ETag is none."""
    when = "Wed, 21 Oct 2015 07:28:00 GMT"
    for etag, modified, sha256, ranges, conditions in (
        ("", "", "", [None, None], [None, None]),
        ('W/"v1"', "", "", [None, None], [None, None]),
        ("", "", HASH, [None, "bytes=100000-"], [None, None]),
        ('W/"v1"', when, "", [None, "bytes=100000-"], [None, when]),
    ):
        marks = {"etag": etag, "modified": modified}
        cut, whole = give(BODY, cut=100_000, **marks), give(BODY, **marks)
        url = server.serve("/net.pth", in_turn(cut, whole))
        server.seen.clear()
        (folder / "net.pth").unlink(missing_ok=True)

        assert fetch(url, folder, sha256=sha256).read_bytes() == BODY
        assert server.headers("Range") == ranges
        assert server.headers("If-Range") == conditions


def test_an_answer_with_another_part_than_asked_for_is_thrown_away(server, folder):
    """A wrong start, a wrong length of the whole, no Content-Range at all."""
    for said in ("bytes 99999-299999/300000", "bytes 100000-299999/300001", "nonsense", ""):
        wrong = status(206, {"Content-Range": said, "ETag": '"v1"'}, BODY[100_000:])
        url = server.serve("/net.pth", in_turn(give(BODY, cut=100_000), wrong, give(BODY)))
        (folder / "net.pth").unlink(missing_ok=True)
        server.seen.clear()

        assert fetch(url, folder).read_bytes() == BODY
        assert server.headers("Range") == [None, "bytes=100000-", None]


def test_a_part_longer_than_the_file_is_thrown_away(server, folder):
    """The server says 416 where it shrank."""
    url = server.serve("/net.pth", in_turn(give(BODY, cut=200_000), give(BODY, cut=0)))
    refused(url, folder)
    server.serve("/net.pth", give(BODY[:1000]))

    assert fetch(url, folder).read_bytes() == BODY[:1000]


def test_what_came_whole_before_the_call_was_killed_is_not_fetched_again(server, folder):
    """Killed between the last byte and the name."""
    url = server.serve("/net.pth", in_turn(give(BODY, cut=len(BODY) - 1), give(BODY, cut=0)))
    refused(url, folder)
    with (folder / "net.pth.part").open("ab") as file:
        file.write(BODY[-1:])
    server.seen.clear()

    assert fetch(url, folder).read_bytes() == BODY
    assert server.seen == []


def test_more_bytes_than_allowed_are_refused_as_stated_and_as_counted(server, folder):
    """Before the first byte where the server says so, at the limit where it does not."""
    url, told = server.serve("/net.pth", give(BODY)), []
    line = refused(url, folder, max_bytes=len(BODY) - 1, progress=lambda *n: told.append(n))
    assert "larger than the limit of 0.3 MB" in line
    assert told == names(folder) == []

    url = server.serve("/net.pth", give(BODY, chunked=True))
    assert "larger than the limit of 0.1 MB" in refused(url, folder, max_bytes=100_000)
    assert names(folder) == []
    assert fetch(url, folder, max_bytes=len(BODY)).read_bytes() == BODY


def test_a_file_without_end_ends_at_the_limit(server, folder):
    """A server that sends for as long as somebody listens."""
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while not server.stopped.is_set():
            handler.wfile.write(b"%x\r\n%s\r\n" % (10_000, bytes(10_000)))
            sent.append(10_000)

    assert "larger than the limit" in refused(
        server.serve("/net.pth", endless), folder, max_bytes=1_000_000
    )
    assert sum(sent) < 100_000_000
    assert names(folder) == []


def test_a_file_of_unstated_length_needs_a_hash_or_an_end_of_its_own(server, folder):
    """Chunks have an end; a connection that just closes may have been cut."""
    cut = give(BODY, chunked=True, cut=100_000)
    url = server.serve("/a.pth", in_turn(cut, give(BODY, chunked=True)))
    assert fetch(url, folder).read_bytes() == BODY

    url = server.serve("/b.pth", give(BODY, length=""))
    assert "does not say how long the file is" in refused(url, folder)
    assert fetch(url, folder, sha256=HASH).read_bytes() == BODY


def test_redirects_are_followed_on_the_same_host_and_to_others(server, another, folder):
    """Relative and absolute ones, and the request for a rest goes along."""
    there = another.serve("/there", in_turn(give(BODY, cut=100_000), give(BODY)))
    server.serve("/2", redirect(there, 301))
    server.serve("/1", redirect("/2", 307))
    url = server.serve("/net.pth", redirect("1", 308))

    assert fetch(url, folder).read_bytes() == BODY
    assert another.headers("Range") == [None, "bytes=100000-"]


def test_redirects_that_lead_nowhere_are_refused(server, folder):
    """A loop, a long chain, another scheme, no place at all."""
    url = server.serve("/a", redirect("/a"))
    assert "redirects more than 10 times" in refused(url, folder)
    assert len(server.seen) == 11

    for k in range(11):
        server.serve(f"/{k}", redirect(f"/{k + 1}"))
    server.serve("/11", give(BODY))
    assert "redirects more than 10 times" in refused(server.base + "/0", folder)
    assert fetch(server.base + "/1", folder).read_bytes() == BODY

    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        url = server.serve("/b", redirect(target))
        assert "which is not followed" in refused(url, folder)
    assert "302" in refused(server.serve("/b", redirect("data:,x")), folder)
    assert "300" in refused(server.serve("/c", status(300)), folder)
    assert "302" in refused(server.serve("/d", status(302)), folder)
    assert "not a URL" in refused(server.serve("/e", redirect("//a..b/x")), folder)


def test_from_http_to_https_yes_and_never_back(server, secure, folder):
    """A certificate that is not known is no connection at all."""
    good = secure.serve("/net.pth", give(BODY))
    assert fetch(good, folder).read_bytes() == BODY
    assert fetch(server.serve("/up", redirect(good)), folder).read_bytes() == BODY

    server.seen.clear()
    plain = server.serve("/plain", give(BODY))
    line = refused(secure.serve("/down", redirect(plain)), folder)
    assert "redirects from https to http, which is not followed" in line
    assert server.seen == []


def test_a_certificate_of_nobody_is_refused(server, secure, folder, monkeypatch):
    """In one line, without many tries."""
    url = secure.serve("/net.pth", give(BODY))
    monkeypatch.delenv("SSL_CERT_FILE")

    assert "CERTIFICATE_VERIFY_FAILED" in refused(url, folder)
    assert secure.seen == []


def test_a_token_opens_what_asks_for_one(server, folder):
    """Without it, and with a wrong one, the line says what to do."""
    url = server.serve("/net.pth", with_token("s3cret", give(BODY)))
    line = refused(url, folder)
    assert "the server asks for a token (got 401 Unauthorized)" in line
    assert "accept it on its page" in line
    for way in ("HF_TOKEN", "hf auth login", "--token-env"):
        assert way in line

    line = refused(url, folder, token="wr0ng")
    assert "the server refuses this token" in line
    assert "wr0ng" not in line
    server.serve("/403", with_token("s3cret", give(BODY), 403))
    assert "403 Forbidden" in refused(server.base + "/403", folder)
    assert len(server.seen) == 3
    assert fetch(url, folder, token=" s3cret\n").read_bytes() == BODY


def test_a_token_goes_to_its_own_host_and_to_no_other(server, another, folder):
    """Not after a redirect to another, and not after one that comes back from there."""
    back = server.serve("/back", give(BODY))
    server.serve("/same", redirect(another.serve("/there", redirect(back))))
    url = server.serve("/net.pth", with_token("s3cret", redirect("/same")))

    assert fetch(url, folder, token="s3cret").read_bytes() == BODY
    assert server.headers("Authorization") == ["Bearer s3cret", "Bearer s3cret", None]
    assert another.headers("Authorization") == [None]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (404, "no such file there (got 404 Not Found)"),
        (410, "no such file there (got 410 Gone)"),
        (400, "does not give the file (got 400 Bad Request)"),
        (451, "does not give the file (got 451 Unavailable For Legal Reasons)"),
        (599, "does not give the file (got 599)"),
        (204, "does not give the file (got 204 No Content)"),
    ],
)
def test_what_a_server_refuses_is_asked_once_and_said_in_a_line(server, folder, code, words):
    """With the URL, without its query."""
    url = server.serve("/net.pth", status(code))
    line = refused(f"{url}?signature=secret", folder)

    assert words in line
    assert line.startswith(url)
    assert "secret" not in line
    assert len(server.seen) == 1
    assert names(folder) == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_what_may_pass_is_tried_again_and_not_for_ever(server, folder, code):
    """A second answer is taken; the fifth refusal is the last."""
    url = server.serve("/net.pth", in_turn(status(code, {"Retry-After": "0"}), give(BODY)))
    assert fetch(url, folder).read_bytes() == BODY

    server.seen.clear()
    url = server.serve("/b.pth", status(code))
    line = refused(url, folder)
    assert str(code) in line
    assert "try again later" in line
    assert len(server.seen) == download.TRIES


def test_a_server_s_wish_to_be_asked_later_is_heard(server, folder, monkeypatch):
    """In seconds, and bounded; pauses double otherwise."""
    slept = []
    monkeypatch.setattr(download.time, "sleep", slept.append)
    answers = [status(503, {"Retry-After": text}) for text in ("7", "99999", "tomorrow")]
    url = server.serve("/net.pth", in_turn(*answers, status(503), give(BODY)))

    assert fetch(url, folder, pause=1.0).read_bytes() == BODY
    assert slept == [7.0, 30.0, 8.0, 16.0]


def test_a_web_page_in_place_of_a_file_is_refused(server, folder):
    """Sign-in pages and warnings come with status 200."""
    page = b"<!DOCTYPE html><html><body>Virus scan warning</body></html>"
    url = server.serve("/net.pth", give(page))
    line = refused(url, folder)

    assert "leads to a web page, not to the file" in line
    assert str(folder / "net.pth") in line
    assert names(folder) == []
    assert "web page" in refused(server.serve("/b", give(page, length="")), folder)


def test_an_lfs_pointer_in_place_of_a_file_is_refused(server, folder):
    """What a raw link of a git host gives."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 97\n"
    line = refused(server.serve("/net.pth", give(pointer)), folder, sha256=HASH)

    assert "leads to a git-LFS pointer, not to the file" in line
    assert names(folder) == []


def test_offline_opens_no_connection(server, folder, request):
    """A file that is here is given; one that is not names the way."""
    url = server.serve("/net.pth", give(BODY))
    path = fetch(url, folder)
    request.getfixturevalue("no_sockets")

    assert fetch(url, folder, offline=True) == path
    assert fetch(url, folder, offline=True, sha256=HASH) == path
    assert fetch(url, folder) == path
    line = refused(server.base + "/other.pth", folder, offline=True)
    assert "--offline, and the file is not here yet" in line
    assert "run the same command once with network" in line
    assert str(folder / "other.pth") in line
    assert "has another SHA-256" in refused(url, folder, offline=True, sha256="0" * 64)
    with pytest.raises(AssertionError, match="a connection was opened"):
        fetch(server.base + "/other.pth", folder)


def test_a_file_put_there_by_hand_is_taken(folder, no_sockets):
    """That is how a machine without network gets one; a hash is held against it too."""
    folder.mkdir()
    (folder / "net.pth").write_bytes(BODY)
    url = "https://example.org/net.pth"

    assert fetch(url, folder) == folder / "net.pth"
    assert fetch(url, folder, sha256=HASH, offline=True) == folder / "net.pth"


def test_what_lies_there_and_is_not_the_file_is_replaced_by_it(server, folder):
    """Another hash, another URL of the same name, a file that lost its end."""
    url = server.serve("/net.pth", give(BODY))
    folder.mkdir()
    (folder / "net.pth").write_bytes(OTHER)
    assert fetch(url, folder, sha256=HASH).read_bytes() == BODY

    elsewhere = server.serve("/b/net.pth", give(OTHER))
    assert "came from" in refused(elsewhere, folder, offline=True)
    assert fetch(elsewhere, folder).read_bytes() == OTHER

    (folder / "net.pth").write_bytes(OTHER[:-1])
    assert "has 299999 bytes, not 300000" in refused(elsewhere, folder, offline=True)
    assert fetch(elsewhere, folder).read_bytes() == OTHER


def test_a_fetch_that_fails_leaves_the_file_that_was_there(server, folder):
    """Replaced whole or not at all."""
    folder.mkdir()
    (folder / "net.pth").write_bytes(OTHER)
    url = server.serve("/net.pth", give(BODY, cut=1000, ranges=False))

    refused(url, folder, sha256=HASH)
    assert (folder / "net.pth").read_bytes() == OTHER


def test_a_process_killed_in_the_middle_is_continued_from_its_last_byte(server, folder):
    """SIGKILL: no handler runs. The server is asked for the rest, and only for it."""
    url = server.serve("/net.pth", give(BODY, stall=50_000, drip=(1000, 0.001)))
    code = CALL + f"main({url!r}, {str(folder)!r})"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=SOURCE)
    part = folder / "net.pth.part"
    until = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size == 50_000) and time.monotonic() < until:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert part.read_bytes() == BODY[:50_000]
    server.serve("/net.pth", give(BODY))
    server.seen.clear()

    assert fetch(url, folder).read_bytes() == BODY
    assert server.headers("Range") == ["bytes=50000-"]
    assert server.headers("If-Range") == ['"v1"']
    assert names(folder) == ["net.pth", "net.pth.origin.json"]


def test_an_interrupt_keeps_what_came(server, folder):
    """Ctrl-C passes through, and the next call goes on."""
    url = server.serve("/net.pth", give(BODY))

    def interrupt(done, total):
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(url, folder, progress=interrupt)
    size = (folder / "net.pth.part").stat().st_size
    assert 100_000 < size < len(BODY)
    assert fetch(url, folder).read_bytes() == BODY
    assert server.headers("Range") == [None, f"bytes={size}-"]


def test_two_at_once_fetch_once(server, folder):
    """The second waits, sees how far the first is, and takes its file."""
    url = server.serve("/net.pth", give(BODY, drip=(30_000, 0.03)))
    told, found = [], []

    def call():
        found.append(fetch(url, folder, progress=lambda *n: told.append(n)).read_bytes())

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [BODY] * 3
    assert len(server.seen) == 1
    assert [n for n in told if n[1] is None]
    assert names(folder) == ["net.pth", "net.pth.origin.json"]


def test_two_processes_at_once_fetch_once(server, folder):
    """One of them in another interpreter."""
    url = server.serve("/net.pth", give(BODY, drip=(3_000, 0.01)))
    code = CALL + f"main({url!r}, {str(folder)!r})"
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=SOURCE, stdout=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 20
    while not server.seen and time.monotonic() < until:
        time.sleep(0.01)

    assert fetch(url, folder).read_bytes() == BODY
    assert child.communicate()[0].strip() == str(folder / "net.pth")
    assert len(server.seen) == 1


def test_a_disk_without_room_is_said_before_the_first_byte(server, folder, monkeypatch):
    """What is needed, what is there, and what to do."""
    url = server.serve("/net.pth", give(BODY))
    disk = SimpleNamespace(total=10**6, free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: disk)

    line = refused(url, folder)
    assert "needs 0.3 MB more on this disk (got 0.0 MB free)" in line
    assert "free space, or set RADSTART_CACHE to another folder" in line
    assert names(folder) == []

    disk.total = disk.free = 0  # some network disks
    assert fetch(url, folder).read_bytes() == BODY


def test_a_write_that_fails_keeps_what_came(server, folder):
    """The system refuses bytes beyond 100 kB of a file; later it takes them."""
    url = server.serve("/net.pth", give(BODY))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        line = refused(url, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert "cannot write (got File too large)" in line
    assert "what came is kept" in line
    size = (folder / "net.pth.part").stat().st_size
    assert size == 100_000
    assert fetch(url, folder).read_bytes() == BODY
    assert server.headers("Range") == [None, "bytes=100000-"]


def test_a_place_that_cannot_be_written_is_one_line(server, tmp_path):
    """A file where the folder should be."""
    (tmp_path / "file").write_text("x")
    url = server.serve("/net.pth", give(BODY))

    with pytest.raises(RadstartError, match=r"cannot write .*set RADSTART_CACHE"):
        fetch(url, tmp_path / "file")
    assert server.seen == []


def test_where_there_is_no_server_little_time_is_lost(folder):
    """One more try, one line, and the way around."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/net.pth"
        line = refused(url, folder, pause=0.01)

    assert "no connection: [Errno 111] Connection refused" in line
    assert f"check the network, or put the file at {folder / 'net.pth'}" in line
    assert "no connection" in refused("http://no-such-host.invalid/net.pth", folder)
    assert "not a URL" in refused("http://a..b/net.pth", folder)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "/none"),
        ("HTTP_PROXY", "gopher://127.0.0.1"),
        ("ALL_PROXY", "socks5://127.0.0.1"),
    ],
)
def test_a_broken_environment_is_one_line(server, folder, monkeypatch, variable, value):
    """Certificates that are not there, a proxy of no known kind."""
    monkeypatch.setenv(variable, value)
    url = server.serve("/net.pth", give(BODY))

    assert "cannot prepare a connection" in refused(url, folder)
    assert server.seen == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("net.pth", "not a URL"),
        ("file:///etc/passwd", "not a URL"),
        ("ftp://example.org/net.pth", "not a URL"),
        ("https:///net.pth", "not a URL"),
        ("https://example.org:99999/net.pth", "not a URL"),
        ("https://example.org/a b", "not a URL"),
        ("https://example.org/a\nb", "not a URL"),
        ("http://[::1/net.pth", "not a URL"),
        ("https://me:s3cret@example.org/net.pth", "no user name and password in a URL"),
    ],
)
def test_what_is_no_url_is_refused(folder, url, words, no_sockets):
    """Before any connection, and without showing a password."""
    line = refused(url, folder)

    assert words in line
    assert "s3cret" not in line


def test_hashes_and_tokens_are_looked_at(folder, no_sockets):
    """Too short, no hexadecimal; signs that would break a header."""
    url = "https://example.org/net.pth"
    for text in ("abc", "g" * 64, "a" * 65, "0" * 7):
        assert "not a SHA-256" in refused(url, folder, sha256=text)
    for text in ("a\nb", "a b", "ä"):
        assert "signs that no token has" in refused(url, folder, token=text)


@pytest.mark.parametrize(
    ("path", "name", "found"),
    [
        ("/a/%2e%2e%2fb.pth", "", "_._b.pth"),
        ("/a/..%2F..%2F", "", "_._.._"),
        ("/", "", "download"),
        ("/.bashrc", "", "_bashrc"),
        ("/uc", "net.pth", "net.pth"),
        ("/uc", "../net.pth", "_._net.pth"),
        ("/" + "x" * 300 + ".pth", "", "x" * 146 + ".pth"),
    ],
)
def test_no_name_leads_out_of_the_folder(server, folder, path, name, found):
    """Neither the URL's nor one that is given."""
    server.paths = {path: give(BODY)}
    fetched = fetch(server.base + path, folder, name=name)

    assert (fetched.parent, fetched.name) == (folder, found)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    """RADSTART_CACHE, else XDG_CACHE_HOME, else ~/.cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RADSTART_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "radstart" / "weights"

    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/radstart/weights")
    monkeypatch.setenv("RADSTART_CACHE", "~/y")
    assert cache_folder() == tmp_path / "y" / "weights"


def test_importing_it_is_light():
    """No torch, no HTTP library, no hub library before they are needed."""
    code = CALL + (
        "import sys, radstart.weights.reading.sniff\n"
        "import radstart.weights.remote.archives, radstart.weights.remote.hub\n"
        "print([m for m in ('torch', 'numpy', 'httpx2', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=SOURCE, capture_output=True, text=True
    )

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
