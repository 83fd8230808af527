"""Feature networks: SqueezeNet 1.1, VGG16/19, AlexNet, Inception-v3, LPIPS.

Pictures go in as RGB in [-1, 1], NHWC; named layers come out. The preparation
that each network was trained with happens inside and is stated in its module.

  net = features.load("squeezenet", "squeezenet1_1-b8a52dc0.pth")
  net.layers(x, ("fire5", "fire9"))   # for losses: functools.partial
  net.embed(x)                        # one vector a picture, for set metrics
  features.load_distance("squeeze", folder)(x, y)   # LPIPS, where it is that
"""

from chibijax.models.features.lpips import PerceptualDistance
from chibijax.models.features.lpips import load as load_distance
from chibijax.models.features.network import EMBEDDING, Network, load, untrained
from chibijax.models.features.weights import VARIABLES, find

__all__ = [
  "EMBEDDING",
  "VARIABLES",
  "Network",
  "PerceptualDistance",
  "find",
  "load",
  "load_distance",
  "untrained",
]
