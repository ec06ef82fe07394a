"""The command line: one module per command, and what they share.

A command's module has ``add_arguments(command)``, which declares its arguments, and
``run(args)``, which carries it out, returns the exit status, and whose first line of
documentation is the help text. ``files``, ``model`` and ``report`` are shared.
"""
