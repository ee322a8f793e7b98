"""Reads model files in another Keras: ``python peer_worker.py MODULE FOLDER``, MODULE being ``keras`` or ``tf_keras``.

Each folder in FOLDER holds inputs.npz (``x0``, ``x1``, ..., ``batch_size``) and what is to be read: model.h5, and
weights.h5 for the model in model.json and for the one in model.yaml. Beside each, FILE.npz gets the predictions
``p000``, ... and the optimizer's arrays ``o000``, ...; FOLDER/report.json tells the version of that Keras and what it
could not do. This runs on any Python from 3.7 on, without kfacade.
"""
import glob
import importlib
import json
import os
import sys

import numpy as np


def read(keras, path, failures):
    """The model. What this Keras cannot take over of it, but can do without, is among the failures."""
    folder, name = os.path.split(path)
    whole = os.path.join(folder, 'model.h5')
    if name == 'model.h5':
        try:
            return keras.models.load_model(whole)
        except Exception as error:
            failures[path + ' training'] = described(error)
            return keras.models.load_model(whole, compile=False)
    text = 'model.yaml' if name == 'model.yaml' else 'model.json'
    build = keras.models.model_from_yaml if name == 'model.yaml' else keras.models.model_from_json
    try:
        with open(os.path.join(folder, text)) as file:
            model = build(file.read())
    except Exception as error:
        failures[path + ' config'] = described(error)
        model = keras.models.load_model(whole, compile=False)
        model.set_weights([0 * array for array in model.get_weights()])
    model.load_weights(os.path.join(folder, 'weights.h5'))
    return model


def arrays_of(model, inputs, batch_size):
    predictions = model.predict(inputs if len(inputs) > 1 else inputs[0], batch_size=batch_size, verbose=0)
    found = {'p': predictions if isinstance(predictions, list) else [predictions]}
    if hasattr(getattr(model, 'optimizer', None), 'get_weights'):
        found['o'] = model.optimizer.get_weights()
    return {f'{key}{i:03}': array for key, arrays in found.items() for i, array in enumerate(arrays)}


def described(error):
    return f'{type(error).__name__}: {error}'


def main(module, folder):
    keras = importlib.import_module(module)
    tensorflow = sys.modules.get('tensorflow')
    if hasattr(getattr(tensorflow, 'config', None), 'run_functions_eagerly'):
        tensorflow.config.run_functions_eagerly(True)  # to compile a graph takes longer than one prediction
    names = ['model.h5', 'weights.h5']
    if keras.__version__.startswith(('2.2.', '2.3.')):
        names.append('model.yaml')  # which no later Keras reads
    failures = {}
    for path in sorted(path for name in names for path in glob.glob(os.path.join(folder, '*', name))):
        keras.backend.clear_session()
        with np.load(os.path.join(os.path.dirname(path), 'inputs.npz')) as stored:
            inputs = [stored[f'x{i}'] for i in range(len(stored.files) - 1)]
            batch_size = int(stored['batch_size'])
        try:
            np.savez(path + '.npz', **arrays_of(read(keras, path, failures), inputs, batch_size))
        except Exception as error:
            failures[path] = described(error)
    with open(os.path.join(folder, 'report.json'), 'w') as file:
        json.dump({'version': keras.__version__, 'names': names, 'failures': failures}, file)


if __name__ == '__main__':
    main(*sys.argv[1:])
