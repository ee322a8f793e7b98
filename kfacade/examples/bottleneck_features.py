"""Bottleneck features: images go once through a trained network, and what comes out trains a small one in no time.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.bottleneck_features [SHARE] [--vgg16
FILE]`; SHARE, 1 by default, shortens it. The data, 1,797 digits of 8 x 8 pixels, come with scikit-learn. A network
learns the digits 0 to 4; the outputs of its convolutions for 5 to 9, which it has never seen, are kept in a file, train
a top of their own, and both networks are joined to one. It writes bottleneck_features.png: the digits 5 to 9, each
where the two directions in which the features differ most (their principal components) put it. With --vgg16 the
features are those of VGG16, FILE the weights that Keras has for it, with or without its top. Pictures need Pillow.
"""
import argparse

import numpy as np
from keras.applications.vgg16 import VGG16, preprocess_input
from keras.layers import Conv2D, Dense, Dropout, GlobalAveragePooling2D, MaxPooling2D
from keras.models import Model, Sequential
from keras.preprocessing.image import save_img
from keras.utils import to_categorical

try:
    import PIL  # noqa: F401
    from sklearn.datasets import load_digits
except ImportError:
    raise SystemExit("This example needs scikit-learn and Pillow: pip install 'kfacade[examples,images]'") from None

parser = argparse.ArgumentParser()
parser.add_argument('share', type=float, nargs='?', default=1.)
parser.add_argument('--vgg16', metavar='FILE', help="Keras' file of weights")
options = parser.parse_args()
SIZE = 64 if options.vgg16 else 16
COLOURS = np.array([[230, 60, 60], [60, 130, 240], [40, 160, 60], [240, 160, 30], [160, 70, 200]])

np.random.seed(7)
pixels, digits = load_digits(return_X_y=True)
order = np.random.permutation(len(pixels))
pixels, digits = pixels[order].reshape(-1, 8, 8, 1), digits[order]
images = (pixels * (255. / 16)).astype('float32')
images = images.repeat(SIZE // 8, axis=1).repeat(SIZE // 8, axis=2).repeat(3, axis=3)
known, labels = digits < 5, to_categorical(digits % 5, 5)

if options.vgg16:
    base = VGG16(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    base.load_weights(options.vgg16, by_name=True)
    images = preprocess_input(images)
else:
    images /= 255
    teacher = Sequential([
        Conv2D(16, (3, 3), activation='relu', padding='same', input_shape=(SIZE, SIZE, 3)),
        MaxPooling2D((2, 2)),
        Conv2D(32, (3, 3), activation='relu', padding='same'),
        Conv2D(64, (3, 3), activation='relu', padding='same'),
        MaxPooling2D((2, 2), name='bottleneck'),
        GlobalAveragePooling2D(),
        Dense(5, activation='softmax'),
    ])
    teacher.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
    teacher.fit(images[known], labels[known], batch_size=16, epochs=max(2, int(20 * options.share)), verbose=2)
    base = Model(teacher.input, teacher.get_layer('bottleneck').output)

x, y = images[~known], labels[~known]
few = 100
np.save('bottleneck_features.npy', base.predict(x, batch_size=32))
features = np.load('bottleneck_features.npy')

top = Sequential([
    GlobalAveragePooling2D(input_shape=features.shape[1:]),
    Dense(64, activation='relu'),
    Dropout(.25),
    Dense(5, activation='softmax'),
])
top.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
top.fit(features[:few], y[:few], batch_size=20, epochs=max(5, int(100 * options.share)), verbose=2,
        validation_data=(features[few:], y[few:]))
print('Accuracy of the top on features:', round(float(top.evaluate(features[few:], y[few:], verbose=0)[1]), 4))

joined = Model(base.input, top(base.output))
joined.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
print('Accuracy of both on images:', round(float(joined.evaluate(x[few:], y[few:], verbose=0)[1]), 4))

averages = features.mean(axis=(1, 2))
averages -= averages.mean(axis=0)
points = averages @ np.linalg.svd(averages, full_matrices=False)[2][:2].T
points = (points - points.min(axis=0)) / (points.max(axis=0) - points.min(axis=0))
canvas = np.full((640, 640, 3), 255.)
for point, image, label in zip(points, pixels[~known], y):
    column, row = (point * (640 - 17)).astype(int)
    stroke = image.repeat(2, axis=0).repeat(2, axis=1) / 16
    spot = canvas[row:row + 16, column:column + 16]
    spot += stroke * (COLOURS[label.argmax()] - spot)
save_img('bottleneck_features.png', canvas, scale=False)
print('Written: bottleneck_features.png')
