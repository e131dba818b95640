"""Archives give the one weights file that they hold, and nothing else gets out of them."""

import functools
import gzip
import io
import stat
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save

from radstart.core.errors import RadstartError
from radstart.weights.remote import archives
from radstart.weights.remote.archives import unpack

WEIGHTS = save({"a.weight": torch.arange(50_000.0)})
README = b"how to use these weights\n"


def tar(path, entries, mode="w:gz"):
    """Write a tar of (name or TarInfo, bytes)."""
    with tarfile.open(path, mode) as archive:
        for entry, content in entries:
            if isinstance(entry, str):
                entry = tarfile.TarInfo(entry)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def zipped(path, entries, mode=zipfile.ZIP_DEFLATED):
    """Write a zip of (name or ZipInfo, bytes)."""
    with zipfile.ZipFile(path, "w", mode) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


WRITERS = {
    "zip": zipped,
    "stored zip": lambda path, entries: zipped(path, entries, zipfile.ZIP_STORED),
    "tar": lambda path, entries: tar(path, entries, "w"),
    "tar.gz": tar,
}


@functools.cache  # torch writes addresses into it: no two are equal
def legacy():
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(3)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def torch_zip():
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(3)}, buffer)
    return buffer.getvalue()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def refused(path, out, **options):
    """Return the one line of a refusal, after which `out` holds nothing."""
    with pytest.raises(RadstartError) as error:
        unpack(path, out, **options)
    assert not out.exists() or list(out.iterdir()) == []
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("name", ["a", "w.pth"])
def test_the_one_weights_file_comes_out_whatever_stands_beside_it(tmp_path, out, form, name):
    """By content, under its last name; the archive's own name says nothing."""
    entries = [
        ("net/README.md", README),
        ("net/._model.pth", b"\x00\x05\x16\x07" + bytes(100)),
        ("net/deep/model.pth", WEIGHTS),
        ("net/labels.json", b"{}"),
    ]
    path = WRITERS[form](tmp_path / name, entries)

    assert unpack(path, out) == out / "model.pth"
    assert (out / "model.pth").read_bytes() == WEIGHTS
    assert [p.name for p in out.iterdir()] == ["model.pth"]


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
    ("name", "content"),
    [("x", legacy()), ("x.bin", torch_zip()), ("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(900))],
)
def test_every_form_of_weights_is_found(tmp_path, out, form, name, content):
    """Legacy torch, torch's zip under a name for weights, HDF5."""
    path = WRITERS[form](tmp_path / "a", [("README", README), (name, content)])

    assert unpack(path, out).read_bytes() == content


@pytest.mark.parametrize("content", [WEIGHTS, legacy(), torch_zip()])
def test_what_is_no_archive_is_returned_as_it_is(tmp_path, out, content):
    """A torch file is a zip, and stays one."""
    path = tmp_path / "w.zip"
    path.write_bytes(content)

    assert unpack(path, out) == path
    assert not out.exists()
    assert "not an archive (got" in refused(path, out, member="a")


def test_an_npz_is_no_archive(tmp_path, out):
    """NumPy's zip is what a reader of it wants."""
    np.savez(tmp_path / "w.npz", a=np.ones(3))

    assert unpack(tmp_path / "w.npz", out) == tmp_path / "w.npz"


def test_a_gzip_of_one_file_is_that_file(tmp_path, out):
    """w.pth.gz gives w.pth; beside itself, it does not write over itself."""
    path = tmp_path / "w.pth.gz"
    path.write_bytes(gzip.compress(WEIGHTS))
    assert unpack(path, out) == out / "w.pth"
    assert (out / "w.pth").read_bytes() == WEIGHTS

    path = path.rename(tmp_path / "w")
    packed = path.read_bytes()
    assert unpack(path, tmp_path) == tmp_path / "unpacked-w"
    assert path.read_bytes() == packed


@pytest.mark.parametrize("form", WRITERS)
def test_several_weights_files_are_listed_and_one_can_be_named(tmp_path, out, form):
    """By its whole name, by its last one where that is enough."""
    entries = [("a/w.pth", WEIGHTS), ("b/w.pth", legacy()), ("b/v.pth", WEIGHTS), ("r", README)]
    path = WRITERS[form](tmp_path / "x", entries)

    line = refused(path, out)
    assert "3 weights files" in line
    assert "a/w.pth, b/w.pth, b/v.pth" in line
    assert "name one of them" in line
    assert "2 files called 'w.pth'" in refused(path, out, member="w.pth")
    assert "no files called 'none'" in refused(path, out, member="none")
    assert unpack(path, out, member="b/w.pth").read_bytes() == legacy()
    assert unpack(path, out, member="v.pth").read_bytes() == WEIGHTS
    assert unpack(path, out, member="r").read_bytes() == README


@pytest.mark.parametrize("form", WRITERS)
def test_an_archive_without_weights_lists_what_it_holds(tmp_path, out, form):
    """And an empty zip says so too; an empty tar is nothing but zeros."""
    path = WRITERS[form](tmp_path / "x", [("r.md", README), ("s.tar.gz", gzip.compress(b"1"))])
    assert "no weights files in this archive (got r.md, s.tar.gz)" in refused(path, out)

    if "tar" not in form:
        path = WRITERS[form](tmp_path / "x", [])
        assert "no weights files in this archive" in refused(path, out)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
    "name", ["../w.pth", "a/../../w.pth", "/tmp/w.pth", "..\\w.pth", "C:w.pth", "a\nb/w.pth"]
)
def test_a_name_that_leads_out_of_the_archive_refuses_it_whole(tmp_path, out, form, name):
    """Beside good weights, too; nothing is written anywhere."""
    path = WRITERS[form](tmp_path / "x", [("good.pth", WEIGHTS), (name, WEIGHTS)])
    before = sorted(tmp_path.rglob("*"))

    assert "a name that may lead out of it" in refused(path, out)
    assert "a name that may lead out of it" in refused(path, out, member="good.pth")
    assert [p for p in sorted(tmp_path.rglob("*")) if p != out] == before


