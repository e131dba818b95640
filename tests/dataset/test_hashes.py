"""Perceptual hashes: what they do not see, what has none, and the referee."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from radstart.dataset import perceptual_hash, perceptual_hashes
from radstart.dataset.hashes import BLANK

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def picture(seed, height=300, width=260):
    """Return a smooth grey picture with some edges."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 200, (13, 11)).astype(np.float32)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image[height // 3 : height // 2, width // 4 : width // 2] += 30
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 230).astype(np.uint8)


def distance(a, b):
    return (a ^ b).bit_count()


def jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


COPIES = {
    "halved": lambda i: cv2.resize(i, (130, 150), interpolation=cv2.INTER_AREA),
    "enlarged": lambda i: cv2.resize(i, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC),
    "squashed": lambda i: cv2.resize(i, (224, 224), interpolation=cv2.INTER_LINEAR),
    "jpeg": lambda i: jpeg(i, 60),
    "brighter": lambda i: (i.astype(int) + 20).astype(np.uint8),
    "contrast": lambda i: (i * 0.8).astype(np.uint8),
    "rgb": lambda i: np.repeat(i[..., None], 3, axis=2),
    "16 bit": lambda i: i.astype(np.uint16) * 257,
    "12 of 16 bit": lambda i: i.astype(np.uint16) * 16,
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_near_and_another_picture_is_far(copy):
    for seed in range(12):
        image = picture(seed)
        assert distance(perceptual_hash(image), perceptual_hash(copy(image))) <= 4
        assert distance(perceptual_hash(image), perceptual_hash(picture(seed + 100))) > 12


def test_colours_are_weighed_as_usual():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 20:40, 1] = 200  # green
    grey = np.zeros((64, 64), np.uint8)
    grey[:, 20:40] = round(0.587 * 200)
    assert distance(perceptual_hash(image), perceptual_hash(grey)) == 0
    blue = np.zeros((64, 64, 3), np.uint8)
    blue[..., 2] = np.linspace(0, 120, 64)  # 14 levels of grey
    blue[..., 0] = np.linspace(90, 0, 64)  # 27 levels, the other way
    assert perceptual_hash(blue) == perceptual_hash(np.ascontiguousarray(blue[..., 0]))


BLANKS = {
    "black": np.zeros((50, 60), np.uint8),
    "white": np.full((50, 60, 3), 255, np.uint8),
    "noise": np.random.default_rng(0).integers(118, 138, (400, 400)).astype(np.uint8),
    "12-bit noise": np.random.default_rng(0).integers(1000, 1080, (400, 400)).astype(np.uint16),
    "one spot": np.pad(np.full((3, 3), 255, np.uint8), 200),
    "no pixels": np.zeros((0, 7), np.uint8),
}


@pytest.mark.parametrize("image", BLANKS.values(), ids=BLANKS)
def test_blank_images_have_no_hash(image):
    assert perceptual_hash(image) is None


def test_a_faint_picture_has_one_above_the_limit_and_none_below():
    wave = np.sin(np.linspace(0, 9, 100))[None] * np.ones((100, 1))
    assert perceptual_hash(np.rint(128 + 2.2 * BLANK * wave).astype(np.uint8)) is not None
    assert perceptual_hash(np.rint(128 + 0.8 * BLANK * wave).astype(np.uint8)) is None
    deep = np.rint(2048 + 16 * 2.2 * BLANK * wave).astype(np.uint16)
    assert perceptual_hash(deep) is not None


def test_batches_keep_the_order_and_say_which_have_none():
    images = [picture(k, 40 + k, 90 - k) for k in range(30)] * 40
    images[7] = images[1100] = BLANKS["black"]
    hashes, known = perceptual_hashes(iter(images))
    assert (hashes.dtype, hashes.shape, known.shape) == (np.uint64, (1200,), (1200,))
    assert np.flatnonzero(~known).tolist() == [7, 1100]
    assert hashes[7] == 0
    assert [int(h) for h in hashes[30:60]] == [perceptual_hash(image) for image in images[30:60]]
    empty = perceptual_hashes([])
    assert [len(part) for part in empty] == [0, 0]


def test_thin_images_read_every_pixel():
    """A strip of 20 rows and 2000 columns: 1 in 60 columns would see another picture."""
    columns = np.zeros(2000)
    columns[::40] = 255  # seen as an even grey
    columns[500:900] += 100
    strip = np.tile(np.clip(columns, 0, 255), (20, 1)).astype(np.uint8)
    plain = np.zeros((20, 2000), np.uint8)
    plain[:, 500:900] = 100
    assert distance(perceptual_hash(strip), perceptual_hash(plain)) <= 4


def test_a_view_of_every_second_pixel_is_read_as_it_stands():
    image = picture(1)
    view = image[::2, ::-2]
    assert perceptual_hash(view) == perceptual_hash(view.copy())


def test_mirror_images_do_not_hang_on_rounding():
    """Half of a symmetric picture's coefficients are nothing: their bits are all 0."""
    half = picture(3, 200, 100)
    image = np.concatenate([half, half[:, ::-1]], axis=1)
    assert perceptual_hash(image) == perceptual_hash(image[:, ::-1])


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent: NOT TESTED on images")
def test_real_images_are_near_and_far_as_imagehash_has_them():
    imagehash = pytest.importorskip("imagehash", reason="imagehash is absent: NOT TESTED")
    images = []
    for name in ("breast_us_busi", "chest_xray_kermany", "knee_xray_osteoporosis", "mednist"):
        paths = [p for p in sorted((DATA / name).rglob("*")) if p.suffix in (".jpg", ".jpeg")]
        images += [np.array(Image.open(p).convert("RGB")) for p in paths[:: len(paths) // 20]]
    ours, known = perceptual_hashes(images)
    assert known.all()
    assert known.sum() >= 80
    theirs = [int(str(imagehash.phash(Image.fromarray(image))), 16) for image in images]
    theirs = np.array(theirs, np.uint64)
    assert np.mean(np.bitwise_count(ours ^ theirs) <= 4) > 0.95
    assert np.bitwise_count(ours ^ theirs).max() <= 8

    for copy, most in ((COPIES["squashed"], 4), (lambda i: jpeg(i, 75), 6)):
        again = np.array([perceptual_hash(copy(image)) for image in images], np.uint64)
        assert np.mean(np.bitwise_count(ours ^ again) <= 3) > 0.95
        assert np.bitwise_count(ours ^ again).max() <= most
        other = [int(str(imagehash.phash(Image.fromarray(copy(i)))), 16) for i in images]
        other = np.array(other, np.uint64)
        a = np.bitwise_count(ours[:, None] ^ again)  # near and far among all of them
        b = np.bitwise_count(theirs[:, None] ^ other)
        assert (((a <= 8) & (b > 12)) | ((b <= 8) & (a > 12))).sum() == 0
        assert np.mean((a <= 8) == (b <= 8)) > 0.999
