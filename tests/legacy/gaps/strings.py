"""Names in strings."""
from keras import Input, Model, initializers, losses
from keras.layers import Activation, Conv2D, Dense, LSTM

a = Input((4, 4, 3))
x = Conv2D(8, 3, activation='swish', kernel_initializer='he_normal')(a)  # missing
x = Activation('relu')(x)
x = Activation('mish')(x)  # missing
x = Dense(3, 'relu', kernel_regularizer='l2', kernel_initializer='he_norm')(x)  # missing
x = Dense(3, activation=None, kernel_constraint='max_norm', bias_constraint='unit_ball')(x)  # missing
model = Model(a, x)
model.compile('adamw', 'mse')  # missing
model.compile('rmsprop', loss='huber', metrics=['acc', 'mae', 'top_k_categorical_accuracy'])  # missing
model.compile(loss=['mse', 'categorical_crossentropy'], optimizer='sgd', metrics=['auc'])  # missing
model.compile('sgd', {'a': 'mse', 'b': 'huber_loss'}, {'a': ['acc', 'auc'], 'b': 'mae'})  # missing
initializers.get('glorot_normal')
initializers.get('glorot')  # missing
losses.get(identifier='mse')
