"""One file over HTTP: verified, resumable, limited, whole or absent.

While it comes, `NAME.part` holds its bytes and `NAME.part.json` says of which file they are; the
next call goes on from there. `NAME.origin.json` beside the finished file says where it came from.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from radstart.core.claims import Claims
from radstart.core.errors import RadstartError, short
from radstart.core.files import os_reason, read_json, remove_leftovers, whole_file, write_json
from radstart.core.hashing import digest, file_sha256
from radstart.weights.reading.sniff import damage_of, kind_of

if TYPE_CHECKING:
    import httpx2

MOST_BYTES = 8 << 30
TRIES = 5  # failures in a row without ADVANCE new bytes
ADVANCE = 1 << 20
MOST_REDIRECTS = 10
SLOWEST = 1024  # bytes within one timeout; less is a stall
LONGEST_PAUSE = 30.0  # seconds
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another one soon
ROOM = "free space, or set RADSTART_CACHE to another folder"
ASK_FOR_TOKEN = (
    "if it has a licence, accept it on its page; then put your token into the environment "
    "(HF_TOKEN or `hf auth login` for huggingface.co, --token-env NAME elsewhere)"
)


def no_progress(done: int, total: int | None) -> None:
    """Take what `progress` of a download is told, and show nothing."""


@dataclass(frozen=True)
class Access:
    """How files may be fetched.

    Attributes:
        token: sent as bearer to the file's own host, to no other; "" = none, or the hub's own
            (HF_TOKEN, or what `hf auth login` stored).
        offline: use what is there, open no connection.
        accept: terms that are asked for are accepted.
        progress: called with the bytes that are here and those of the whole file, None = unknown;
            also while another process fetches.
        max_bytes: a file that is larger is refused, by what is stated and by what comes.
        timeout: seconds to connect, and without (nearly) any byte.
        pause: seconds before the second try; doubled for each that follows.
    """

    token: str = ""
    offline: bool = False
    accept: bool = False
    progress: Callable[[int, int | None], None] = no_progress
    max_bytes: int = MOST_BYTES
    timeout: float = 30.0
    pause: float = 1.0


USUAL = Access()


def cache_folder() -> Path:
    """Return where fetched weights lie: RADSTART_CACHE, else the user's cache, and `weights`."""
    own = os.environ.get("RADSTART_CACHE")
    if own:
        return Path(own).expanduser() / "weights"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "radstart" / "weights"


def fetch_url(
    url: str, folder: Path, access: Access = USUAL, *, name: str = "", sha256: str = ""
) -> Path:
    """Return the file behind a URL, from `folder` where it lies there, else over the network.

    One URL has one folder: what lies there under its name without `NAME.origin.json` was put there
    by hand and is taken. Several processes may call this at once: one fetches, the others wait.

    Args:
        url: http or https, without user name and password.
        folder: where the file and what is known of it lie; made where it is absent.
        access: token, limits, progress.
        name: of the file; "" = the last part of the URL's path.
        sha256: hexadecimal hash or its first digits, at least 8; "" = only the length that the
            server states and what the format says of itself are held against the file.

    Raises:
        RadstartError: not to be had, or not what was promised. What came of a download that broke
            off is kept for the next call.
    """
    path, known = folder / _file_name(_split(url), name), _hash(sha256)
    order = _Order(url, path, known, replace(access, token=_token(access.token)))
    fault = _fault(order)
    if fault and access.offline:
        raise RadstartError(
            f"--offline, and the file {fault}", order.shown, str(order.path),
            "run the same command once with network, or put the file at that path",
        )  # fmt: skip
    if fault:
        with _alone(order):
            if _fault(order):
                _fetch(order)
    return order.path


@dataclass(frozen=True)
class _Order:
    """What is wanted, where it goes and how it may be had."""

    url: str
    path: Path
    sha256: str
    access: Access

    def beside(self, ending: str) -> Path:
        """Return the path of what lies beside the file: "part", "part.json", "origin.json"."""
        return self.path.with_name(f"{self.path.name}.{ending}")

    @property
    def part(self) -> Path:
        return self.beside("part")

    @property
    def part_note(self) -> Path:
        return self.beside("part.json")

    @property
    def shown(self) -> str:
        """The URL without its query, which may hold a signature."""
        return self.url.partition("?")[0].partition("#")[0]

    @property
    def key(self) -> str:
        """What tells this URL, with its query, from others."""
        return digest(self.url, 32)


