"""Style: the content of one picture in the manner of another, by optimisation (`transfer`,
`reconstruct`, `grid`), or by a network that was trained for one style (`train`, `apply`,
`compare`)."""

from pyconv.recipes.style._apply import apply
from pyconv.recipes.style._compare import compare
from pyconv.recipes.style._grid import grid
from pyconv.recipes.style._loss import gram, measure
from pyconv.recipes.style._train import train
from pyconv.recipes.style._transfer import reconstruct, transfer

__all__ = ["apply", "compare", "gram", "grid", "measure", "reconstruct", "train", "transfer"]
