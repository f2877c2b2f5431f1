"""What style transfer looks at: Gram matrices and feature maps of the painting, of the photograph,
and of the picture that is optimised from noise until both agree.

python examples/style_workflow.py [--plot FILE]        (needs the extra "models")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import figure, parser, save, table
from PIL import Image

import pyconv
from pyconv import Tensor, models, nn
from pyconv.data import sample_picture
from pyconv.recipes import style

GRAMS = ("features.1", "features.4", "features.7")
CONTENT = "features.7"
CHANNELS = 3  # feature maps that are drawn


def picture(name: str, size: int) -> np.ndarray:
    """1×3×H×W in 0..1, the longer side `size` pixels."""
    image = Image.fromarray(sample_picture(name, 3).transpose(1, 2, 0))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255


@dataclass
class Seen:
    """What the layers make of a picture."""

    grams: list[np.ndarray]  # C×C
    maps: np.ndarray  # C×H×W, of the content layer


def look(model: nn.Module, x: np.ndarray, grams: tuple[str, ...], content: str) -> Seen:
    normalization = (getattr(model, "metadata", None) or {}).get("normalization")
    if normalization:
        mean, std = (
            np.asarray(normalization[key], np.float32).reshape(1, -1, 1, 1)
            for key in ("mean", "std")
        )
        x = (x - mean) / std
    with pyconv.no_grad():
        found = pyconv.features(model, x, list(dict.fromkeys((*grams, content))))
    return Seen(
        [style.gram(Tensor(found[layer].numpy())).numpy()[0] for layer in grams],
        found[content].numpy()[0],
    )


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Of the whole of what is wanted."""
    return float(np.square(found - wanted).sum() / np.square(wanted).sum())


def on_the_way(
    content: np.ndarray, painting: np.ndarray, counts: list[int], **aims: Any
) -> list[np.ndarray]:
    """The picture after so many steps from the same noise."""
    return [
        style.transfer(content, painting, steps=count, progress=False, **aims).image
        for count in counts
    ]


def draw(
    painting: np.ndarray, photograph: np.ndarray, stages: list[np.ndarray],
    titles: list[str], wanted: tuple[Seen, Seen], reached: Seen, grams: tuple[str, ...],
) -> Any:  # fmt: skip
    """Style and what was reached, content and what was reached, and the way from noise."""
    columns = max(len(stages), 1 + len(grams))
    result = figure(2.3 * columns, 9.6)
    axes = result.subplots(5, columns)
    for a in axes.flat:
        a.axis("off")

    def show(row: int, column: int, image: np.ndarray, title: str, **how: Any) -> None:
        axes[row, column].imshow(image, **how)
        axes[row, column].set_title(title, fontsize=9)

    def photo(row: int, column: int, image: np.ndarray, title: str) -> None:
        show(row, column, image[0].transpose(1, 2, 0), title)

    photo(0, 0, painting, "style")
    photo(1, 0, stages[-1], "the result")
    photo(2, 0, photograph, "content")
    photo(3, 0, stages[-1], "the result")
    for k, layer in enumerate(grams):
        most = float(np.quantile(wanted[0].grams[k], 0.99))
        for row, seen in ((0, wanted[0]), (1, reached)):
            show(row, 1 + k, seen.grams[k], f"Gram, {layer}", vmin=0, vmax=most, cmap="magma")
    strongest = np.argsort(-np.square(wanted[1].maps).sum((1, 2)))[:CHANNELS]
    for k, channel in enumerate(strongest):
        most = float(wanted[1].maps[channel].max())
        for row, seen in ((2, wanted[1]), (3, reached)):
            show(row, 1 + k, seen.maps[channel], f"channel {channel}", vmin=0, vmax=most,
                 cmap="gray")  # fmt: skip
    for k, (stage, title) in enumerate(zip(stages, titles, strict=True)):
        photo(4, k, stage, title)
    return result


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--size", type=int, default=224, help="longer side")
    arguments.add_argument("--steps", type=int, nargs="+", default=[1, 15, 50, 200])
    options = arguments.parse_args()
    model = models.squeezenet1_1(pretrained=True).eval()
    photograph = picture("colosseum", options.size)
    painting = picture("cafe_terrace_at_night", options.size)
    stages = on_the_way(photograph, painting, options.steps, model=model)
    wanted = (
        look(model, painting, GRAMS, CONTENT),
        look(model, photograph, GRAMS, CONTENT),
    )
    rows = []
    for count, stage in zip(options.steps, stages, strict=True):
        reached = look(model, stage, GRAMS, CONTENT)
        grams = [distance(a, b) for a, b in zip(reached.grams, wanted[0].grams, strict=True)]
        rows.append(
            (count, f"{distance(reached.maps, wanted[1].maps):.2f}", *(f"{g:.3f}" for g in grams))
        )
    print("squared distance from what is wanted, in units of what is wanted\n")
    print(table(("steps", "content", *(f"Gram {layer}" for layer in GRAMS)), rows))
    if options.plot:
        titles = [f"{count} step{'s' * (count > 1)}" for count in options.steps]
        save(draw(painting, photograph, stages, titles, wanted, reached, GRAMS), options.plot)


if __name__ == "__main__":
    main()
