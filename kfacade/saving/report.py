"""What loading weights by name did, for callers and for the log."""
import logging
import warnings
from dataclasses import dataclass, field

_LOG = logging.getLogger('kfacade')


@dataclass
class LoadReport:
    """The names that met and those that did not: of layers, or, for torch state dicts, of tensors."""

    loaded: list = field(default_factory=list)
    unused: list = field(default_factory=list)  # the file has them, the model has not
    missing: list = field(default_factory=list)  # the model has them, the file has not: they keep their weights
    skipped: list = field(default_factory=list)  # both have them, in part or wholly of other shapes
    by_position: list = field(default_factory=list)  # nested models whose weights were paired in order, not by name

    def __str__(self):
        parts = {'not in the model': self.unused, 'not in the file': self.missing, 'of another shape': self.skipped,
                 'with weights in order, not by their names': self.by_position}
        return f'{len(self.loaded)} loaded' + ''.join(
            f'; {len(names)} {what}: {some(names)}' for what, names in parts.items() if names)

    def published(self, where, stacklevel):
        """This report, after it was logged; there is a warning where no name of ``where`` is one of the model's."""
        _LOG.info('Weights from %s by name: %s', where, self)
        if not self.loaded and not self.skipped and (self.unused or self.missing):
            warnings.warn(f'No layer of the model has the name of a layer in {where}: no weight was loaded. The file '
                          f'holds {some(self.unused)}; the model has {some(self.missing)}.', stacklevel=stacklevel + 1)
        return self


def some(names, limit=5):
    """The first of ``names``, quoted, for a message."""
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return (', '.join(f'"{name}"' for name in names[:limit]) or 'none') + more
