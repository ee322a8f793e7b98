"""How can I remove a layer from a Sequential model? `pop` takes off the last one."""
import faq_harness as faq
import numpy as np

from kfacade.layers import Dense
from kfacade.models import Sequential

EXAMPLE, = faq.blocks('pop')


def test_the_example_of_the_page(capsys):
    names = {'Sequential': Sequential, 'Dense': Dense}  # not imported by the page
    build, length, pop = faq.paragraphs(EXAMPLE)
    faq.run(build, names)
    model = faq.fill(names['model'])
    kernel, bias = model.get_weights()[:2]
    faq.run(length, names)
    faq.run(pop, names)
    assert capsys.readouterr().out == '2\n1\n'
    x = faq.numbers(3, 784)
    assert model.output_shape == (None, 32) and model.count_params() == 785 * 32
    np.testing.assert_allclose(model.predict(x), np.maximum(x @ kernel + bias, 0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.predict(x)[0, :4], FIRST, rtol=1e-4)
    model.add(Dense(3))
    assert model.output_shape == (None, 3) and len(model.get_weights()) == 4


FIRST = [0, 17.137405, 5.7429695, 6.5421538]
