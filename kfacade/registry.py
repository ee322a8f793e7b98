"""Our own layers and models by the names that configurations give them.

Each room that defines some hands its names in when it is imported. Networks, wrappers and files look them up here, so
that none of them has to import the others.
"""
from .utils.generic_utils import deserialize_keras_object, get_custom_objects

_NAMESPACES = []

# Layers of other versions, which 2.2.4 has no counterpart of.
_KERAS_1 = """
    AutoEncoder Graph JZS1 JZS2 JZS3 LambdaMerge MaskedLayer Merge ParametricSoftplus Siamese SimpleDeepRNN SReLU
    TimeDistributedDense TimeDistributedMerge"""
_LATER = """
    AbstractRNNCell AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D
    AdaptiveMaxPooling2D AdaptiveMaxPooling3D AdditiveAttention Attention AugMix AutoContrast CategoryEncoding
    CategoryLookup CenterCrop Conv1DTranspose ConvLSTM1D ConvLSTM3D CutMix DenseFeatures DepthwiseConv1D
    Discretization EinsumDense Equalization FlaxLayer GroupNormalization GroupQueryAttention HashedCrossing Hashing
    Identity IntegerLookup JaxLayer KerasLayer LayerNormalization MaxNumBoundingBoxes MelSpectrogram MixUp
    MultiHeadAttention Normalization Pipeline RMSNormalization RandAugment RandomBrightness RandomColorDegeneration
    RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur
    RandomGrayscale RandomHeight RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom Rescaling Resizing
    ReversibleEmbedding STFTSpectrogram SlicingOpLambda Solarization SpectralNormalization StringLookup
    SyncBatchNormalization TFOpLambda TFSMLayer TensorFlowOpLayer TextVectorization TorchModuleWrapper
    UnitNormalization"""
_ELSEWHERE = {**dict.fromkeys(_KERAS_1.split(), 'Keras 1'), **dict.fromkeys(_LATER.split(), 'tf.keras or Keras 3')}


def register(namespace):
    """Makes the layers and models in a dict known by their names.

    The dict (a module's ``globals()``) is read at each look-up: ``keras.layers.Mine = Mine`` makes a name known, as
    scripts expect.
    """
    _NAMESPACES.append(namespace)


def known():
    """Name -> class (or what else has a ``from_config``), for all layers and models."""
    return {name: value for namespace in _NAMESPACES for name, value in namespace.items()
            if hasattr(value, 'from_config')}


def deserialize(config, custom_objects=None):
    """The layer or model of ``{'class_name', 'config'}``; `custom_objects` says what names of one's own mean.

    Raises ValueError for an unknown class, which says where it is from if another version has it.
    """
    classes = known()
    if isinstance(config, dict):
        check_version(config, {**classes, **get_custom_objects(), **(custom_objects or {})})
    return deserialize_keras_object(config, classes, custom_objects, 'layer')


def check_version(config, classes):
    """Raises ValueError for a layer that is none of `classes`, but one of another version."""
    kind = config.get('class_name')
    version = isinstance(kind, str) and kind not in classes and _ELSEWHERE.get(kind)
    if version:
        name = config['config'].get('name') if isinstance(config.get('config'), dict) else None
        raise ValueError(f'Unknown layer: {kind} ("{name}"). It is a layer of {version}, which Keras 2.2.4 does not '
                         'have. If you have a class that does the same, pass it in `custom_objects`.')
