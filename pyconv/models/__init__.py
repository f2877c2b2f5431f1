"""Models; names, shapes and the names in their state are torchvision's where it has the model."""

from pyconv.models._registry import arguments_of, build, names, pretrained_names
from pyconv.models.dense import mlp
from pyconv.models.efficientnet import EfficientNetLite, efficientnet_lite0
from pyconv.models.encoder_decoder import UNet, autoencoder, unet
from pyconv.models.image_transformation import TransformerNet, transformer_net
from pyconv.models.lenet import lenet5
from pyconv.models.mobilenet import MobileNetV2, mobilenet_v2
from pyconv.models.resnet import ResNet, resnet18, resnet34, resnet50
from pyconv.models.small import cifar_resnet, small_resnet
from pyconv.models.squeezenet import SqueezeNet, squeezenet1_1
from pyconv.models.temporal import tcn
from pyconv.models.vgg import VGG, vgg11, vgg16, vgg19

__all__ = [
    "EfficientNetLite",
    "MobileNetV2",
    "ResNet",
    "SqueezeNet",
    "TransformerNet",
    "UNet",
    "VGG",
    "arguments_of",
    "autoencoder",
    "build",
    "cifar_resnet",
    "efficientnet_lite0",
    "lenet5",
    "mlp",
    "mobilenet_v2",
    "names",
    "pretrained_names",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_resnet",
    "squeezenet1_1",
    "tcn",
    "transformer_net",
    "unet",
    "vgg11",
    "vgg16",
    "vgg19",
]
