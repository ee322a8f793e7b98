"""A folder for `sys.path`, where processes that a script starts anew (by spawn or forkserver) find the aliases by name.

They inherit the path, but not the finder that `install_keras_alias` puts before it.
"""
