"""Weights from a hub repository, with the hub library's own cache, tokens and settings."""

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from radstart.core.errors import RadstartError, short
from radstart.core.files import os_reason
from radstart.core.hashing import file_sha256
from radstart.weights.reading.sniff import kind_of
from radstart.weights.remote.download import USUAL, Access, setting_up, too_large

BEST = (  # names and endings of weights files, the best first
    "model.safetensors",
    "pytorch_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    ".safetensors",
    ".pth",
    ".pt",
    ".bin",
    ".ckpt",
    ".h5",
)
# parts of a split file, and what trainers leave beside the weights
NOT_WEIGHTS = re.compile(
    r"-\d{5}-of-\d{5}\.|^(optimizer|scheduler|scaler|rng_state|training_args)\b"
)
CONFIG = "config.json"
COMMIT = re.compile("[0-9a-f]{40}")  # what is cached of one never changes
SECONDS = 10.0  # at the most, for the hub to say what a file is
MOST_BREAKS = 5  # times its size that a file may cost, with what came in vain


def fetch_hub(
    repo: str, file: str, access: Access = USUAL, *, revision: str = "main", sha256: str = ""
) -> tuple[Path, str]:
    """Return a file of a model repository in the hub's cache, and the commit that it is of.

    What is cached of a branch is used where there is no network, as the hub library does. Where
    the hub and its cache are is the hub's own setting (HF_ENDPOINT, HF_HOME).

    Args:
        repo: OWNER/NAME.
        file: path inside the repository.
        access: token, limits, progress; offline is also what HF_HUB_OFFLINE=1 says.
        revision: branch, tag or commit.
        sha256: hexadecimal hash or its first digits; "" = the one that the hub states, if any.

    Raises:
        RadstartError: not to be had, or not what was promised.
    """
    import httpx2
    import huggingface_hub as hub
    from huggingface_hub.errors import HfHubHTTPError

    if not file or not file.isprintable() or set(file.split("/")) & {"", ".", ".."} or "\\" in file:
        raise RadstartError("not the name of a file in a repository", repo, short(repr(file), 200))
    where, size = f"{repo}/{file}", None
    token, timeout = access.token or None, min(access.timeout, SECONDS)
    with _plainly(repo, revision, file):
        cached = hub.try_to_load_from_cache(repo, file, None, revision)
        path = Path(cached) if isinstance(cached, str) else None
        if _is_offline(access):
            if path is None:
                raise _not_cached(where, revision)
        elif path is None or not COMMIT.fullmatch(revision):
            with setting_up():
                hub.get_session()
            try:
                url = hub.hf_hub_url(repo, file, revision=revision)
                size = hub.get_hf_file_metadata(url, timeout=timeout, token=token).size
                path = None
            except httpx2.TransportError:  # the library would go on trying for half a minute
                if path is None:
                    raise
            except HfHubHTTPError:  # it asks again, and falls back to its cache or says why not
                path = None
        if size is not None and size > access.max_bytes:
            raise too_large(where, size, access.max_bytes)
        if path is None:
            bar = _bar(where, access.progress, size, access.max_bytes)
            path = Path(
                hub.hf_hub_download(
                    repo, file, revision=revision, etag_timeout=timeout, tqdm_class=bar, token=token
                )
            )
    _verify(path, where, sha256.strip().lower())
    return path, path.parts[-1 - len(PurePosixPath(file).parts)]


def best_files(names: Sequence[str], repo: str) -> tuple[str, ...]:
    """Return the weights files among a repository's, the best to load first.

    Raises:
        RadstartError: no weights in one file.
    """
    ranked = sorted((rank, name) for name in names if (rank := _rank(name)) is not None)
    if not ranked:
        raise RadstartError(
            "no weights in one file in this repository", repo,
            short(", ".join(sorted(names)), 200), "use another repository",
        )  # fmt: skip
    return tuple(name for _, name in ranked)


def hub_names(repo: str, access: Access = USUAL, *, revision: str = "main") -> list[str]:
    """Return the names of all files of a model repository; offline these are the cached ones.

    Raises:
        RadstartError: no such repository, or it cannot be asked.
    """
    import huggingface_hub as hub

    with _plainly(repo, revision):
        if _is_offline(access):
            names = _cached_names(repo, revision)
            if not names:
                raise _not_cached(repo, revision)
            return names
        with setting_up():
            hub.get_session()
        known = hub.HfApi(token=access.token or None).model_info(
            repo, revision=revision, timeout=min(access.timeout, SECONDS)
        )
        return [entry.rfilename for entry in known.siblings or ()]


def _is_offline(access: Access) -> bool:
    from huggingface_hub import constants

    return access.offline or constants.is_offline_mode()


def _rank(name: str) -> tuple[int, int] | None:
    """Return how good a file is (few folders, then BEST); None = no weights."""
    path = PurePosixPath(name)
    if NOT_WEIGHTS.search(path.name):
        return None
    for place, known in enumerate(BEST):
        if path.name == known or (known.startswith(".") and path.suffix == known):
            return len(path.parts), place
    return None


