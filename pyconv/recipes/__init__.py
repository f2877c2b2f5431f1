"""What can be done with a trained network: look into it, let it dream, paint with it, deceive it.

Each recipe takes and gives pictures as arrays in 0..1, N×C×H×W or C×H×W; the mean and scale of the
model's own pictures are applied inside. The result has ``.image`` or ``.images``, ``.history``, one
entry a step, ``.figure()`` and ``.save(path)``. The same seed gives the same picture.
"""

from pyconv.recipes import adversarial, autoencoding, dream, style, transfer, visualize
from pyconv.recipes._result import Result

__all__ = ["Result", "adversarial", "autoencoding", "dream", "style", "transfer", "visualize"]