@pytest.mark.parametrize(
    "form", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_refuse_it(tmp_path, out, form):
    """Whether or not they are what is asked for."""
    entry = tarfile.TarInfo("w.pth")
    entry.type, entry.linkname = form, "/etc/passwd"
    path = tar(tmp_path / "x", [("good.pth", WEIGHTS), (entry, b"")])

    assert "a link, a device or a sparse file" in refused(path, out)
    assert "a link, a device or a sparse file" in refused(path, out, member="good.pth")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_refuse_it(tmp_path, out, mode):
    """Unix writes what they are into a zip's attributes."""
    entry = zipfile.ZipInfo("w.pth")
    entry.external_attr = (mode | 0o777) << 16
    path = zipped(tmp_path / "x", [("good.pth", WEIGHTS), (entry, b"/etc/passwd")])

    assert "a link or a device" in refused(path, out)


def test_folders_and_modes_are_nothing_to_refuse(tmp_path, out):
    """What honest archives hold: folders, `./`, executable bits."""
    folder, file = tarfile.TarInfo("./net"), tarfile.TarInfo("./net/w.pth")
    folder.type, file.mode = tarfile.DIRTYPE, 0o777
    assert unpack(tar(tmp_path / "x", [(folder, b""), (file, WEIGHTS)]), out, member="net/w.pth")

    path = tmp_path / "y"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("net")
        archive.writestr("net/w.pth", WEIGHTS)
    assert unpack(path, out).read_bytes() == WEIGHTS


def test_a_sparse_file_is_refused(tmp_path, out):
    """It could become any size out of nothing."""
    entry = tarfile.TarInfo("w.pth")
    entry.type = tarfile.GNUTYPE_SPARSE
    path = tar(tmp_path / "x", [(entry, b"")], "w")

    assert "a link, a device or a sparse file" in refused(path, out)


@pytest.mark.parametrize("form", WRITERS)
def test_more_than_the_limits_is_refused(tmp_path, out, form):
    """Bytes of all members together, and how many they are."""
    path = WRITERS[form](tmp_path / "x", [("w.pth", WEIGHTS), ("b", README), ("c", README)])

    size = len(WEIGHTS) + 2 * len(README)
    room = 100_000 if form == "tar.gz" else 0  # the tar itself is unpacked first
    assert unpack(path, out, max_bytes=size + room, max_members=3)
    assert "larger than the limit" in refused(path, tmp_path / "n", max_bytes=size - 1)
    assert "more than 2 entries" in refused(path, tmp_path / "n", max_members=2)


@pytest.mark.parametrize("form", ["zip", "gz", "tar.gz"])
def test_a_bomb_is_refused_before_it_goes_off(tmp_path, out, monkeypatch, form):
    """A few kB that would become many MB: nothing near that is written."""
    monkeypatch.setattr(archives, "SMALL", 1 << 20)
    zeros = legacy() + bytes(8 << 20)
    path = tmp_path / "w.pth.gz"
    if form == "gz":
        path.write_bytes(gzip.compress(zeros))
    else:
        WRITERS[form](path, [("w.pth", zeros)])
    assert path.stat().st_size < 20_000

    line = refused(path, out)
    assert "packed to less than 1/200" in line or "larger than the limit of" in line


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_states(tmp_path, out):
    """The list of contents says 1000 bytes where a million are packed."""
    path = zipped(tmp_path / "x", [("w.pth", legacy() + bytes(1_000_000))])
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 1000)
    path.write_bytes(data)

    assert "damaged archive" in refused(path, out)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_a_header_of_unreasonable_size_is_not_read_into_memory(tmp_path, out, form):
    """A long name of 50 MB is no name."""
    path = tmp_path / "x"
    entry = tarfile.TarInfo("w.pth")
    entry.type = tarfile.GNUTYPE_LONGNAME if form == "gnu" else tarfile.XHDTYPE
    tar(path, [(entry, bytes(50 << 20)), ("w.pth", WEIGHTS)], "w")

    assert "a header of unreasonable size" in refused(path, out)


def test_an_encrypted_zip_says_so(tmp_path, out):
    """No password is asked for."""
    path = zipped(tmp_path / "x", [("w.pth", WEIGHTS)])
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)

    assert "encrypted" in refused(path, out)


@pytest.mark.parametrize("form", WRITERS)
def test_cut_anywhere_an_archive_gives_nothing(tmp_path, out, form):
    """No half file is ever left behind."""
    path = WRITERS[form](tmp_path / "x", [("w.pth", WEIGHTS)])
    whole = path.read_bytes()

    for length in (600, len(whole) // 2, len(whole) * 9 // 10):
        path.write_bytes(whole[:length])
        assert "damaged archive" in refused(path, out)


def test_one_wrong_byte_is_found(tmp_path, out):
    """By the checksum of zip and gzip."""
    for form in ("zip", "tar.gz"):
        path = WRITERS[form](tmp_path / form, [("w.pth", WEIGHTS)])
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
        assert "damaged archive" in refused(path, out)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, out):
    """What an earlier call unpacked stays where the next archive is damaged."""
    path = zipped(tmp_path / "x", [("w.pth", WEIGHTS)], zipfile.ZIP_STORED)
    unpack(path, out)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)

    with pytest.raises(RadstartError, match="damaged archive"):
        unpack(path, out)
    assert (out / "w.pth").read_bytes() == WEIGHTS
    assert [p.name for p in out.iterdir()] == ["w.pth"]
