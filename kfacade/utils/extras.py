"""Packages that only a part of kfacade needs."""
import importlib


def optional(module, purpose, extra):
    """A module of a package that comes with an extra of kfacade. Where it is missing, raises ImportError that says what
    needs it and what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{purpose} requires the `{module.partition(".")[0]}` library. '
                          f'Install it with `pip install "kfacade[{extra}]"` ({error}).') from error
