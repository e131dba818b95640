"""Identifiers leave memory as keyed hashes: the same in every ingest with the same key file."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason

OLD = 90.0  # years from which on an age tells who it is, as the HIPAA rule has it
_DIGITS = 16  # of 64 bits: two of a million names agree with a chance of 3 in 100 million
_KEY_BYTES = 32
_CODES = """
    AR AS ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DMS DS DX EC ECG EEG EMG
    EOG EPS ES FA FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MC MG MR MS NEARIR NM
    OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE
    RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SC SEG SM SMR SR SRF ST STAIN TEXT
    TG US VA VF XA XAPROTOCOL XC XR
"""
"""Modalities: the defined terms of DICOM PS3.3 C.7.3.1.1.1 with the retired ones, and XR."""
_KINDS = """
    ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER LOCALISER SCOUT SCANOGRAM TOPOGRAM SURVIEW
    MIXED VOLUME RESAMPLED MPR REFORMATTED PROJECTION MIP MINIP OTHER
"""
"""Words of an image type that are used as such."""


@dataclass(frozen=True)
class Names:
    """How identifiers are written.

    Attributes:
        key: secret; b"" = identifiers are kept as they are (--keep-ids).
        given: what the user's own table and the names of files say is hidden as well; else only
            what headers say.
    """

    key: bytes
    given: bool = True

    @property
    def kept(self) -> bool:
        """Return whether identifiers are kept as they are."""
        return not self.key

    def of(self, kind: str, value: str) -> str:
        """Return what stands for an identifier in a dataset; "" for an empty one.

        Args:
            kind: "patient", "exam", "series", "image", "site": equal values of two kinds differ.
            value: the identifier; blanks around it count in names of images alone.
        """
        value = value if kind == "image" else value.strip()
        if not value or self.kept:
            return value
        state = hashlib.blake2b(f"{kind}\0{value}".encode(errors="surrogatepass"),
                                key=self.key, digest_size=_DIGITS // 2)  # fmt: skip
        return state.hexdigest()

    def told(self, kind: str, value: str) -> str:
        """Return what stands for an identifier of the user's table, or for the name of a file."""
        return self.of(kind, value) if self.given else Names(b"").of(kind, value)

    def age(self, years: float | None) -> float | None:
        """Return an age as it is written: of those over 89 that they are, no more."""
        over = not self.kept and years is not None and years >= OLD
        return OLD if over else years

    def image_type(self, value: object) -> str | None:
        r"""Return an image type of a header, e.g. "ORIGINAL\PRIMARY\AXIAL".

        Words that are not known stay different from each other, and are hashes.
        """
        known = _KINDS.split()
        words = str(value or "").strip().upper().split("\\")
        shown = [word if word in known else self.of("kind", word) for word in map(str.strip, words)]
        return "\\".join(shown) or None

    @property
    def fingerprint(self) -> str:
        """Return what tells two keys apart and gives neither away."""
        hidden = "" if self.given else " headers"
        return self.of("key", f"radstart{hidden}") if self.key else "kept"


def known_modality(value: object) -> str | None:
    """Return a modality as DICOM has it (MRI is MR); None where it is none of its terms."""
    text = str(value or "").strip().upper()
    text = "MR" if text == "MRI" else text
    return text if text in _CODES.split() else None


def default_key_file() -> Path:
    """Return the key file of this user: in $XDG_CONFIG_HOME, else in ~/.config."""
    root = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(root) / "radstart" / "ingest.key"


def read_key(path: Path | None) -> Names:
    """Return the key of a file, made (mode 600, random) where there is none yet.

    Args:
        path: None = the user's own.

    Raises:
        RadstartError: it cannot be read or made, or is no key file.
    """
    path = path or default_key_file()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(_KEY_BYTES) + "\n")
            try:
                os.link(temporary, path)  # of two at once, one wins
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise RadstartError(
            "cannot be read or made: the key that hides identifiers", str(path), os_reason(error),
            "name another with --key, or keep identifiers with --keep-ids",
        ) from error  # fmt: skip
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise RadstartError(
            "is no key file", str(path), f"{len(text)} characters",
            f"{2 * _KEY_BYTES} hexadecimal digits, or name a file that is not there yet",
        )  # fmt: skip
    return Names(key)
