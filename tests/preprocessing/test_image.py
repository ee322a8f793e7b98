"""Images: what the values in `reference` do not show."""
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from kfacade import backend as K
from kfacade.engine import Input
from kfacade.layers import Flatten
from kfacade.models import Model
from kfacade.preprocessing import image
from kfacade.preprocessing.image import ImageDataGenerator, affine_transformations, iterator, utils
from kfacade.utils import OrderedEnqueuer, Sequence

pd = pytest.importorskip('pandas')
Image = pytest.importorskip('PIL.Image')


def pixels(*shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, shape).astype('uint8')


def save(path, x):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.fromarray(x).save(path, 'PNG')


@pytest.fixture
def folder(tmp_path):
    """40 images of 20x20: RGB, RGBA, 8-bit and 16-bit gray, in turn of two classes, each at four depths."""
    deep = ['', 'subfolder-1', 'subfolder-2', 'subfolder-1/sub-subfolder']
    kinds = [pixels(20, 20, 3), pixels(20, 20, 4), pixels(20, 20), pixels(20, 20).astype('uint16') * 200]
    for i in range(40):
        save(str(tmp_path / f'class-{i % 2}' / deep[i % 4] / f'image-{i}.png'), kinds[i // 10])
    return str(tmp_path)


def frame(folder, **columns):
    names = sorted(os.path.relpath(os.path.join(root, name), folder) for root, _, names in os.walk(folder)
                   for name in names)
    return pd.DataFrame({'filename': names, 'class': [name.split('/')[0] for name in names], **columns})


# ---------------------------------------------------------------- transformations

def test_resampling_hits_pixels_exactly():
    x = np.zeros((3, 4, 1))
    x[1, 1] = 1
    for how, place in ((dict(tx=1), (0, 1)), (dict(tx=-1), (2, 1)), (dict(ty=1), (1, 0)), (dict(ty=-1), (1, 2))):
        moved = image.apply_affine_transform(x, **how)
        assert moved[place] == 1 and moved.sum() == 1
        first = image.apply_affine_transform(np.moveaxis(x, -1, 0), row_axis=1, col_axis=2, channel_axis=0, **how)
        np.testing.assert_array_equal(first[0], moved[..., 0])
    corner = np.array([[0, 1], [0, 0]])[..., None]
    np.testing.assert_array_equal(image.apply_affine_transform(corner, theta=90)[..., 0], [[0, 0], [0, 0]])
    generator = ImageDataGenerator(fill_mode='constant')
    turned = generator.apply_transform(np.ones((3, 3, 3)), {'theta': 45})[..., 0]
    np.testing.assert_array_equal(turned, [[0, 0, 1], [0, 1, 1], [0, 0, 1]])
    x = pixels(5, 4, 3)
    np.testing.assert_array_equal(generator.apply_transform(x, {'flip_vertical': True}), x[::-1])
    np.testing.assert_array_equal(generator.apply_transform(x, {'flip_horizontal': True}), x[:, ::-1])


def test_parts_of_the_transformations():
    quarter = np.array([[0., -1, 2], [1, 0, 3], [0, 0, 1]])  # the second matrix is keras_preprocessing's
    np.testing.assert_array_equal(image.transform_matrix_offset_center(quarter, 5, 8),
                                  [[0, -1, 9.5], [1, 0, 4.5], [0, 0, 1]])
    np.testing.assert_array_equal(image.flip_axis([[1, 2, 3], [4, 5, 6]], 1), [[3, 2, 1], [6, 5, 4]])
    np.testing.assert_array_equal(image.flip_axis([[1, 2, 3], [4, 5, 6]], 0), [[4, 5, 6], [1, 2, 3]])


def test_transformations_leave_their_input_alone():
    x = pixels(6, 5, 3).astype('float32')
    before = x.copy()
    for transform in (lambda: image.random_rotation(x, 30), lambda: image.random_channel_shift(x, 9.),
                      lambda: image.random_brightness(x, (.5, 2)), lambda: image.random_zoom(x, (.5, 2))):
        transform()
    generator = ImageDataGenerator(rescale=2., samplewise_center=True, horizontal_flip=True)
    next(generator.flow(x[None], batch_size=1))
    np.testing.assert_array_equal(x, before)


def test_splines_beyond_linear_ones_ask_for_scipy_and_files_for_pillow(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'scipy.ndimage', None)
    image.apply_affine_transform(np.ones((2, 2, 1)), theta=9)
    with pytest.raises(ImportError, match=r'`scipy` library. Install it with `pip install "kfacade\[images\]"'):
        image.apply_affine_transform(np.ones((2, 2, 1)), theta=9, order=3)
    monkeypatch.setitem(sys.modules, 'PIL.Image', None)
    for call in (lambda: image.load_img(str(tmp_path / 'x.png')), lambda: image.array_to_img(np.ones((2, 2, 1)))):
        with pytest.raises(ImportError, match=r'`PIL` library. Install it with `pip install "kfacade\[images\]"'):
            call()
    image.apply_brightness_shift(np.ones((2, 2, 1)), 2)


def test_random_brightness_applies_what_it_draws(monkeypatch):
    monkeypatch.setattr(affine_transformations, 'apply_brightness_shift', lambda x, brightness: (x, brightness))
    assert image.random_brightness(0, (3, 3)) == (0, 3.)


# ---------------------------------------------------------------- files

def test_image_files(tmp_path):
    path = tmp_path / 'x.png'
    for mode, x in (('rgb', pixels(9, 8, 3)), ('rgba', pixels(9, 8, 4)), ('grayscale', pixels(9, 8, 1))):
        image.save_img(path, x, scale=False)
        loaded = image.load_img(path, color_mode=mode)
        np.testing.assert_array_equal(image.img_to_array(loaded), x)
        np.testing.assert_array_equal(image.img_to_array(image.load_img(str(path), False, mode, (9, 8), 'odd')), x)
        assert image.load_img(path, color_mode=mode, target_size=(3, 4)).size == (4, 3)
        with open(path, 'rb') as file:
            assert image.load_img(io.BytesIO(file.read())).mode == 'RGB'
    with pytest.warns(UserWarning, match='grayscale is deprecated'):
        assert image.load_img(path, grayscale=True).mode == 'L'
    assert image.img_to_array(loaded, dtype='uint8').dtype == 'uint8'
    with pytest.warns(UserWarning, match='converting to RGB'):
        image.save_img(tmp_path / 'y.jpg', pixels(9, 8, 4), file_format='jpg', quality=50)
    assert image.load_img(tmp_path / 'y.jpg').size == (8, 9)


def test_formats_of_the_session():
    K.set_image_data_format('channels_first')
    K.set_floatx('float64')
    try:
        x = image.img_to_array(Image.fromarray(pixels(9, 8, 3)))
        assert (x.shape, x.dtype) == ((3, 9, 8), np.float64)
        assert image.array_to_img(x).size == (8, 9)
        assert next(ImageDataGenerator().flow(x[None])).dtype == np.float64
        assert ImageDataGenerator().channel_axis == 1
    finally:
        K.set_image_data_format('channels_last')
        K.set_floatx('float32')


def test_many_files_may_be_open(tmp_path):
    import resource
    save(str(tmp_path / 'x.png'), pixels(2, 2, 3))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        assert len([image.load_img(tmp_path / 'x.png') for _ in range(300)]) == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_names_of_files(tmp_path):
    names = ['a.png', 'b.jpg', 'c.jpeg', 'd.bmp', 'e.ppm', 'f.tiff', 'g.TIF', 'h.txt', 'i.gif']
    for name in names + [f'below/{name}' for name in names]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert len(image.list_pictures(str(tmp_path))) == 14
    found = image.list_pictures(str(tmp_path), ext='png')
    assert sorted(found) == [str(tmp_path / 'a.png'), str(tmp_path / 'below/a.png')]
    assert utils.validate_filename(str(tmp_path / 'g.TIF'), ('tif', 'jpg'))
    assert not utils.validate_filename(str(tmp_path / 'h.txt'), ('tif', 'jpg'))
    assert not utils.validate_filename(str(tmp_path / 'none.tif'), ('tif', 'jpg'))


# ---------------------------------------------------------------- iterators

def test_iterators_are_sequences_and_endless(folder):
    generator = ImageDataGenerator(preprocessing_function=np.zeros_like)
    flow = generator.flow_from_directory(folder, target_size=(26, 26), batch_size=3)
    assert isinstance(flow, Sequence) and isinstance(flow, image.Iterator) and len(flow) == 14
    x, y = flow[13]
    assert (x.shape, y.shape, x.any()) == ((1, 26, 26, 3), (1, 2), False)
    for index in (14, -1):
        with pytest.raises(ValueError, match=f'element {index}, but the Sequence has length 14'):
            flow[index]
    assert sum(len(next(flow)[0]) for _ in range(28)) == 80
    assert [len(batch[0]) for batch, _ in zip(flow, range(15))] == [3] * 13 + [1, 3]


def test_an_iterator_over_nothing_gives_empty_batches():
    for batch_size in (0, 32):
        assert next(iterator.Iterator(0, batch_size, False, 0).index_generator).size == 0
    with pytest.raises(NotImplementedError, match='_get_batches_of_transformed_samples'):
        next(iterator.Iterator(3, 2, False, 0))


@pytest.mark.parametrize('split, training', [(.25, 30), (.5, 20), (.75, 10)])
def test_validation_split(folder, split, training):
    generator = ImageDataGenerator(validation_split=split)
    for flow_from in (lambda **how: generator.flow_from_directory(folder, **how),
                      lambda **how: generator.flow_from_dataframe(frame(folder), folder, **how)):
        parts = [flow_from(subset=subset) for subset in ('training', 'validation')]
        assert [part.samples for part in parts] == [training, 40 - training]
        assert not set(parts[0].filenames) & set(parts[1].filenames)
        assert parts[0].class_indices == parts[1].class_indices == {'class-0': 0, 'class-1': 1}


def test_targets_that_are_the_images_are_copies(folder):
    generator = ImageDataGenerator()
    for flow in (generator.flow_from_directory(folder, class_mode='input'),
                 generator.flow_from_dataframe(frame(folder), folder, y_col=None, class_mode='input')):
        x, y = next(flow)
        np.testing.assert_array_equal(x, y)
        assert not np.shares_memory(x, y)


def test_columns_and_orders_of_a_dataframe(folder):
    generator = ImageDataGenerator()
    df = frame(folder, many=[['b', 'a'], 'b', ['c']] + ['b'] * 37, weight=[2., 5] * 20, array=[np.eye(2)] * 40)

    def y_of(**how):
        return next(generator.flow_from_dataframe(df, folder, shuffle=False, batch_size=3, **how))[1]
    np.testing.assert_array_equal(y_of(y_col='many'), [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert y_of(y_col=['weight', 'array'], class_mode='multi_output')[1].shape == (3, 2, 2)
    weighted = generator.flow_from_dataframe(df, folder, shuffle=False, weight_col='weight')
    assert next(weighted)[2][:3].tolist() == [2, 5, 2]
    batches = [next(generator.flow_from_dataframe(df.set_axis(index), folder, seed=1))[0] for index in (
        range(40), range(1, 41), df['filename'])]
    np.testing.assert_array_equal(batches[0], batches[1])
    np.testing.assert_array_equal(batches[0], batches[2])
    assert [generator.flow_from_dataframe(df, folder, classes=classes).class_indices for classes in (
        ['class-1', 'class-0'], ['class-0', 'class-1'])] == 2 * [{'class-0': 0, 'class-1': 1}]
    assert 'dataframe' not in vars(generator.flow_from_dataframe(df, folder))


def test_batches_are_saved(tmp_path):
    flow = ImageDataGenerator().flow(pixels(5, 4, 4, 3), shuffle=False, save_to_dir=str(tmp_path), save_prefix='a',
                                     save_format='jpeg')
    next(flow)
    names = sorted(os.listdir(tmp_path))
    assert len(names) == 5 and all(name.endswith('.jpeg') for name in names)
    assert [name[:4] for name in names] == [f'a_{i}_' for i in range(5)]


def test_brightness_of_channels_first_is_that_of_channels_last():
    x = pixels(2, 6, 5, 3)
    last = ImageDataGenerator(brightness_range=(.5, 2)).flow(x, seed=1)
    first = ImageDataGenerator(brightness_range=(.5, 2), data_format='channels_first')
    first = first.flow(x.transpose(0, 3, 1, 2), seed=1)
    np.testing.assert_array_equal(next(first).transpose(0, 2, 3, 1), next(last))


def test_a_dtype_is_that_of_the_batches():
    generator = ImageDataGenerator(dtype='float16')
    x, y = next(generator.flow(pixels(3, 4, 4, 1), [1, 2, 3]))
    assert x.dtype == 'float16' and y.dtype.kind == 'i'


def test_labels_stay_labels_with_order_0():
    labels = np.arange(25).reshape(1, 5, 5, 1) % 4
    x = next(ImageDataGenerator(rotation_range=90., interpolation_order=0).flow(labels, seed=123))
    assert np.unique(x).tolist() == [0, 1, 2, 3]


# ---------------------------------------------------------------- threads and processes

def seen(batches):
    return sorted(int(label) for _, y in batches for label in y)


def test_threads_share_one_epoch():
    for trial in range(10):
        flow = ImageDataGenerator(rotation_range=9).flow(pixels(64, 3, 3, 1), np.arange(64), batch_size=2, seed=trial)
        found, ready = [], threading.Barrier(8)

        def take(part, flow=flow, found=found, ready=ready):
            ready.wait()
            found.extend(flow[i] for i in part)
        threads = [threading.Thread(target=take, args=(range(k, 32, 8),)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen(found) == list(range(64))


def test_threads_share_one_stream():
    flow = ImageDataGenerator().flow(pixels(64, 3, 3, 1), np.arange(64), batch_size=2)
    found = []
    threads = [threading.Thread(target=lambda: found.extend(next(flow) for _ in range(4))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen(found) == list(range(64))


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_processes_read_files(folder, method):
    flow = ImageDataGenerator(horizontal_flip=True).flow_from_directory(folder, target_size=(4, 4), batch_size=5,
                                                                        class_mode='sparse', seed=1)
    expected = [flow[i] for i in range(len(flow))]
    copy = pickle.loads(pickle.dumps(flow))
    copy.total_batches_seen, copy.index_array = 0, None
    for (x, y), (x2, y2) in zip(expected, (copy[i] for i in range(len(copy)))):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
    with multiprocessing.get_context(method).Pool(1) as pool:
        labels = pool.map(read_all, [flow])[0]
    assert labels == [y.tolist() for _, y in expected]


def read_all(flow):
    return [flow[i][1].tolist() for i in range(len(flow))]


def test_an_iterator_goes_on_after_pickling():
    flow = ImageDataGenerator().flow(pixels(6, 2, 2, 1), np.arange(6), batch_size=2, shuffle=False)
    assert next(flow)[1].tolist() == [0, 1]
    assert next(pickle.loads(pickle.dumps(flow)))[1].tolist() == [0, 1]  # at the start of an epoch


def test_fit_generator_with_processes(folder):
    x = Input((4, 4, 3))
    model = Model(x, Flatten()(x))
    flow = ImageDataGenerator().flow_from_directory(folder, target_size=(4, 4), batch_size=5, shuffle=False)
    enqueuer = OrderedEnqueuer(flow, use_multiprocessing=True)
    enqueuer.start(2)
    batches = [batch for batch, _ in zip(enqueuer.get(), range(8))]
    enqueuer.stop()
    out = model.predict_generator(flow, workers=2, use_multiprocessing=True)
    np.testing.assert_array_equal(out.reshape(40, 4, 4, 3), np.concatenate([x for x, _ in batches]))


def test_processes_share_each_epoch():
    flow = ImageDataGenerator(rotation_range=9).flow(pixels(12, 3, 3, 1), np.arange(12), batch_size=2)
    enqueuer = OrderedEnqueuer(flow, use_multiprocessing=True)
    enqueuer.start(2)
    batches = enqueuer.get()
    for _ in range(3):
        assert seen(next(batches) for _ in range(6)) == list(range(12))
    enqueuer.stop()


# ---------------------------------------------------------------- imports

SCRIPT = """
import importlib, sys, time, kfacade
import numpy as np
rooms = [name for name in sys.modules if name.startswith(('kfacade.preprocessing', 'kfacade.datasets'))]
times = []
for _ in range(3):
    for name in rooms:
        del sys.modules[name]
    start = time.process_time()
    for name in rooms:
        importlib.import_module(name)
    times.append(time.process_time() - start)
generator = kfacade.preprocessing.image.ImageDataGenerator(rotation_range=9, brightness_range=(1, 2))
generator.flow(np.ones((1, 2, 2, 1))).next()
print(len(rooms), min(times) < .05, [name for name in ('PIL', 'scipy', 'pandas', 'sklearn') if name in sys.modules])
"""


def test_imports_are_quick_and_nothing_optional_is_imported_before_it_is_used():
    """All modules of the two rooms together in 50 ms of CPU time."""
    assert subprocess.check_output([sys.executable, '-W', 'error', '-c', SCRIPT], text=True) == '21 True []\n'


# ---------------------------------------------------------------- bad input

X = pixels(4, 3, 3, 1)


@pytest.mark.parametrize('make, error, message', [
    (lambda: ImageDataGenerator(fill_mode='mirrored'), ValueError, "fill_mode: 'mirrored'; expected one of 'constant'"),
    (lambda: image.apply_affine_transform(X[0], theta=1, fill_mode='x'), ValueError, "fill_mode: 'x'"),
    (lambda: ImageDataGenerator(validation_split=5), ValueError, '`validation_split` must be strictly between'),
    (lambda: ImageDataGenerator(brightness_range=.1), ValueError, '`brightness_range` should be a tuple or list'),
    (lambda: ImageDataGenerator(zoom_range=(1, 2, 3)), ValueError, '`zoom_range` should be a tuple or list of two'),
    (lambda: ImageDataGenerator(data_format='last'), ValueError, 'data_format'),
    (lambda: image.random_zoom(X[0], [0]), ValueError, '`zoom_range`'),
    (lambda: image.random_brightness(X[0], [0]), ValueError, '`brightness_range`'),
    (lambda: ImageDataGenerator().fit(X[0]), ValueError, 'rank 4'),
    (lambda: ImageDataGenerator().flow(X[0]), ValueError, 'rank 4'),
    (lambda: ImageDataGenerator().flow(X, [1, 2]), ValueError, r'`x` \(images tensor\) and `y` \(label'),
    (lambda: ImageDataGenerator().flow(X, sample_weight=[1]), ValueError, 'and `sample_weight` should have'),
    (lambda: ImageDataGenerator().flow((X, [np.ones(4), np.ones(3)])), ValueError, 'All of the arrays in `x`'),
    (lambda: ImageDataGenerator().flow(X, subset='foo'), ValueError, "subset name: 'foo'; expected one of None"),
    (lambda: ImageDataGenerator(validation_split=.5).flow(X, [0, 0, 1, 1], subset='training'), ValueError,
     'different number of classes after'),
    (lambda: image.array_to_img(np.ones((3, 4))), ValueError, 'rank 3'),
    (lambda: image.array_to_img(np.ones((3, 4, 5))), ValueError, 'Unsupported channel number: 5'),
    (lambda: image.array_to_img(np.ones((3, 4, 3)), data_format='channels'), ValueError, 'data_format'),
    (lambda: image.img_to_array(np.ones((3, 4, 5, 3))), ValueError, 'Unsupported image shape'),
    (lambda: image.img_to_array(np.ones((3, 4, 3)), data_format='channels'), ValueError, 'data_format'),
])
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize('how, error, message', [
    (dict(color_mode='cmyk'), ValueError, "color_mode: 'cmyk'; expected one of 'grayscale', 'rgb', 'rgba'"),
    (dict(class_mode='output'), ValueError, "class_mode: 'output'; expected one of 'categorical'"),
    (dict(subset='foo'), ValueError, "subset name: 'foo'"),
    (dict(interpolation='cubic'), ValueError, "interpolation method: 'cubic'; expected one of 'nearest'"),
    (dict(directory='missing'), FileNotFoundError, "`directory`: there is no folder '.*missing'"),
    (dict(classes=['class-0', 'class-7']), FileNotFoundError, "`classes`: there is no folder 'class-7' in '"),
    (dict(directory='class-1/subfolder-1/sub-subfolder'), ValueError,
     r"`directory`: there are no images for the data set .*pass `classes=\['.'\]`".replace("'.'", '"."')),
    (dict(subset='validation'), ValueError, 'there are no images for the validation set')])
def test_bad_folders(folder, how, error, message):
    how = {**how, 'directory': os.path.join(folder, how.get('directory', ''))}
    with pytest.raises(error, match=message):
        ImageDataGenerator().flow_from_directory(**how)


def test_a_class_without_images_is_named(folder):
    os.mkdir(os.path.join(folder, 'class-2'))
    with pytest.warns(UserWarning, match=r"without an image in '.*': \['class-2'\]"):
        flow = ImageDataGenerator().flow_from_directory(folder)
    assert flow.num_classes == 3 and next(flow)[1].shape == (32, 3)


def test_files_of_several_bands_are_warned_of(folder):
    save(os.path.join(folder, 'class-0', 'x.TIFF'), pixels(3, 3, 3))
    with pytest.warns(UserWarning, match='Using ".tiff" files with multiple bands will cause distortion'):
        assert ImageDataGenerator().flow_from_directory(folder).samples == 41


@pytest.mark.parametrize('content', [b'', b'no image', b'truncated', b'damaged'])
def test_a_file_that_cannot_be_read_is_named(folder, content):
    path = os.path.join(folder, 'class-1', 'subfolder-1', 'image-1.png')
    with open(path, 'rb+') as file:
        whole = file.read()
        content = {b'truncated': whole[:len(whole) // 2], b'damaged': whole[:50] + b'?' * 100 + whole[150:]}.get(
            content, content)
        file.seek(0)
        file.truncate()
        file.write(content)
    flow = ImageDataGenerator().flow_from_directory(folder, classes=['class-1'])
    for read in (lambda: image.load_img(path), lambda: next(flow)):
        with pytest.raises(OSError, match=r'Could not read the image .*class-1/subfolder-1/image-1.png'):
            read()
    os.remove(path)
    with pytest.raises(FileNotFoundError, match=r'class-1/subfolder-1/image-1.png'):
        next(flow)


@pytest.mark.parametrize('how, error, message', [
    (dict(x_col='file'), ValueError, r"`x_col`: the dataframe lacks a column of \['file'\]. It has \['filename', "),
    (dict(y_col='label'), ValueError, '`y_col`: the dataframe lacks'),
    (dict(y_col=['class', 'b'], class_mode='multi_output'), ValueError, '`y_col`: the dataframe lacks'),
    (dict(weight_col='w'), ValueError, '`weight_col`: the dataframe lacks'),
    (dict(weight_col='class'), TypeError, 'weight_col=class must be numeric'),
    (dict(x_col='n'), TypeError, 'x_col=n must be strings'),
    (dict(y_col='n', class_mode='sparse'), TypeError, 'If class_mode="sparse", y_col="n" column values'),
    (dict(y_col='n'), TypeError, r"must be of \['str', 'list', 'tuple'\]"),
    (dict(y_col='filename', class_mode='binary'), ValueError, 'there must be 2 classes. Found 40: '),
    (dict(classes=['a'], class_mode='binary'), ValueError, 'there must be 2 classes. Found 1: '),
    (dict(y_col='class', class_mode='multi_output'), TypeError, 'y_col must be a list. Received str'),
    (dict(class_mode='output'), ValueError, "class_mode: 'output'"),
    (dict(color_mode='cmyk'), ValueError, "color_mode: 'cmyk'"),
    (dict(subset='foo'), ValueError, "subset name: 'foo'"),
    (dict(columns=3), TypeError, 'columns')])
def test_bad_dataframes(folder, how, error, message):
    with pytest.raises(error, match=message):
        ImageDataGenerator().flow_from_dataframe(frame(folder, n=range(40)), folder, **how)


def test_what_is_old_or_of_no_use_is_said(folder):
    df = pd.concat([frame(folder), pd.DataFrame({'filename': ['gone.png', 'x.txt'], 'class': ['a', 'b']})])
    generator = ImageDataGenerator()
    with pytest.warns(UserWarning, match=r'Found 2 invalid image filename\(s\) in x_col="filename"'):
        assert generator.flow_from_dataframe(df, folder).samples == 40
    assert generator.flow_from_dataframe(df, folder, validate_filenames=False).samples == 42
    df = frame(folder, number=1.)
    for name in ('has_ext', 'sort', 'drop_duplicates'):
        with pytest.warns(DeprecationWarning, match=f'{name} is deprecated'):
            generator.flow_from_dataframe(df, folder, **{name: False})
    with pytest.warns(DeprecationWarning, match='please use `class_mode` "raw"'):
        assert generator.flow_from_dataframe(df, folder, class_mode='other', y_col='number').class_mode == 'raw'
    with pytest.warns(UserWarning, match='`classes` will be ignored given the class_mode="None"'):
        generator.flow_from_dataframe(df, folder, classes=['a'], class_mode=None)
    for setting in ('featurewise_std_normalization', 'samplewise_std_normalization', 'zca_whitening'):
        with pytest.warns(UserWarning, match=f'specifies `{setting}`, which overrides setting of `.*center`'):
            generator = ImageDataGenerator(**{setting: True})
    with pytest.warns(UserWarning, match='overrides setting of `featurewise_std_normalization`'):
        ImageDataGenerator(zca_whitening=True, featurewise_center=True, featurewise_std_normalization=True)
    with pytest.warns(UserWarning, match="hasn't been fit on any training data") as said:
        generator.standardize(X[0] / 1.)
    assert [str(warning.message).split('`')[1] for warning in said] == ['featurewise_center', 'zca_whitening']
    with pytest.warns(UserWarning, match=r'shape \(4, 3, 3, 2\) \(2 channels\)'):
        ImageDataGenerator().flow(pixels(4, 3, 3, 2))
