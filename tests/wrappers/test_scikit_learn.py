"""The scikit-learn estimators. The literals are what Keras 2.2.4 gave with scikit-learn 1.0."""
import copy
import functools
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from kfacade.callbacks import EarlyStopping
from kfacade.layers import Dense
from kfacade.models import Sequential
from kfacade.wrappers.scikit_learn import BaseWrapper, KerasClassifier, KerasRegressor

pytest.importorskip('sklearn')

X = np.random.RandomState(0).normal(size=(30, 4))
LABELS = np.array(['a', 'b', 'c'])[np.random.RandomState(1).randint(0, 3, 30)]
TARGETS = X @ [1, 2, -1, .5]
SETTINGS = {'epochs': 3, 'batch_size': 10, 'verbose': 0}


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=2e-6)


def model(layers, loss, metrics=None):
    model = Sequential(layers)
    random = np.random.RandomState(3)
    model.set_weights([random.normal(size=w.shape) * .5 for w in model.get_weights()])
    model.compile('sgd', loss, metrics)
    np.random.seed(7)
    return model


def classifier(hidden=5, loss='categorical_crossentropy', outputs=3):
    return model([Dense(hidden, activation='tanh', input_shape=(4,)),
                  Dense(outputs, activation='softmax' if outputs > 1 else 'sigmoid')], loss, ['accuracy'])


def regressor(hidden=5):
    return model([Dense(hidden, activation='tanh', input_shape=(4,)), Dense(1)], 'mse')


class ClassBuilder:
    def __call__(self, hidden=5):
        return classifier(hidden)


class RegressorBuilder:
    def __call__(self, hidden=5):
        return regressor(hidden)


class InheritedClassifier(KerasClassifier):
    def __call__(self, hidden=5):
        return classifier(hidden)


class InheritedRegressor(KerasRegressor):
    def __call__(self, hidden=5):
        return regressor(hidden)


@pytest.mark.parametrize('make', [
    functools.partial(KerasClassifier, classifier), functools.partial(KerasClassifier, ClassBuilder()),
    InheritedClassifier, functools.partial(KerasClassifier, functools.partial(classifier, outputs=3))])
def test_classifier(make):
    estimator = make(hidden=5, **SETTINGS)
    history = estimator.fit(X, LABELS)
    close(history.history['loss'], [1.126953, 1.121023, 1.114439])
    assert estimator.predict(X)[:8].tolist() == ['c', 'b', 'c', 'a', 'b', 'a', 'b', 'b']
    close(estimator.predict_proba(X, batch_size=7)[:2],
          [[0.193357, 0.345185, 0.461458], [0.313385, 0.407625, 0.278991]])
    close(estimator.score(X, LABELS), 0.366667)
    assert estimator.classes_.tolist() == ['a', 'b', 'c'] and estimator.n_classes_ == 3


@pytest.mark.parametrize('make', [functools.partial(KerasRegressor, regressor), InheritedRegressor,
                                  functools.partial(KerasRegressor, RegressorBuilder())])
def test_regressor(make):
    from sklearn.model_selection import KFold, cross_val_score
    close(cross_val_score(make(**SETTINGS), X, TARGETS, cv=KFold(3)), [-6.083726, -3.247704, -5.246175])


def test_integer_classes_and_sample_weights():
    estimator = KerasClassifier(classifier, loss='sparse_categorical_crossentropy', hidden=6, **SETTINGS)
    estimator.fit(X, LABELS, sample_weight=np.arange(30) / 10)
    close(estimator.predict_proba(X)[:2], [[0.109638, 0.814588, 0.075774], [0.083209, 0.845517, 0.071274]])
    close(estimator.score(X, LABELS), 0.433333)


def test_one_output():
    estimator = KerasClassifier(classifier, loss='binary_crossentropy', outputs=1, **SETTINGS)
    yes = np.where(LABELS == 'a', 'no', 'yes')
    estimator.fit(X, yes)
    assert estimator.predict(X)[:4].tolist() == [['yes']] * 4
    close(estimator.predict_proba(X)[:2], [[0.38304, 0.61696], [0.355285, 0.644715]])
    close(estimator.score(X, yes), 0.6)


