"""What a network has learned, used for other classes: transfer learning and fine-tuning.

The first layers of a network see edges, colours and textures, which are there in any picture; only
the last ones are about the classes that it was trained for (Yosinski et al., How transferable are
features in deep neural networks?, 2014). So a new head on layers that stay as they are (transfer
learning) learns from few pictures; with more of them the old layers are trained on, at a smaller
rate (fine-tuning).
"""

from pyconv.recipes.transfer._fit import Transferred, fit, judged, predict
from pyconv.recipes.transfer._study import Study, study

__all__ = ["Study", "Transferred", "fit", "judged", "predict", "study"]
