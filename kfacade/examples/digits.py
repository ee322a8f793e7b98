"""Handwritten digits: train a small convolutional network, save it, load it, and fine-tune a second one from it.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.digits [FILE]`; the data, 1,797 digits of
8 x 8 pixels, come with scikit-learn. The model is saved to FILE (model.h5 by default).
"""
import sys

import keras
import numpy as np
from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.models import Sequential, load_model
from keras.utils import to_categorical

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("This example needs scikit-learn: pip install 'kfacade[examples]'")

FILE = sys.argv[1] if len(sys.argv) > 1 else 'model.h5'


def features():
    """The layers that both networks have, under the same names."""
    return [
        Conv2D(32, (3, 3), activation='relu', padding='same', input_shape=(8, 8, 1), name='edges'),
        Conv2D(64, (3, 3), activation='relu', name='parts'),
        MaxPooling2D((2, 2)),
        Dropout(0.25),
        Flatten(),
        Dense(128, activation='relu', name='shape'),
    ]


np.random.seed(7)
pixels, digits = load_digits(return_X_y=True)
order = np.random.permutation(len(pixels))
pixels = (pixels[order] / 16.).reshape(-1, 8, 8, 1).astype('float32')
digits = digits[order]
split = int(0.8 * len(pixels))
x_train, x_test = pixels[:split], pixels[split:]
y_train, y_test = digits[:split], digits[split:]

model = Sequential(features() + [Dropout(0.5), Dense(10, activation='softmax', name='digit')])
model.compile(loss='categorical_crossentropy', optimizer=keras.optimizers.Adam(), metrics=['accuracy'])
model.summary()
model.fit(x_train, to_categorical(y_train, 10), batch_size=32, epochs=15, verbose=1,
          validation_data=(x_test, to_categorical(y_test, 10)))
loss, accuracy = model.evaluate(x_test, to_categorical(y_test, 10), verbose=0)
print('Validation accuracy:', round(float(accuracy), 4))

model.save(FILE)
loaded = load_model(FILE)
before, after = model.predict(x_test[:5]), loaded.predict(x_test[:5])
print('Saved and loaded', FILE)
print('Digits:               ', y_test[:5])
print('Predicted when saved: ', before.argmax(axis=-1), before.max(axis=-1))
print('Predicted when loaded:', after.argmax(axis=-1), after.max(axis=-1))
assert np.array_equal(before, after)

# A new question for the trained layers: is the digit a round one (0, 6, 8, 9)? Only the last layer is new, and trained.
tuned = Sequential(features() + [Dense(1, activation='sigmoid', name='is_round')])
tuned.load_weights(FILE, by_name=True)
for layer in tuned.layers[:-1]:
    layer.trainable = False
tuned.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
tuned.fit(x_train, np.isin(y_train, [0, 6, 8, 9]), batch_size=32, epochs=5, verbose=2,
          validation_data=(x_test, np.isin(y_test, [0, 6, 8, 9])))