@pytest.mark.parametrize('sparse', [False, True])
def test_one_hot_labels(sparse):
    one_hot = np.eye(3)[np.searchsorted(['a', 'b', 'c'], LABELS)]
    if sparse:
        one_hot = pytest.importorskip('scipy.sparse').csr_matrix(one_hot)
    estimator = KerasClassifier(classifier, **{**SETTINGS, 'epochs': 2})
    estimator.fit(X, one_hot)
    assert estimator.predict(X)[:4].tolist() == [2, 1, 2, 0]
    close(estimator.score(X, one_hot), 0.366667)
    assert estimator.classes_.tolist() == [0, 1, 2]


def test_sparse_samples():
    sparse = pytest.importorskip('scipy.sparse')
    dense, other = KerasClassifier(classifier, **SETTINGS), KerasClassifier(classifier, **SETTINGS)
    dense.fit(X, LABELS)
    other.fit(sparse.csr_matrix(X), LABELS)
    close(other.predict_proba(sparse.csr_matrix(X)), dense.predict_proba(X))


def test_grid_search():
    from sklearn.model_selection import GridSearchCV, KFold
    estimator = KerasClassifier(classifier, loss='sparse_categorical_crossentropy', verbose=0, batch_size=10)
    search = GridSearchCV(estimator, {'hidden': [2, 5], 'epochs': [1, 3]}, cv=KFold(3)).fit(X, LABELS)
    close(search.cv_results_['mean_test_score'], [0.3, 0.333333, 0.3, 0.333333])
    assert search.best_params_ == {'epochs': 1, 'hidden': 5}
    close(search.predict_proba(X)[:2], [[0.193148, 0.338712, 0.46814], [0.304407, 0.41314, 0.282452]])
    assert search.classes_.tolist() == ['a', 'b', 'c']


def test_fold_without_the_last_class():
    from sklearn.model_selection import cross_val_score
    ordered = np.sort(LABELS)
    folds = [(np.arange(30), np.arange(8)), (np.arange(30), np.arange(8, 30))]
    assert np.isfinite(cross_val_score(KerasClassifier(classifier, **SETTINGS), X, ordered, cv=folds)).all()


def test_builder_itself_is_searched_over():
    from sklearn.model_selection import GridSearchCV
    search = GridSearchCV(KerasRegressor(regressor, **SETTINGS), {'build_fn': [regressor, RegressorBuilder()]}, cv=2)
    close(*search.fit(X, TARGETS).cv_results_['mean_test_score'])


def test_pipeline():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    pipeline = make_pipeline(StandardScaler(), KerasRegressor(regressor, **SETTINGS))
    pipeline.fit(X, TARGETS, kerasregressor__epochs=4)
    close(pipeline.predict(X)[:4], [0.823953, 0.568977, 0.589221, 0.65211])
    close(pipeline.score(X, TARGETS), -4.240836)
    assert pipeline.set_params(kerasregressor__epochs=9).get_params()['kerasregressor__epochs'] == 9


def test_what_scikit_learn_asks():
    from sklearn.base import is_classifier, is_regressor
    from sklearn.ensemble import VotingClassifier
    from sklearn.model_selection import cross_val_predict
    estimator = KerasClassifier(classifier, **SETTINGS)
    assert is_classifier(estimator) and not is_regressor(estimator)
    assert is_regressor(KerasRegressor(regressor)) and not is_classifier(KerasRegressor(regressor))
    assert cross_val_predict(estimator, X, LABELS, method='predict_proba', cv=2).shape == (30, 3)
    voting = VotingClassifier([('one', estimator), ('two', KerasClassifier(classifier, hidden=6, **SETTINGS))],
                              voting='soft')
    assert set(voting.fit(X, LABELS).predict(X)) <= {'a', 'b', 'c'}


