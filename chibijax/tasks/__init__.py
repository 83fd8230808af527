"""Experiments: networks, losses and optimisers as one `core.types.Task`.

The loop imports `chibijax.tasks.NAME` by `config.task` and calls its
`build(config, axis)`. A new experiment is one file here and one config.
"""
