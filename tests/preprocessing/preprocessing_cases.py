"""What keras.preprocessing gives for many arguments, in the real Keras (make.py) and in kfacade (test_reference.py).

Each function takes the package `preprocessing` (and a folder with images, where it reads some) and yields pairs of a
name and a value: an array of numbers, or what JSON can hold, which must be equal. Numpy is seeded before each case; the
next draw after it is compared, too, so that as many numbers were drawn.
"""

import itertools
import os
import random

import numpy as np
from PIL import Image


def picture(*shape, seed=0):
    """A smooth random image with values from 0 to 255."""
    rng = np.random.RandomState(seed)
    waves = sum(
        rng.rand() * np.sin(sum(rng.uniform(-1, 1) * axis for axis in np.indices(shape)) + rng.uniform(0, 6))
        for _ in range(4)
    )
    return ((waves - waves.min()) / np.ptp(waves) * 255).astype('float32')


def batch(*shape, seed=0):
    return np.stack([picture(*shape[1:], seed=seed + i) for i in range(shape[0])])


MOVES = {
    'rotated': {'theta': 37},
    'quarter': {'theta': 90},
    'shifted': {'tx': 2.3, 'ty': -1.6},
    'steps': {'tx': -3, 'ty': 2},
    'far': {'tx': 40.5, 'ty': -31.25},
    'sheared': {'shear': 20},
    'zoomed': {'zx': 0.7, 'zy': 1.4},
    'tiny': {'zx': 3.3, 'zy': 4},
    'all': {'theta': -20, 'tx': 1.7, 'ty': 0.6, 'shear': -12, 'zx': 1.1, 'zy': 0.85},
}


def affine(preprocessing):
    apply = preprocessing.image.apply_affine_transform
    for move, mode in itertools.product(MOVES, ['nearest', 'constant', 'reflect', 'wrap']):
        for order in (0, 1) if move not in ('rotated', 'all') else (0, 1, 2, 3, 5):
            yield (
                f'{move}-{mode}-{order}',
                apply(picture(7, 6, 2), fill_mode=mode, cval=50.0, order=order, **MOVES[move]),
            )
    for dtype in ('uint8', 'int32', 'float64', 'int8'):
        x = (picture(7, 6, 2) * (0.5 if dtype == 'int8' else 1) - 100 * (dtype == 'int32')).astype(dtype)
        for order in (0, 1, 3):
            yield f'{dtype}-{order}', apply(x, order=order, **MOVES['all'])
    yield (
        'channels_first',
        apply(picture(2, 7, 6), row_axis=1, col_axis=2, channel_axis=0, fill_mode='reflect', **MOVES['all']),
    )
    yield 'swapped', apply(picture(7, 6, 2), row_axis=1, col_axis=0, **MOVES['all'])
    for shape in ((1, 6, 1), (7, 1, 1), (1, 1, 3), (2, 2, 1)):
        for mode in ('nearest', 'constant', 'reflect', 'wrap'):
            yield f'thin-{shape}-{mode}', apply(picture(*shape), fill_mode=mode, cval=9, **MOVES['all'])


def at_random(preprocessing):
    image = preprocessing.image
    functions = {
        'random_rotation': (40,),
        'random_shift': (0.3, 0.2),
        'random_shear': (25,),
        'random_zoom': ((0.6, 1.5),),
    }
    for name, arguments in functions.items():
        for mode in ('nearest', 'wrap'):
            yield name + '-first-' + mode, getattr(image, name)(picture(2, 7, 6), *arguments, fill_mode=mode)
            yield (
                name + '-last-' + mode,
                getattr(image, name)(
                    picture(7, 6, 2),
                    *arguments,
                    row_axis=0,
                    col_axis=1,
                    channel_axis=2,
                    fill_mode=mode,
                    interpolation_order=0,
                ),
            )
    yield 'zoom-1', image.random_zoom(picture(7, 6, 2), (1, 1))
    for axis in (0, 2):
        yield f'random_channel_shift-{axis}', image.random_channel_shift(picture(7, 6, 3), 80, channel_axis=axis)
    for channels in (1, 3, 4):
        yield f'random_brightness-{channels}', image.random_brightness(picture(7, 6, channels), (0.3, 2.5))
        yield f'apply_brightness_shift-{channels}', image.apply_brightness_shift(picture(7, 6, channels) - 100, 0.8)


