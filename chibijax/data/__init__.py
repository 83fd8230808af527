"""Data: sources of pictures, host transforms and the input pipeline.

    from chibijax.data import pipeline

    train = pipeline.make(config.data, split="train", batch_size=8, seed=0)
    batches = train.iterator()
    batch = next(batches)  # {"image_a": uint8 [8, 256, 256, 3], "image_b": …}

This package imports nothing by itself, so that worker processes, which need
the sources only, start without JAX and Grain.
"""
