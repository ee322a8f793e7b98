"""Augmentation: images that are turned, shifted and zoomed at random help where there are few of them.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.augmentation [SHARE]`; SHARE, 1 by default,
shortens it. The data, 1,797 digits of 8 x 8 pixels, come with scikit-learn; only 100 of them are trained on. The
generator needs Pillow and scipy (`pip install 'kfacade[examples,images]'`).
"""
import sys

import numpy as np
from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.models import Sequential
from keras.preprocessing.image import ImageDataGenerator
from keras.utils import to_categorical

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("This example needs scikit-learn: pip install 'kfacade[examples]'")

SHARE = float(sys.argv[1]) if len(sys.argv) > 1 else 1.
TRAINED, EPOCHS = 100, max(1, int(100 * SHARE))

np.random.seed(7)
pixels, digits = load_digits(return_X_y=True)
order = np.random.permutation(len(pixels))
images = (pixels[order] / 16.).reshape(-1, 8, 8, 1).astype('float32')
labels = to_categorical(digits[order], 10)
x_train, y_train, x_test, y_test = images[:TRAINED], labels[:TRAINED], images[TRAINED:], labels[TRAINED:]


def network():
    model = Sequential([
        Conv2D(32, (3, 3), activation='relu', padding='same', input_shape=(8, 8, 1)),
        Conv2D(64, (3, 3), activation='relu'),
        MaxPooling2D((2, 2)),
        Flatten(),
        Dropout(.5),
        Dense(10, activation='softmax'),
    ])
    model.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
    return model


plain = network()
plain.fit(x_train, y_train, batch_size=20, epochs=EPOCHS, verbose=0)

generator = ImageDataGenerator(rotation_range=10, width_shift_range=.1, height_shift_range=.1, zoom_range=.1,
                               fill_mode='constant')
augmented = network()
augmented.fit_generator(generator.flow(x_train, y_train, batch_size=20), steps_per_epoch=TRAINED // 20, epochs=EPOCHS,
                        verbose=2, validation_data=(x_test, y_test))

for name, model in (('as they are', plain), ('augmented', augmented)):
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f'Test accuracy, trained on images {name}: {accuracy:.4f}')