def utils(preprocessing, folder):
    image = preprocessing.image
    for scale in (True, False):
        for channels in (1, 3, 4):
            x = picture(5, 4, channels) / 2 - (20 if scale else 0)
            yield f'array_to_img-{channels}-{scale}', np.asarray(image.array_to_img(x, scale=scale))
    yield 'array_to_img-first', np.asarray(image.array_to_img(picture(3, 5, 4), data_format='channels_first'))
    yield 'zeros', np.asarray(image.array_to_img(np.zeros((2, 3, 1))))
    yield 'img_to_array', image.img_to_array(Image.fromarray(picture(5, 4).astype('uint8')))
    yield (
        'img_to_array-first',
        image.img_to_array(Image.fromarray(picture(5, 4, 3).astype('uint8')), data_format='channels_first'),
    )
    path = os.path.join(folder, 'cats', 'a.png')
    for mode in ('rgb', 'rgba', 'grayscale'):
        yield 'load_img-' + mode, np.asarray(image.load_img(path, color_mode=mode))
    for interpolation in ('nearest', 'bilinear', 'bicubic', 'lanczos', 'box', 'hamming'):
        yield (
            'load_img-' + interpolation,
            np.asarray(image.load_img(path, target_size=(4, 9), interpolation=interpolation)),
        )


SETTINGS = {
    'nothing': {},
    'affine': dict(rotation_range=40, width_shift_range=0.2, height_shift_range=0.1, shear_range=15, zoom_range=0.3),
    'pixels': dict(width_shift_range=3, height_shift_range=2),
    'lists': dict(width_shift_range=[-2, 1.5, 0], height_shift_range=[0.1, 0.25]),
    'floats': dict(width_shift_range=2.5, height_shift_range=1.0, zoom_range=(0.8, 1.5)),
    'flips': dict(horizontal_flip=True, vertical_flip=True),
    'values': dict(channel_shift_range=60.0, brightness_range=(0.4, 1.8)),
    'samplewise': dict(samplewise_center=True, samplewise_std_normalization=True, rescale=1 / 255.0),
    'constant': dict(rotation_range=90, fill_mode='constant', cval=7.0),
    'reflect': dict(rotation_range=90, zoom_range=[1.2, 1.9], fill_mode='reflect'),
    'wrap': dict(rotation_range=90, zoom_range=[1.2, 1.9], fill_mode='wrap'),
    'preprocessing': dict(preprocessing_function=lambda x: x[::-1] / 2 + np.random.rand(), rescale=3.0, zoom_range=0.1),
    'all': dict(
        rotation_range=30,
        width_shift_range=0.1,
        height_shift_range=0.1,
        shear_range=10,
        zoom_range=0.2,
        channel_shift_range=20.0,
        brightness_range=(0.7, 1.3),
        horizontal_flip=True,
        rescale=1 / 255.0,
        samplewise_center=True,
        samplewise_std_normalization=True,
    ),
}


def draws(preprocessing):
    for name, settings in SETTINGS.items():
        generator = preprocessing.image.ImageDataGenerator(**settings)
        yield (
            name,
            [
                {
                    key: value if value is None else float(value)
                    for key, value in sorted(generator.get_random_transform((20, 30, 3)).items())
                }
                for _ in range(3)
            ],
        )
        yield name + '-seed', float(generator.get_random_transform((20, 30, 3), seed=5)['zx'])


def listed(value):
    return [listed(v) for v in value] if isinstance(value, (list, tuple)) else np.asarray(value).tolist()


