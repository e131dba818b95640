"""Coverage-guided fuzzing of the readers: bytes give images or Unreadable, and nothing else.

`python tests/ingest/fuzz.py headers --seconds 200`, or pixels, nifti, nrrd, arrays, raster. What it
finds it writes where it runs (`crash-...`); it becomes a test with these bytes (test_fuzz.py).
"""

import argparse
import gzip
import importlib
import io
import itertools
import logging
import sys
import tempfile
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

MOST = 20_000  # bytes of a file


def attempt(target, path, data):
    """Write the bytes and read them as files are read; raises what is no Unreadable."""
    from radstart.ingest.frames import Unreadable
    from radstart.ingest.readers import dicom_scan, frames_of, kind_of, scan_of

    path.write_bytes(data)
    with suppress(Unreadable):
        kind_of(path)
    with suppress(Unreadable):
        if target == "headers":
            quick = dicom_scan.fast(path)
            found = dicom_scan.careful(path)
            assert quick is None or repr(quick) == repr(found)
            return
        kind = "dicom" if target == "pixels" else target
        images = 2 if kind == "dicom" else min(scan_of(path, kind).images, 2)
        for frame in itertools.islice(frames_of(path, kind, range(images)), images):
            assert frame.values.size


def seeds(target):
    """Return files to begin with, as bytes."""
    import numpy as np

    values = np.arange(48, dtype=np.uint16).reshape(2, 4, 6)
    if target in ("headers", "pixels"):
        return _dicom()
    if target == "nifti":
        import nibabel

        kinds = nibabel.Nifti1Image, nibabel.Nifti2Image
        made = [kind(values.astype("i2"), np.diag([1, 2, 3, 1])).to_bytes() for kind in kinds]
        return [*made, gzip.compress(made[0])]
    if target == "nrrd":
        head = b"NRRD0005\ntype: uint16\ndimension: 3\nspace: left-posterior-superior\n"
        head += b"sizes: 6 4 2\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nendian: little\n"
        head += b"encoding: "
        meta = b"ObjectType = Image\nNDims = 3\nDimSize = 6 4 2\nElementSpacing = 1 2 3\n"
        meta += b"ElementType = MET_USHORT\nCompressedData = True\nElementDataFile = LOCAL\n"
        raw = values.tobytes()
        text = " ".join(map(str, values.ravel())).encode()
        return [head + b"raw\n\n" + raw, head + b"gzip\n\n" + gzip.compress(raw),
                head + b"ascii\n\n" + text, head + b"hex\n\n" + raw.hex().encode(),
                meta + zlib.compress(raw)]  # fmt: skip
    made = []
    if target == "arrays":
        for save, content in (
            (np.save, {"arr": values}),
            (np.savez, {"train_images": values, "train_labels": np.zeros((2, 1), int)}),
            (np.savez_compressed, {"image": values}),
        ):
            out = io.BytesIO()
            save(out, **content)
            made.append(out.getvalue())
        return made
    from PIL import Image

    for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"):
        out = io.BytesIO()
        Image.fromarray(values[0].astype("u1")).save(out, kind)
        made.append(out.getvalue())
    return made


def _dicom():
    from dicom_files import ImplicitVRLittleEndian, ct, encoded, enhanced
    from pydicom.data import get_testdata_files

    made = [encoded(ct()), encoded(ct(), undefined=True), encoded(enhanced())]
    made += [encoded(ct(), ImplicitVRLittleEndian), encoded(ct(), "1.2.840.10008.1.2.2")]
    made += [encoded(ct(), "1.2.840.10008.1.2.1.99")]
    files = sorted(map(Path, get_testdata_files()))
    return made + [path.read_bytes() for path in files
                   if path.is_file() and path.stat().st_size < MOST]  # fmt: skip


TARGETS = ("headers", "pixels", "nifti", "nrrd", "arrays", "raster")


def main():
    """Run one target until it finds something, or its time is up."""
    import atheris

    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=200)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["radstart.ingest.readers", "pydicom", "nibabel"]):
        from radstart.ingest.readers import KINDS

        for module in {module for both in KINDS.values() for module in both}:
            importlib.import_module(f"radstart.ingest.readers.{module}")
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds(asked.target)):
            (Path(folder) / f"seed{number}").write_bytes(data)
        path = Path(folder).with_suffix(".file")
        limits = [f"-max_total_time={asked.seconds}", f"-max_len={MOST}", "-timeout=20"]
        atheris.Setup(
            [sys.argv[0], *limits, "-rss_limit_mb=4096", folder],
            lambda data: attempt(asked.target, path, data),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
