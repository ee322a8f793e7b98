"""Grad-CAM: where in a picture a network sees what it says.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.grad_cam [SHARE] [--vgg16 FILE [--image
PICTURE]]`; SHARE, 1 by default, shortens it. It writes grad_cam.png: pictures, and beside each where it lights up for a
class (Selvaraju et al. 2017: the channels of the last convolution, weighted by how much the score of the class rises
with them). The network is trained here to name the two digits that lie anywhere in a picture; nobody tells it where.
The digits come with scikit-learn. With --vgg16 it is VGG16 with its top, FILE the weights that Keras has for it, and
PICTURE a photograph (by default a flower that comes with scikit-learn). Pictures need Pillow.
"""
import argparse

import numpy as np
from keras import backend as K
from keras.applications.vgg16 import VGG16, preprocess_input
from keras.layers import Activation, BatchNormalization, Conv2D, Dense, GlobalAveragePooling2D, Input, MaxPooling2D
from keras.models import Model
from keras.optimizers import Adam
from keras.preprocessing.image import array_to_img, img_to_array, load_img, save_img

try:
    from PIL import Image
    from sklearn.datasets import load_digits, load_sample_image
except ImportError:
    raise SystemExit("This example needs scikit-learn and Pillow: pip install 'kfacade[examples,images]'") from None

parser = argparse.ArgumentParser()
parser.add_argument('share', type=float, nargs='?', default=1.)
parser.add_argument('--vgg16', metavar='FILE', help="Keras' file of weights, with the top")
parser.add_argument('--image', metavar='PICTURE')
options = parser.parse_args()


def scenes(pixels, digits, count):
    """Pictures (count, 32, 32, 1) of two different digits each, their labels (count, 10), and where each one lies."""
    pictures, labels, places = np.zeros((count, 32, 32, 1), 'float32'), np.zeros((count, 10), 'float32'), []
    for picture, label in zip(pictures, labels):
        while label.sum() < 2:
            label[:] = 0
            chosen = np.random.randint(len(pixels), size=2)
            label[digits[chosen]] = 1
        halves = np.random.permutation([0, 16])
        spots = [(half, np.random.randint(17)) for half in halves]
        if np.random.rand() < .5:
            spots = [spot[::-1] for spot in spots]
        for i, (top, left) in zip(chosen, spots):
            picture[top:top + 16, left:left + 16, 0] = pixels[i].reshape(8, 8).repeat(2, axis=0).repeat(2, axis=1) / 16
        places.append({digits[i]: spot for i, spot in zip(chosen, spots)})
    return pictures, labels, places


def trained_network(pictures, labels):
    image = x = Input(shape=(32, 32, 1))
    for i, filters in enumerate((24, 48, 48, 64), start=1):
        x = BatchNormalization()(Conv2D(filters, (3, 3), padding='same')(x))
        x = Activation('relu', name=f'features{i}')(x)
        if i == 1:
            x = MaxPooling2D((2, 2))(x)
    x = GlobalAveragePooling2D()(x)
    x = Dense(10, name='scores')(x)
    model = Model(image, Activation('sigmoid')(x))
    model.compile(loss='binary_crossentropy', optimizer=Adam(lr=.003))
    model.fit(pictures, labels, batch_size=32, epochs=max(2, int(12 * options.share)), verbose=2)
    return model


def grad_cam(model, layer_name, scores_name, picture, class_index):
    """Where the picture speaks for the class, from 0 to 1, in the size of the layer's output."""
    features = model.get_layer(layer_name).output
    score = K.sum(model.get_layer(scores_name).output[:, class_index])
    gradients = K.gradients(score, features)[0]
    function = K.function([model.input, K.learning_phase()], [features, K.mean(gradients, axis=(1, 2))])
    maps, weights = function([picture[None], 0])
    heat = np.maximum((maps[0] * weights[0]).sum(axis=-1), 0)
    return heat / (heat.max() or 1)


def resized(heat, size):
    return np.asarray(Image.fromarray(heat).resize(size, Image.BILINEAR))


def lit(picture, heat):
    """The picture (rows, columns, 3) in grey from 0 to 255, with the heat in red over it."""
    grey = picture.mean(axis=-1, keepdims=True).repeat(3, axis=-1) * .6
    return grey + np.stack([heat, heat ** 2 * .5, 0 * heat], axis=-1) * (255 - grey)


if options.vgg16:
    model = VGG16(weights=options.vgg16)
    photograph = load_img(options.image) if options.image else array_to_img(load_sample_image('flower.jpg'))
    photograph = img_to_array(photograph.resize((224, 224)))
    picture = preprocess_input(photograph.copy())
    best = model.predict(picture[None])[0].argmax()
    heat = grad_cam(model, 'block5_conv3', 'predictions', picture, best)
    print('Class:', best)
    save_img('grad_cam.png', np.hstack([photograph, lit(photograph, resized(heat, (224, 224)))]), scale=False)
else:
    np.random.seed(7)
    pixels, digits = load_digits(return_X_y=True)
    split = 1500
    model = trained_network(*scenes(pixels[:split], digits[:split], max(500, int(5000 * options.share)))[:2])
    pictures, labels, places = scenes(pixels[split:], digits[split:], 100)
    found = np.argsort(model.predict(pictures))[:, -2:]
    print('Digits found:', round(float(np.take_along_axis(labels, found, axis=1).mean()), 4))
    shares, rows = [], []
    for picture, place in list(zip(pictures, places))[:12]:
        shown = (picture * 255).repeat(3, axis=-1).repeat(4, axis=0).repeat(4, axis=1)
        row = [shown]
        for digit, (top, left) in sorted(place.items()):
            heat = resized(grad_cam(model, 'features4', 'scores', picture, digit), (32, 32))
            shares.append(heat[top:top + 16, left:left + 16].sum() / (heat.sum() or 1))
            row.append(lit(shown, resized(heat, (128, 128))))
        rows.append(np.pad(np.hstack(row), ((2, 2), (2, 2), (0, 0)), 'constant', constant_values=255))
    print('Share of the heat that lies on the digit (a quarter by chance):', round(float(np.mean(shares)), 4))
    save_img('grad_cam.png', np.vstack([np.hstack(rows[i:i + 3]) for i in range(0, len(rows), 3)]), scale=False)
print('Written: grad_cam.png')
