"""The training engine: state, devices, checkpoints, optimisers, logs.

Nothing here knows what an image is.
"""
