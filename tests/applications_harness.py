"""How the networks of `applications/facts.json` and `outputs.npz` were made: the same numbers here and in Keras 2.2.4.

`python tests/applications_harness.py` under Keras 2.2.4, with keras_applications 1.0.8, writes both files anew.
"""
import hashlib
import json
import pathlib

import numpy as np

# network: the smallest images it takes
SMALLEST = {'VGG16': 32, 'VGG19': 32, 'ResNet50': 32, 'InceptionV3': 75, 'InceptionResNetV2': 75, 'Xception': 71,
            'MobileNet': 32, 'MobileNetV2': 32, 'DenseNet121': 32, 'DenseNet169': 32, 'DenseNet201': 32,
            'NASNetMobile': 32, 'NASNetLarge': 32}
WITH_TOP = {'MobileNet': 224, 'ResNet50': 224}
HERE = pathlib.Path(__file__).parent / 'applications'


def weight(name, shape, seed):
    """An array for the weight called `name`: kernels as He et al. draw them, the rest around its usual value."""
    draw = np.random.RandomState(seed).standard_normal(shape).astype('float32')
    kind = name.split('/')[-1].split(':')[0]
    if kind.endswith('kernel'):
        inputs = shape[0] * shape[1] if kind == 'depthwise_kernel' else np.prod(shape[:-1])
        return draw * np.float32(np.sqrt(2. / inputs))
    if kind == 'moving_variance':
        return np.abs(draw) / 2 + np.float32(.5)
    return draw / 10 + np.float32(kind == 'gamma')


def fill(model):
    """Sets the weights of `model`, one seed each."""
    model.set_weights([weight(w.name, shape_of(w), seed) for seed, w in enumerate(weights_of(model))])
    return model


def weights_of(model):
    """The weights in the order of the file."""
    return [w for layer in model.layers for w in layer.weights]


def shape_of(w):
    return tuple(int(n) for n in w.shape)


def images(size):
    return np.random.RandomState(size).standard_normal((2, size, size, 3)).astype('float32')


def digest(thing):
    return hashlib.md5(json.dumps(thing, sort_keys=True).encode()).hexdigest()


def facts(model):
    """What there is to know of a network but its numbers."""
    config = json.loads(model.to_json())['config']
    for layer in config['layers']:
        if layer['class_name'] == 'Lambda':
            layer['config'].update(function=None, function_type=None, module=None)
    return {'name': model.name, 'layers': len(model.layers), 'parameters': model.count_params(),
            'config': digest(config), 'weights': digest([[w.name, shape_of(w)] for w in weights_of(model)])}


def main():
    import keras
    from keras import backend as K
    found, outputs = {}, {}
    for name, size in SMALLEST.items():
        make = getattr(keras.applications, name)
        for top in (True, False):
            for data_format in ('channels_last', 'channels_first'):
                if data_format == 'channels_first' and name.startswith('NASNet'):
                    continue
                K.clear_session()
                K.set_image_data_format(data_format)
                model = make(weights=None, include_top=top)
                found[f'{name} {"top" if top else "no top"} {data_format}'] = facts(model)
        K.set_image_data_format('channels_last')
        K.clear_session()
        model = fill(make(weights=None, include_top=False, input_shape=(size, size, 3)))
        outputs[name] = model.predict(images(size))
        if name in WITH_TOP:
            K.clear_session()
            outputs[name + ' top'] = fill(make(weights=None)).predict(images(WITH_TOP[name]))
        print(name, outputs[name].shape, np.abs(outputs[name]).mean(), np.abs(outputs[name]).max(), flush=True)
    (HERE / 'facts.json').write_text(json.dumps(found, indent=1, sort_keys=True))
    np.savez_compressed(str(HERE / 'outputs.npz'), **outputs)


if __name__ == '__main__':
    main()
