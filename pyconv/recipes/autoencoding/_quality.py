"""How near a picture is to another, and how well scores tell two kinds apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.recipes._pictures import as_pictures


def psnr(pictures: Any, reference: Any) -> np.ndarray:
    """The peak signal-to-noise ratio of each picture in decibels: 10 log10(1 / mean((x - y)²)).

    Parameters
    ----------
    pictures, reference : ndarray, C×H×W or N×C×H×W
        In 0..1, of one shape.

    Returns
    -------
    ndarray of N float64
        Infinite where the two are equal.

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1, or of different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.recipes import autoencoding
    >>> grey = np.full((1, 8, 8), 0.5, np.float32)
    >>> autoencoding.psnr(grey + np.float32(0.1), grey).round(3)
    array([20.])
    """
    x, y = _pair("psnr", pictures, reference)
    error = np.mean((x - y) ** 2, (1, 2, 3))
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


def ssim(pictures: Any, reference: Any, *, sigma: float = 1.5) -> np.ndarray:
    """The structural similarity of each picture, at most 1: the mean, over all places and channels,
    of (2 μx μy + c1) (2 σxy + c2) / ((μx² + μy² + c1) (σx² + σy² + c2)), with the means, variances
    and the covariance in a Gaussian window; c1 = 0.01², c2 = 0.03².

    Parameters
    ----------
    pictures, reference : ndarray, C×H×W or N×C×H×W
        In 0..1, of one shape.
    sigma : float
        Standard deviation of the window in pixels. It is cut off at 3.5 of them, for 1.5 to 11×11,
        and lies within the picture; on smaller pictures it is as large as fits.

    Returns
    -------
    ndarray of N float64

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1, or of different shapes; a sigma that is not above 0.

    Notes
    -----
    Wang, Bovik, Sheikh and Simoncelli, Image quality assessment: from error visibility to
    structural similarity (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.recipes import autoencoding
    >>> x = np.random.default_rng(0).random((1, 16, 16), np.float32)
    >>> autoencoding.ssim(x, x), bool(autoencoding.ssim(1 - x, x)[0] < 0)
    (array([1.]), True)
    """
    x, y = _pair("ssim", pictures, reference)
    if not check.number("ssim", "sigma", sigma, 0.0) > 0:
        raise ValueError(f"ssim: sigma must be above 0, got {sigma}")
    radius = min(int(3.5 * sigma + 0.5), (min(x.shape[2:]) - 1) // 2)
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    window /= window.sum()

    def mean(a: np.ndarray) -> np.ndarray:
        for axis in (2, 3):
            a = np.lib.stride_tricks.sliding_window_view(a, len(window), axis) @ window
        return a

    mx, my = mean(x), mean(y)
    xx, yy, xy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    places = (2 * mx * my + c1) * (2 * xy + c2) / ((mx**2 + my**2 + c1) * (xx + yy + c2))
    return places.mean((1, 2, 3))


def roc_auc(scores: Any, positive: Any) -> float:
    """The area under the receiver operating characteristic: how likely a positive has the higher
    score of the two, if one positive and one negative are drawn; a tie counts half.

    Parameters
    ----------
    scores : array of N numbers
    positive : array of N bool

    Returns
    -------
    float
        0.5 is chance.

    Raises
    ------
    ValueError
        Other shapes, scores that are no numbers, or only one kind.

    Notes
    -----
    By the sum of the positives' ranks, which is Mann and Whitney's U (1947); Hanley and McNeil, The
    meaning and use of the area under a receiver operating characteristic (ROC) curve (1982).

    Examples
    --------
    >>> from pyconv.recipes import autoencoding
    >>> autoencoding.roc_auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    values, found = np.asarray(scores, np.float64), np.asarray(positive)
    if values.ndim != 1 or found.shape != values.shape or found.dtype != bool:
        raise ValueError(
            "roc_auc: scores and positive must be N numbers and N bools, got shapes "
            f"{values.shape} and {found.shape}, the latter of {found.dtype}"
        )
    if np.isnan(values).any():
        raise ValueError("roc_auc: scores has NaN")
    ones = int(found.sum())
    if not 0 < ones < len(found):
        raise ValueError(f"roc_auc: both kinds are needed, got {ones} positive of {len(found)}")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[place]  # equal scores share the mean of their ranks
    u = ranks[found].sum() - ones * (ones + 1) / 2
    return float(u / (ones * (len(found) - ones)))


def _pair(function: str, pictures: Any, reference: Any) -> tuple[np.ndarray, np.ndarray]:
    x = as_pictures(function, "pictures", pictures).astype(np.float64)
    y = as_pictures(function, "reference", reference).astype(np.float64)
    if x.shape != y.shape:
        raise ValueError(
            f"{function}: pictures and reference must have one shape, got {x.shape} and {y.shape}"
        )
    return x, y
