"""Export: the test-phase forward pass of a model as a program that runs without kfacade."""
import contextlib
import logging
import math
import os
import warnings

import torch

from ..backend import state
from ..backend.dtypes import torch_dtype
from ..backend.graph import compile_graph
from ..utils.extras import optional
from .atomic import may_write, replacing, suffix_of
from .hdf5 import unique_names

_FORMATS = {'.pt2': 'torch', '.onnx': 'onnx'}
# What stands for an unknown batch size, and for any other unknown size, while a model is traced, and for the check.
_EXAMPLE, _OTHERS = (2, 240), ((3, 113), (3, 192))
_ONNX_LIMIT = 3 * 2 ** 29  # bytes; torch writes more than this beside the file, which cannot be replaced as one then

# What torch says to itself.
_NOISE = r'`isinstance\(treespec, LeafSpec\)` is deprecated', 'No complete tensor found in the group'
_REGISTRY = logging.getLogger('torch.onnx._internal.exporter._registration')


def export(model, path, format=None, overwrite=True, input_shapes=None):
    """Writes what `model` computes in the test phase as a program for plain torch or for an ONNX runtime.

    Inputs and outputs are those of the model, in Keras' layout. ``torch.export.load(path).module()`` takes the inputs
    by position and gives the output, or a tuple of them. In ONNX, inputs and outputs have the model's `input_names` and
    `output_names` (made unique where a layer gives several outputs). Sizes that the model leaves open stay open.

    # Arguments
        model: a built model, compiled or not; it stays as it is.
        path: where to write; the file is replaced as a whole.
        format: ``'torch'`` (a ``.pt2`` file of `torch.export`) or ``'onnx'`` (needs ``kfacade[onnx]``); by default what
            the suffix of ``path`` says.
        overwrite: whether an existing file is replaced without asking.
        input_shapes: dict from input names to shapes, batch included, that settle sizes which the model leaves open:
            a custom recurrent cell, say, can only be exported for a known number of steps.

    Raises ValueError for a format or shape that cannot be, and for a model that is not built, keeps states from batch
    to batch, takes gradients in its forward pass, or does what the format cannot express; ImportError where a package
    that ONNX needs is missing. Nothing is written then.
    """
    format = format or _FORMATS.get(suffix_of(path))
    if format not in _FORMATS.values():
        raise ValueError(f"`format` must be 'torch' or 'onnx', or the path end in .pt2 or .onnx. Received: format="
                         f'{format!r}, path={os.fspath(path)!r}')
    if format == 'onnx':
        for package in 'onnx', 'onnxscript':  # torch's exporter uses both
            optional(package, 'Exporting to ONNX', 'onnx')
    if not may_write(path, overwrite):
        return
    module, shapes = _forward(model), _shapes(model, input_shapes or {})
    with _quiet(), _explained(model), torch.no_grad():
        program = _traced(model, module, shapes)
        if format == 'onnx':
            program = _converted(model, program, shapes)
    with replacing(path) as file, _quiet():
        program.save(file.name) if format == 'onnx' else torch.export.save(program, file)


def _forward(model):
    """The forward pass as an `fx.GraphModule`; a single output comes as it is, not in a tuple."""
    if not getattr(model, 'inputs', None):
        raise ValueError(f'Only a model that is built can be exported: {model!r} does not know its inputs yet. Build '
                         'it with `build(input_shape)`, or call or fit it on some data first.')
    with state.recording():
        compiled = compile_graph(model._feed_inputs, model.outputs)
    stateful = {m.name: None for m in compiled.module.modules() if getattr(m, 'stateful', False)}
    if stateful:
        raise ValueError(f'Model "{model.name}" cannot be exported, for {", ".join(stateful)} would have to keep '
                         'states between calls. Make the model with stateful=False (and the states inputs and outputs '
                         'of it: `initial_state`, `return_state`), and set its weights from this one.')
    if compiled.differentiates:
        raise ValueError(f'Model "{model.name}" cannot be exported: its forward pass takes gradients (`K.gradients`). '
                         'Export a model that ends before them.')
    if len(model.outputs) == 1:
        *_, output = compiled.module.graph.nodes
        output.args = output.args[0]
        compiled.module.recompile()
    return compiled.module


