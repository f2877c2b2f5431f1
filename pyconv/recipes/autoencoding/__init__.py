"""Autoencoders: networks that learn to make a picture again, through a narrow place or out of
noise. What they can't make again is noise, or unlike all that they know."""

from pyconv.recipes.autoencoding._anomaly import Anomalies, anomaly
from pyconv.recipes.autoencoding._denoise import Denoised, denoise
from pyconv.recipes.autoencoding._fit import Fitted, fit
from pyconv.recipes.autoencoding._manifold import Manifold, manifold
from pyconv.recipes.autoencoding._patches import patches
from pyconv.recipes.autoencoding._quality import psnr, roc_auc, ssim

__all__ = [
    "Anomalies",
    "Denoised",
    "Fitted",
    "Manifold",
    "anomaly",
    "denoise",
    "fit",
    "manifold",
    "patches",
    "psnr",
    "roc_auc",
    "ssim",
]
