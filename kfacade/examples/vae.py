"""A variational autoencoder: digits as points of a plane, and digits made from points.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.vae [SHARE]`; SHARE, 1 by default, shortens
it. The encoder gives a normal distribution for each image, the decoder makes an image from a point drawn from it; the
loss is how unlike the image is, plus how unlike the distribution is to the standard one (Kingma & Welling 2013). The
data, 1,797 digits of 8 x 8 pixels, come with scikit-learn.
"""
import sys

import numpy as np
from keras import backend as K
from keras.layers import Dense, Input, Lambda
from keras.losses import binary_crossentropy
from keras.models import Model

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("This example needs scikit-learn: pip install 'kfacade[examples]'")

SHARE = float(sys.argv[1]) if len(sys.argv) > 1 else 1.
EPOCHS = max(1, int(80 * SHARE))

np.random.seed(7)
pixels, digits = load_digits(return_X_y=True)
images = (pixels / 16.).astype('float32')
split = 1500


def sample(arguments):
    """A point from the normal distribution of a mean and the logarithm of a variance."""
    mean, log_variance = arguments
    return mean + K.exp(.5 * log_variance) * K.random_normal(shape=K.shape(mean))


image = Input(shape=(64,))
hidden = Dense(128, activation='relu')(image)
mean = Dense(2, name='mean')(hidden)
log_variance = Dense(2, name='log_variance')(hidden)
point = Lambda(sample, output_shape=(2,))([mean, log_variance])
encoder = Model(image, [mean, log_variance, point], name='encoder')

start = Input(shape=(2,))
decoder = Model(start, Dense(64, activation='sigmoid')(Dense(128, activation='relu')(start)), name='decoder')

copy = decoder(encoder(image)[2])
vae = Model(image, copy, name='vae')
unlikeness = 64 * binary_crossentropy(image, copy)
divergence = -.5 * K.sum(1 + log_variance - K.square(mean) - K.exp(log_variance), axis=-1)
vae.add_loss(K.mean(unlikeness + divergence))
vae.compile(optimizer='adam')
vae.summary()
vae.fit(images[:split], batch_size=32, epochs=EPOCHS, verbose=2, validation_data=(images[split:], None))

points = encoder.predict(images[:split])[0]
distances = ((encoder.predict(images[split:])[0][:, None] - points[None]) ** 2).sum(axis=-1)
right = digits[:split][distances.argmin(axis=1)] == digits[split:]
print('Nearest neighbour on the plane is the same digit:', round(float(right.mean()), 4))
for row in decoder.predict(np.array([[-1., 0.], [1., 0.]])).reshape(2, 8, 8).swapaxes(0, 1):
    print('   '.join(''.join(' .:*#'[int(4.99 * shade)] * 2 for shade in line) for line in row))
