"""The commands of `chibijax`, a file for each kind; `apps.cli` joins them.

Heavy modules are imported inside the commands, so that `--help` is instant.
"""
