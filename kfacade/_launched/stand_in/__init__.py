"""A folder for `sys.path`, as the one around it: on the path where `tensorflow` is to be kfacade's stand-in."""
