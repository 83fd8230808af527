"""The procedural artist: one character drawn as a chibi and as a portrait.

rng = np.random.default_rng([seed, index])
attributes = sample_attributes(rng)
drawing = draw_chibi(attributes, 256)
"""

from chibijax.artist.attributes import Attributes
from chibijax.artist.chibi import draw_chibi
from chibijax.artist.colors import Colors
from chibijax.artist.drawing import Drawing
from chibijax.artist.portrait import draw_portrait
from chibijax.artist.sampling import sample_attributes

__all__ = [
  "Attributes",
  "Colors",
  "Drawing",
  "draw_chibi",
  "draw_portrait",
  "sample_attributes",
]
