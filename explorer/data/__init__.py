"""Images: those that ship with the package, and a user's own."""

from explorer.data.bundled import fashion_mnist
from explorer.data.folders import image_folder
from explorer.data.images import Data, Images, Normalize, identity
from explorer.data.named import full_fashion_mnist, named_set
from explorer.data.pictures import Crop
from explorer.data.sources import DataSource, as_data, as_images

__all__ = [
    "Crop",
    "Data",
    "DataSource",
    "Images",
    "Normalize",
    "as_data",
    "as_images",
    "fashion_mnist",
    "full_fashion_mnist",
    "identity",
    "image_folder",
    "named_set",
]