def _shapes(model, given):
    """The shape of each input, with None for the sizes that stay open."""
    own = {name: x._keras_shape for name, x in zip(model._feed_input_names, model._feed_inputs)}
    for name, shape in given.items():
        if name not in own:
            raise ValueError(f'`input_shapes` names "{name}", but the inputs of model "{model.name}" are {list(own)}.')
        if len(shape) != len(own[name]) or any(size not in (None, wanted) for size, wanted in zip(own[name], shape)):
            raise ValueError(f'The shape {tuple(shape)} does not fit the input "{name}" of shape {own[name]}.')
    return [tuple(given.get(name, shape)) for name, shape in own.items()]


def _traced(model, module, shapes):
    """The `ExportedProgram` of the forward pass."""
    open_sizes = tuple({axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(shape) if size is None}
                       for shape in shapes)
    with state.running(phase=False):
        program = torch.export.export(module, tuple(example_inputs(model, shapes, *_EXAMPLE)),
                                      dynamic_shapes=open_sizes, strict=False)
        random = any(torch.Tag.nondeterministic_seeded in getattr(node.target, 'tags', ())
                     for node in program.graph.nodes)
        if any(open_sizes) and not random:
            _check(model, module, program.module(), shapes)
    with contextlib.suppress(ValueError):  # torch 2.6 insists on them
        program.example_inputs = None  # they would go into the file
    return program


def example_inputs(model, shapes, batch, size, highest=.9):
    """The inputs, from 0 to `highest`, with `batch` and `size` in the place of what `shapes` leave open."""
    device, floating = model._place()
    for symbol, shape in zip(model._feed_inputs, shapes):
        sizes = [d or (size if axis else batch) for axis, d in enumerate(shape)]
        values = torch.linspace(0, highest, math.prod(sizes), device=device).view(sizes)
        dtype = floating if floating and symbol.dtype.is_floating_point else symbol.dtype
        yield values.to(torch_dtype(dtype))


def _check(model, module, exported, shapes):
    """Raises ValueError where the program is wrong for other sizes than those it was made with."""
    for sizes in _OTHERS:
        inputs = tuple(example_inputs(model, shapes, *sizes))
        try:
            wanted = module(*inputs)
        except Exception:  # a size that the model itself cannot take (U-shaped ones want multiples) is no test
            continue
        try:
            torch.testing.assert_close(exported(*inputs), wanted, rtol=.01, atol=.01, equal_nan=True)
        except Exception as error:
            raise ValueError('with other sizes than those that torch.export tried, the result is not that of the '
                             'model.') from error
        return


def _converted(model, program, shapes):
    """The `torch.onnx.ONNXProgram` of a program."""
    size = sum(getattr(x, 'nbytes', 0) for x in (*program.state_dict.values(), *program.constants.values()))
    if size > _ONNX_LIMIT:
        raise ValueError(f"its weights take {size / 2 ** 30:.1f} GB, and an ONNX file holds no more than "
                         f"{_ONNX_LIMIT / 2 ** 30:.1f} GB. format='torch' has no such limit.")
    names, n_inputs = unique_names([*model._feed_input_names, *model.output_names]), len(shapes)
    found = torch.onnx.export(program, input_names=names[:n_inputs], output_names=names[n_inputs:], dynamo=True,
                              verbose=False)
    graph = found.model.graph
    for node in graph.all_nodes():  # a name may stand for one value only, and torch names its own without looking
        for value in node.outputs:
            if value.name in names and value not in graph.outputs:
                value.name = f'inner/{value.name}'
    return found


@contextlib.contextmanager
def _quiet():
    """Inside, torch keeps some remarks to itself that are about its own code."""
    def interesting(record):
        return 'torchvision' not in record.getMessage()
    _REGISTRY.addFilter(interesting)
    try:
        with warnings.catch_warnings():
            for message in _NOISE:
                warnings.filterwarnings('ignore', message)
            yield
    finally:
        _REGISTRY.removeFilter(interesting)


@contextlib.contextmanager
def _explained(model):
    """Inside, errors become ValueErrors that say what to do."""
    try:
        yield
    except Exception as error:  # tracers and converters raise anything
        root = error
        while root.__cause__ is not None and not isinstance(root, ValueError):
            root = root.__cause__
        reason = next(iter(str(root).strip().splitlines()), '') or type(root).__name__
        name = model._feed_input_names[0]
        raise ValueError(f'Model "{model.name}" cannot be exported: {reason} (If that is about a size that the model '
                         f'leaves open, settle it: input_shapes={{{name!r}: (...)}}.)') from error