def flows(preprocessing):
    image = preprocessing.image
    x, y = batch(5, 6, 5, 3), np.arange(5) % 2
    for name, settings in SETTINGS.items():
        if 'brightness_range' not in settings:
            first = dict(settings, data_format='channels_first')
            yield name + '-first', next(image.ImageDataGenerator(**first).flow(batch(2, 3, 6, 5), batch_size=2, seed=2))
        yield name, next(image.ImageDataGenerator(**settings).flow(x[:2], batch_size=2, seed=2))
    generator = image.ImageDataGenerator(rotation_range=20, validation_split=0.4)
    flow = generator.flow(x, y, batch_size=2, seed=4)
    for i in range(4):
        images, labels = next(flow)
        yield f'next-{i}', images
        yield f'next-{i}-labels', labels.tolist()
    flow.reset()
    yield 'reset', next(flow)[1].tolist()
    flow = generator.flow(
        (x, [np.arange(5), np.arange(10).reshape(5, 2)]), y, batch_size=2, sample_weight=np.arange(5) / 4
    )
    yield (
        'sequence',
        [listed([inputs[1:], labels, weights]) for inputs, labels, weights in (flow[i] for i in (2, 0, 1))],
    )
    flow.on_epoch_end()
    yield 'sequence-later', [listed(flow[i][1:]) for i in range(3)]
    for subset in ('training', 'validation'):
        flow = generator.flow(x, y, subset=subset, shuffle=False, sample_weight=np.arange(5))
        images, labels, weights = next(flow)
        yield subset, images
        yield subset + '-labels', listed([labels, weights, len(flow), flow.n])
    wide = np.random.RandomState(1).uniform(0, 255, (20, 3, 3, 1)).astype('float32')
    for name, settings in {
        'featurewise': dict(featurewise_center=True, featurewise_std_normalization=True),
        'zca': dict(featurewise_center=True, zca_whitening=True, zca_epsilon=1e-2),
    }.items():
        generator = image.ImageDataGenerator(**settings)
        generator.fit(wide)
        yield name, next(generator.flow(wide, shuffle=False))
        generator = image.ImageDataGenerator(rotation_range=30, rescale=2.0, **settings)
        generator.fit(wide, augment=True, rounds=2, seed=3)
        yield name + '-augmented', next(generator.flow(wide, seed=1))
        yield name + '-batch', generator.standardize(wide.copy())


FILES = [
    'cats/a.png',
    'cats/B.PNG',
    'cats/10.png',
    'cats/9.png',
    'cats/deep/er/z.png',
    'cats/deep/y.bmp',
    'dogs/1.ppm',
    'dogs/2.tif',
    'dogs/notes.txt',
    'dogs/_.png',
    'dogs/a b.jpeg.png',
    'Birds/x.png',
    'Birds/anim.gif',
    'top.png',
    'linked/far.png',
]


def write_images(folder):
    """A folder of images, in classes, with other files among them."""
    for i, name in enumerate(FILES):
        path = os.path.join(folder, 'outside' if name.startswith('linked') else 'images', *name.split('/'))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if name.endswith('.txt'):
            open(path, 'w').close()
        else:
            Image.fromarray(picture(6 + i % 3, 8, 3, seed=i).astype('uint8')).save(path, 'PNG')
    os.symlink(os.path.join(folder, 'outside', 'linked'), os.path.join(folder, 'images', 'cats', 'link'))
    return os.path.join(folder, 'images')


def directories(preprocessing, folder):
    generator = preprocessing.image.ImageDataGenerator(validation_split=0.4, zoom_range=0.2)
    for name, arguments in {
        'plain': {},
        'links': dict(follow_links=True),
        'classes': dict(classes=['dogs', 'cats']),
        'flat': dict(classes=['.']),
        'binary': dict(class_mode='binary', classes=['dogs', 'cats']),
        'sparse': dict(class_mode='sparse'),
        'input': dict(class_mode='input'),
        'none': dict(class_mode=None),
        'gray': dict(color_mode='grayscale'),
        'rgba': dict(color_mode='rgba'),
        'bilinear': dict(interpolation='bilinear'),
        'training': dict(subset='training'),
        'validation': dict(subset='validation'),
        'ordered': dict(shuffle=False),
        'seed': dict(seed=3),
    }.items():
        flow = generator.flow_from_directory(folder, target_size=(5, 4), batch_size=3, **arguments)
        yield (
            name + '-files',
            [
                flow.filenames,
                flow.class_indices,
                flow.classes.tolist(),
                flow.samples,
                flow.num_classes,
                len(flow),
                list(flow.image_shape),
            ],
        )
        x = next(flow)
        x, y = x if isinstance(x, tuple) else (x, None)
        yield name + '-x', x
        if y is not None:
            yield name + '-y', y
        yield name + '-item', flow[len(flow) - 1][0][:1]


