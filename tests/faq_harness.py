"""The code of the Keras FAQ, read from its text (`faq/keras-faq-zh.md`) and run as it stands there.

What a test mends in it (slips of the page, names and data that it leaves to the reader) is listed in the test.
"""
import ast
import pathlib
import re

import numpy as np

FOLDER = pathlib.Path(__file__).parent / 'faq'
TEXT = (FOLDER / 'keras-faq-zh.md').read_text(encoding='utf-8')


def answer(anchor):
    """The text of the answer that ``<a name='ANCHOR'>`` begins."""
    return re.search(f"<a name='{anchor}'>(.*?)(?=<a name=|\\Z)", TEXT, re.S).group(1)


def blocks(anchor):
    """The fenced blocks of an answer, in order."""
    return re.findall(r'^```\w*[ \t]*\n(.*?)^```', answer(anchor), re.S | re.M)


def inline(anchor):
    """The code within the sentences of an answer, in order."""
    return re.findall(r'```([^`\n]+)```', answer(anchor))


def paragraphs(block):
    """The parts of a block that empty lines separate."""
    return [part for part in re.split(r'\n\s*\n', block) if part.strip()]


def run(code, names, mended=()):
    """Runs `code` with the global `names`, which it changes, and gives the value of its last line, None if it has none.

    `mended` are pairs (as the page has it, as it is meant).
    """
    for wrong, right in mended:
        assert wrong in code, f'the page does not say {wrong!r}'
        code = code.replace(wrong, right)
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, 'the FAQ', 'exec'), names)
    return last and eval(compile(ast.Expression(last.value), 'the FAQ', 'eval'), names)


def numbers(*shape, seed=0):
    """The same numbers around 0 everywhere."""
    return np.random.RandomState(seed).standard_normal(shape).astype('float32')


def fill(model, scale=.5):
    """Gives `model` fixed weights, and gives it back."""
    model.set_weights([scale * numbers(*w.shape, seed=i) for i, w in enumerate(model.get_weights())])
    return model
