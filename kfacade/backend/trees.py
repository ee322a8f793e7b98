"""Trees of arguments: what lists, tuples, dicts and slices hold."""


def map_leaves(f, tree):
    """``tree`` with `f` applied to what its lists, tuples, dicts and slices hold."""
    kind = type(tree)
    if kind is list:
        return [map_leaves(f, x) for x in tree]
    if kind is tuple:
        return tuple([map_leaves(f, x) for x in tree])
    if kind is dict:
        return {k: map_leaves(f, x) for k, x in tree.items()}
    if kind is slice:
        return slice(map_leaves(f, tree.start), map_leaves(f, tree.stop), map_leaves(f, tree.step))
    if isinstance(tree, tuple) and hasattr(tree, '_fields'):
        return kind(*[map_leaves(f, x) for x in tree])
    return f(tree)


def leaves(tree):
    """What the lists, tuples, dicts and slices of `tree` hold, in order."""
    found = []
    map_leaves(found.append, tree)
    return found


def filled(tree, values):
    """`tree` with `values` in the places of its leaves."""
    values = iter(values)
    return map_leaves(lambda _: next(values), tree)
