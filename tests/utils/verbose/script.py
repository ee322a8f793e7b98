import numpy as np
from keras.callbacks import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from keras.layers import Dense, Input
from keras.models import Model, Sequential
from keras.utils import Progbar, Sequence

random = np.random.RandomState(0)
x, y = random.normal(size=(120, 4)), random.normal(size=(120, 2))


def build(loss='mse', **arguments):
    model = Sequential([Dense(2, input_shape=(4,))])
    values = np.random.RandomState(1)
    model.set_weights([values.normal(size=w.shape) for w in model.get_weights()])
    model.compile('sgd', loss, metrics=['mae'], **arguments)
    np.random.seed(5)
    return model


class Batches(Sequence):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return x[20 * index:20 * index + 20], y[20 * index:20 * index + 20]


def endless():
    while True:
        yield from Batches()


def title(text):
    print('#', text, flush=True)


title('fit')
build().fit(x, y, epochs=2)
title('fit, one batch')
build().fit(x, y, batch_size=200)
title('fit, validation')
build().fit(x, y, epochs=2, validation_split=.25, batch_size=7)
title('fit, verbose 2')
build().fit(x, y, epochs=2, validation_data=(x[:10], y[:10]), verbose=2)
title('fit, verbose 0')
build().fit(x, y, epochs=2, validation_split=.25, verbose=0)
title('fit, steps')
build().fit(x, y, steps_per_epoch=3, epochs=2, validation_data=(x, y), validation_steps=2)
title('evaluate')
model = build()
model.evaluate(x, y)
model.evaluate(x, y, verbose=0)
model.evaluate(x, y, verbose=1, steps=3)
title('predict')
model.predict(x)
model.predict(x, verbose=1, batch_size=50)
title('fit_generator')
build().fit_generator(Batches(), epochs=2, shuffle=False)
build().fit_generator(endless(), steps_per_epoch=4, epochs=2, validation_data=Batches(), verbose=1)
build().fit_generator(endless(), steps_per_epoch=4, epochs=2, validation_data=(x, y), verbose=2)
title('evaluate_generator, predict_generator')
model.evaluate_generator(Batches(), verbose=1)
model.predict_generator(Batches(), verbose=1)
title('callbacks')
build().fit(x, y, epochs=6, verbose=1, validation_split=.5, callbacks=[
    LearningRateScheduler(lambda epoch: .1 / (epoch + 1), verbose=1),
    ReduceLROnPlateau('loss', factor=.5, patience=1, verbose=1, min_delta=1.), EarlyStopping('val_loss', min_delta=.5,
                                                                            patience=2, verbose=1)])
build().fit(x, y, epochs=2, verbose=2, callbacks=[ModelCheckpoint('model.h5', 'loss', verbose=1, save_best_only=True)])
title('two outputs')
a = Input((4,))
two = Model(a, [Dense(2, kernel_initializer='ones', name=name)(a) for name in ('left', 'right')])
two.compile('sgd', ['mse', 'mae'], loss_weights=[1., .1], metrics={'left': 'mae'})
two.fit(x, [y, y], shuffle=False)
title('small and large numbers')
build(lambda a, b: 1e-6 * (a - b)).fit(x, y, shuffle=False)
build(lambda a, b: 1e6 * (a - b)).fit(x, y, batch_size=200, verbose=2)
title('Progbar')
bar = Progbar(5)
for i in range(6):
    bar.update(i, [('a', i), ('b', -1e-9 * i)])
bar = Progbar(None)
for i in range(3):
    bar.add(1, [('a', i)])
print()
bar = Progbar(12, width=10, stateful_metrics=['a'], interval=0)
for i in range(4):
    bar.add(3, [('a', i)])
Progbar(3, verbose=2).update(3, [('c', 12345.678)])
