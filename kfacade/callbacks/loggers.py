"""Callbacks that gather, show or send what the training gives."""
import csv
import json
import os
import warnings

import numpy as np

from ..utils import ranks
from ..utils.extras import optional
from ..utils.generic_utils import keep_arguments
from ..utils.progbar import Progbar
from ..utils.ranks import tell
from ..utils.scalars import accumulate, number
from .core import Callback
from .logs import Logs


class BaseLogger(Callback):
    """Puts the means over the epoch, weighted by batch size, into the epoch's logs. Every `fit` has one, first.

    `stateful_metrics`: names whose last value counts instead. Sums are kept in 64 bits where the values are, so that
    no batch waits for the device.
    """

    def __init__(self, stateful_metrics=None):
        super().__init__()
        self.stateful_metrics = set(stateful_metrics or ())

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = 0
        self.totals = {}

    def on_batch_end(self, batch, logs=None):
        logs = logs or {}
        size = logs.get('size', 0)
        self.seen += size
        for key, value in logs.raw_items() if isinstance(logs, Logs) else logs.items():
            if key in self.stateful_metrics:
                self.totals[key] = value
            else:
                self.totals[key] = accumulate(self.totals.get(key, 0), value, size)

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        for key in self.params['metrics']:
            if key in self.totals:
                total = number(self.totals[key])
                logs[key] = total if key in self.stateful_metrics else total / self.seen
        logs.update(ranks.of_first({key: logs[key] for key in self.totals if key in logs}))


class ProgbarLogger(Callback):
    """Shows the progress of each epoch, with the running means of loss and metrics.

    `count_mode`: what the bar counts, 'samples' or 'steps'. The values named in `stateful_metrics` are not averaged.
    """

    def __init__(self, count_mode='samples', stateful_metrics=None):
        super().__init__()
        if count_mode not in ('samples', 'steps'):
            raise ValueError(f'Unknown `count_mode`: {count_mode}')
        self.use_steps = count_mode == 'steps'
        self.stateful_metrics = set(stateful_metrics or ())

    def on_train_begin(self, logs=None):
        self.verbose = self.params['verbose']
        self.epochs = self.params['epochs']

    def on_epoch_begin(self, epoch, logs=None):
        self.target = self.params['steps' if self.use_steps else 'samples']
        self.seen = 0
        self.log_values = []
        if self.verbose:
            tell(f'Epoch {epoch + 1}/{self.epochs}')
            self.progbar = Progbar(self.target, verbose=self.verbose, stateful_metrics=self.stateful_metrics)

    def on_batch_end(self, batch, logs=None):
        logs = logs or {}
        self.seen += 1 if self.use_steps else logs.get('size', 0)
        if not self.verbose:
            return
        # Reading through the logs, where the waiting is put down to the batch; the bar's own sums come without then.
        read = logs.raw if isinstance(logs, Logs) and not self.progbar.is_due(self.seen) else logs.__getitem__
        self.log_values = [(key, read(key)) for key in self.params['metrics'] if key in logs]
        # The last update of an epoch is left to `on_epoch_end`, which has the validation results.
        if self.seen < self.target:
            self.progbar.update(self.seen, self.log_values)
            self.log_values = []

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        self.log_values += [(key, logs[key]) for key in self.params['metrics'] if key in logs]
        if self.verbose:
            self.progbar.update(self.seen, self.log_values)


class History(Callback):
    """What `fit` returns: `epoch`, a list of epoch indices, and `history`, a dict of lists, one value an epoch."""

    def on_train_begin(self, logs=None):
        self.epoch = []
        self.history = {}

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)

    def plot(self):
        """Draws loss and metrics over the epochs, each with that of the validation; returns the matplotlib figure.

        A notebook shows it; ``history.plot().savefig('training.png')`` keeps it. Raises ImportError where matplotlib is
        missing, ValueError where there are no numbers yet.
        """
        pyplot = optional('matplotlib.pyplot', 'History.plot', 'plot')
        names = [name for name, values in self.history.items() if not np.ndim(values[0])
                 and not (name.startswith('val_') and name[4:] in self.history)]
        if not names:
            raise ValueError('There is nothing to draw: the history has no epochs. Call `fit` first.')
        columns = min(len(names), 3)
        rows = -(-len(names) // columns)
        figure = pyplot.figure(figsize=(4.5 * columns, 3.2 * rows), layout='constrained')
        pyplot.close(figure)  # or a notebook would show it twice
        for i, name in enumerate(names):
            axis = figure.add_subplot(rows, columns, i + 1)
            for key, label in ((name, 'training'), (f'val_{name}', 'validation')):
                if key in self.history:
                    values = self.history[key]
                    axis.plot([epoch + 1 for epoch in self.epoch[-len(values):]], values, '.-', label=label)
            axis.set(title=name, xlabel='epoch')
            axis.xaxis.get_major_locator().set_params(integer=True)
            if len(axis.lines) > 1:
                axis.legend()
        return figure


class CSVLogger(Callback):
    """Writes one row an epoch to a CSV file: the epoch, then the logs in alphabetical order of the first epoch's names.

    `separator` comes between the columns. `append`: go on in an existing file, without a second header.
    """

    def __init__(self, filename, separator=',', append=False):
        super().__init__()
        self.filename = filename
        self.sep = separator
        self.append = append
        self.append_header = True
        self.writer = self.keys = None

    def on_train_begin(self, logs=None):
        if self.append and os.path.exists(self.filename):
            with open(self.filename) as file:
                self.append_header = not file.readline()
        self.csv_file = open(os.devnull if ranks.rank else self.filename, 'a' if self.append else 'w', newline='\n')

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.keys is None:
            self.keys = sorted(logs)
        if self.model.stop_training:  # an epoch that was cut short may lack the validation results
            logs = {key: logs.get(key, 'NA') for key in self.keys}
        if self.writer is None:
            self.writer = csv.DictWriter(self.csv_file, ['epoch', *self.keys], delimiter=self.sep)
            if self.append_header:
                self.writer.writeheader()
        row = {key: f'"[{", ".join(map(str, logs[key]))}]"' if np.ndim(logs[key]) else logs[key] for key in self.keys}
        self.writer.writerow({'epoch': epoch, **row})
        self.csv_file.flush()

    def on_train_end(self, logs=None):
        self.csv_file.close()
        self.writer = None


class RemoteMonitor(Callback):
    """Sends the logs of each epoch to the server at `root` + `path` by HTTP POST. Needs the `requests` package.

    The form field `field` gets the JSON text, unless `send_as_json` makes it the body. `headers`: dict of HTTP headers.
    """

    def __init__(self, root='http://localhost:9000', path='/publish/epoch/end/', field='data', headers=None,
                 send_as_json=False):
        super().__init__()
        keep_arguments(self, locals())

    def on_epoch_end(self, epoch, logs=None):
        requests = optional('requests', 'RemoteMonitor', 'remote')
        event = {key: value.item() if isinstance(value, (np.ndarray, np.generic)) else value
                 for key, value in {'epoch': epoch, **(logs or {})}.items()}
        if ranks.rank:
            return
        body = {'json': event} if self.send_as_json else {'data': {self.field: json.dumps(event)}}
        try:
            requests.post(self.root + self.path, headers=self.headers, **body)
        except requests.exceptions.RequestException:
            warnings.warn(f'Warning: could not reach RemoteMonitor root server at {self.root}', stacklevel=2)
