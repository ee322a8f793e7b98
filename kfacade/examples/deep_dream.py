"""Deep dream: a network exaggerates what it sees in a photograph.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.deep_dream [SHARE] [--vgg16 FILE] [--image
PICTURE]` (see photographs.py for the options; PICTURE is a temple by default). It writes deep_dream.png: the
photograph, and beside it what comes of changing it so that some layers answer more (Mordvintsev et al. 2015), in
several sizes, from small to large, so that large patterns come as well as small ones.
"""
import numpy as np
from keras import backend as K
from keras.preprocessing.image import img_to_array, load_img, save_img
from scipy.ndimage import gaussian_filter, zoom

from kfacade.examples.photographs import network, parser, photographs, preprocessed, restored

parser.add_argument('--image', metavar='PICTURE', help='a file')
options = parser.parse_args()
WIDTH, SCALE = max(64, int(400 * min(options.share, 1))), 1.4
OCTAVES, STEPS = 3, max(3, int(20 * options.share))
LAYERS = {'block4_conv3': 1., 'block5_conv3': 1.5} if options.vgg16 else {'block2_conv1': .5, 'block3_conv1': 1.}
STEP = 1.5 if options.vgg16 else .01

np.random.seed(7)
model = network(options)
photograph = photographs(WIDTH)[0]
if options.image:
    image = load_img(options.image)
    photograph = img_to_array(image.resize((WIDTH, image.height * WIDTH // image.width)))

loss = K.variable(0.)
for name, weight in LAYERS.items():
    answer = model.get_layer(name).output[:, 2:-2, 2:-2, :]  # the margin answers to the padding
    # The answer of each channel counts by its size, not by its square: else the loudest takes the whole picture.
    loss = loss + weight * K.mean(K.sqrt(K.mean(K.square(answer), axis=(0, 1, 2)) + K.epsilon()))
gradient = K.gradients(loss, model.input)[0]
gradient /= K.maximum(K.mean(K.abs(gradient)), K.epsilon())
dream_on = K.function([model.input], [loss, gradient])


def resized(picture, size):
    return zoom(picture, (size[0] / picture.shape[0], size[1] / picture.shape[1], 1), order=1)


original = preprocessed(photograph, options)
sizes = [tuple(int(n / SCALE ** octave) for n in original.shape[:2]) for octave in reversed(range(OCTAVES))]
dreamt = np.zeros(sizes[0] + (3,))
for size in sizes:
    base = resized(original, size)
    picture = base + resized(dreamt, size)  # what was dreamt so far, on the details of this size
    losses = []
    for _ in range(STEPS):
        value, change = dream_on([picture[None]])
        losses.append(float(value))
        change = change[0] - gaussian_filter(change[0], (5, 5, 0))  # patterns, and no large fields of colour
        picture = gaussian_filter(picture + STEP * change, (.3, .3, 0))
    print(f'{size[1]}x{size[0]} pixels: loss from {losses[0]:.3f} to {losses[-1]:.3f}')
    dreamt = picture - base

result = np.clip(restored(original + dreamt, options), 0, 255)
save_img('deep_dream.png', np.hstack([photograph, result]), scale=False)
print('Written: deep_dream.png')
