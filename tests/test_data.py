"""Data sets, transforms and the loader."""

from __future__ import annotations

import gzip
import hashlib
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyconv.data import (
    DataLoader,
    Split,
    download_fashion_mnist,
    fashion_mnist,
    load_dataset,
    random_split,
    read_picture,
    sample_picture,
    sample_pictures,
)
from pyconv.data import transforms as T  # noqa: N812


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_folder(folder: Path, rng: np.random.Generator, ending: str = "") -> dict:
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (6, 5, 4)),
        "train-labels-idx1-ubyte": np.array([0, 1, 2, 0, 1, 2]),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (2, 5, 4)),
        "t10k-labels-idx1-ubyte": np.array([2, 0]),
    }
    for name, array in arrays.items():
        write_idx(folder / f"{name}{ending}", array)
    return arrays


def write_pictures(folder: Path, count: int, size: tuple[int, int] = (6, 4)) -> None:
    """Two classes of `count` pictures: one all dark, one all bright."""
    for name, value in (("dark", 10), ("bright", 240)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", size, value + i).save(folder / name / f"{i}.png")


# -- data sets ------------------------------------------------------------------------------------


def test_shipped_pictures() -> None:
    data = load_dataset("fashion-mnist")
    assert data.train.x.shape == (5000, 1, 28, 28) and data.test.x.shape == (1000, 1, 28, 28)
    assert data.train.x.dtype == np.uint8 and data.train.y.dtype == np.int64
    assert (np.bincount(data.train.y) == 500).all() and (np.bincount(data.test.y) == 100).all()
    assert len(data.classes) == 10 and data.classes[0] == "T-shirt/top"


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_folder(tmp_path: Path, rng: np.random.Generator, ending: str) -> None:
    arrays = write_folder(tmp_path, rng, ending)
    for data in (load_dataset("fashion-mnist", tmp_path), load_dataset(tmp_path)):
        assert np.array_equal(data.train.x[:, 0], arrays["train-images-idx3-ubyte"])
        assert np.array_equal(data.test.y, arrays["t10k-labels-idx1-ubyte"])
    assert load_dataset(str(tmp_path)).classes == ("0", "1", "2")


def test_damaged_idx_files(tmp_path: Path, rng: np.random.Generator) -> None:
    write_folder(tmp_path, rng)
    labels = tmp_path / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="damaged: 13 bytes for an array of shape"):
        load_dataset(tmp_path)
    labels.write_bytes(b"\0\0\x0d" + whole[3:])
    with pytest.raises(ValueError, match="no IDX file"):
        load_dataset(tmp_path)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="no train-labels-idx1-ubyte"):
        load_dataset(tmp_path)
    Path(f"{labels}.gz").write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(ValueError, match="damaged"):
        load_dataset(tmp_path)


def test_missing_fashion_mnist_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dataset-fashion-mnist.*download=True"):
        load_dataset("fashion-mnist", tmp_path)


def test_download(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an address in the file system: checked by its sum, kept where it is right."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    arrays = write_folder(source, rng, ".gz")
    sums = {
        name: hashlib.sha256(gzip.decompress((source / f"{name}.gz").read_bytes())).hexdigest()
        for name in arrays
    }
    monkeypatch.setattr(fashion_mnist, "CHECKSUMS", sums)
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: open(url, "rb"))
    download_fashion_mnist(target, f"{source}/")
    assert np.array_equal(
        load_dataset("fashion-mnist", target).train.y, arrays["train-labels-idx1-ubyte"]
    )
    (target / "t10k-labels-idx1-ubyte.gz").unlink()
    write_idx(source / "t10k-labels-idx1-ubyte.gz", np.array([1, 1]))
    with pytest.raises(ValueError, match="SHA-256"):
        download_fashion_mnist(target, f"{source}/")
    assert not (target / "t10k-labels-idx1-ubyte.gz").exists()


