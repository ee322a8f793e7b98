"""Transfer learning, the whole recipe: a network that knows some images learns others from a few examples.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.fine_tune [SHARE] [--vgg16 FILE]`; SHARE, 1
by default, shortens it. The data, 1,797 digits of 8 x 8 pixels, come with scikit-learn and are enlarged to photographs
of 32 x 32. A network with the layer names of VGG16, but narrow, is first trained on the digits 0 to 4. Its weights are
then loaded by name below a new top, and that learns to tell 5 to 9 apart: first the top alone, then the last block with
it, slowly. With --vgg16 the network is VGG16 itself, and FILE the weights that Keras has for it (with or without its
top; Keras keeps them as ~/.keras/models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5).
"""
import argparse

import numpy as np
from keras.applications.vgg16 import VGG16, preprocess_input
from keras.layers import Conv2D, Dense, Dropout, GlobalAveragePooling2D, Input, MaxPooling2D
from keras.models import Model, load_model
from keras.optimizers import SGD, Adam
from keras.utils import to_categorical

try:
    from sklearn.datasets import load_digits
except ImportError:
    raise SystemExit("This example needs scikit-learn: pip install 'kfacade[examples]'") from None

parser = argparse.ArgumentParser()
parser.add_argument('share', type=float, nargs='?', default=1.)
parser.add_argument('--vgg16', metavar='FILE', help="Keras' file of weights")
options = parser.parse_args()

np.random.seed(7)
pixels, digits = load_digits(return_X_y=True)
order = np.random.permutation(len(pixels))
digits = digits[order]
images = pixels[order].reshape(-1, 8, 8, 1) * (255. / 16)
images = images.repeat(4, axis=1).repeat(4, axis=2).repeat(3, axis=3)
images = preprocess_input(images.astype('float32')) * (1 if options.vgg16 else 1 / 64)


def narrow_base():
    """The first three blocks of VGG16, with an eighth of the filters."""
    x = image = Input(shape=(32, 32, 3))
    for block, (convolutions, filters) in enumerate([(2, 8), (2, 16), (3, 32)], start=1):
        for i in range(1, convolutions + 1):
            x = Conv2D(filters, (3, 3), activation='relu', padding='same', name=f'block{block}_conv{i}')(x)
        x = MaxPooling2D((2, 2), name=f'block{block}_pool')(x)
    return Model(image, x)


def with_top(base, name):
    """The network with a new top for five classes."""
    x = GlobalAveragePooling2D()(base.output)
    x = Dense(64, activation='relu', name=name + '_dense')(x)
    x = Dropout(.25)(x)
    return Model(base.input, Dense(5, activation='softmax', name=name)(x))


def weights_of(layers):
    return [weight for layer in layers for weight in layer.get_weights()]


def moved(before, layers):
    """The largest change of a weight."""
    return max(float(np.abs(new - old).max()) for new, old in zip(weights_of(layers), before))


# The network that others have trained. VGG16's is a file.
if options.vgg16:
    pretrained, base = options.vgg16, VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
else:
    pretrained, base = 'pretrained.h5', narrow_base()
    known = digits < 5
    teacher = with_top(base, 'zero_to_four')
    teacher.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
    teacher.fit(images[known], to_categorical(digits[known], 5), batch_size=16, epochs=max(1, int(15 * options.share)),
                verbose=2)
    teacher.save_weights(pretrained)
    base = narrow_base()

# New images, few of them to train on, and a new top. The weights go to the layers of the same names.
x, y = images[digits >= 5], to_categorical(digits[digits >= 5] - 5, 5)
few = 100
x_train, y_train, x_test, y_test = x[:few], y[:few], x[few:500], y[few:500]
model = with_top(base, 'five_to_nine')
model.load_weights(pretrained, by_name=True)

# The top alone: what is below is frozen.
for layer in base.layers:
    layer.trainable = False
model.compile(loss='categorical_crossentropy', optimizer=Adam(lr=.005), metrics=['accuracy'])
model.summary()
before = weights_of(base.layers)
model.fit(x_train, y_train, batch_size=20, epochs=max(2, int(60 * options.share)), verbose=2,
          validation_data=(x_test, y_test))
print('Accuracy with a new top:', round(float(model.evaluate(x_test, y_test, verbose=0)[1]), 4))
print('Frozen weights moved by:', moved(before, base.layers))

# The last block as well, at a low rate, now that the gradients of the top are small.
last_block = [layer for layer in base.layers if layer.name.startswith(base.layers[-1].name.split('_')[0])]
below = [layer for layer in base.layers if layer not in last_block]
for layer in last_block:
    layer.trainable = True
model.compile(loss='categorical_crossentropy', optimizer=SGD(lr=1e-4 if options.vgg16 else 2e-3, momentum=.9),
              metrics=['accuracy'])  # what is trainable counts from here on
before, block_before = weights_of(below), weights_of(last_block)
model.fit(x_train, y_train, batch_size=20, epochs=max(2, int(60 * options.share)), verbose=2,
          validation_data=(x_test, y_test))
print('Accuracy after fine-tuning:', round(float(model.evaluate(x_test, y_test, verbose=0)[1]), 4))
print('Weights of the last block moved by:', round(moved(block_before, last_block), 5))
print('Weights below it moved by:', moved(before, below))

model.save('fine_tuned.h5')
loaded = load_model('fine_tuned.h5')
probabilities = model.predict(x_test)
print('Predictions of the loaded network differ by:', float(np.abs(loaded.predict(x_test) - probabilities).max()))
for label, row in list(zip(y_test, probabilities))[:5]:
    print(f'A {label.argmax() + 5}: {row.argmax() + 5} with {row.max():.0%}')
