"""Pictures that deceive a classifier: changed along its gradient, or by evolution, which sees no
more than its answers; and training against them."""

from pyconv.recipes.adversarial._attack import Attack, joined, probabilities
from pyconv.recipes.adversarial._evolution import evolution, pixels
from pyconv.recipes.adversarial._fool import fool
from pyconv.recipes.adversarial._gradient import fgsm, gradient, pgd
from pyconv.recipes.adversarial._training import Training, accuracy, train

__all__ = [
    "Attack", "Training", "accuracy", "evolution", "fgsm", "fool", "gradient", "joined", "pgd",
    "pixels", "probabilities", "train",
]  # fmt: skip