def frame(folder):
    import pandas

    names = [
        'cats/a.png',
        'dogs/1.ppm',
        'cats/9.png',
        'gone.png',
        'dogs/_.png',
        'Birds/x.png',
        'dogs/notes.txt',
        'cats/10.png',
    ]
    return pandas.DataFrame(
        {
            'filename': names,
            'path': [os.path.join(folder, name) for name in names],
            'class': [name.split('/')[0] for name in names],
            'many': [['b', 'a'], 'b', ('c',), 'a', ['c', 'a'], 'b', 'a', ['a']],
            'number': np.arange(8) / 4.0,
            'other': np.arange(8),
            'vector': [[i, i + 1] for i in range(8)],
            'weight': np.arange(8)[::-1],
        },
        index=list('hgfedcba'),
    )


def frames(preprocessing, folder):
    generator = preprocessing.image.ImageDataGenerator(validation_split=0.4, zoom_range=0.2)
    for name, arguments in {
        'plain': {},
        'paths': dict(directory=None, x_col='path'),
        'many': dict(y_col='many'),
        'many-classes': dict(y_col='many', classes=['c', 'b']),
        'classes': dict(classes=['dogs', 'cats'], class_mode='binary'),
        'sparse': dict(class_mode='sparse'),
        'raw': dict(class_mode='raw', y_col='number'),
        'raw-list': dict(class_mode='raw', y_col=['number', 'other']),
        'input': dict(class_mode='input', y_col=None),
        'multi': dict(class_mode='multi_output', y_col=['number', 'vector']),
        'none': dict(class_mode=None),
        'weights': dict(weight_col='weight'),
        'training': dict(subset='training'),
        'validation': dict(subset='validation'),
        'ordered': dict(shuffle=False, validate_filenames=True),
        'seed': dict(seed=3),
    }.items():
        arguments = dict(dict(directory=folder), **arguments)
        flow = generator.flow_from_dataframe(frame(folder), target_size=(5, 4), batch_size=4, **arguments)
        drop = len(folder) + 1 if 'x_col' in arguments else 0
        yield (
            name + '-files',
            [
                [f[drop:] for f in flow.filenames],
                getattr(flow, 'class_indices', None),
                listed(getattr(flow, 'classes', [])),
                flow.samples,
                len(flow),
            ],
        )
        out = next(flow)
        if arguments.get('class_mode', '') is None:
            yield name + '-x', out
        else:
            yield name + '-x', out[0]
            yield name + '-y', listed(out[1:]) if name != 'input' else out[1]


TEXTS = [
    'The cat sat on the mat. The CAT!',
    "Don't stop; it's raining\tcats & dogs\n(really)",
    'kırk Dokuz élan 日本 x_y',
    '',
    'the the the mat',
]


def texts(preprocessing):
    text = preprocessing.text
    for i, arguments in enumerate(
        [{}, dict(lower=False), dict(split='t'), dict(filters='aeiou'), dict(filters='', split='the')]
    ):
        yield f'words-{i}', [text.text_to_word_sequence(t, **arguments) for t in TEXTS]
        yield f'md5-{i}', [text.hashing_trick(t, 20, 'md5', **arguments) for t in TEXTS]
    yield 'hash', text.hashing_trick(TEXTS[0], 9, len)
    for i, arguments in enumerate(
        [
            {},
            dict(num_words=4),
            dict(oov_token='<unk>'),
            dict(num_words=4, oov_token='<unk>'),
            dict(num_words=5, oov_token='the'),
            dict(char_level=True),
            dict(char_level=True, lower=False, num_words=6, oov_token='?'),
            dict(lower=False, document_count=3),
        ]
    ):
        tokenizer = text.Tokenizer(**arguments)
        tokenizer.fit_on_texts(TEXTS[:4])
        tokenizer.fit_on_texts([['The', 'dog', 'Mat'], ['the']])
        unseen = TEXTS + ['the dog and nobody else', ['The', 'nobody']]
        sequences = tokenizer.texts_to_sequences(unseen)
        yield f'sequences-{i}', sequences
        yield f'back-{i}', tokenizer.sequences_to_texts(sequences + [[1, 2, 99, 0]])
        for mode in ('binary', 'count', 'freq', 'tfidf'):
            yield f'{mode}-{i}', tokenizer.texts_to_matrix(unseen, mode)
        tokenizer.fit_on_sequences([[1, 2, 2], [3, 70]])
        yield f'fit-{i}', tokenizer.sequences_to_matrix(sequences, 'tfidf')
        config = tokenizer.get_config()
        yield f'config-{i}', {k: v for k, v in config.items() if k not in ('word_docs', 'index_docs')}
        yield (
            f'counts-{i}',
            [
                dict(tokenizer.word_docs),
                sorted(dict(tokenizer.index_docs).items()),
                tokenizer.word_index,
                tokenizer.document_count,
            ],
        )
    tokenizer = text.Tokenizer(num_words=5)
    yield 'unfitted', tokenizer.sequences_to_matrix([[1, 2, 2, 9], [], [4]], 'count')


