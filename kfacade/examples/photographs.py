"""What the examples on photographs share: two photographs that come with scikit-learn, and a network that knows them.

Each of those examples takes [SHARE], 1 by default, which shortens it, and [--vgg16 FILE]: then its network is VGG16,
and FILE the weights that Keras has for it, with or without its top (Keras keeps them as
~/.keras/models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5).
"""
import argparse

import numpy as np
from keras.applications.vgg16 import VGG16, preprocess_input
from keras.layers import Conv2D, Dense, GlobalAveragePooling2D, Input, MaxPooling2D
from keras.models import Model
from keras.optimizers import Adam
from keras.preprocessing.image import array_to_img, img_to_array

try:
    import PIL  # noqa: F401
    from sklearn.datasets import load_sample_images
except ImportError:
    raise SystemExit("This example needs scikit-learn and Pillow: pip install 'kfacade[examples,images]'") from None

PIECE, ROWS, COLUMNS = 32, 3, 4

parser = argparse.ArgumentParser()
parser.add_argument('share', type=float, nargs='?', default=1.)
parser.add_argument('--vgg16', metavar='FILE', help="Keras' file of weights")


def photographs(width=640):
    """A temple and a flower, as arrays (rows, columns, 3) from 0 to 255."""
    pictures = [array_to_img(image) for image in load_sample_images().images]
    return [img_to_array(picture.resize((width, picture.height * width // picture.width))) for picture in pictures]


def preprocessed(pictures, options):
    """Pictures (..., 3) from 0 to 255 as the network wants them."""
    return preprocess_input(np.array(pictures)) if options.vgg16 else np.array(pictures) / 127.5 - 1


def restored(pictures, options):
    """The reverse of `preprocessed`."""
    return (pictures + [103.939, 116.779, 123.68])[..., ::-1] if options.vgg16 else (pictures + 1) * 127.5


def pieces(count):
    """Small pieces of the photographs, and which of 3 x 4 parts of which photograph each is cut from."""
    pictures = np.stack(photographs())
    height, width = pictures.shape[1] // ROWS, pictures.shape[2] // COLUMNS
    x, parts = np.zeros((count, PIECE, PIECE, 3), 'float32'), np.random.randint(2 * ROWS * COLUMNS, size=count)
    for piece, part in zip(x, parts):
        which, row, column = part // (ROWS * COLUMNS), part // COLUMNS % ROWS, part % COLUMNS
        top = row * height + np.random.randint(height - PIECE)
        left = column * width + np.random.randint(width - PIECE)
        piece[:] = pictures[which, top:top + PIECE, left:left + PIECE]
    return x, parts


def network(options):
    """VGG16 without its top, or a small network with such names, trained to tell where a piece is cut from.

    Telling that takes edges, colours and textures.
    """
    if options.vgg16:
        model = VGG16(include_top=False, weights=None)
        model.load_weights(options.vgg16, by_name=True)
        return model
    image = x = Input(shape=(None, None, 3))
    for block, filters in enumerate((24, 36, 36), start=1):
        x = Conv2D(filters, (5, 5), padding='same', activation='elu', name=f'block{block}_conv1')(x)
        x = MaxPooling2D((2, 2), name=f'block{block}_pool')(x)
    x = Dense(2 * ROWS * COLUMNS, activation='softmax')(GlobalAveragePooling2D()(x))
    model = Model(image, x)
    model.compile(loss='sparse_categorical_crossentropy', optimizer=Adam(lr=.002), metrics=['accuracy'])
    x, parts = pieces(max(200, int(6000 * options.share)))
    model.fit(preprocessed(x, options), parts, batch_size=32, epochs=max(1, int(8 * options.share)), verbose=2)
    return model
