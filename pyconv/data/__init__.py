"""Data sets, batches of them, and what is done to their pictures on the way."""

from pyconv.data import transforms
from pyconv.data.dataset import Dataset, Split, random_split
from pyconv.data.fashion_mnist import download_fashion_mnist
from pyconv.data.load import load_dataset
from pyconv.data.loader import DataLoader
from pyconv.data.pictures import read_picture, sample_picture, sample_pictures

__all__ = [
    "DataLoader",
    "Dataset",
    "Split",
    "download_fashion_mnist",
    "load_dataset",
    "random_split",
    "read_picture",
    "sample_picture",
    "sample_pictures",
    "transforms",
]
