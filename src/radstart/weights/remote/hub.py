"""Weights from a hub repository, with the hub library's own cache, tokens and settings."""

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from radstart.core.errors import RadstartError, short
from radstart.core.files import os_reason
from radstart.core.hashing import file_sha256
from radstart.weights.reading.sniff import kind_of
from radstart.weights.remote.download import MOST_BYTES, no_progress, setting_up, too_large

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
MOST_BREAKS = 5  # times its size that a file may cost, with what came in vain


def fetch_hub(
    repo: str,
    file: str,
    *,
    revision: str = "main",
    sha256: str = "",
    max_bytes: int = MOST_BYTES,
    token: str = "",
    offline: bool = False,
    endpoint: str = "",
    folder: Path | None = None,
    progress: Callable[[int, int | None], None] = no_progress,
    timeout: float = 10.0,
) -> tuple[Path, str]:
    """Return a file of a model repository in the hub's cache, and the commit that it is of.

    What is cached of a branch is used where there is no network, as the hub library does.

    Args:
        repo: OWNER/NAME.
        file: path inside the repository.
        revision: branch, tag or commit.
        sha256: hexadecimal hash or its first digits; "" = the one that the hub states, if any.
        max_bytes: a file that is larger is refused.
        token: "" = the hub's own: HF_TOKEN, or what `hf auth login` stored.
        offline: use what is cached, open no connection; so does HF_HUB_OFFLINE=1.
        endpoint, folder: "" and None = the hub's own settings (HF_ENDPOINT, HF_HOME).
        progress: called with the bytes that are here and those of the whole file, None = unknown.
        timeout: seconds for the hub to say what the file is.

    Raises:
        RadstartError: not to be had, or not what was promised.
    """
    import httpx2
    import huggingface_hub as hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    if not file or not file.isprintable() or set(file.split("/")) & {"", ".", ".."} or "\\" in file:
        raise RadstartError("not the name of a file in a repository", repo, short(repr(file), 200))
    where, size = f"{repo}/{file}", None
    access: dict[str, Any] = {"token": token or None, "endpoint": endpoint or None}
    with _plainly(repo, revision, file):
        path = _cached_file(repo, file, revision, folder)
        if offline or constants.is_offline_mode():
            if path is None:
                raise _not_cached(where, revision)
        elif path is None or not COMMIT.fullmatch(revision):
            with setting_up():
                hub.get_session()
            try:
                url = hub.hf_hub_url(repo, file, revision=revision, endpoint=access["endpoint"])
                size = hub.get_hf_file_metadata(url, timeout=timeout, **access).size
                path = None
            except httpx2.TransportError:  # the library would go on trying for half a minute
                if path is None:
                    raise
            except HfHubHTTPError:  # it asks again, and falls back to its cache or says why not
                path = None
        if size is not None and size > max_bytes:
            raise too_large(where, size, max_bytes)
        if path is None:
            found = hub.hf_hub_download(
                repo,
                file,
                revision=revision,
                cache_dir=folder,
                etag_timeout=timeout,
                tqdm_class=_bar(where, progress, size, max_bytes),
                **access,
            )
            path = Path(found)
    _verify(path, where, sha256.strip().lower())
    return path, path.parts[-1 - len(PurePosixPath(file).parts)]


def hub_files(
    repo: str,
    *,
    revision: str = "main",
    token: str = "",
    offline: bool = False,
    endpoint: str = "",
    folder: Path | None = None,
    timeout: float = 10.0,
) -> tuple[str, ...]:
    """Return the weights files of a model repository, the best to load first.

    Offline these are the cached ones. Arguments as in `fetch_hub`.

    Raises:
        RadstartError: no such repository, or no weights in one file there.
    """
    names = hub_names(
        repo, revision=revision, token=token, offline=offline, endpoint=endpoint, folder=folder,
        timeout=timeout,
    )  # fmt: skip
    ranked = sorted((rank, name) for name in names if (rank := _rank(name)) is not None)
    if not ranked:
        raise RadstartError(
            "no weights in one file in this repository",
            repo,
            short(", ".join(sorted(names)), 200),
            "use another repository",
        )
    return tuple(name for _, name in ranked)


