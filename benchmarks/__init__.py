"""kfacade beside the plain PyTorch loop, and beside other Keras implementations: `python -m benchmarks`."""
