"""What scripts for the Theano backend said of Theano itself: the device and the float type.

Under the launcher ``import theano`` gives this module, whose `config` has `device` and `floatX`; the environment
variable ``THEANO_FLAGS`` sets them as well. Nothing else of Theano is here.
"""
import os
import re
import warnings

from .. import config as settings
from ..backend import devices


class Config:
    """``theano.config``. Raises AttributeError for any other setting, and ValueError for what is not there."""

    __slots__ = ()

    floatX = property(lambda self: settings.floatx(), lambda self, name: settings.set_floatx(name))

    @property
    def device(self):
        """'cpu', or 'gpu0', 'gpu1'…; may be set to 'cuda0', too, and without a number."""
        default = devices.default_device()
        name = next(name for name, device in devices.available_devices().items() if device == default)
        return name.translate({ord('/'): None, ord(':'): None}).replace('cpu0', 'cpu')

    @device.setter
    def device(self, name):
        devices.set_device(re.sub(r'(?<=[a-z])(?=\d+$)', ':', name))


config = Config()


def __getattr__(name):
    raise AttributeError(f'There is no theano.{name}: kfacade, which runs this script on torch, has only theano.config '
                         'with device and floatX.')


def _read_flags(flags):
    unknown = []
    for name, _, value in (flag.strip().partition('=') for flag in flags.split(',') if flag.strip()):
        if name in ('device', 'floatX'):
            setattr(config, name, value)
        else:
            unknown.append(name)
    if unknown:
        warnings.warn(f'Of THEANO_FLAGS, only device and floatX have a meaning on torch: {unknown} have none.',
                      stacklevel=2)


_read_flags(os.environ.get('THEANO_FLAGS', ''))
