"""Runs converted models, many to a process in which kfacade cannot be imported, and compares them with the models.

A case is a folder's ``NAME.py`` with its weights, and ``NAME.in``: the inputs, and weights of the outputs in a loss.
`run` calls the worker, which is this file as a script: it loads each module and leaves ``NAME.out`` with the outputs in
test phase, and those in train phase with the gradients of the loss.
"""
import importlib.util
import pathlib
import subprocess
import sys
import warnings

import torch


def write_case(model, name, folder, arrays=None, **options):
    """Converts a model into a folder; returns what the worker should find. `arrays` are inputs as Keras has them."""
    from kfacade.saving import to_torch_source
    from kfacade.saving.torch_source import Source
    for layer in model.modules():  # whose noise is no module
        if type(layer).__name__.startswith('Gaussian') or getattr(layer, 'noise_shape', None):
            layer.rate = layer.stddev = 0.
    to_torch_source(model, folder / f'{name}.py', **options)
    model.reset_states()
    source = Source(model, options.get('keep_layout', False), 'none.pt').main
    inputs = [torch.as_tensor(x) for x in (example(model) if arrays is None else arrays)]
    graph, generator = model.graph(False), torch.Generator().manual_seed(0)
    with torch.no_grad():
        predicted = graph(*inputs)[:graph.n_outputs]
    rates = [(layer, key, value) for layer in model.modules() for key, value in vars(layer).items()
             if key in ('rate', 'dropout', 'recurrent_dropout')]
    for layer, key, _ in rates:  # nothing random
        setattr(layer, key, 0.)
    graph = model.graph(True)
    outputs = graph(*inputs)[:graph.n_outputs]
    weights = [torch.randn(x.shape, generator=generator) for x in outputs]
    loss = sum((x * w).sum() for x, w in zip(outputs, weights))
    for layer, key, value in rates:
        setattr(layer, key, value)
    params = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, params, allow_unused=True) if loss.requires_grad else [None] * len(params)
    kept = [p.detach().clone() for p in params]
    with torch.no_grad():  # the gradients take the way of the weights
        for p, gradient in zip(params, found):
            p.copy_(torch.zeros_like(p) if gradient is None else gradient)
        state = Source(model, options.get('keep_layout', False), 'none.pt').main.state
        gradients = {key: tensor.clone() for key, tensor in state.items()}
        for p, old in zip(params, kept):
            p.copy_(old)
    turn = [x if y.at == -1 else x.movedim(-1, y.at) for x, y in zip(inputs, source.inputs)]
    of_outputs = [[x if y.at == -1 else x.movedim(-1, y.at) for x, y in zip(xs, source.outputs)]
                  for xs in (predicted, [x.detach() for x in outputs], weights)]
    torch.save({'inputs': turn, 'weights': of_outputs[2]}, folder / f'{name}.in')
    return {'predicted': of_outputs[0], 'outputs': of_outputs[1], 'gradients': gradients}


def example(model, samples=3):
    """Inputs drawn for a model: small integers where it takes integers, or begins with an Embedding."""
    torch.manual_seed(1)
    integers = type(getattr(model.layers[0], 'layer', model.layers[0])).__name__ == 'Embedding'
    shapes = [[size or (8 if axis else samples) for axis, size in enumerate(x._keras_shape)]
              for x in model._feed_inputs]
    return [torch.randn(shape) if x.dtype.is_floating_point and not integers else torch.randint(0, 3, shape)
            for x, shape in zip(model._feed_inputs, shapes)]


def run(folder):
    """Runs all cases of a folder; raises where one fails to load or run."""
    subprocess.run([sys.executable, '-W', 'error', __file__, str(folder)], check=True, cwd=folder)


def check(name, folder, wanted, atol=1e-5):
    """Asserts that the module of a case gave what the model gives."""
    got = torch.load(folder / f'{name}.out')
    for what in ('predicted', 'outputs'):
        assert len(got[what]) == len(wanted[what])
        for one, other in zip(got[what], wanted[what]):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=atol, equal_nan=True,
                                       msg=lambda text, what=what: f'{name}, {what}: {text}')
    for key, gradient in got['gradients'].items():
        scale = max(1., gradient.abs().max().item())
        torch.testing.assert_close(gradient, wanted['gradients'][key], rtol=1e-5, atol=atol * scale,
                                   msg=lambda text, key=key: f'{name}, gradient of {key}: {text}')


def main(folder):
    sys.modules['kfacade'] = None  # importing it fails
    sys.path = [path for path in sys.path if not (pathlib.Path(path or '.') / 'kfacade').exists()]
    torch.set_num_threads(1)
    for path in sorted(pathlib.Path(folder).glob('*.in')):
        run_case(path)


def run_case(path):
    spec = importlib.util.spec_from_file_location(path.stem, path.with_suffix('.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, case = module.load(), torch.load(path)
    assert not model.training
    with torch.no_grad():
        predicted = model(*case['inputs'])
    model.train()
    if hasattr(model, 'reset_states'):
        model.reset_states()
    for part in model.modules():
        for rate in ('p', 'dropout', 'recurrent_dropout'):
            if isinstance(getattr(part, rate, None), float):
                setattr(part, rate, 0.)
    outputs = model(*case['inputs'])
    predicted, outputs = (x if isinstance(x, tuple) else (x,) for x in (predicted, outputs))
    loss = sum((x * w).sum() for x, w in zip(outputs, case['weights']))
    if loss.requires_grad:
        loss.backward()
    gradients = {key: torch.zeros_like(p) if p.grad is None else p.grad
                 for key, p in model.named_parameters() if p.requires_grad}
    torch.save({'predicted': list(predicted), 'outputs': [x.detach() for x in outputs], 'gradients': gradients},
               path.with_suffix('.out'))


if __name__ == '__main__':
    warnings.simplefilter('error')
    main(sys.argv[1])