def sequences(preprocessing):
    sequence = preprocessing.sequence
    ragged = [[1], [1, 2], [], [1, 2, 3]]
    vectors = [[[1, 1]], [[2, 1], [2, 2]], [], [[3, 1], [3, 2], [3, 3]]]
    for padding, truncating, maxlen in itertools.product(['pre', 'post'], ['pre', 'post'], [None, 2, 5]):
        arguments = dict(padding=padding, truncating=truncating, maxlen=maxlen)
        name = f'{padding}-{truncating}-{maxlen}'
        yield name, sequence.pad_sequences(ragged, value=7, **arguments)
        yield name + '-vectors', sequence.pad_sequences(vectors, dtype='float32', value=0.5, **arguments)
        yield (
            name + '-words',
            sequence.pad_sequences([['a'], ['b', 'c', 'ddd']], dtype=object, value='-', **arguments).tolist(),
        )
        yield (
            name + '-strings',
            sequence.pad_sequences([['a'], ['b', 'c', 'ddd']], dtype='<U3', value='-', **arguments).tolist(),
        )
    for factor in (1e-5, 1e-3):
        yield f'table-{factor}', sequence.make_sampling_table(50, factor)
    for i, arguments in enumerate(
        [
            {},
            dict(window_size=1, negative_samples=0.0),
            dict(categorical=True, negative_samples=0.6),
            dict(shuffle=False),
            dict(seed=8),
            dict(sampling_table=sequence.make_sampling_table(12, 1e-1)),
        ]
    ):
        random.seed(i)
        yield f'skipgrams-{i}', [sequence.skipgrams([3, 0, 5, 11, 3, 7, 1, 0, 2], 12, **arguments), random.random()]
    yield 'long', sequence._remove_long_seq(3, [[1, 2], [1, 2, 3], [4], []], ['a', 'b', 'c', 'd'])
    data, targets = np.arange(30).reshape(15, 2), np.arange(15) * 2
    for i, arguments in enumerate(
        [
            {},
            dict(sampling_rate=2),
            dict(stride=3),
            dict(start_index=3, end_index=11),
            dict(shuffle=True),
            dict(reverse=True),
            dict(batch_size=4, stride=2, reverse=True, sampling_rate=2),
        ]
    ):
        generator = sequence.TimeseriesGenerator(data, targets, 4, **dict(dict(batch_size=3), **arguments))
        yield f'series-{i}', [listed(generator[k]) for k in range(len(generator))]
        yield f'series-config-{i}', generator.get_config()


GROUPS = {
    group.__name__: group for group in (affine, at_random, utils, draws, flows, directories, frames, texts, sequences)
}


def run(group, preprocessing, folder):
    """{name: value} of a group, with the next random number after each case."""
    values = {}
    function = GROUPS[group]
    cases = function(preprocessing, folder) if function.__code__.co_argcount == 2 else function(preprocessing)
    seed = 0
    np.random.seed(seed)
    for name, value in cases:
        assert name not in values, name
        values[name] = value
        values[name + '/draw'] = float(np.random.random())
        seed += 1
        np.random.seed(seed)
    return values
