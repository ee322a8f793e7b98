"""The progress bar that Keras draws while it trains."""
import sys
import time

import numpy as np

from . import ranks
from .scalars import accumulate, number


class Progbar:
    """Progress bar on standard output, with running means of what it is given.

    `target` is the number of units (steps or samples) to come, None if unknown; `width` that of the characters between
    the brackets; `verbose` 0 silent, 1 a bar, 2 one line when the target is reached; `interval` the least number of
    seconds between two drawings (the last one is always drawn). Values named in `stateful_metrics` are not averaged.

    Values may be 0-d tensors on a device: they are summed there, and read only when something is printed.
    """

    def __init__(self, target, width=30, verbose=1, interval=0.05, stateful_metrics=None):
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.stateful_metrics = set(stateful_metrics or ())
        # A terminal draws over the old bar; a file or a pipe gets each state on a line of its own.
        self._dynamic_display = getattr(sys.stdout, 'isatty', bool)() or 'ipykernel' in sys.modules
        self._values = {}
        self._start = time.time()
        self._total_width = self._seen_so_far = self._last_update = 0

    def add(self, n, values=None):
        """Goes on by `n` units. `values`: (name, value) pairs, means over these units."""
        self.update(self._seen_so_far + n, values)

    def update(self, current, values=None):
        """Moves on to `current` units. `values`: (name, value) pairs, means over the units since the last call."""
        units = current - self._seen_so_far
        for name, value in values or ():
            if name in self.stateful_metrics:
                self._values[name] = [value, 1]
            else:
                total, count = self._values.get(name, (0, 0))
                self._values[name] = [accumulate(total, value, units), count + units]
        self._seen_so_far = current
        if self.is_due(current):
            self._print(current)

    def is_due(self, current):
        """Whether moving on to `current` units right now prints something. Of several ranks, the first one prints."""
        if ranks.rank:
            return False
        if self.target is None or current >= self.target:
            return self.verbose in (1, 2)
        return self.verbose == 1 and time.time() - self._last_update >= self.interval

    def _print(self, current):
        now = time.time()
        done = self.target is None or current >= self.target
        elapsed = now - self._start
        pace = elapsed / current if current else 0
        text = f' - {elapsed:.0f}s'
        if self.verbose == 1:
            text = text + _per_step(pace) if done else ' - ETA: ' + _eta(pace * (self.target - current))
        for name, (total, count) in self._values.items():
            mean = np.mean(number(total) / max(1, count))
            size = abs(mean) if self.verbose == 1 else mean  # so one-line output has all negative values in e-notation
            text += f' - {name}: {mean:.4f}' if size > 1e-3 else f' - {name}: {mean:.4e}'
        if self.verbose == 1:
            text = self._bar(current) + text
            last, self._total_width = self._total_width, len(text)
            text = ('\b' * last + '\r' if self._dynamic_display else '\n') + text.ljust(last)  # over the last one
        if self.verbose == 2 or self.target is not None and done:
            text += '\n'
        sys.stdout.write(text)
        sys.stdout.flush()
        self._last_update = now

    def _bar(self, current):
        if self.target is None:
            return f'{int(current):7d}/Unknown'
        target = str(int(self.target))
        filled = int(self.width * (float(current) / self.target))
        arrow = '=' * (filled - 1) + ('>' if current < self.target else '=') if filled > 0 else ''
        return f'{int(current):{len(target)}d}/{target} [{arrow}{"." * (self.width - filled)}]'


def _eta(seconds):
    whole = int(seconds)
    if seconds > 3600:
        return f'{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}'
    return f'{whole // 60}:{whole % 60:02d}' if seconds > 60 else f'{whole}s'


def _per_step(seconds):
    unit, size = ('s', 1) if seconds >= 1 else ('ms', 1e-3) if seconds >= 1e-3 else ('us', 1e-6)
    return f' {seconds / size:.0f}{unit}/step'
