"""Plain Keras scripts to run with `python -m kfacade -m kfacade.examples.NAME`."""
