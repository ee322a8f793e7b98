"""Arguments and methods that are none."""
from keras.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from keras.layers import LSTM, BatchNormalization, Bidirectional, Conv2D, Dense, Dropout, Embedding, Flatten
from keras.models import Sequential
from keras.optimizers import Adam, SGD
from keras.preprocessing.image import ImageDataGenerator

model = Sequential()
model.add(Embedding(100, 8, input_length=10))
model.add(Bidirectional(LSTM(8, return_sequences=True, time_major=True)))  # missing
model.add(Dense(output_dim=4, init='uniform', activation='relu', W_regularizer=None, kernel_init='zero'))  # missing
model.add(BatchNormalization(axis=-1, mode=0, renorm=True))  # missing
model.add(Dropout(p=.5))
model.add(Flatten())
model.add(Dense(1, activation='sigmoid', input_dim=8))
model.compile(optimizer=Adam(lr=1e-3, clipnorm=1., amsgrad=True), loss='binary_crossentropy', metrics=['accuracy'])
model.compile(optimizer=SGD(learning_rate=.1), loss='mse')  # missing
generator = ImageDataGenerator(rotation_range=10, horizontal_flip=True, crop_range=3)  # missing
stop = EarlyStopping(monitor='val_loss', patience=3, restore_best_weights=True, start_from_epoch=3)  # missing
plateau = ReduceLROnPlateau(factor=.1, epsilon=1e-4, patience=2)
checkpoint = ModelCheckpoint('best.h5', save_best_only=True,
                             save_format='tf')  # missing
model.fit(x=None, y=None, nb_epoch=2, callbacks=[stop, plateau, checkpoint], validation_freq=2)  # missing
model.fit_generator(generator.flow(None), samples_per_epoch=10, nb_epoch=2, nb_val_samples=3)
model.summary(line_length=100)
model.save_spec()  # missing
model.predict_classes(None)
generator.flow_from_dataframe_and_folder(None)  # missing
generator.standardize(None)
plateau.on_epoch_ends(0)  # missing
