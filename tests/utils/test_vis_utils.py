"""Pictures of models. The graphs are those that Keras 2.2.4 gave, with the input layer of a `Sequential` named."""
import re
import shutil
import sys

import pytest

from kfacade.layers import LSTM, Activation, Bidirectional, Dense, Input, TimeDistributed, add, concatenate
from kfacade.models import Model, Sequential
from kfacade.utils import plot_model
from kfacade.utils.vis_utils import model_to_dot

drawing = pytest.mark.skipif(not shutil.which('dot'), reason='needs the program `dot` of Graphviz')


@pytest.fixture
def pydot():
    return pytest.importorskip('pydot')


def sequential():
    return Sequential([Dense(3, input_shape=(4,)), Activation('relu')])


def functional():
    a, b = Input((5, 4)), Input((5, 4))
    lstm, dense, both = LSTM(3), TimeDistributed(Dense(2)), Bidirectional(LSTM(2, name='in'))
    stack = sequential()
    return Model([a, b], stack(Dense(4)(concatenate([lstm(a), lstm(b), both(dense(a))]))))


def lines(dot):
    """The nodes and edges of a graph, its ids numbered in the order in which they appear."""
    ids = {}
    text = re.sub(r'\d{6,}', lambda found: ids.setdefault(found.group(), str(len(ids))), dot.to_string())
    return [line.replace('\\n', '/') for line in text.splitlines() if '->' in line or 'label' in line]


@drawing
def test_sequential(pydot):
    dot = model_to_dot(sequential(), show_shapes=True, show_layer_names=False, rankdir='LR')
    assert dot.get_rankdir() == 'LR'
    assert lines(dot) == ['0 [label="InputLayer/|{input:|output:}|{{(None, 4)}|{(None, 4)}}"];',
                          '1 [label="Dense/|{input:|output:}|{{(None, 4)}|{(None, 3)}}"];',
                          '2 [label="Activation/|{input:|output:}|{{(None, 3)}|{(None, 3)}}"];', '0 -> 1;', '1 -> 2;']


@drawing
def test_functional(pydot):
    shapes = [
        ('input_1: InputLayer', '(None, 5, 4)', '(None, 5, 4)'),
        ('input_2: InputLayer', '(None, 5, 4)', '(None, 5, 4)'),
        ('time_distributed_1(dense_1): TimeDistributed(Dense)', '(None, 5, 4)', '(None, 5, 2)'),
        ('lstm_1: LSTM', '(None, 5, 4)', '(None, 3)'),
        ('bidirectional_1(in): Bidirectional(LSTM)', '(None, 5, 2)', '(None, 4)'),
        ('concatenate_1: Concatenate', '[(None, 3), (None, 3), (None, 4)]', '(None, 10)'),
        ('dense_3: Dense', '(None, 10)', '(None, 4)'), ('sequential_1: Sequential', '(None, 4)', '(None, 3)')]
    edges = ['0 -> 2;', '0 -> 3;', '1 -> 3;', '2 -> 4;', '3 -> 5;', '3 -> 5;', '4 -> 5;', '5 -> 6;', '6 -> 7;']
    model = functional()
    assert lines(model_to_dot(model, show_shapes=True)) == [
        f'{i} [label="{name}/|{{input:|output:}}|{{{{{x}}}|{{{y}}}}}"];'
        for i, (name, x, y) in enumerate(shapes)] + edges
    assert lines(model_to_dot(model)) == [f'{i} [label="{name}"];' for i, (name, *_) in enumerate(shapes)] + edges


@drawing
def test_layers_without_one_shape(pydot):
    dot = model_to_dot(Sequential([Dense(3), Dense(2)]), show_shapes=True)
    assert lines(dot) == [f'{i} [label="dense_{i + 1}: Dense/|{{input:|output:}}|{{{{multiple}}|{{multiple}}}}"];'
                          for i in range(2)]
    x, y = Input((None, 2)), Input((4, 2))
    dense = Dense(2)
    assert 'multiple' in lines(model_to_dot(Model([x, y], [dense(x), dense(y)]), show_shapes=True))[2]


@drawing
def test_models_inside_are_opened(pydot):
    x = Input((4,))
    inner = Model(x, [Dense(3)(x), Dense(3)(x)], name='inner')
    outside = Input((4,))
    first, second = inner(outside)
    model = Model(outside, Dense(1)(add([second, Dense(3)(first)])))
    dot = model_to_dot(model, expand_nested=True)
    frame, = dot.get_subgraphs()
    assert frame.get_label() == 'inner' and len(frame.get_nodes()) == 3 and len(frame.get_edges()) == 2
    names = {node.get_name(): node.get_label().strip('"')
             for graph in (dot, frame) for node in graph.get_nodes() if node.get_label()}
    edges = {(names[edge.get_source()], names[edge.get_destination()]) for edge in dot.get_edges()}
    assert edges == {('input_2: InputLayer', 'input_1: InputLayer'), ('dense_1: Dense', 'dense_4: Dense'),
                     ('dense_2: Dense', 'add_1: Add'), ('dense_4: Dense', 'add_1: Add'),
                     ('add_1: Add', 'dense_3: Dense')}


@drawing
@pytest.mark.parametrize('name, beginning', [('model.png', b'\x89PNG'), ('model.pdf', b'%PDF'), ('model', b'\x89PNG'),
                                             ('model.svg', b'<?xml'), ('model.dot', b'digraph')])
def test_files(pydot, tmp_path, name, beginning):
    plot_model(functional(), str(tmp_path / name), show_shapes=True)
    assert (tmp_path / name).read_bytes().startswith(beginning)


@drawing
def test_size_of_the_picture(pydot, tmp_path):
    image = pytest.importorskip('PIL.Image')

    def size(**options):
        plot_model(sequential(), tmp_path / 'model.png', **options)
        with image.open(tmp_path / 'model.png') as picture:
            return picture.size
    down, across, large = size(), size(rankdir='LR'), size(show_shapes=True)
    assert down[0] < across[0] and across[1] < down[1] and down[0] < large[0]


@drawing
def test_names_with_signs_of_graphviz(pydot, tmp_path):
    plot_model(Sequential([Dense(3, input_shape=(4,), name='a|b{c}<d>')]), str(tmp_path / 'model.svg'))
    assert 'a|b{c}&lt;d&gt;: Dense' in (tmp_path / 'model.svg').read_text()


def test_wrong_direction():
    with pytest.raises(ValueError, match='TB, BT, LR, RL.*Received: .XY'):
        model_to_dot(sequential(), rankdir='XY')


@pytest.mark.parametrize('draw', [model_to_dot, plot_model])
def test_what_is_missing_is_named(monkeypatch, draw):
    words = r'kfacade\[plot\].*Graphviz.*`{}` was not found.*`model.summary\(\)` and `model.code`'
    monkeypatch.setitem(sys.modules, 'pydot', None)
    with pytest.raises(ImportError, match=words.format('pydot')):
        draw(sequential())
    monkeypatch.setitem(sys.modules, 'pydot', object())
    monkeypatch.setenv('PATH', '')
    with pytest.raises(OSError, match=words.format('dot')):
        draw(sequential())