def _cached_names(repo: str, revision: str) -> list[str]:
    """Return the files of a revision that lie in the hub's cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    base = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    reference = base / "refs" / revision
    commit = reference.read_text(encoding="ascii").strip() if reference.is_file() else revision
    snapshot = base / "snapshots" / commit
    return [p.relative_to(snapshot).as_posix() for p in snapshot.rglob("*") if p.is_file()]


def _bar(
    where: str, progress: Callable[[int, int | None], None], total: int | None, max_bytes: int
) -> Any:
    """Return the class that the hub library tells how far it is; it shows nothing itself.

    It also ends a download that is larger than stated, or that begins anew without end.
    """
    from huggingface_hub.utils.tqdm import tqdm

    most = max_bytes if total is None else total

    class Bar(tqdm):
        here = came = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:  # negative where a server begins anew
            self.here += int(n or 0)
            self.came += max(0, int(n or 0))
            if self.here > most:
                raise too_large(where, self.here, most)
            if self.came > MOST_BREAKS * most:
                raise RadstartError(
                    "the download broke off again and again", where, remedy="try again later"
                )
            progress(self.here, total)

        def update_transfer(self, n: float) -> None:  # bytes on the wire: those on disk count
            pass

        def set_transfer_postfix_str(self, text: str, refresh: bool = True) -> None:
            pass

    return Bar


def _verify(path: Path, where: str, sha256: str) -> None:
    """Hold a file against its published hash, and against the one that names its place.

    Raises:
        RadstartError: another file, or a page or pointer in place of one.
    """
    kind = kind_of(path)
    if kind in ("html", "lfs pointer"):
        what = "a web page" if kind == "html" else "a git-LFS pointer"
        raise RadstartError(f"{what} came, not the file", where, str(path), "check HF_ENDPOINT")
    found, blob = file_sha256(path), path.resolve()
    if re.fullmatch("[0-9a-f]{64}", blob.name) and found != blob.name:
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise RadstartError(
            "what came is not what the hub states, and was removed",
            where,
            f"SHA-256 {found}, not {blob.name}",
            "fetch it again",
        )
    if not found.startswith(sha256):
        raise RadstartError(
            "another file than is known",
            where,
            f"SHA-256 {found}, not {sha256}",
            "the repository has changed: name the revision that you mean, or correct the hash",
        )


@contextmanager
def _plainly(repo: str, revision: str, file: str = "") -> Iterator[None]:
    """Keep the hub library's log quiet, and turn its errors into one line each."""
    import httpx2
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Not enough free disk space")
            yield
    except (
        *(HFValidationError, EntryNotFoundError, HfHubHTTPError, httpx2.HTTPError),
        *(json.JSONDecodeError, UserWarning, OSError),
    ) as error:
        raise RadstartError(*_in_words(error, repo, revision, file)) from error
    finally:
        logger.setLevel(level)


def _in_words(error: Exception, repo: str, revision: str, file: str) -> tuple[str, str, str, str]:
    """Return what went wrong: what, where, what was received, what to do."""
    import httpx2
    from huggingface_hub import errors

    where, later = f"{repo}/{file}" if file else repo, "try again later"
    other = "check HF_ENDPOINT, proxy and firewall"
    if isinstance(error, errors.HFValidationError):
        return "not the name of a repository", short(repo, 100), "", "write OWNER/NAME"
    if isinstance(error, errors.LocalEntryNotFoundError):
        cause = error.__cause__ or error
        if isinstance(cause, errors.HfHubHTTPError):
            return _answered(cause, repo, revision, file)
        if isinstance(cause, errors.FileMetadataError):
            return "what answers is not a hub", where, short(str(cause), 200), other
        return "the hub does not answer as it should", where, short(str(cause), 200), later
    if isinstance(error, errors.HfHubHTTPError | errors.EntryNotFoundError):
        return _answered(error, repo, revision, file)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        got = str(error) or type(error).__name__
        return "no connection to the hub", where, got, "check the network"
    if isinstance(error, httpx2.HTTPError):
        got = str(error) or type(error).__name__
        return "the connection to the hub broke off", where, got, later
    if isinstance(error, json.JSONDecodeError):
        return "what answers is not a hub", where, str(error), other
    if isinstance(error, UserWarning):
        return str(error), where, "", "free space, or set HF_HOME"
    if "Consistency check failed" in str(error):
        return "what came is not as long as the hub states", where, "", later
    assert isinstance(error, OSError)
    reason = os_reason(error)
    return "cannot be stored in the hub's cache", where, reason, "free space, or set HF_HOME"


def _answered(error: Exception, repo: str, revision: str, file: str) -> tuple[str, str, str, str]:
    """Return what the hub answered."""
    from huggingface_hub import errors

    status = f"{error.response.status_code}" if isinstance(error, errors.HfHubHTTPError) else ""
    token = "set HF_TOKEN or run `hf auth login`"
    if isinstance(error, errors.GatedRepoError):
        sent = "your" if "authorization" in error.response.request.headers else "no"
        got = f"{status}, {sent} token was sent"
        page = f"accept it at https://huggingface.co/{repo}, then {token}"
        return "gated: its licence has to be accepted first", repo, got, page
    if isinstance(error, errors.RepositoryNotFoundError):
        remedy = f"check its name, or {token}"
        return "no such repository, or a private one", repo, status, remedy
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision", repo, revision, "name a branch, tag or commit"
    if isinstance(error, errors.EntryNotFoundError):
        return "no such file in this repository", repo, file, "name another file"
    if status in ("401", "403"):
        return "the hub refuses the token", repo, status, token
    return "the hub does not give the file", repo, status, "try again later"


def _not_cached(where: str, revision: str) -> RadstartError:
    return RadstartError(
        "--offline, and not in the hub's cache",
        where,
        f"revision {revision}",
        "run the same command once with network",
    )