def test_digits() -> None:
    pytest.importorskip("sklearn")
    data = load_dataset("digits")
    assert data.train.x.shape == (1438, 1, 8, 8) and len(data.test) == 359
    assert data.train.x.max() == 255 and data.train.x.dtype == np.uint8


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'needs scikit-learn: pip install "pyconv\[models\]"'):
        load_dataset("digits")


def test_folder_of_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path, 5)
    data = load_dataset(tmp_path)
    assert data.classes == ("bright", "dark")
    assert data.train.x.shape == (8, 1, 4, 6) and data.test.x.shape == (2, 1, 4, 6)
    assert data.test.y.tolist() == [0, 1] and data.test.x[:, 0, 0, 0].tolist() == [244, 14]
    assert load_dataset(tmp_path, size=(3, 2)).train.x.shape == (8, 1, 3, 2)


def test_folder_with_train_and_test(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", 3)
    write_pictures(tmp_path / "test", 1)
    data = load_dataset(tmp_path)
    assert len(data.train) == 6 and len(data.test) == 2


def test_folder_of_mixed_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path, 2)
    Image.new("RGB", (6, 4), (1, 2, 3)).save(tmp_path / "dark" / "colour.png")
    assert load_dataset(tmp_path).train.x.shape == (5, 3, 4, 6)
    Image.new("L", (9, 9)).save(tmp_path / "dark" / "large.png")
    with pytest.raises(ValueError, match=r"differ in size, from \(4, 6\) to \(9, 9\)"):
        load_dataset(tmp_path)


def test_read_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (3, 2), (255, 0, 0)).save(path)
    assert read_picture(path).shape == (3, 2, 3) and read_picture(path)[0].min() == 255
    assert read_picture(path, channels=1, size=(4, 5)).shape == (1, 4, 5)
    whole = path.read_bytes()
    path.write_bytes(whole[:45])
    with pytest.raises(ValueError, match="a.png is damaged"):
        read_picture(path)
    path.write_text("no picture")
    with pytest.raises(ValueError, match="no picture that Pillow can read"):
        read_picture(path)
    with pytest.raises(ValueError, match="channels must be 1, 3 or None, got 2"):
        read_picture(path, channels=2)


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, [[0, 255], [128, 255]]
    Image.fromarray(pixels).save(tmp_path / "red.png")
    found = read_picture(tmp_path / "red.png")
    np.testing.assert_array_equal(found[:, 0, 1], [200, 0, 0])
    np.testing.assert_array_equal(found[:, 0, 0], [255, 255, 255])
    assert found[1, 1, 0] == pytest.approx(127, abs=1)
    grey = np.stack([np.full((2, 2), 7, np.uint8), np.uint8([[0, 255], [255, 255]])], -1)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png")[0].tolist() == [[255, 7], [7, 7]]


def test_the_sample_pictures() -> None:
    names = sample_pictures()
    assert len(names) == 6 and list(names) == sorted(names)
    for name in names:
        found = sample_picture(name)
        assert found.dtype == np.uint8 and len(found) == 3 and min(found.shape[1:]) >= 390
        assert 30 < found.std() < 100
    assert sample_picture("colosseum", 1).shape[0] == 1
    with pytest.raises(ValueError, match="sample_picture: there is no 'mona'; there are cafe_"):
        sample_picture("mona")


def test_pictures_of_16_bits_and_turned_ones(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png").tolist() == [[[0, 1, 255]]]
    picture = Image.new("RGB", (3, 2))
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save(tmp_path / "turned.png", exif=exif)
    assert read_picture(tmp_path / "turned.png").shape == (3, 3, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((1,), {}, TypeError, "name must be a str or a path, got int 1"),
        (
            ("nowhere",),
            {},
            ValueError,
            "one of fashion-mnist, paintings, digits or a folder, got 'nowhere'",
        ),
        (("digits", "folder"), {}, ValueError, 'for "fashion-mnist" only'),
        (("fashion-mnist", 3), {}, TypeError, "root must be a str or a path"),
        (("fashion-mnist",), {"download": True}, ValueError, "download needs root"),
        (("fashion-mnist",), {"download": 1}, TypeError, "download must be a bool"),
    ],
)
def test_load_dataset_refuses(arguments, options, error, match) -> None:
    with pytest.raises(error, match=match):
        load_dataset(*arguments, **options)


