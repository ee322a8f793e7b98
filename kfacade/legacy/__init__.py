"""What Keras 1 called things, and Keras 2 still took."""
