"""A short slice of the fuzzing of fuzz.py, without coverage, and what it found."""

import random
import struct

import fuzz
import pytest

from radstart.ingest.frames import Unreadable
from radstart.ingest.readers import scan_of


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_changed_bytes_give_images_or_a_reason(target, tmp_path):
    random.seed(7)
    seeds = fuzz.seeds(target)
    for _ in range(60):
        data = bytearray(random.choice(seeds))
        start = 132 if data[128:132] == b"DICM" else 0
        for _ in range(random.randint(1, 4)):
            at = random.randrange(start, len(data))
            data[at : at + random.choice((0, 1, 1, 1, 2))] = random.randbytes(random.choice((1, 2)))
        fuzz.attempt(target, tmp_path / "file", bytes(data))


def test_a_volume_that_claims_slices_without_end(tmp_path):
    """Found by fuzzing: 16 million slices in 640 bytes took minutes and gigabytes."""
    nifti = bytearray(fuzz.seeds("nifti")[1])
    struct.pack_into("<q", nifti, 40, 1 << 24)
    nrrd = fuzz.seeds("nrrd")[0].replace(b"sizes: 6 4 2", b"sizes: 6 4 16777216")
    assert bytes(nifti) != fuzz.seeds("nifti")[1]
    assert nrrd != fuzz.seeds("nrrd")[0]
    for kind, data in (("nifti", bytes(nifti)), ("nrrd", nrrd)):
        path = tmp_path / kind
        path.write_bytes(data)
        with pytest.raises(Unreadable, match="more images than the file can hold"):
            scan_of(path, kind)