def test_random_split_takes_the_same_share_of_every_class() -> None:
    split = Split(np.arange(40), np.repeat([0, 1], [30, 10]))
    rest, part = random_split(split, 0.2, seed=1)
    assert np.bincount(part.y).tolist() == [6, 2]
    assert sorted([*rest.x, *part.x]) == list(range(40))
    assert np.array_equal(part.x, random_split(split, 0.2, seed=1)[1].x)
    assert not np.array_equal(part.x, random_split(split, 0.2, seed=2)[1].x)
    with pytest.raises(ValueError, match="fraction must be from 0.0 to 1.0"):
        random_split(split, 1.5)


def test_split_refuses() -> None:
    with pytest.raises(ValueError, match="as many entries, got 2 and 3"):
        Split(np.zeros(2), np.zeros(3))
    with pytest.raises(TypeError, match="x must be an array, got list"):
        Split([1], np.zeros(1))  # type: ignore[arg-type]


# -- transforms -----------------------------------------------------------------------------------


def test_random_crop_takes_windows(rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, (50, 2, 5, 6)).astype(np.uint8)
    found = T.RandomCrop((3, 4))(x, np.random.default_rng(1))
    places = set()
    for picture, window in zip(x, found, strict=True):
        fits = [
            (i, j)
            for i in range(3)
            for j in range(3)
            if np.array_equal(picture[:, i : i + 3, j : j + 4], window)
        ]
        assert fits
        places.update(fits)
    assert len(places) == 9  # all of them come


def test_random_shift(rng: np.random.Generator) -> None:
    x = np.zeros((60, 1, 5, 5), np.uint8)
    x[:, :, 2, 2] = 7
    found = T.RandomShift((1, 2), fill=3)(x, np.random.default_rng(0))
    rows, columns = np.nonzero(found == 7)[2:]
    assert set(rows) == {1, 2, 3} and set(columns) == {0, 1, 2, 3, 4}
    assert (found == 3).any() and found.shape == x.shape


def test_flips() -> None:
    x = np.arange(12, dtype=np.uint8).reshape(1, 1, 3, 4).repeat(200, 0)
    turned = T.RandomHorizontalFlip(0.5)(x, np.random.default_rng(0))
    kept = (turned == x).all((1, 2, 3))
    assert 70 < kept.sum() < 130
    assert np.array_equal(turned[~kept], x[~kept][..., ::-1])
    upside = T.RandomVerticalFlip(1.0)(x, np.random.default_rng(0))
    assert np.array_equal(upside, x[:, :, ::-1])


def test_normalize_by_its_own_statistics(rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, (300, 3, 4, 5)).astype(np.uint8)
    y = T.Normalize.of(x)(x)
    assert y.dtype == np.float32
    assert np.abs(y.mean((0, 2, 3))).max() < 1e-5 and np.abs(y.std((0, 2, 3)) - 1).max() < 1e-5
    floats = T.ToFloat()(x)
    assert np.array_equal(floats, x * np.float32(1 / 255))
    assert np.allclose(T.Normalize.of(x)(floats), y, atol=1e-5)
    constant = np.full((2, 1, 2, 2), 9, np.uint8)
    assert np.abs(T.Normalize.of(constant)(constant)).max() < 1e-6


def test_noise(rng: np.random.Generator) -> None:
    y = T.GaussianNoise(0.5)(np.zeros((10, 1, 40, 40), np.float32), np.random.default_rng(0))
    assert y.dtype == np.float32 and abs(y.std() - 0.5) < 0.02


