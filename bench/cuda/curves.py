"""The same training by ``pyconv train`` on both devices."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

OPTIONS = ["--model-option", "width=4", "--epochs", "3", "--batch-size", "64"]
PICTURES = 400  # of those that come with the package; a fifth are for the test


def table() -> str:
    """Losses in training and validation, epoch by epoch."""
    from pyconv.bench import markdown

    with tempfile.TemporaryDirectory() as folder:
        _write_pictures(Path(folder))
        curves = [_curve(folder, device) for device in ("cpu", "cuda")]
    rows = [
        [str(epoch), *(f"{value:.6f}" for pair in pairs for value in pair)]
        for epoch, pairs in enumerate(zip(*curves, strict=True), 1)
    ]
    return markdown(["epoch", "CPU: training", "validation", "CUDA: training", "validation"], rows)


def _write_pictures(folder: Path) -> None:
    """A folder for each class."""
    from PIL import Image

    from pyconv.data import load_dataset

    data = load_dataset("fashion-mnist").train
    for i in range(PICTURES):
        path = folder / "pictures" / str(data.y[i]) / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.x[i, 0]).save(path)


def _curve(folder: str, device: str) -> list[tuple[float, float]]:
    from pyconv import io
    from pyconv.cli import main

    checkpoint = os.path.join(folder, f"{device}.checkpoint")
    pictures, model = os.path.join(folder, "pictures"), os.path.join(folder, device)
    argv = ["train", "--data", pictures, "--device", device, *OPTIONS, "--quiet"]
    if main([*argv, "-o", model, "--checkpoint", checkpoint]) != 0:
        raise SystemExit(f"pyconv train --device {device} failed")
    history = io.load_state(checkpoint)[1]["checkpoint"]["history"]
    return [(record["loss"], record["validation_loss"]) for record in history]
