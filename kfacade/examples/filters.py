"""Filter visualisation: for each filter of a convolution, the picture that it answers to most.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.filters [SHARE] [--vgg16 FILE] [--layer
NAME]` (see photographs.py for the options). It writes filters.png: pictures found by gradient ascent from grey noise
(Erhan et al. 2009), the filters that answer most first.
"""
import numpy as np
from keras import backend as K
from keras.preprocessing.image import save_img
from scipy.ndimage import gaussian_filter

from kfacade.examples.photographs import network, parser

parser.add_argument('--layer', metavar='NAME', help='a convolution of the network')
options = parser.parse_args()
SIZE, NOISE, STEP = (128, 20., 2.) if options.vgg16 else (64, .1, .02)
STEPS = max(5, int(60 * options.share))
COUNT, COLUMNS = 36, 9

np.random.seed(7)
model = network(options)
layer = model.get_layer(options.layer or ('block4_conv1' if options.vgg16 else 'block3_conv1'))

found = []
for i in range(COUNT):
    loss = K.mean(layer.output[:, :, :, i])
    gradient = K.gradients(loss, model.input)[0]
    gradient /= K.sqrt(K.mean(K.square(gradient))) + K.epsilon()
    ascend = K.function([model.input], [loss, gradient])
    picture, answers = np.random.uniform(-NOISE, NOISE, (1, SIZE, SIZE, 3)), []
    for _ in range(STEPS):
        answer, change = ascend([picture])
        answers.append(float(answer))
        picture = gaussian_filter(picture + STEP * change, (0, .4, .4, 0))  # else the finest patterns win
    print(f'Filter {i}: its answer rises from {answers[0]:.3f} to {answers[-1]:.3f}')
    found.append((answers[-1], answers[0], picture[0]))


def framed(picture):
    """The picture from 0 to 255, with a black margin."""
    picture = np.clip(128 + 50 * (picture - picture.mean()) / picture.std(), 0, 255)
    return np.pad(picture[..., ::-1] if options.vgg16 else picture, ((2, 2), (2, 2), (0, 0)), 'constant')


found.sort(key=lambda entry: -entry[0])
print('Filters whose answer rises:', sum(last > first for last, first, _ in found))
frames = [framed(picture) for _, _, picture in found]
save_img('filters.png', np.vstack([np.hstack(frames[i:i + COLUMNS]) for i in range(0, COUNT, COLUMNS)]), scale=False)
print('Written: filters.png')