ALL = [
    T.RandomCrop(4, padding=1),
    T.RandomShift(2),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(),
    T.ToFloat(),
    T.Normalize([0.5, 0.4], [0.2, 0.3]),
    T.Compose([T.RandomShift(1), T.ToFloat(), T.GaussianNoise(0.1)]),
]


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_transforms_follow_from_the_generator(transform, rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, (8, 2, 6, 6)).astype(np.uint8)
    before = x.copy()
    first = transform(x, np.random.default_rng(5))
    assert np.array_equal(first, transform(x, np.random.default_rng(5)))
    assert np.array_equal(x, before)  # what came is left alone
    assert len(transform(x[:0], np.random.default_rng(5))) == 0


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: T.RandomCrop(0), ValueError, "size must be at least 1"),
        (lambda: T.RandomCrop(2, padding=-1), ValueError, "padding must be at least 0"),
        (lambda: T.RandomShift(1.5), TypeError, "distance must be an int"),
        (lambda: T.RandomHorizontalFlip(2), ValueError, "p must be from 0.0 to 1.0"),
        (lambda: T.Normalize(0, 0), ValueError, "std must be above 0"),
        (lambda: T.Normalize("a", 1), TypeError, "mean must be a number"),
        (lambda: T.GaussianNoise(-1), ValueError, "std must be at least 0"),
        (lambda: T.Compose([1]), TypeError, "transforms must be callable, got int 1"),
    ],
)
def test_transforms_refuse_arguments(make, error, match) -> None:
    with pytest.raises(error, match=match):
        make()


def test_transforms_refuse_batches() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="x must be N×C×H×W, got shape"):
        T.RandomShift(1)(np.zeros((2, 3, 4)), generator)
    with pytest.raises(TypeError, match="x must be an array"):
        T.ToFloat()([1], generator)
    with pytest.raises(ValueError, match="larger than the padded picture"):
        T.RandomCrop(9)(np.zeros((1, 1, 4, 4)), generator)
    with pytest.raises(ValueError, match="mean has 2 entries, x has 3 channels"):
        T.Normalize([0, 0], 1)(np.zeros((1, 3, 2, 2), np.float32), generator)
    with pytest.raises(TypeError, match="float32 or float64, got uint8"):
        T.GaussianNoise(1)(np.zeros((1, 1, 2, 2), np.uint8), generator)


# -- the loader -----------------------------------------------------------------------------------


def batches_of(loader: DataLoader, epochs: int = 2) -> list:
    return [batch for _ in range(epochs) for batch in loader]


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x, u) and np.array_equal(y, v) for (x, y), (u, v) in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_give_the_same_batches_as_none(workers: int) -> None:
    data = load_dataset("fashion-mnist").train[:70]
    transform = T.Compose([T.RandomShift(2), T.ToFloat(), T.GaussianNoise(0.1)])
    options = {"batch_size": 16, "shuffle": True, "seed": 3, "transform": transform}
    alone = batches_of(DataLoader(data, **options))
    assert same(alone, batches_of(DataLoader(data, **options, workers=workers)))


def test_every_batch_has_random_numbers_of_its_own() -> None:
    drawn = []

    def draw(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        drawn.append(generator.random())
        return x

    for seed in (0, 1):
        batches_of(DataLoader((np.arange(4), np.arange(4)), seed=seed, transform=draw))
    assert len(set(drawn)) == len(drawn) == 2 * 2 * 4


def test_epochs_differ_and_can_be_gone_back_to() -> None:
    data = (np.arange(20), np.arange(20))
    loader = DataLoader(data, 20, shuffle=True)
    (first, _), (second, _) = next(iter(loader)), next(iter(loader))
    assert sorted(first) == sorted(second) == list(range(20)) and (first != second).any()
    state = loader.state_dict()
    third = next(iter(loader))[0]
    other = DataLoader(data, 20, shuffle=True, seed=9)
    assert (next(iter(other))[0] != first).any()
    other.load_state_dict(state)
    assert np.array_equal(next(iter(other))[0], third)


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "sizes"),
    [(1, False, [1] * 5), (2, False, [2, 2, 1]), (2, True, [2, 2]), (None, False, [5]),
     (9, False, [5]), (9, True, [])],
)  # fmt: skip
def test_batch_sizes(batch_size, drop_last, sizes) -> None:
    loader = DataLoader((np.arange(5), np.arange(5)), batch_size, drop_last=drop_last)
    assert [len(x) for x, _ in loader] == sizes and len(loader) == len(sizes)


