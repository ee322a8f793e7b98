"""Every public function of the backend is tested by value, eagerly and symbolically, or has a reason here why not."""
import ast
import inspect
import pathlib

from kfacade import backend as K

# Functions that the tables of this folder cannot hold, by reason; the functions of each are tested elsewhere, as said.
EXEMPT = {
    'settings, no tensors (tests/test_config.py)':
        'backend epsilon set_epsilon floatx set_floatx cast_to_floatx image_data_format set_image_data_format '
        'normalize_data_format image_dim_ordering set_image_dim_ordering',
    'names, sessions and other state of the process (test_session.py, test_config.py)':
        'get_uid reset_uids name_scope clear_session get_session set_session manual_variable_initialization '
        'learning_phase set_learning_phase',
    'makes symbols or variables, has no eager face (test_session.py, test_random.py)':
        'placeholder variable zeros ones eye random_uniform_variable random_normal_variable',
    'works on symbols or variables only (test_session.py)':
        'function gradients eval get_value set_value batch_get_value batch_set_value update update_add update_sub '
        'moving_average_update in_train_phase in_test_phase',
    'answers about a tensor in Python values (test_session.py, tests/engine/test_sparse.py)':
        'int_shape ndim dtype count_params get_variable_shape is_tensor is_keras_tensor is_placeholder is_sparse',
    'sparse tensors, which numpy has not (test_ctc.py, tests/engine/test_sparse.py)':
        'to_dense ctc_label_dense_to_sparse',
    'about devices (test_devices.py)': 'device_scope set_device',
    'prints (test_session.py)': 'print_tensor',
    'random, tested by distribution, both ways (test_random.py, test_nn.py)':
        'random_uniform random_normal random_binomial truncated_normal',
    'no function of Keras 2.2.4: helpers of modules': 'has_arg transpose_shape',
    "Python's own, by Keras' names for them (tests/legacy)": 'py_all py_any py_sum',
}
FIXTURES = {'check', 'compute'}


def functions_named(node):
    """The names after ``K.`` in a piece of code, and the strings in it."""
    return {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and getattr(n.value, 'id', '') == 'K'} | {
        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def run_both_ways():
    """What the tables (assignments of modules) name, and the functions that use a fixture that runs both ways."""
    names = set()
    for path in pathlib.Path(__file__).parent.glob('test_*.py'):
        if path.name == pathlib.Path(__file__).name:
            continue
        todo = list(ast.parse(path.read_text(encoding='utf-8')).body)
        for node in todo:
            if isinstance(node, ast.ClassDef):
                todo += node.body
            elif isinstance(node, ast.Assign) or isinstance(node, ast.FunctionDef) and (
                    FIXTURES & {argument.arg for argument in node.args.args} or not node.name.startswith('test_')):
                names |= functions_named(node)
    return names


def test_every_function_is_tested_or_exempt():
    public = {name for name, value in vars(K).items() if inspect.isroutine(value) and not name.startswith('_')}
    exempt = {name for names in EXEMPT.values() for name in names.split()}
    assert exempt <= public, f'exempt, but not there: {sorted(exempt - public)}'
    assert public - exempt <= run_both_ways(), f'no row: {sorted(public - exempt - run_both_ways())}'
