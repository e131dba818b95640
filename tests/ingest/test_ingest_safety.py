"""Files made to harm, among others, through the whole of `radstart ingest`: a row each, exit 0."""

import gzip
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from dicom_file import header, save
from dicom_files import ct, element, encoded
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from radstart.dataset import open_dataset

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 4000, (16, 12), dtype=np.uint16)
READERS = """
import ctypes, time
from radstart.ingest import work
given_frames, given_scan = work.frames_of, work.scan_of
def harm(path):
    if "crashes" in path.name:
        ctypes.string_at(0)
    if "ends" in path.name:
        __import__("os")._exit(7)
    if "hangs" in path.name:
        while True:
            pass
    if "greedy" in path.name:
        kept = [bytes(1 << 28) for _ in range(64)]
    if "fails" in path.name:
        raise ZeroDivisionError("Hans Meier")
    if "panics" in path.name:
        raise type("PanicException", (BaseException,), {})("Hans Meier")
def frames_of(path, kind, which):
    if "decoder" in path.name:
        harm(path)
    return given_frames(path, kind, which)
def scan_of(path, kind):
    if "scanner" in path.name:
        harm(path)
    return given_scan(path, kind)
work.frames_of, work.scan_of = frames_of, scan_of
"""


def good(folder, count=5):
    """Write images that can be read, before, between and after the others."""
    for k in range(count):
        pixels = RNG.integers(0, 255, (20, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{'amz'[k % 3]}-good{k}.png")
    for k in range(3):
        (folder / f"n-good{k}.dcm").write_bytes(encoded(ct(SOPInstanceUID=f"1.2.{k}")))
    return count + 3


def _dicom(folder):
    (folder / "claims.dcm").write_bytes(encoded(ct(Rows=60000, Columns=60000)))
    (folder / "frames.dcm").write_bytes(encoded(ct(NumberOfFrames=2_000_000_000)))
    whole = encoded(ct())
    at = whole.rfind(struct.pack("<HH", 0x7FE0, 0x0010))
    (folder / "length.dcm").write_bytes(whole[:at] + element(0x7FE00010, "OW", b"\0" * 8, 1 << 31))
    (folder / "headerlength.dcm").write_bytes(
        whole[:at] + element(0x00291010, "OB", b"\0" * 8, 0xFFFFFFF0)
    )
    (folder / "vr.dcm").write_bytes(whole[:500] + b"\xff\xfe??" * 40)
    opened = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
    opened += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    (folder / "nested.dcm").write_bytes(whole[:at] + opened * 1000)
    made = header(GREY)
    save(folder / "bomb.dcm", made, GREY.tobytes(), DeflatedExplicitVRLittleEndian)
    content = (folder / "bomb.dcm").read_bytes()
    start = content.find(b"1.2.840.10008.1.2.1.99") + 22
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = struct.pack("<HH2sHI", 0x0029, 0x1010, b"OB", 0, 1 << 30)
    bomb = packer.compress(zeros) + b"".join(packer.compress(bytes(1 << 24)) for _ in range(64))
    size = struct.unpack("<I", content[140:144])[0] + 144
    (folder / "bomb.dcm").write_bytes(content[: max(size, start)] + bomb + packer.flush())
    save(folder / "cyclic.dcm", header(GREY), [b"\0" * 64], RLELossless)
    content = (folder / "cyclic.dcm").read_bytes()
    end = content.rfind(struct.pack("<HH", 0xFFFE, 0xE0DD))
    (folder / "cyclic.dcm").write_bytes(
        content[:end] + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 100_000
    )
    endless = content[: content.rfind(encapsulate([b"\0" * 64])[:8])]
    (folder / "endless.dcm").write_bytes(endless + struct.pack("<HHI", 0xFFFE, 0xE000, 1 << 31))


def _others(folder):
    head = bytearray(352)
    head[:4] = struct.pack("<i", 348)
    head[40:56] = struct.pack("<8h", 3, 30000, 30000, 30000, 1, 1, 1, 1)
    head[70:74] = struct.pack("<2h", 4, 16)
    head[108:112] = struct.pack("<f", 352)
    head[344:348] = b"n+1\0"
    (folder / "volume.nii").write_bytes(head)
    with gzip.open(folder / "bomb.nii.gz", "wb") as file:
        head[40:56] = struct.pack("<8h", 3, 512, 512, 20000, 1, 1, 1, 1)
        file.write(head)
        for _ in range(8):
            file.write(bytes(1 << 24))
    chunk = b"IHDR" + struct.pack(">2I5B", 60000, 60000, 8, 0, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    (folder / "claims.png").write_bytes(png + b"\0" * 100)
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        shape = b"{'descr': '|u1', 'fortran_order': False, 'shape': (16384, 16384), }"
        archive.writestr("a.npy", b"\x93NUMPY\1\0\x76\0" + shape.ljust(118) + bytes(1 << 28))
    (folder / "claims.npy").write_bytes(
        b"\x93NUMPY\1\0\x76\0"
        + b"{'descr': '<u2', 'fortran_order': False, 'shape': (60000, 60000), }".ljust(117)
        + b"\n"
    )
    (folder / "sizes.nrrd").write_bytes(
        b"NRRD0004\ntype: uint16\ndimension: 2\nsizes: 60000 60000\nendian: little\n"
        b"encoding: raw\n\n"
    )
    (folder / "empty.dcm").write_bytes(b"")
    os.mkfifo(folder / "fifo.dcm")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "nowhere.png").symlink_to(folder / "absent.png")
    (folder / "device.dcm").symlink_to("/dev/zero")
    (folder / os.fsdecode(b"no \xff\xfe utf8.dcm")).write_bytes(b"no image at all" * 50)
    (folder / "DICOMDIR").write_bytes(encoded(ct(SOPClassUID="1.2.840.10008.1.3.10")))


@pytest.fixture
def readers(tmp_path, monkeypatch):
    """Let some files harm the worker processes in which they are read."""
    hooked = tmp_path / "hooked"
    hooked.mkdir()
    (hooked / "sitecustomize.py").write_text(READERS)
    search = os.pathsep.join([str(hooked), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", search)


def refused(out):
    """Return name -> reason of all that was refused."""
    rows = open_dataset(out).rejected
    assert not rows["image"].duplicated().any()
    return dict(zip(rows["image"], rows["reason"], strict=True))


@pytest.mark.slow
def test_what_is_made_to_harm_costs_a_row(tmp_path, cli):
    source = tmp_path / "source"
    source.mkdir()
    count = good(source)
    _dicom(source)
    (source / os.fsdecode(b"deep \xff")).mkdir()
    _others(source / os.fsdecode(b"deep \xff"))
    (source / "hollow" / "hollow").mkdir(parents=True)
    out = tmp_path / "out"
    code, _, err = cli("ingest", source, "--out", out, "--keep-ids", "--workers", 1, "--memory", 3)
    assert (code, "Traceback" in err) == (0, False), err
    made = open_dataset(out)
    assert made.rows["image"].str.contains("good").sum() == len(made) == count
    names = {Path(name).name for name in refused(out)}
    assert names == {p.name.encode(errors="replace").decode()
                     for p in source.rglob("*")
                     if "good" not in p.name and (p.is_symlink() or not p.is_dir())}  # fmt: skip
    assert len(names) == 23
    assert all(len(reason) > 10 for reason in refused(out).values())


@pytest.mark.slow
def test_a_decoder_that_dies_hangs_or_eats_memory_costs_its_own_file(tmp_path, cli, readers):
    source = tmp_path / "source"
    source.mkdir()
    count = good(source)
    kinds = ("crashes", "ends", "hangs", "greedy", "fails", "panics")
    for part in ("scanner", "decoder"):
        for kind in kinds:
            Image.fromarray(GREY).save(source / f"{part} {kind}.png")
    out = tmp_path / "out"
    words = ["--keep-ids", "--workers", 2, "--seconds", 4, "--memory", 3]
    code, said, err = cli("ingest", source, "--out", out, *words)
    assert code == 0, err
    assert "Meier" not in said + err
    assert len(open_dataset(out)) == count
    wanted = {
        "crashes": "crashes the decoder (SIGSEGV)", "ends": "ends the process that decodes it",
        "hangs": "took longer than 4 seconds", "greedy": "needs more memory than a file may take",
        "fails": "its reader fails (ZeroDivisionError)", "panics": "ends the process",
    }  # fmt: skip
    found = refused(out)
    assert len(found) == 12
    for part in ("scanner", "decoder"):
        for kind, reason in wanted.items():
            assert found[f"{part} {kind}.png"].startswith(reason)


@pytest.mark.slow
@pytest.mark.parametrize("files", [0, 3])
def test_nothing_to_read_is_a_dataset_without_images(tmp_path, cli, files):
    source = tmp_path / "source"
    source.mkdir()
    for k in range(files):
        (source / f"{k}.txt").write_text("no image")
    out = tmp_path / "out"
    code, said, err = cli("ingest", source, "--out", out, "--keep-ids", "--workers", 1)
    assert code == 0, err
    assert "0 images" in said
    dataset = open_dataset(out)
    assert (len(dataset), len(dataset.rejected)) == (0, max(1, files))
    again, _, _ = cli("ingest", source, "--out", out, "--keep-ids", "--workers", 1)
    assert again == 0
