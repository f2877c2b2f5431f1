"""A trained style network, on pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.autograd import no_grad
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import as_pictures
from pyconv.recipes._result import Result
from pyconv.recipes.style._tiles import in_tiles


def apply(net: Module, picture: Any, *, tile: int = 1024) -> Result:
    """What a network that `train` trained makes of a picture, in one pass.

    Parameters
    ----------
    net : Module
    picture : ndarray, C×H×W or N×C×H×W
        In 0..1, of any size.
    tile : int
        Side of the squares, in pixels, in which larger pictures are computed, so that their memory
        is that of one (a network of width 16 takes 400 bytes a pixel). Instance normalisation then
        has the means and variances of all of them, and the result differs a little.

    Returns
    -------
    Result
        One picture for each.

    Raises
    ------
    TypeError, ValueError
        A picture out of 0..1, or with other channels than the network takes; a network that makes
        no pictures.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import style
    >>> style.apply(models.transformer_net(width=2), np.zeros((3, 20, 30), np.float32)).image.shape
    (1, 3, 20, 30)
    """
    x = as_pictures("apply", "picture", picture)
    check.integer("apply", "tile", tile, 16)
    with looked_at("apply", net), no_grad():
        place = Network("apply", net).place
        if max(x.shape[2:]) > tile:
            found = [in_tiles(net, x[i : i + 1], tile, place) for i in range(len(x))]
        else:
            found = [net(place(x[i : i + 1])).numpy() for i in range(len(x))]
    if found[0].ndim != 4 or found[0].shape[1] not in (1, 3):
        raise ValueError(
            f"apply: net must make a picture of a picture, its output has shape {found[0].shape}"
        )
    return Result(np.concatenate(found).clip(0, 1).astype(np.float32))
