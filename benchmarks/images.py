"""Photographs in files: decoded and transformed, and given to a model while it trains."""
import os
import time

import numpy as np
from PIL import Image

USUAL = dict(rotation_range=20, width_shift_range=0.1, height_shift_range=0.1, shear_range=10, zoom_range=0.2,
             channel_shift_range=20., brightness_range=(0.7, 1.3), horizontal_flip=True, rescale=1 / 255.,
             samplewise_center=True, samplewise_std_normalization=True)


def write_photographs(folder, count, size):
    """JPEG files of `size` x `size` pixels in two classes: clouds of colour, with noise."""
    random = np.random.RandomState(0)
    for i in range(count):
        colours = Image.fromarray(random.randint(0, 256, (14, 14, 3)).astype('uint8'))
        clouds = colours.resize((size, size), Image.BICUBIC)
        noisy = np.asarray(clouds) + random.randint(-8, 9, (size, size, 3))
        path = os.path.join(folder, 'ab'[i % 2], f'{i}.jpg')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype('uint8')).save(path, quality=90)


def reader(image, folder):
    """A function that decodes all the files and transforms them, with `image` of some keras.preprocessing."""
    flow = image.ImageDataGenerator(**USUAL).flow_from_directory(folder, target_size=(224, 224), batch_size=16, seed=1)
    return lambda: [next(flow) for _ in range(len(flow))]


def steps_per_second(keras, folder, workers, runs):
    """Of `fit` on the photographs in memory, and of `fit_generator` on their files: two lists, alternating runs."""
    layers = keras.layers
    model = keras.models.Sequential([
        layers.Conv2D(32, 3, activation='relu', input_shape=(96, 96, 3)), layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation='relu'), layers.GlobalAveragePooling2D(),
        layers.Dense(2, activation='softmax')])
    model.compile('sgd', 'categorical_crossentropy')
    flow = keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255.).flow_from_directory(
        folder, target_size=(96, 96), batch_size=16)
    x, y = (np.concatenate(part) for part in zip(*(flow[i] for i in range(len(flow)))))
    ways = (lambda: model.fit(x, y, batch_size=16, verbose=0),
            lambda: model.fit_generator(flow, workers=workers, verbose=0))
    speeds = [], []
    for _ in range(runs + 1):
        for way, found in zip(ways, speeds):
            start = time.perf_counter()
            way()
            found.append(len(flow) / (time.perf_counter() - start))
    return [found[1:] for found in speeds]
