"""Text classification: an embedding and a one-dimensional convolution tell praise from blame.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.text_classification [SHARE]`; SHARE, 1 by
default, shortens it. The sentences are made here: words of praise and blame, often after a "not" that turns them
around, so that single words do not decide.
"""
import sys

import numpy as np
from keras.layers import Conv1D, Dense, Dropout, Embedding, GlobalMaxPooling1D
from keras.models import Sequential
from keras.preprocessing.sequence import pad_sequences
from keras.preprocessing.text import Tokenizer

SHARE = float(sys.argv[1]) if len(sys.argv) > 1 else 1.
LENGTH = 20

GOOD = 'good great clever charming funny moving brilliant lovely'.split()
BAD = 'bad dull boring clumsy awful tedious stupid bleak'.split()
THINGS = 'film plot story music acting ending dialogue picture scene cast'.split()
FILLERS = 'really quite rather somehow truly very often always perhaps surely'.split()


def sentence(random, is_praise):
    """Some words about one to three things, all of them meant well, or all of them ill."""
    words = []
    for _ in range(random.randint(1, 4)):
        is_negated = random.rand() < .5
        words += ['the', random.choice(THINGS), 'was'] + ['not'] * is_negated
        words += list(random.choice(FILLERS, random.randint(0, 2)))
        words.append(random.choice(GOOD if is_praise != is_negated else BAD))
    return ' '.join(words)


np.random.seed(7)
count = int(6000 * SHARE)
labels = np.random.randint(0, 2, count)
texts = [sentence(np.random, bool(label)) for label in labels]

tokenizer = Tokenizer()
tokenizer.fit_on_texts(texts)
sequences = pad_sequences(tokenizer.texts_to_sequences(texts), maxlen=LENGTH)
split = int(.8 * count)

model = Sequential([
    Embedding(len(tokenizer.word_index) + 1, 16, input_length=LENGTH),
    Conv1D(64, 4, activation='relu'),
    GlobalMaxPooling1D(),
    Dropout(.3),
    Dense(1, activation='sigmoid'),
])
model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
model.fit(sequences[:split], labels[:split], batch_size=32, epochs=4, verbose=2,
          validation_data=(sequences[split:], labels[split:]))
loss, accuracy = model.evaluate(sequences[split:], labels[split:], verbose=0)
print('Test accuracy:', round(float(accuracy), 4))

for text in ('the plot was good', 'the plot was not good', 'the music was not really awful'):
    praise = model.predict(pad_sequences(tokenizer.texts_to_sequences([text]), maxlen=LENGTH))[0, 0]
    print('{:32} {}'.format(text, 'praise' if praise > .5 else 'blame'))
