"""What all of the conversion uses: names, pieces of text, errors."""
import ast
import builtins
import importlib.resources
import keyword
import re
import textwrap
import unicodedata

import torch

WIDTH = 110
POOL = ('x', 'y', 'z', 'u', 'v', 'w', *(f'x{i}' for i in range(1, 1000)))  # names of tensors, which are used again
TEXTS = dict(re.findall(r'^=== (\w+)\n(.*?)\n+(?==== |\Z)', importlib.resources.files(__package__).joinpath(
    'parts.txt').read_text(encoding='utf-8'), re.DOTALL | re.MULTILINE))
PARTS = {name: text for name, text in TEXTS.items() if re.match(rf'(def|class) {name}\b', text)}
TAKEN = {*keyword.kwlist, *dir(builtins), *PARTS, *POOL, 'F', 'Path', 'backward', 'both', 'forward', 'load', 'nn',
          'self', 'torch'}
_DEFAULTS = {'bias': True, 'affine': True, 'stride': 1, 'dilation': 1, 'groups': 1, 'padding': 0, 'output_padding': 0,
             'ceil_mode': False, 'count_include_pad': True}


def refusal(layer, why):
    """The error for a layer that cannot be converted."""
    return ValueError(f'Layer "{layer.name}" cannot be converted: {why}')


def tight(sizes):
    """One integer for equal ones, else the tuple."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def call(name, *args, **options):
    """The text of a call; options that are None, or as torch has them by default, are left out."""
    options = {key: tight(value) if isinstance(value, (list, tuple)) else value for key, value in options.items()}
    given = [f'{key}={value}' for key, value in options.items() if value is not None and value != _DEFAULTS.get(key)]
    return f'{name}({", ".join([*map(str, args), *given])})'


def number(x):
    """A float as short as float32 has it."""
    return repr(float(str(torch.tensor(x, dtype=torch.float32).numpy())))


def parameters(layer, *names):
    """The tensors of a built-in layer, as torch has them; None for those that it lacks."""
    for name in layer.weight_layouts:
        if not layer._owns(getattr(layer, name, None)):
            raise refusal(layer, f'its {name} was replaced by another tensor.')
    return [getattr(layer._params, name, None) for name in names]


# ---------------------------------------------------------------- names

def identifier(name, taken=()):
    """A name that Python takes, and that is not taken."""
    name = re.sub(r'\W+', '_', unicodedata.normalize('NFKC', name)).strip('_')[:60] or 'layer'
    name = f'_{name}' if name[0].isdigit() else name
    name = name if name.isidentifier() else re.sub(r'\W', '_', name, flags=re.ASCII)
    while name in taken:
        name += '_'
    return name


def readable(name):
    """A name as texts and comments have it: names come out of files, and must not become code."""
    return re.sub(r'[^\w .:/-]+', '_', name)


class Names(set):
    """The names that are taken."""

    def fresh(self, name):
        """A new name like this one."""
        self.add(name := identifier(name, self))
        return name


def names_read(text):
    """The names that code reads."""
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


# ---------------------------------------------------------------- lines

def fitted(line, comment=None):
    """A line with its comment, on several lines where it is long."""
    indent = ' ' * (len(line) - len(line.lstrip()))
    whole = line if comment is None else f'{line}  # {comment}'
    if len(whole) <= WIDTH:
        return whole
    pieces, start, depth = [], 0, 0
    for place, character in enumerate(line):
        depth += (character in '([') - (character in ')]')
        if depth and line.startswith(', ', place):  # where Python lets a line end
            pieces.append(line[start:place + 1])
            start = place + 2
    rows, inner = [] if comment is None else [f'{indent}# {comment}'], ' ' * (8 if 'def ' in line else 4)
    for i, piece in enumerate([*pieces, line[start:]]):
        if i and len(rows[-1]) + len(piece) < WIDTH:
            rows[-1] += f' {piece}'
        else:
            rows.append(f'{indent}{inner}{piece}' if i else piece)
    return '\n'.join(rows)


def docstring(text):
    lines = textwrap.wrap(f'"""{text}"""', WIDTH, initial_indent=' ' * 4, subsequent_indent=' ' * 4)
    return lines if len(lines) == 1 else [*lines[:-1], lines[-1].removesuffix('"""'), '    """']
