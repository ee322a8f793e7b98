"""The data sets that Keras scripts download: into ``datasets`` in the folder of keras.json, each file once.

``load_data()`` of each module gives ``(x_train, y_train), (x_test, y_test)``, numpy arrays. All raise as
`keras.utils.get_file` does where a file cannot be had: the error says which, and where to put it.
"""
from . import boston_housing, cifar, cifar10, cifar100, fashion_mnist, imdb, mnist, reuters