@dataclass(frozen=True)
class _Held:
    """What is here: `size` bytes of `total`, of the version that `validator` names."""

    size: int = 0
    validator: str = ""
    total: int | None = None


class _BrokenOffError(Exception):
    """An attempt that may be repeated: after `wait` seconds, `tries` times in a row at most."""

    def __init__(self, why: str, wait: float = 0.0, tries: int = TRIES) -> None:
        super().__init__(why)
        self.why, self.wait, self.tries = why, wait, tries


def _split(url: str) -> SplitResult:
    """Return the parts of a URL that may be fetched."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = None
    if not fits or not url.isprintable() or " " in url:
        raise RadstartError("not a URL", short(url, 200), remedy="write https://HOST/PATH")
    if "@" in parts.netloc:
        raise RadstartError(
            "no user name and password in a URL",
            f"{parts.scheme}://...@{parts.hostname}{parts.path}",
            remedy="leave them out and use --token-env",
        )
    return parts


def _file_name(parts: SplitResult, name: str) -> str:
    name = name or unquote(parts.path.rstrip("/").rpartition("/")[2])
    return re.sub(r"[^\w.+@=-]|^\.", "_", name)[-150:] or "download"


def _hash(text: str) -> str:
    known = text.strip().lower()
    if known and not re.fullmatch("[0-9a-f]{8,64}", known):
        raise RadstartError(
            "not a SHA-256", got=text, remedy="give its 64 hexadecimal digits or the first of them"
        )
    return known


def _token(text: str) -> str:
    known = text.strip()
    if known and not re.fullmatch("[!-~]+", known):
        raise RadstartError("the token holds signs that no token has", remedy="copy it again")
    return known


def _note(path: Path) -> dict[str, Any]:
    """Return what a JSON file beside a download says; {} where it cannot be read."""
    with suppress(RadstartError):
        known = read_json(path)
        return known if isinstance(known, dict) else {}
    return {}


def _fault(order: _Order) -> str:
    """Return what is wrong with the file that lies there, in words; "" = it is the one."""
    if not order.path.is_file():
        return "is not here yet"
    if order.sha256:
        found = file_sha256(order.path)
        return "" if found.startswith(order.sha256) else f"has another SHA-256 ({found[:16]}...)"
    if not order.beside("origin.json").is_file():
        return ""
    known = _note(order.beside("origin.json"))
    if known.get("key") != order.key:
        return f"of that name came from {known.get('url', 'elsewhere')}"
    size = order.path.stat().st_size
    return "" if size == known.get("bytes") else f"has {size} bytes, not {known.get('bytes')}"


@contextmanager
def _alone(order: _Order) -> Iterator[None]:
    """Hold the file against other processes, or wait for them and show how far they are."""
    folder = order.path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RadstartError("cannot write", str(folder), os_reason(error), ROOM) from error
    claims = Claims(folder / ".claims")
    try:
        while not _taken(claims, order):
            order.access.progress(_size(order.part), None)
            time.sleep(0.1)
        remove_leftovers(folder, order.path.name)
        yield
    finally:
        claims.close()


def _taken(claims: Claims, order: _Order) -> bool:
    try:
        return claims.take(digest(order.path.name)) is not None
    except RadstartError as error:
        raise RadstartError(error.what, error.where, error.got, ROOM) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _fetch(order: _Order) -> None:
    """Fetch the file, hold it against what is known of it, and give it its name.

    A part of an earlier call may be of a file that the server has replaced: where it does not
    come out right, the whole is fetched once more.
    """
    import httpx2

    with setting_up():
        headers = {"Accept-Encoding": "identity"}
        opened = httpx2.Client(timeout=order.access.timeout, headers=headers)
    with opened as client:
        for _ in range(2):
            resumed = _complete(client, order)
            fault, found = _fault_of_part(order)
            if not fault:
                break
            _discard(order)
            if not resumed:
                break
    if fault:
        raise RadstartError(
            fault, order.shown, remedy="correct the hash or the URL; nothing was kept"
        )
    size = order.part.stat().st_size
    with whole_file(order.path) as temporary:
        order.part.replace(temporary)
    write_json(
        order.beside("origin.json"),
        {
            "url": order.shown,
            "key": order.key,
            "sha256": found,
            "bytes": size,
            "fetched": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )
    order.part_note.unlink(missing_ok=True)


@contextmanager
def setting_up() -> Iterator[None]:
    """Turn what is wrong with certificates and proxies into one line."""
    import httpx2

    try:
        yield
    except (OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
        raise RadstartError(
            "cannot prepare a connection",
            got=f"{type(error).__name__}: {error}",
            remedy="correct SSL_CERT_FILE, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY in the environment",
        ) from error


def _fault_of_part(order: _Order) -> tuple[str, str]:
    """Return what is wrong with what came ("" = nothing), and its hash."""
    found = file_sha256(order.part)
    if order.sha256:
        fits = found.startswith(order.sha256)
        return ("" if fits else f"SHA-256 is {found}, not {order.sha256} as published"), found
    return damage_of(order.part), found


def _complete(client: "httpx2.Client", order: _Order) -> bool:
    """Fetch what is missing, in as many attempts as it takes; return whether it was resumed.

    Raises:
        RadstartError: refused, or broken off too often without getting ahead.
    """
    import httpx2

    failures, best, resumed = 0, _held(order).size, False
    while True:
        resumed = resumed or _held(order).size > 0
        try:
            _attempt(client, order)
            return resumed
        except _BrokenOffError as error:
            broke = error
        except httpx2.TransportError as error:
            broke = _transport(error, order)
        except (httpx2.InvalidURL, UnicodeError) as error:  # a host that no name server knows
            raise RadstartError("not a URL", order.shown, str(error), "correct it") from error
        size = _size(order.part)
        failures = 0 if size >= best + ADVANCE else failures + 1
        best = max(best, size)
        if failures >= (TRIES if best else broke.tries):
            remedy = "try again later"
            if size:
                remedy += f": it goes on from the {amount(size)} that are here"
            elif broke.tries < TRIES:
                remedy = f"check the network, or put the file at {order.path}"
            raise RadstartError("cannot be fetched", order.shown, broke.why, remedy)
        time.sleep(min(max(order.access.pause * 2**failures, broke.wait), LONGEST_PAUSE))


def _transport(error: "httpx2.TransportError", order: _Order) -> _BrokenOffError:
    """Return in words how a connection failed; where there is none, little speaks for more."""
    import httpx2

    words = str(error) or type(error).__name__
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return _BrokenOffError(f"no connection: {words}", tries=2)
    if isinstance(error, httpx2.TimeoutException):
        return _BrokenOffError(f"nothing came for {order.access.timeout:g} s")
    return _BrokenOffError(f"broke off: {words}")


def _held(order: _Order) -> _Held:
    """Return what of this very file is here and may be continued."""
    size = _size(order.part)
    if not size:
        return _Held()
    known = _note(order.part_note)
    validator, total = known.get("validator", ""), known.get("total")
    certain = validator or order.sha256  # else the server may hold another file by now
    if known.get("key") != order.key or not certain or (total is not None and size > total):
        return _Held()
    return _Held(size, validator, total)


def _discard(order: _Order) -> None:
    order.part.unlink(missing_ok=True)
    order.part_note.unlink(missing_ok=True)


def _attempt(client: "httpx2.Client", order: _Order) -> None:
    """Fetch from where the part ends to the end.

    Raises:
        RadstartError: refused.
        _BrokenOffError, httpx2.TransportError: to be repeated.
    """
    held = _held(order)
    if held.size and held.size == held.total:
        return  # the last call ended between the last byte and the name
    token = order.access.token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if held.size:
        headers["Range"] = f"bytes={held.size}-"
        if held.validator:
            headers["If-Range"] = held.validator
    with _answer(client, order, headers) as response:
        start = _accepted(response, held, order)
        _receive(response, start, order)


@contextmanager
def _answer(
    client: "httpx2.Client", order: _Order, headers: dict[str, str]
) -> Iterator["httpx2.Response"]:
    """Yield the answer behind all redirects; the library drops the token for another origin."""
    request = client.build_request("GET", order.url, headers=headers)
    for _ in range(MOST_REDIRECTS + 1):
        response = client.send(request, stream=True)
        try:
            following = response.next_request
            if following is None:
                yield response
                return
        finally:
            response.close()
        target, former = following.url, request.url.scheme
        if target.scheme not in ("http", "https") or (former, target.scheme) == ("https", "http"):
            raise RadstartError(
                f"redirects from {former} to {target.scheme}, which is not followed",
                order.shown,
                target.host,
                "use another link",
            )
        request = following
    raise RadstartError(
        f"redirects more than {MOST_REDIRECTS} times", order.shown, remedy="use another link"
    )


def _accepted(response: "httpx2.Response", held: _Held, order: _Order) -> _Held:
    """Return what an answer holds: from which byte on, of which version, of how many bytes.

    Raises:
        RadstartError: refused, too large, or no room for it.
        _BrokenOffError: not what was asked for.
    """
    status = response.status_code
    if status in PASSING:
        later = response.headers.get("retry-after", "")
        raise _BrokenOffError(_status(status), float(later) if later.isdecimal() else 0.0)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and held.size:
        _discard(order)
        raise _BrokenOffError(_status(status))
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise _refused(status, order)
    tag = response.headers.get("etag", "")
    validator = tag if tag.startswith('"') else response.headers.get("last-modified", "")
    length = response.headers.get("content-length")
    start = _Held(0, validator, int(length) if length else None)
    if status == HTTPStatus.PARTIAL_CONTENT:
        given = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", "").strip()
        )
        total = int(given[2]) if given and given[2] != "*" else held.total
        fits = given and int(given[1]) == held.size and held.total in (None, total)
        if not fits or not held.size or (held.validator and validator not in ("", held.validator)):
            _discard(order)
            raise _BrokenOffError("another part came than was asked for")
        start = _Held(held.size, held.validator or validator, total)
    if start.total is not None and start.total > order.access.max_bytes:
        raise too_large(order.shown, start.total, order.access.max_bytes)
    missing, disk = (start.total or 0) - start.size, shutil.disk_usage(order.path.parent)
    if missing > disk.free and disk.total:  # some network disks know of neither
        raise RadstartError(
            f"needs {amount(missing)} more on this disk",
            str(order.path.parent),
            f"{amount(disk.free)} free",
            ROOM,
        )
    return start


def _receive(response: "httpx2.Response", start: _Held, order: _Order) -> None:
    """Write what comes into the part, from `start.size` on.

    Raises:
        RadstartError: too large, no room, a page instead of a file, or nothing says that it ended.
        _BrokenOffError, httpx2.TransportError: to be repeated.
    """
    size, total = start.size, start.total
    limit = order.access.max_bytes if total is None else total
    began, since = time.monotonic(), size
    try:
        with order.part.open("r+b" if size else "wb") as file:
            if not size:
                write_json(order.part_note, {"key": order.key, **asdict(start)})
            file.seek(size)
            for chunk in response.iter_raw():
                size += len(chunk)
                if size > limit:
                    break
                file.write(chunk)
                file.flush()  # what is killed here goes on from here
                order.access.progress(size, total)
                if time.monotonic() - began > order.access.timeout:
                    if size - since < SLOWEST:
                        raise _BrokenOffError(f"{size - since} bytes in {order.access.timeout:g} s")
                    began, since = time.monotonic(), size
    except OSError as error:
        raise RadstartError(
            "cannot write", str(order.part), os_reason(error), f"{ROOM}; what came is kept"
        ) from error
    if size > order.access.max_bytes:
        _discard(order)
        raise too_large(order.shown, size, order.access.max_bytes)
    if total is not None and size != total:
        if size > total:
            _discard(order)
        raise _BrokenOffError(f"ended after {size} of {total} bytes")
    _refuse_pages(order)
    if total is None and not order.sha256 and "transfer-encoding" not in response.headers:
        _discard(order)
        raise RadstartError(
            "the server does not say how long the file is, so that none can tell if it is whole",
            order.shown,
            remedy="give its SHA-256",
        )


def _refuse_pages(order: _Order) -> None:
    """Refuse what servers send with status 200 in place of a file."""
    kind = kind_of(order.part)
    if kind == "html":
        what = "the link leads to a web page, not to the file"
        remedy = f"open it in a browser, fetch the file there and put it at {order.path}"
    elif kind == "lfs pointer":
        what = "the link leads to a git-LFS pointer, not to the file"
        remedy = "use the download link of the file (its raw or media link, /resolve/ on the hub)"
    else:
        return
    _discard(order)
    raise RadstartError(what, order.shown, remedy=remedy)


def _refused(status: int, order: _Order) -> RadstartError:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        did = "refuses this" if order.access.token else "asks for a"
        return RadstartError(f"the server {did} token", order.shown, _status(status), ASK_FOR_TOKEN)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return RadstartError("no such file there", order.shown, _status(status), "correct the URL")
    return RadstartError(
        "the server does not give the file", order.shown, _status(status), "use another link"
    )


def too_large(where: str, size: int, limit: int) -> RadstartError:
    """Return the refusal of a file that is larger than a limit, both in bytes."""
    return RadstartError(
        f"larger than the limit of {amount(limit)}",
        where,
        amount(size),
        "check that this is the file that you mean",
    )


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def amount(size: int) -> str:
    """Return a number of bytes as a person reads it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
