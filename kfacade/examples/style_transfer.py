"""Style transfer: one picture, painted in the manner of another.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.style_transfer [SHARE] [--vgg16 FILE]
[--content PICTURE] [--style PICTURE]` (see photographs.py for the options; a temple is painted with a flower by
default). It writes style_transfer.png: both, and a third one whose features are those of the first, while the products
of any two channels, averaged over the picture, are those of the second (Gatys et al. 2015). L-BFGS of scipy looks for
it.
"""
import numpy as np
from keras import backend as K
from keras.preprocessing.image import img_to_array, load_img, save_img
from scipy.optimize import fmin_l_bfgs_b

from kfacade.examples.photographs import Model, network, parser, photographs, preprocessed, restored

parser.add_argument('--content', metavar='PICTURE', help='a file')
parser.add_argument('--style', metavar='PICTURE', help='a file')
options = parser.parse_args()
WIDTH, ROUNDS = max(64, int(320 * min(options.share, 1))), max(2, int(10 * options.share))
CONTENT_WEIGHT, STYLE_WEIGHT, SMOOTHNESS = 3., 30., .5
STYLE_LAYERS = [f'block{block}_conv1' for block in range(1, 6 if options.vgg16 else 4)]
CONTENT_LAYER = 'block5_conv2' if options.vgg16 else 'block3_conv1'

np.random.seed(7)
network = network(options)
pictures = photographs(WIDTH)
for i, path in enumerate([options.content, options.style]):
    if path:
        pictures[i] = img_to_array(load_img(path, target_size=pictures[0].shape[:2]))
content, style = preprocessed(pictures, options)


def gram(features):
    """The products of any two channels of features (1, rows, columns, channels), averaged over the picture."""
    channels = K.batch_flatten(K.permute_dimensions(features[0], (2, 0, 1)))
    return K.dot(channels, K.transpose(channels)) / K.cast(K.shape(channels)[1], K.floatx())


def relative_error(x, wanted):
    return K.sum(K.square(x - wanted)) / np.square(wanted).sum()


style_outputs = [gram(network.get_layer(name).output) for name in STYLE_LAYERS]
wanted_style = K.function([network.input], style_outputs)([style[None]])
content_output = network.get_layer(CONTENT_LAYER).output
wanted_content = Model(network.input, content_output).predict(content[None])

image = network.input
loss = CONTENT_WEIGHT * relative_error(content_output, wanted_content)
for output, wanted in zip(style_outputs, wanted_style):
    loss += STYLE_WEIGHT / len(STYLE_LAYERS) * relative_error(output, wanted)
loss += SMOOTHNESS * (K.mean(K.abs(image[:, 1:] - image[:, :-1])) + K.mean(K.abs(image[:, :, 1:] - image[:, :, :-1])))
evaluate = K.function([image], [loss, K.gradients(loss, image)[0]])


def loss_and_gradient(x):
    value, gradient = evaluate([x.reshape((1,) + content.shape)])
    return float(value), gradient.flatten().astype('float64')


x = content.flatten().astype('float64')
first = loss_and_gradient(x)[0]
for i in range(ROUNDS):
    x, value, _ = fmin_l_bfgs_b(loss_and_gradient, x, maxfun=20)
    print(f'Round {i + 1}: loss {value:.4f} (at first {first:.4f})')

result = np.clip(restored(x.reshape(content.shape), options), 0, 255)
save_img('style_transfer.png', np.hstack([pictures[0], pictures[1], result]), scale=False)
print('Written: style_transfer.png')
