"""chibijax: a photo of a face becomes a chibi avatar.

Pure-function JAX models that anyone can train from one config file, on a CPU,
a GPU, a TPU or many hosts. This package imports nothing by itself: import the
module you need, for example `chibijax.apps.stylize`.
"""

__version__ = "0.1.0"
