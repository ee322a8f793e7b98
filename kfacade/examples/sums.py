"""Sequence to sequence: a network reads a sum such as 12+34, character by character, and writes the result.

An ordinary Keras script. Run it with `python -m kfacade -m kfacade.examples.sums [SHARE]`; SHARE, 1 by default,
shortens it. An LSTM encodes the sum in one vector, another one decodes that into digits. The sums are made here, and
each is either trained on or tested with.
"""
import sys

import numpy as np
from keras.layers import LSTM, Dense, RepeatVector, TimeDistributed
from keras.models import Sequential

SHARE = float(sys.argv[1]) if len(sys.argv) > 1 else 1.
CHARACTERS = ' +0123456789'
QUESTION, ANSWER = len('99+99'), len('198')
EPOCHS = max(1, int(60 * SHARE))


def encoded(texts, length):
    """One-hot vectors (texts, length, characters) of texts, filled up with blanks."""
    numbers = np.array([[CHARACTERS.index(character) for character in text.ljust(length)] for text in texts])
    return np.eye(len(CHARACTERS))[numbers]


def decoded(vectors):
    return [''.join(CHARACTERS[i] for i in row).strip() for row in vectors.argmax(axis=-1)]


np.random.seed(7)
pairs = np.random.permutation([(a, b) for a in range(100) for b in range(100)])
questions = [f'{a}+{b}' for a, b in pairs]
answers = [str(a + b) for a, b in pairs]
x = encoded([question[::-1] for question in questions], QUESTION)  # read backwards, units come first
y = encoded(answers, ANSWER)
split = 9000
trained = max(1000, int(split * SHARE))

model = Sequential([
    LSTM(96, input_shape=(QUESTION, len(CHARACTERS))),
    RepeatVector(ANSWER),
    LSTM(96, return_sequences=True),
    TimeDistributed(Dense(len(CHARACTERS), activation='softmax')),
])
model.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
model.summary()
model.fit(x[:trained], y[:trained], batch_size=64, epochs=EPOCHS, verbose=2, validation_data=(x[split:], y[split:]))

guesses = decoded(model.predict(x[split:]))
right = np.mean([guess == answer for guess, answer in zip(guesses, answers[split:])])
for question, guess in list(zip(questions[split:], guesses))[:10]:
    print(f'{question:>5} = {guess}')
print('Right answers to new questions:', round(float(right), 4))
