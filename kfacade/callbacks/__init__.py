"""Callbacks: objects that `fit` calls at the start and end of the run, of each epoch and of each batch."""
from ..utils.progbar import Progbar
from .backup import BackupAndRestore
from .control import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau, TerminateOnNaN
from .core import Callback, CallbackList, LambdaCallback
from .loggers import BaseLogger, CSVLogger, History, ProgbarLogger, RemoteMonitor
from .logs import Logs
from .run import configure
from .tensorboard import TensorBoard

# isort: split
# Last, since the engine looks for the names above.
from ..engine.training_utils import standardize_input_data

__all__ = ['BackupAndRestore', 'BaseLogger', 'CSVLogger', 'Callback', 'CallbackList', 'EarlyStopping', 'History',
           'LambdaCallback', 'LearningRateScheduler', 'Logs', 'ModelCheckpoint', 'Progbar', 'ProgbarLogger',
           'ReduceLROnPlateau', 'RemoteMonitor', 'TensorBoard', 'TerminateOnNaN', 'configure',
           'standardize_input_data']
