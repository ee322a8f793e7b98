"""Networks that Keras came with, and where to get their weights trained on ImageNet."""
from . import (
    densenet,
    imagenet_utils,
    inception_resnet_v2,
    inception_v3,
    mobilenet,
    mobilenet_v2,
    mobilenetv2,
    nasnet,
    resnet50,
    vgg16,
    vgg19,
    xception,
)
from ._network import correct_pad
from .densenet import DenseNet121, DenseNet169, DenseNet201
from .inception_resnet_v2 import InceptionResNetV2
from .inception_v3 import InceptionV3
from .mobilenet import MobileNet
from .mobilenet_v2 import MobileNetV2
from .nasnet import NASNetLarge, NASNetMobile
from .resnet50 import ResNet50
from .vgg16 import VGG16
from .vgg19 import VGG19
from .xception import Xception

__version__ = '1.0.8'  # of keras_applications, whose networks these are