def test_clone_has_equal_arguments_and_no_model():
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted
    estimator = KerasRegressor(regressor, callbacks=[EarlyStopping('loss')], **SETTINGS)
    estimator.fit(X, TARGETS)
    check_is_fitted(estimator)
    copied = clone(estimator)
    assert copied.get_params().keys() == estimator.get_params().keys()
    assert copied.build_fn is regressor and isinstance(copied.sk_params['callbacks'][0], EarlyStopping)
    with pytest.raises(NotFittedError, match="Call 'fit'"):
        copied.predict(X)
    with pytest.raises(NotFittedError):
        check_is_fitted(copied)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda estimator: pickle.loads(pickle.dumps(estimator))])
def test_copies_predict_and_train_alike(copied):
    estimator = KerasClassifier(classifier, **SETTINGS)
    estimator.fit(X, LABELS)
    other = copied(estimator)
    close(other.predict_proba(X), estimator.predict_proba(X))
    assert other.score(X, LABELS) == estimator.score(X, LABELS)
    y = np.eye(3)[np.searchsorted(['a', 'b', 'c'], LABELS)]
    close(other.model.train_on_batch(X, y), estimator.model.train_on_batch(X, y))


def test_parameters():
    estimator = KerasClassifier(classifier, hidden=4, epochs=2)
    assert estimator.get_params(deep=True) == {'build_fn': classifier, 'hidden': 4, 'epochs': 2}
    assert estimator.set_params(hidden=6) is estimator and estimator.sk_params['hidden'] == 6
    assert estimator.filter_sk_params(Sequential.fit) == {'epochs': 2}
    assert estimator.filter_sk_params(classifier, {'outputs': 4}) == {'hidden': 6, 'outputs': 4}
    with pytest.warns(UserWarning, match='nb_epoch'):
        history = KerasRegressor(regressor, nb_epoch=2, verbose=0).fit(X, TARGETS)
    assert history.epoch == [0, 1]


@pytest.mark.parametrize('make', [lambda: KerasClassifier(classifier, hiden=3),
                                  lambda: KerasClassifier(classifier).set_params(hiden=3)])
def test_misspelt_parameter(make):
    with pytest.raises(ValueError, match='hiden is not a legal parameter'):
        make()


def test_bad_input():
    with pytest.raises(ValueError, match='needs a `build_fn`'):
        BaseWrapper()
    with pytest.raises(ValueError, match='Invalid shape for y'):
        KerasClassifier(classifier).fit(X, np.zeros((2, 2, 2)))
    estimator = KerasClassifier(lambda: model([Dense(3, activation='softmax', input_shape=(4,))], 'mse'), verbose=0)
    estimator.fit(X, np.eye(3)[np.arange(30) % 3])
    with pytest.raises(ValueError, match='not configured to compute accuracy'):
        estimator.score(X, np.eye(3)[np.arange(30) % 3])


SCRIPT = """
import keras
import numpy as np
from keras.layers import Dense
from keras.wrappers.scikit_learn import KerasClassifier
from sklearn.model_selection import GridSearchCV, cross_validate

x = np.random.RandomState(0).normal(size=(60, 4))
y = (x[:, 0] > 0).astype(int)

def build(hidden=3):
    model = keras.Sequential([Dense(hidden, input_shape=(4,)), Dense(1, activation='sigmoid')])
    model.compile('adam', 'binary_crossentropy', metrics=['accuracy'])
    return model

estimator = KerasClassifier(build, epochs=2, verbose=0)
GridSearchCV(estimator, {'hidden': [2, 3]}, cv=2, n_jobs=2, error_score='raise').fit(x, y)
fitted = cross_validate(estimator, x, y, cv=2, n_jobs=2, return_estimator=True)['estimator']
print(fitted[0].predict(x).shape)
"""


@pytest.mark.slow
def test_search_in_several_processes(tmp_path, request):
    (tmp_path / 'search.py').write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    output = subprocess.check_output([sys.executable, '-m', 'kfacade', str(tmp_path / 'search.py')], text=True,
                                     env=environment, cwd=request.config.rootpath)
    assert output == '(60, 1)\n'
