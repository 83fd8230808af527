"""TFDS builders for data sets that people download by hand.

    from chibijax.data.builders import prepare

    prepare.run("celeba", "downloads/", "tensorflow_datasets/")

writes the examples where `data.source_a = "tfds"` reads them. Nothing is
downloaded and TensorFlow is not needed. Each module says where its archives
come from, what they look like, and what may be done with the pictures.
"""
