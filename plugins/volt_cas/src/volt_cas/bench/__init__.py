"""``volt bench cas``: the store measured on the user's own machine, in less than half a minute."""
