"""Training an autoencoder."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pyconv import functional, models, optim, random
from pyconv.data import DataLoader, transforms
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes._network import Network
from pyconv.recipes._pictures import as_pictures
from pyconv.recipes._result import Result, figure_type, show
from pyconv.recipes.autoencoding._noise import Pairs, noise_range, noisy
from pyconv.recipes.autoencoding._reconstruct import padded_for, reconstruct
from pyconv.training import Trainer

_SHOWN = 8  # pictures of the result
_LEAST = 8  # pictures to learn from


@dataclasses.dataclass
class Fitted(Result):
    """A trained autoencoder, and what it makes of pictures that it has not seen.

    Attributes
    ----------
    model : Module
        In inference mode. Its ``metadata`` say how it was trained and which errors it makes, so
        that a file of it is all that `denoise`, `anomaly` and `manifold` need.
    originals, given : ndarray, N×C×H×W
        The pictures, and with the noise; ``images`` are what the model makes of those.
    """

    model: Any = None
    originals: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))
    given: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))

    def figure(self, across: int | None = None) -> Any:
        """What goes in, what comes out, what it should be; and the losses.

        Parameters
        ----------
        across : int, optional
            How many pictures; by default all that there are.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is not there.
        """
        rows = {"input": self.given, "output": self.images, "original": self.originals}
        if np.array_equal(self.given, self.originals):
            del rows["original"]
        count = min(len(self.images), across or len(self.images))
        figure = figure_type()(figsize=(1.4 * count + 4, 1.6 * len(rows)), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[1.4 * count, 4])
        axes = left.subplots(len(rows), count, squeeze=False)
        for line, (title, pictures) in zip(axes, rows.items(), strict=True):
            line[0].set_title(title, fontsize=8)
            for ax, picture in zip(line, pictures[:count], strict=True):
                show(ax, picture)
                ax.axis("off")
        ax = right.subplots()
        for key, text in (("loss", "training"), ("validation_loss", "validation")):
            ax.plot([row["step"] + 1 for row in self.history], [row[key] for row in self.history],
                    ".-", label=text)  # fmt: skip
        ax.set(xlabel="epoch", ylabel="mean squared error", yscale="log")
        ax.legend()
        return figure


def fit(
    pictures: Any,
    *,
    model: Module | None = None,
    noise: Any = 0.0,
    latent: int = 16,
    epochs: int = 10,
    batch_size: int = 16,
    rate: float = 6e-3,
    flip: bool = False,
    validation: float = 0.1,
    checkpoint: Any = None,
    resume: Any = None,
    device: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Fitted:
    """Train an autoencoder: the mean of (f(x + noise) - x)² becomes small.

    Parameters
    ----------
    pictures : ndarray, N×C×H×W
        In 0..1, or bytes.
    model : Module, optional
        Whose output has the shape of its input. By default a `models.autoencoder`: for noise one
        that halves the size once and adds what it finds to its input, for pictures of any size;
        otherwise one with a dense bottleneck, for pictures of this size.
    noise : float or (float, float)
        Standard deviation of what is added to the input, which is cut off at 0 and 1 afterwards;
        or the ends of a range, from which each picture gets a level of its own.
    latent : int
        Numbers in the bottleneck.
    epochs, batch_size : int
    rate : float
        The largest learning rate, of `optim.AdamW`, that the schedule reaches.
    flip : bool
        Mirror every other picture, at random.
    validation : float
        The share of the pictures that is not learned from but measured on: the ``validation_loss``,
        and the errors from which `anomaly` has its threshold.
    checkpoint, resume : str or path, optional
        See `Trainer.fit`.
    device : {"cpu", "cuda"}, optional
        Where to train; by default where the model is.
    seed : int
    progress : bool

    Returns
    -------
    Fitted
        The history has an epoch's ``loss`` and ``validation_loss``.

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1 or too few; a model that makes no pictures of that shape; arguments
        out of range.

    Notes
    -----
    Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks (2006). With
    noise: Vincent et al., Extracting and composing robust features with denoising autoencoders
    (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.recipes import autoencoding
    >>> x = np.random.default_rng(0).random((40, 1, 8, 8), np.float32)
    >>> found = autoencoding.fit(x, latent=3, epochs=2, progress=False)
    >>> found.images.shape, found.history[1]["loss"] < found.history[0]["loss"]
    ((4, 1, 8, 8), True)
    """
    name = "fit"
    check.integer(name, "seed", seed, 0)
    levels = noise_range(name, noise)
    check.integer(name, "latent", latent, 1)
    check.integer(name, "epochs", epochs, 1)
    check.integer(name, "batch_size", batch_size, 1)
    check.number(name, "rate", rate, 0.0)
    check.boolean(name, "flip", flip)
    check.number(name, "validation", validation, 0.0, 0.9)
    x = _floats(name, pictures)
    shape = x.shape[1:]
    order = np.random.default_rng(seed).permutation(len(x))
    kept = max(round(validation * len(x)), 1)
    if len(x) - kept < _LEAST:
        raise ValueError(
            f"{name}: at least {_LEAST} pictures are needed to learn from, got {len(x) - kept} and "
            f"{kept} to validate"
        )
    known = x[order[:kept]]
    state = random.get_rng_state()
    random.manual_seed(seed)
    try:
        model = _default(shape, levels, latent) if model is None else model
        if not isinstance(model, Module):
            raise TypeError(f"{name}: model must be a Module, got {type(model).__name__}")
        if device is not None:
            model.to(device)
        padded = padded_for(name, model, x)  # an error where it makes no such pictures
        place = Network(name, model).device
        loader = DataLoader(
            (padded[order[kept:]], order[kept:]),
            min(batch_size, len(x) - kept),
            shuffle=True,
            seed=seed,
            drop_last=True,  # a batch of a few pictures would give batch norm poor statistics
            transform=transforms.RandomHorizontalFlip() if flip else None,
        )
        train = Pairs(loader, levels, seed)
        rng = np.random.default_rng([seed, 1])
        target = padded[order[:kept]]
        given = noisy(target, levels, rng)
        held = [(given[i : i + 64], target[i : i + 64]) for i in range(0, kept, 64)]
        optimizer = optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
        trainer = Trainer(
            model,
            optimizer,
            functional.mse_loss,
            scheduler=optim.lr_scheduler.OneCycleLR(
                optimizer, rate, total_steps=epochs * len(train), pct_start=0.2
            ),
            device=None if place == "cpu" else place,
            progress=progress,
        )
        trainer.fit(train, held, epochs, checkpoint=checkpoint, resume=resume)
    finally:
        random.set_rng_state(state)
    made = reconstruct(name, model, known)
    _describe(model, shape, levels, (made - known) ** 2)
    shown = known[:_SHOWN]
    given = given[:_SHOWN, :, : shape[1], : shape[2]]
    images = reconstruct(name, model, given) if levels[1] else made[:_SHOWN]
    history = [
        {"step": row["epoch"] - 1, "loss": row["loss"], "validation_loss": row["validation_loss"]}
        for row in trainer.history
    ]
    return Fitted(images, history, [], model, shown, given)


def _floats(function: str, pictures: Any) -> np.ndarray:
    """N×C×H×W float32 in 0..1."""
    if isinstance(pictures, np.ndarray) and pictures.dtype == np.uint8:
        pictures = pictures.astype(np.float32) / np.float32(255)
    return as_pictures(function, "pictures", pictures)


def _default(shape: tuple[int, ...], noise: tuple[float, float], latent: int) -> Module:
    if noise[1]:
        return models.autoencoder(in_channels=shape[0], width=48, depth=1, blocks=4, residual=True)
    return models.autoencoder(
        in_channels=shape[0],
        blocks=1,
        latent=latent,
        image_size=tuple(-(-side // 4) * 4 for side in shape[1:]),
        squash=True,
    )


def _describe(
    model: Module, shape: tuple[int, ...], noise: tuple[float, float], errors: np.ndarray
) -> None:
    """What a file of the model will say."""
    shares = np.linspace(0, 1, 101)
    whole = np.quantile(errors.mean((1, 2, 3), dtype=np.float64), shares)
    metadata = {
        **(getattr(model, "metadata", None) or {}),
        "input_shape": list(shape),
        "autoencoding": {
            "noise": list(noise),
            # From the least to the greatest, a hundredth of the pictures from one to the next.
            "errors": [float(e) for e in whole],
            "cell_error": float(np.quantile(errors.mean(1), 0.99)),
        },
    }
    # Not through Module.__setattr__: it is neither parameter nor submodule.
    model.__dict__["metadata"] = metadata
