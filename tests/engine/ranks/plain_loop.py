"""A plain torch loop around models in torch's own DistributedDataParallel; raises where numbers differ from one's."""
import copy

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from kfacade.layers import LSTM, BatchNormalization, Conv2D, Dense, Embedding, Flatten, Input
from kfacade.models import Model, Sequential

dist.init_process_group('gloo')
rank = dist.get_rank()
np.random.seed(rank)  # DistributedDataParallel sends the weights of rank 0 to all
images, words = Input((6, 6, 2)), Input((4,))
one = Sequential([Conv2D(3, 3, input_shape=(6, 6, 2), activation='relu'), Flatten(), Dense(3)])
two = Model([images, words], [Dense(3)(Flatten()(Conv2D(2, 3)(images))),
                              LSTM(3)(Embedding(5, 4, mask_zero=True)(words))])
data = np.random.RandomState(0)
batch = [torch.tensor(data.rand(8, 6, 6, 2), dtype=torch.float32), torch.tensor(data.randint(0, 5, (8, 4)))]
for model, inputs in ((one, batch[:1]), (two, batch)):
    parallel = DistributedDataParallel(model)
    alone = copy.deepcopy(model)
    for net, rows in ((parallel, slice(rank * 4, rank * 4 + 4)), (alone, slice(None))):
        optimizer = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            given = [x[rows] for x in inputs]
            outputs = net(given if len(given) > 1 else given[0])
            optimizer.zero_grad()
            sum(x.square().mean() for x in (outputs if isinstance(outputs, list) else [outputs])).backward()
            optimizer.step()
    for p, q in zip(model.parameters(), alone.parameters()):
        torch.testing.assert_close(p, q, atol=1e-6, rtol=0)

normalized = Sequential([BatchNormalization(input_shape=(5,)), Dense(1)])
parallel = DistributedDataParallel(normalized).train()
for _ in range(2):
    parallel(torch.full((8, 5), float(rank))).sum().backward()
parallel.eval()(torch.ones(1, 5))
assert not normalized.get_weights()[2].any()  # those of rank 0, as in any model
dist.destroy_process_group()
