"""Networks, in Linen, one family per file: no losses and no input or output.

A network is used as a function, `y = net.apply({"params": params}, x)`. It
computes in its `dtype`; its parameters and its result are float32. Pictures
are NHWC in [-1, 1].
"""
