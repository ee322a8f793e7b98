"""Threads and processes that make batches for one call, and leave nothing behind."""
import ast
import functools
import multiprocessing
import os
import pickle
import queue
import signal
import symtable
import sys
import threading
import warnings
import weakref
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from multiprocessing.pool import ExceptionWithTraceback

import torch

_MOST_SENT = 2 ** 26  # bytes; a fork shares with its parent what is larger, and need not copy it

if hasattr(os, 'register_at_fork'):  # a fork lacks the threads that torch had, and would wait for them
    os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


@contextmanager
def uninterrupted():
    """Puts off a Ctrl-C until the block is done, so that it comes between no process and what will end it.

    Processes that start in it hear of none before they are ready to ignore it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = []
    handler = signal.signal(signal.SIGINT, lambda *_: caught.append(True))
    mask = getattr(signal, 'pthread_sigmask', lambda *_: ())  # Windows has none
    before = mask(getattr(signal, 'SIG_BLOCK', None), [signal.SIGINT])
    try:
        yield
    finally:
        mask(getattr(signal, 'SIG_SETMASK', None), before)
        signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
        if caught:
            signal.raise_signal(signal.SIGINT)


# ---------------------------------------------------------------- threads

class Threads:
    """A pool with a thread for each of the functions `calls`, by which ``call(function, *arguments)`` runs a task.

    Unlike an executor's, these threads let the interpreter end while a task is stuck.
    """

    leaving = []  # threads of pools that were stopped, which may still be at their last task

    def __init__(self, calls):
        self._tasks = queue.SimpleQueue()
        self._threads = [threading.Thread(target=_work, args=(self._tasks, call), daemon=True) for call in calls]
        for thread in self._threads:
            thread.start()

    def submit(self, function, *arguments):
        """The `Result` of a task."""
        result = Result()
        self._tasks.put((result, function, arguments))
        return result

    def stop(self):
        """Drops what waits. It does not wait for what runs."""
        with suppress(queue.Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)
        Threads.leaving[:] = [thread for thread in (*Threads.leaving, *self._threads) if thread.is_alive()]


class Result:
    """What a task gives when it is done: for less than half of what a `Future` of Python's costs."""

    def __init__(self):
        self._running = threading.Lock()
        self._running.acquire()

    def set(self, value, error=None):
        self._value, self._error = value, error
        self._running.release()

    def done(self):
        return not self._running.locked()

    def exception(self):
        """What the task raised, or None. Waits for its end, as `result` does."""
        with self._running:
            return self._error

    def result(self):
        """What the task gave. Raises what it raised."""
        if self.exception() is not None:
            raise self._error
        return self._value


def call_here(function, *arguments):
    """The `call` of a thread that works itself."""
    return function(*arguments)


def _work(tasks, call):
    while task := tasks.get():
        result, function, arguments = task
        try:
            result.set(call(function, *arguments))
        except BaseException as error:  # SystemExit, too: somebody waits for an answer
            result.set(None, error)


# ---------------------------------------------------------------- processes

class Processes(Threads):
    """A pool of processes, each under a thread of this one that hands it tasks and waits for what they give.

    Arguments:
        count: how many.
        context: of multiprocessing.
        start: what they call first; pickled where they are no forks.
    """

    def __init__(self, count, context, start):
        while Threads.leaving:  # a fork beside threads that compute can hang
            Threads.leaving.pop().join(timeout=1.)
        self.workers = []
        self._end = weakref.finalize(self, _end, self.workers, os.getpid())
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', '.*use of fork', DeprecationWarning)
            for _ in range(count):
                self.workers.append(_Worker(context, start))
        super().__init__([worker.call for worker in self.workers])

    def stop(self):
        """Ends the processes, whatever they are at."""
        super().stop()
        self._end()


class _Worker:
    def __init__(self, context, start):
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, start), daemon=True)
        with theirs:
            self.process.start()

    def call(self, function, *arguments):
        """What ``function(*arguments)`` gives in the process. Raises what it raises, or BrokenProcessPool."""
        try:
            self.connection.send_bytes(pickle.dumps((function, arguments)))
            value, error = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.process.join(1.)
            raise BrokenProcessPool('A process that makes batches ended before it gave one, with the exit code '
                                    f'{self.process.exitcode}.') from None
        if error is not None:
            raise error
        return value


def _end(workers, parent):
    if os.getpid() != parent:  # but a fork of it, which has them from there
        return
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join(2.)
        if not worker.process.is_alive():
            worker.process.close()
    workers.clear()


