"""Training against attacks: the pictures are changed against the network while it learns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from pyconv.data import DataLoader
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.optim import Adam
from pyconv.recipes._labelled import labelled
from pyconv.recipes._network import Network
from pyconv.recipes._pictures import as_pictures
from pyconv.recipes._result import Result
from pyconv.recipes.adversarial._gradient import fgsm, pgd
from pyconv.training import Trainer

_BATCH = 250  # pictures that are attacked at a time to measure


@dataclasses.dataclass
class Training(Result):
    """Attacked pictures, and how often the network is right.

    Attributes
    ----------
    before, after : dict of str to float
        The share of test pictures that are taken for what they are: "clean", under "fgsm" and
        under "pgd".
    """

    before: dict[str, float] = dataclasses.field(default_factory=dict)
    after: dict[str, float] = dataclasses.field(default_factory=dict)


def accuracy(
    model: Module, pictures: Any, labels: Any, *, epsilon: float, steps: int = 10, seed: int = 0
) -> dict[str, float]:
    """The share of pictures that a model takes for what they are, left alone and attacked.

    Parameters
    ----------
    model : Module
    pictures : ndarray, N×C×H×W
        uint8, or floats in 0..1.
    labels : ndarray of int, N
    epsilon : float
        The L∞ bound of the attacks.
    steps : int
        Of `pgd`.
    seed : int

    Returns
    -------
    dict
        ``clean``, ``fgsm``, ``pgd``: shares in 0..1.

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1; labels that don't fit.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> from pyconv.recipes import adversarial
    >>> x = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    >>> sorted(adversarial.accuracy(net, x, np.array([0, 1, 0, 1]), epsilon=0.1))
    ['clean', 'fgsm', 'pgd']
    """
    x, y = _pair("accuracy", "pictures", (pictures, labels))
    right = {"clean": 0, "fgsm": 0, "pgd": 0}
    for i in range(0, len(x), _BATCH):
        part, truth = x[i : i + _BATCH], y[i : i + _BATCH]
        options: dict[str, Any] = {"epsilon": epsilon, "seed": seed, "progress": False}
        quick = fgsm(model, part, truth, **options)
        slow = pgd(model, part, truth, steps=steps, **options)
        right["clean"] += int((quick.before == truth).sum())
        right["fgsm"] += int((quick.after == truth).sum())
        right["pgd"] += int((slow.after == truth).sum())
    return {name: count / len(x) for name, count in right.items()}


def train(
    model: Module,
    pictures: Any,
    test: Any,
    *,
    epsilon: float = 0.1,
    steps: int = 4,
    share: float = 0.5,
    epochs: int = 3,
    rate: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Training:
    """Adversarial training: learn on pictures that are attacked, each time anew, by `pgd`.

    Parameters
    ----------
    model : Module
        A trained classifier; it is changed.
    pictures, test : Dataset, Split or (ndarray, ndarray)
        Pictures, N×C×H×W, uint8 or floats in 0..1, and labels, N, to learn from and to judge by; of
        a Dataset its training and its test pictures.
    epsilon : float
        The L∞ bound.
    steps : int
        Of the attack while it learns; 1 is FGSM from a random start.
    share : float
        Of each batch that is attacked; the rest stays as it is.
    epochs : int
    rate : float
        Of `Adam`.
    batch_size : int
    seed : int
    progress : bool

    Returns
    -------
    Training
        The images are the first eight test pictures, attacked against the trained model; the
        history that of the `Trainer`.

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1; labels that don't fit; arguments out of range.

    Notes
    -----
    Goodfellow, Shlens and Szegedy, Explaining and harnessing adversarial examples (2014); Madry et
    al., Towards deep learning models resistant to adversarial attacks (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> from pyconv.recipes import adversarial
    >>> x = np.random.default_rng(0).random((32, 1, 4, 4), np.float32)
    >>> y = (x.mean((1, 2, 3)) > 0.5).astype(int)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> found = adversarial.train(net, (x, y), (x, y), epochs=1, progress=False)
    >>> found.images.shape, len(found.history)
    ((8, 1, 4, 4), 1)
    """
    name = "train"
    if not isinstance(model, Module):
        raise TypeError(f"{name}: model must be a Module, got {type(model).__name__}")
    data, judged = _pair(name, "pictures", pictures), _pair(name, "test", test)
    check.number(name, "epsilon", epsilon, 0.0)
    check.number(name, "share", share, 0.0, 1.0)
    for argument, value in (("steps", steps), ("epochs", epochs), ("batch_size", batch_size)):
        check.integer(name, argument, value, 1)
    check.number(name, "rate", rate, 0.0)
    check.integer(name, "seed", seed, 0)
    before = accuracy(model, *judged, epsilon=epsilon, seed=seed)
    network = Network(name, model)
    whole = len(data[0]) > batch_size  # few pictures in a last batch: poor statistics
    loader = DataLoader(data, batch_size, shuffle=True, seed=seed, drop_last=whole)
    learned = [p for p in model.parameters() if p.requires_grad]
    trainer = Trainer(
        model, Adam(learned, lr=rate), progress=progress,
        device=None if network.device == "cpu" else network.device,
    )  # fmt: skip
    trainer.fit(_Attacked(network, loader, epsilon, steps, share, seed), epochs=epochs)
    after = accuracy(model, *judged, epsilon=epsilon, seed=seed)
    shown = pgd(model, judged[0][:8], judged[1][:8], epsilon=epsilon, seed=seed, progress=False)
    return Training(shown.images, trainer.history, [], before, after)


class _Attacked:
    """Batches, of which a share is changed against the network as it is at that moment."""

    def __init__(
        self, network: Network, loader: DataLoader, epsilon: float, steps: int, share: float,
        seed: int,
    ) -> None:  # fmt: skip
        self.network, self.loader, self.share = network, loader, share
        self.options: dict[str, Any] = {"epsilon": epsilon, "steps": steps, "progress": False}
        self.seeds = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, np.ndarray]]:
        for x, y in self.loader:
            some = round(self.share * len(x))
            if some:
                seed = int(self.seeds.integers(2**31))
                found = pgd(self.network.model, x[:some], y[:some], seed=seed, **self.options)
                x = np.concatenate([found.images, x[some:]])
            yield self.network.normalized(x), y


def _pair(function: str, argument: str, value: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pictures in 0..1 and labels."""
    split = labelled(function, argument, value)
    x = split.x / np.float32(255) if split.x.dtype == np.uint8 else split.x
    return as_pictures(function, argument, x), split.y.astype(np.int64)
