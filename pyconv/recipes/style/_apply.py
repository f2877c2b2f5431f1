"""A trained style network, on pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.autograd import no_grad
from pyconv.nn.module import Module
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import as_pictures
from pyconv.recipes._result import Result


def apply(net: Module, picture: Any) -> Result:
    """What a network that `train` trained makes of a picture, in one pass.

    Parameters
    ----------
    net : Module
    picture : ndarray, C×H×W or N×C×H×W
        In 0..1, of any size.

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
    with looked_at("apply", net), no_grad():
        place = Network("apply", net).place
        found = [net(place(x[i : i + 1])).numpy() for i in range(len(x))]
    if found[0].ndim != 4 or found[0].shape[1] not in (1, 3):
        raise ValueError(
            f"apply: net must make a picture of a picture, its output has shape {found[0].shape}"
        )
    return Result(np.concatenate(found).clip(0, 1).astype(np.float32))