def _serve(tasks, start):
    """The life of a process: it calls what it is told to, until its parent ends it, or ends itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    (pickle.loads(start) if isinstance(start, bytes) else start)()
    with suppress(EOFError, OSError):
        while True:
            function, arguments = pickle.loads(tasks.recv_bytes())
            tasks.send_bytes(_answer(function, arguments))


def _answer(function, arguments):
    try:
        return pickle.dumps((function(*arguments), None), protocol=5)
    except BaseException as error:
        try:
            answer = pickle.dumps((None, ExceptionWithTraceback(error, error.__traceback__)))
            pickle.loads(answer)
            return answer
        except Exception:
            return pickle.dumps((None, BrokenProcessPool(
                f'A process that makes batches met an error that cannot be sent: {type(error).__name__}: {error}')))


def _end_with_parent(starter):
    # A forkserver's child has another parent than the one who asked for it; whose end of a pipe other forks may hold.
    asker = multiprocessing.parent_process().sentinel
    while os.getppid() == starter and not connection.wait([asker], .5):
        pass
    os._exit(1)


# ---------------------------------------------------------------- how processes start

def sendable(x, at_most=_MOST_SENT):
    """`x` pickled, or None where that cannot be done or takes more than so many bytes."""
    buffers = []
    try:
        size = len(pickle.dumps(x, 5, buffer_callback=buffers.append))
        return pickle.dumps(x, 5) if size + sum(b.raw().nbytes for b in buffers) <= at_most else None
    except Exception:
        return None


def start_method(start):
    """(context, start) for `Processes`: how they are best started.

    What the user set with ``multiprocessing.set_start_method`` counts, as far as `start` can be sent to a process that
    is not a fork. By default they are no forks where `start` can be sent and the script imported; a fork of a process
    that has computed on several threads can hang.
    """
    methods, chosen = multiprocessing.get_all_start_methods(), multiprocessing.get_start_method(allow_none=True)
    can_fork = 'fork' in methods
    if chosen != 'fork' and (chosen or not can_fork or _script_is_importable()):
        sent = sendable(start, _MOST_SENT if chosen is None and can_fork else float('inf'))
        if sent is not None:
            context = multiprocessing.get_context(chosen or ('forkserver' if 'forkserver' in methods else 'spawn'))
            if can_fork:
                resource_tracker.ensure_running()  # here, since to start it unblocks interrupts
            if chosen is None:
                context.set_forkserver_preload(['__main__', __name__.partition('.')[0]])
            return context, sent
        if not can_fork:
            raise TypeError('What makes the batches cannot be sent to another process, since it cannot be pickled (a '
                            'generator, a local class, an open file). Use a `keras.utils.Sequence` that can be, or '
                            '`use_multiprocessing=False`.')
    return multiprocessing.get_context('fork'), start


def _script_is_importable():
    """Whether another process can import this script without doing its work, and find in it what its functions use.

    So it is where it is running the block under ``if __name__ == '__main__'``, nothing else calls anything, and no
    function uses a global that is only made there, or in a function.
    """
    main, frame = sys.modules['__main__'], sys._getframe()
    while frame is not None and not (frame.f_code.co_name == '<module>' and frame.f_globals is vars(main)):
        frame = frame.f_back
    try:
        with open(main.__file__, 'rb') as file:
            source = file.read()
        tree, table = ast.parse(source), symtable.symtable(source.decode(), main.__file__, 'exec')
    except (AttributeError, OSError, ValueError, SyntaxError):
        return False
    guards = [node for node in tree.body if isinstance(node, ast.If)
              and '__name__' in {name.id for name in ast.walk(node.test) if isinstance(name, ast.Name)}]
    rest = [node for node in tree.body if node not in guards
            and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
    if (frame is None or not any(guard.lineno <= frame.f_lineno <= guard.end_lineno for guard in guards)
            or any(isinstance(part, ast.Call) for node in rest for part in ast.walk(node))):
        return False
    made = {symbol.get_name() for guard in guards
            for symbol in symtable.symtable(ast.unparse(guard), '', 'exec').get_symbols()
            if symbol.is_assigned() or symbol.is_imported()}
    return not any(symbol.is_global() and (symbol.is_assigned() or symbol.get_name() in made)
                   for symbol in _symbols_of_functions(table))


def _symbols_of_functions(table):
    for inner in table.get_children():
        yield from inner.get_symbols()
        yield from _symbols_of_functions(inner)
