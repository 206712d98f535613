# What the class for images and the recipe for deltas share.

# The command: a name that is found in PATH, or a path.
FLUVIAL ?= "fluvial"
# The store of versions. Keep it: a delta needs the very image that devices have, and no build makes that again.
FLUVIAL_ARTIFACTS ?= "${TOPDIR}/../artifacts"

def fluvial_repeated(d, option, variable):
    """OPTION VALUE for each value in a variable, quoted for a shell."""
    import shlex
    values = (d.getVar(variable) or '').split()
    return ' '.join('%s %s' % (option, shlex.quote(value)) for value in values)

def fluvial_pairs(d, option, variable):
    """OPTION KEY=VALUE for each variable that a variable names and that is set, quoted for a shell."""
    import shlex
    pairs = []
    for key in (d.getVar(variable) or '').split():
        value = d.getVar(key)
        if value is not None:
            # Lists in BitBake have spaces of no meaning.
            pairs.append('%s %s' % (option, shlex.quote('%s=%s' % (key, ' '.join(value.split())))))
    return ' '.join(pairs)
