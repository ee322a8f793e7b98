"""An older name of `kfacade.applications.mobilenet_v2`."""
from .mobilenet_v2 import MobileNetV2, decode_predictions, preprocess_input  # noqa: F401
