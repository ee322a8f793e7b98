"""Keras models as scikit-learn estimators: in pipelines, grid searches and cross-validation.

scikit-learn itself is imported only when it asks for something.
"""
import copy

import numpy as np

from ..engine.sequential import Sequential
from ..utils.generic_utils import has_arg, to_list
from ..utils.np_utils import to_categorical


class BaseWrapper:
    """Base of the two estimators.

    Arguments:
        build_fn: what builds and compiles the model: a function, or any object that can be called. None where a
            subclass does it in its `__call__`.
        sk_params: arguments for `build_fn`, and for the model's `fit`, `predict` and `evaluate` (``epochs``,
            ``batch_size``, ...). What is given to a method counts before these. All can be searched over.

    Raises ValueError for an argument that none of these functions takes.
    """

    def __init__(self, build_fn=None, **sk_params):
        self.build_fn = build_fn
        self.sk_params = sk_params
        self.check_params(sk_params)

    @property
    def _builder(self):
        if self.build_fn is None and not callable(self):
            raise ValueError(f'{type(self).__name__} needs a `build_fn` that gives the compiled model, or a subclass '
                             'with a `__call__` that does.')
        return self.build_fn or self.__call__

    def check_params(self, params):
        """Raises ValueError for a name in `params` that neither the builder nor the model's methods take."""
        takers = [Sequential.fit, Sequential.predict, Sequential.predict_classes, Sequential.evaluate, self._builder]
        for name in params:
            if name != 'nb_epoch' and not any(has_arg(taker, name) for taker in takers):
                raise ValueError(f'{name} is not a legal parameter')

    def get_params(self, **params):
        """The arguments that this estimator was made with, by name. ``deep`` makes no difference."""
        return {**self.sk_params, 'build_fn': self.build_fn}

    def set_params(self, **params):
        """Changes arguments of the estimator, and returns it. Raises ValueError for unknown ones."""
        own = dict(params)
        self.build_fn = own.pop('build_fn', self.build_fn)
        self.check_params(own)
        self.sk_params.update(own)
        return self

    def fit(self, x, y, **kwargs):
        """Builds a new model and trains it. Returns the `History`.

        Arguments:
            x: samples (samples, features). y: targets (samples,) or (samples, outputs).
            kwargs: further arguments of the model's `fit`.
        """
        builder = self._builder
        self.model = builder(**self.filter_sk_params(builder))
        arguments = copy.deepcopy(self.filter_sk_params(Sequential.fit))
        if 'nb_epoch' in self.sk_params:
            arguments['nb_epoch'] = self.sk_params['nb_epoch']
        return self.model.fit(x, self._targets(y), **{**arguments, **kwargs})

    def _targets(self, y):
        """`y` as the model's loss takes it: classes become one-hot vectors for the categorical cross-entropy."""
        loss = self.model.loss
        is_categorical = getattr(loss, '__name__', loss) == 'categorical_crossentropy'
        return to_categorical(y, getattr(self, 'n_classes_', None)) if is_categorical and np.ndim(y) != 2 else y

    def filter_sk_params(self, fn, override=None):
        """Those of the estimator's arguments that `fn` takes, and all in the dict `override`."""
        own = {name: value for name, value in self.sk_params.items() if has_arg(fn, name)}
        return {**own, **(override or {})}

    def _fitted(self):
        """The trained model. Raises scikit-learn's NotFittedError before `fit`."""
        if not self.__sklearn_is_fitted__():
            from sklearn.utils.validation import check_is_fitted
            check_is_fitted(self)
        return self.model

    def _predicted(self, x, kwargs):
        return self._fitted().predict(x, **self.filter_sk_params(Sequential.predict, kwargs))

    def _evaluated(self, x, y, kwargs):
        """The loss and metrics, by name."""
        model = self._fitted()
        values = model.evaluate(x, self._targets(y), **self.filter_sk_params(Sequential.evaluate, kwargs))
        return dict(zip(model.metrics_names, to_list(values)))

    def __sklearn_is_fitted__(self):
        return 'model' in vars(self)

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags
        classifies = self._estimator_type == 'classifier'
        return Tags(self._estimator_type, TargetTags(required=True),
                    classifier_tags=ClassifierTags() if classifies else None,
                    regressor_tags=None if classifies else RegressorTags(),
                    input_tags=InputTags(three_d_array=True, sparse=True))


class KerasClassifier(BaseWrapper):
    """A classifier. After `fit`, `classes_` holds the labels in the order of the model's outputs."""

    _estimator_type = 'classifier'

    def fit(self, x, y, sample_weight=None, **kwargs):
        """Builds a new model and trains it. Returns the `History`.

        Arguments:
            x: samples (samples, features).
            y: labels of any kind (samples,) or (samples, 1), or one-hot vectors (samples, classes).
            sample_weight: weights (samples,). kwargs: further arguments of the model's `fit`.

        Raises ValueError for labels of another shape.
        """
        y = _dense(y)
        if y.ndim == 2 and y.shape[1] > 1:
            self.classes_ = np.arange(y.shape[1])
        elif y.ndim == 1 or y.ndim == 2 and y.shape[1] == 1:
            self.classes_ = np.unique(y)
            y = np.searchsorted(self.classes_, y)
        else:
            raise ValueError(f'Invalid shape for y: {y.shape}')
        self.n_classes_ = len(self.classes_)
        if sample_weight is not None:
            kwargs['sample_weight'] = sample_weight
        return super().fit(x, y, **kwargs)

    def predict(self, x, **kwargs):
        """The labels (samples,) of the classes that are most likely; (samples, 1) where the model has one output."""
        probabilities = self._predicted(x, kwargs)
        if probabilities.shape[-1] > 1:
            return self.classes_[probabilities.argmax(axis=-1)]
        return self.classes_[(probabilities > 0.5).astype('int32')]

    def predict_proba(self, x, **kwargs):
        """The probability of each class (samples, classes), of both where the model has one output."""
        probabilities = self._predicted(x, kwargs)
        if probabilities.shape[1] == 1:
            return np.hstack([1 - probabilities, probabilities])
        return probabilities

    def score(self, x, y, **kwargs):
        """The mean accuracy for samples and their labels. Raises ValueError where the model does not measure it."""
        self._fitted()
        logs = self._evaluated(x, np.searchsorted(self.classes_, _dense(y)), kwargs)
        if 'acc' not in logs:
            raise ValueError('The model is not configured to compute accuracy. You should pass `metrics=["accuracy"]` '
                             'to the `model.compile()` method.')
        return logs['acc']


class KerasRegressor(BaseWrapper):
    """A regressor. `score` is the negative loss: the larger the better, as scikit-learn has it."""

    _estimator_type = 'regressor'

    def predict(self, x, **kwargs):
        """The predictions (samples,) or (samples, outputs)."""
        return np.squeeze(self._predicted(x, kwargs))

    def score(self, x, y, **kwargs):
        """The negative loss for samples and their targets."""
        return -self._evaluated(x, y, kwargs)['loss']


def _dense(y):
    """Labels as an array, of scipy's sparse matrices too."""
    return y.toarray() if hasattr(y, 'toarray') else np.array(y)
