"""A photo of a face that may be shown, and the detector that finds it."""

import numpy as np
import pytest

from chibijax.faces import detect, mtcnn_weights


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
  """Scikit-image's public-domain portrait, 512 px, uint8 [512, 512, 3]."""
  data = pytest.importorskip("skimage.data", reason="needs scikit-image")
  return data.astronaut()


@pytest.fixture(scope="session")
def mtcnn_detector() -> detect.Detector:
  """MTCNN with its weights, or a skip."""
  pytest.importorskip("lz4.frame", reason="needs lz4 to read the weights")
  if mtcnn_weights.folder() is None:
    pytest.skip("the mtcnn package, which carries the weights, is missing")
  return detect.make("mtcnn")