def test_empty_data() -> None:
    empty = (np.zeros((0, 1, 2, 2)), np.zeros(0))
    assert list(DataLoader(empty, None)) == [] and list(DataLoader(empty, workers=2)) == []


def loader_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("pyconv-loader")]


def test_stopping_early_leaves_no_threads() -> None:
    loader = DataLoader((np.arange(100), np.arange(100)), workers=3)
    batches = iter(loader)
    next(batches)
    assert loader_threads()
    batches.close()
    assert not loader_threads()
    for _ in loader:
        break  # the generator is dropped here
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_reach_the_reader(workers: int) -> None:
    def fail(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if 3 in x:
            raise RuntimeError("three")
        return x

    found = []
    with pytest.raises(RuntimeError, match="three"):
        for x, _ in DataLoader((np.arange(9), np.arange(9)), transform=fail, workers=workers):
            found.append(int(x[0]))
    assert found == [0, 1, 2] and not loader_threads()


def test_workers_are_not_far_ahead() -> None:
    made: list[int] = []
    signs = threading.Semaphore(0)

    def note(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        made.append(int(x[0]))
        signs.release()
        return x

    batches = iter(DataLoader((np.arange(50), np.arange(50)), transform=note, workers=2))
    next(batches)
    for _ in range(4):  # all that they may do, they do
        assert signs.acquire(timeout=60)
    assert len(made) == 4
    batches.close()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        (([1, 2],), {}, TypeError, "dataset must have arrays x and y"),
        (((np.zeros(2), np.zeros(3)),), {}, ValueError, "as many entries"),
        (((np.zeros(2), np.zeros(2)), 0), {}, ValueError, "batch_size must be at least 1"),
        (((np.zeros(2), np.zeros(2)), True), {}, TypeError, "batch_size must be an int"),
        (((np.zeros(2), np.zeros(2)), 1, 1), {}, TypeError, "shuffle must be a bool"),
        (((np.zeros(2), np.zeros(2)),), {"seed": -1}, ValueError, "seed must be at least 0"),
        (((np.zeros(2), np.zeros(2)),), {"workers": -1}, ValueError, "workers must be at least"),
        (((np.zeros(2), np.zeros(2)),), {"drop_last": 0}, TypeError, "drop_last must be a bool"),
        (((np.zeros(2), np.zeros(2)),), {"transform": 3}, TypeError, "transform must be callable"),
    ],
)
def test_loader_refuses(arguments, options, error, match) -> None:
    with pytest.raises(error, match=match):
        DataLoader(*arguments, **options)


def test_the_middle_is_cut_out(tmp_path: Path) -> None:
    """The shorter side scaled, and as much left out on one side as on the other."""
    picture = np.zeros((40, 60), np.uint8)
    picture[:, 20:40] = 200
    Image.fromarray(picture).save(tmp_path / "a.png")
    x = read_picture(tmp_path / "a.png", 1, 10, resize=20)  # 20×30, of which columns 10 to 20
    assert x.shape == (1, 10, 10) and (x == 200).mean() > 0.79
    Image.fromarray(picture.T).save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png", 1, 10, resize=20)[0], x[0].T)
    with pytest.raises(ValueError, match="read_picture: resize must be at least 10, got 9"):
        read_picture(tmp_path / "a.png", 1, 10, resize=9)
