"""Networks that Keras came with, and where to get their weights trained on ImageNet."""
# The modules are names of this one, too: importing from them makes them so.
from ._network import correct_pad
from .densenet import DenseNet121, DenseNet169, DenseNet201
from .inception_resnet_v2 import InceptionResNetV2
from .inception_v3 import InceptionV3
from .mobilenet import MobileNet
from .mobilenetv2 import MobileNetV2
from .nasnet import NASNetLarge, NASNetMobile
from .resnet50 import ResNet50
from .vgg16 import VGG16
from .vgg19 import VGG19
from .xception import Xception

__version__ = '1.0.8'  # of keras_applications, whose networks these are