def hub_names(
    repo: str,
    *,
    revision: str = "main",
    token: str = "",
    offline: bool = False,
    endpoint: str = "",
    folder: Path | None = None,
    timeout: float = 10.0,
) -> list[str]:
    """Return the names of all files of a model repository; arguments as in `fetch_hub`.

    Offline these are the cached ones.

    Raises:
        RadstartError: no such repository, or it cannot be asked.
    """
    import huggingface_hub as hub
    from huggingface_hub import constants

    with _plainly(repo, revision):
        if offline or constants.is_offline_mode():
            names = _cached_names(repo, revision, folder or Path(constants.HF_HUB_CACHE))
            if not names:
                raise _not_cached(repo, revision)
        else:
            with setting_up():
                hub.get_session()
            api = hub.HfApi(endpoint=endpoint or None, token=token or None)
            known = api.model_info(repo, revision=revision, timeout=timeout)
            names = [entry.rfilename for entry in known.siblings or ()]
    return names


def _rank(name: str) -> tuple[int, int] | None:
    """Return how good a file is (few folders, then BEST); None = no weights."""
    path = PurePosixPath(name)
    if NOT_WEIGHTS.search(path.name):
        return None
    for place, known in enumerate(BEST):
        if path.name == known or (known.startswith(".") and path.suffix == known):
            return len(path.parts), place
    return None


def _cached_file(repo: str, file: str, revision: str, folder: Path | None) -> Path | None:
    import huggingface_hub as hub

    found = hub.try_to_load_from_cache(repo, file, folder, revision)
    return Path(found) if isinstance(found, str) else None


def _cached_names(repo: str, revision: str, folder: Path) -> list[str]:
    """Return the files of a revision that lie in the hub's cache."""
    from huggingface_hub.file_download import repo_folder_name

    base = folder / repo_folder_name(repo_id=repo, repo_type="model")
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
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    logger = logging.getLogger("huggingface_hub")
    level, where = logger.level, f"{repo}/{file}" if file else repo
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Not enough free disk space")
            yield
    except HFValidationError as error:
        raise RadstartError(
            "not the name of a repository", short(repo, 100), remedy="write OWNER/NAME"
        ) from error
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _answered(error.__cause__, repo, revision, file) from error
        raise _no_metadata(error, where) from error
    except (HfHubHTTPError, EntryNotFoundError) as error:
        raise _answered(error, repo, revision, file) from error
    except httpx2.HTTPError as error:
        connected = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        raise RadstartError(
            "the connection to the hub broke off" if connected else "no connection to the hub",
            where,
            str(error) or type(error).__name__,
            "try again later" if connected else "check the network",
        ) from error
    except json.JSONDecodeError as error:
        raise RadstartError(
            "what answers is not a hub", where, str(error), "check HF_ENDPOINT, proxy and firewall"
        ) from error
    except UserWarning as error:
        raise RadstartError(str(error), where, remedy="free space, or set HF_HOME") from error
    except OSError as error:
        if "Consistency check failed" in str(error):
            raise RadstartError(
                "what came is not as long as the hub states", where, remedy="try again later"
            ) from error
        raise RadstartError(
            "cannot be stored in the hub's cache",
            where,
            os_reason(error),
            "free space, or set HF_HOME",
        ) from error
    finally:
        logger.setLevel(level)


def _no_metadata(error: Exception, where: str) -> RadstartError:
    """Return why the hub did not say what a file is."""
    from huggingface_hub.errors import FileMetadataError

    cause = error.__cause__ or error
    what, remedy = "the hub does not answer as it should", "try again later"
    if isinstance(cause, FileMetadataError):
        what, remedy = "what answers is not a hub", "check HF_ENDPOINT, proxy and firewall"
    return RadstartError(what, where, short(str(cause), 200), remedy)


def _answered(error: Exception, repo: str, revision: str, file: str) -> RadstartError:
    """Return what the hub answered, in one line."""
    from huggingface_hub import errors

    status = f"{error.response.status_code}" if isinstance(error, errors.HfHubHTTPError) else ""
    token = "set HF_TOKEN or run `hf auth login`"
    if isinstance(error, errors.GatedRepoError):
        sent = "authorization" in error.response.request.headers
        return RadstartError(
            "gated: its licence has to be accepted first",
            repo,
            f"{status}, {'your' if sent else 'no'} token was sent",
            f"accept it at https://huggingface.co/{repo}, then {token}",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return RadstartError(
            "no such repository, or a private one", repo, status, f"check its name, or {token}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return RadstartError("no such revision", repo, revision, "name a branch, tag or commit")
    if isinstance(error, errors.EntryNotFoundError):
        return RadstartError("no such file in this repository", repo, file, "name another file")
    if status in ("401", "403"):
        return RadstartError("the hub refuses the token", repo, status, token)
    return RadstartError("the hub does not give the file", repo, status, "try again later")


def _not_cached(where: str, revision: str) -> RadstartError:
    return RadstartError(
        "--offline, and not in the hub's cache",
        where,
        f"revision {revision}",
        "run the same command once with network",
    )
