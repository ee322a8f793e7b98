"""A siamese network: one network looks at two images, and the distance of its outputs says whether they are alike.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.siamese [SHARE]`; SHARE, 1 by default,
shortens it. It is trained on pairs of digits with the contrastive loss (Hadsell, Chopra & LeCun 2006). The data, 1,797
digits of 8 x 8 pixels, come with scikit-learn.
"""
import sys

import numpy as np
from keras import backend as K
from keras.layers import Dense, Dropout, Input, Lambda
from keras.models import Model, Sequential

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("This example needs scikit-learn: pip install 'kfacade[examples]'")

SHARE = float(sys.argv[1]) if len(sys.argv) > 1 else 1.
EPOCHS = max(1, int(20 * SHARE))


def distance(vectors):
    a, b = vectors
    return K.sqrt(K.maximum(K.sum(K.square(a - b), axis=1, keepdims=True), K.epsilon()))


def contrastive_loss(is_same, distance):
    """Squares of the distances of equal digits, and of what others lack to a distance of one."""
    return K.mean(is_same * K.square(distance) + (1 - is_same) * K.square(K.maximum(1 - distance, 0)))


def accuracy(is_same, distance):
    return K.mean(K.equal(is_same, K.cast(distance < .5, is_same.dtype)))


def pairs_of(images, digits):
    """For each image a pair with one of the same digit, and a pair with one of another."""
    partners, labels = [], []
    for digit in digits:
        partners += [np.random.choice(np.flatnonzero(chosen)) for chosen in (digits == digit, digits != digit)]
        labels += [1, 0]
    return [np.repeat(images, 2, axis=0), images[partners]], np.array(labels)


np.random.seed(7)
pixels, digits = load_digits(return_X_y=True)
images = (pixels / 16.).astype('float32')
split = 1400
train, same = pairs_of(images[:split], digits[:split])
test, test_same = pairs_of(images[split:], digits[split:])

base = Sequential([
    Dense(128, activation='relu', input_shape=(64,)),
    Dropout(.1),
    Dense(128, activation='relu'),
    Dropout(.1),
    Dense(64, activation='relu'),
])
first, second = Input(shape=(64,)), Input(shape=(64,))
model = Model([first, second], Lambda(distance, output_shape=(1,))([base(first), base(second)]))
model.compile(loss=contrastive_loss, optimizer='rmsprop', metrics=[accuracy])
model.fit(train, same, batch_size=64, epochs=EPOCHS, verbose=2, validation_data=(test, test_same))

near = model.predict(test)[:, 0] < .5
print('Pairs told apart:', round(float((near == test_same).mean()), 4))
