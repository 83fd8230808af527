"""The chibi's neck, trunk, limbs and clothes, two heads tall in all.

Coordinates are head units (see `pose`): the neck starts at y = 300, the soles
are at y = 950. The same body is drawn for a bust, where the picture ends at the
chest.
"""

import numpy as np

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Number, Scene
from chibijax.artist.face import LINE, Face
from chibijax.artist.pose import Pose

HIP = 640.0
# Trousers or skirt in the accent colour would often clash; denim never does.
_DENIM = "#5a76a8"
_SKIRTS = ("dress",)


class Body:
  """Draws everything below the chin.

  Args:
    scene: receives the shapes.
    pose: placement.
    face: measures; the colours are taken from it.
    full: whether legs and hands are in the picture.
  """

  def __init__(
    self,
    scene: Scene,
    pose: Pose,
    face: Face,
    *,
    full: bool,
  ) -> None:
    self._scene = scene
    self._pose = pose
    self._face = face
    self._full = full
    a = face.attributes
    self._kind = a.clothes
    self._color = face.colors.clothes
    self._accent = face.colors.accent

  def _piece(
    self, curve: Curve, color: str, label: str = "other", width: Number = LINE
  ) -> Curve:
    placed = self._pose.body(curve)
    line = palette.outline(color)
    if label == "skin":
      line = self._face.skin["line"]
    self._scene.draw(placed, fill=color, stroke=line, width=width, label=label)
    return placed

  def _pair(
    self, curve: Curve, color: str, label: str = "other", width: Number = LINE
  ) -> None:
    """Draws a piece on the viewer's right and its mirror image."""
    line = self._face.skin["line"] if label == "skin" else None
    self._scene.draw(
      self._pose.body(curve),
      self._pose.body(canvas.mirror(curve)),
      fill=color,
      stroke=line or palette.outline(color),
      width=width,
      label=label,
    )

  def _line(self, points: list, width: Number, color: str) -> None:
    widths = [0.6 * width] + [width] * (len(points) - 2) + [0.6 * width]
    self._scene.draw(self._pose.body(canvas.brush(points, widths)), fill=color)

  def draw(self) -> None:
    """Draws the body, from legs to collar."""
    if self._full:
      self._draw_legs()
    self._draw_arms()
    self._draw_neck()
    self._draw_trunk()
    getattr(self, f"_detail_{self._kind}")()

  def _draw_neck(self) -> None:
    skin = self._face.skin
    neck = canvas.spline(
      [
        (-56, 260),
        (-54, 350),
        (-96, 400),
        (0, 440),
        (96, 400),
        (54, 350),
        (56, 260),
      ],
      closed=True,
      corners=[0, 6],
    )
    placed = self._piece(neck, skin["base"], "skin")
    with self._scene.clip(placed):
      # The shadow that the chin throws.
      chin = canvas.ellipse(0, self._face.chin - 46, 190, 92)
      self._scene.draw(self._pose.body(chin), fill=skin["shadow"])

  def _draw_legs(self) -> None:
    skin, kind = self._face.skin, self._kind
    bare = kind in _SKIRTS
    cloth = _DENIM if kind != "overalls" else self._color
    if kind == "blazer":
      cloth = palette.shade(self._color, -0.12)
    shoe = self._accent if kind != "blazer" else "#4a3a34"
    for side in (-1, 1):
      leg = canvas.spline(
        [
          (side * 8, HIP - 30),
          (side * 140, HIP - 30),
          (side * 136, 780),
          (side * 122, 896),
          (side * 30, 896),
          (side * 14, 780),
        ],
        closed=True,
        corners=[0, 1, 3, 4],
      )
      if bare:
        leg = canvas.spline(
          [
            (side * 34, HIP),
            (side * 118, HIP),
            (side * 112, 800),
            (side * 102, 896),
            (side * 42, 896),
            (side * 38, 800),
          ],
          closed=True,
          corners=[0, 1, 3, 4],
        )
        placed = self._piece(leg, skin["base"], "skin")
        sock = canvas.polygon(
          [
            (side * 20, 846),
            (side * 130, 846),
            (side * 130, 910),
            (side * 20, 910),
          ]
        )
        with self._scene.clip(placed):
          self._scene.draw(self._pose.body(sock), fill="#ffffff", label="other")
          top = canvas.polygon(
            [(-200, HIP - 20), (200, HIP - 20), (200, 730), (-200, 730)]
          )
          self._scene.draw(self._pose.body(top), fill=skin["shadow"])
        self._scene.draw(placed, stroke=skin["line"], width=LINE)
      else:
        self._piece(leg, cloth)
        cuff = canvas.brush([(side * 30, 876), (side * 122, 876)], [22, 22])
        self._scene.draw(self._pose.body(cuff), fill=palette.shade(cloth, 0.18))
      foot = canvas.spline(
        [
          (side * 18, 940),
          (side * 22, 892),
          (side * 74, 876),
          (side * 134, 898),
          (side * 152, 940),
        ],
        closed=True,
        corners=[0, 4],
      )
      self._piece(foot, shoe)
      sole = canvas.brush(
        [(side * 18, 940), (side * 84, 946), (side * 152, 940)], [14, 16, 14]
      )
      self._piece(sole, palette.shade(shoe, 0.6), width=6)

  def _draw_arms(self) -> None:
    skin = self._face.skin
    sleeve = self._color if self._kind != "overalls" else self._accent
    arm = canvas.brush([(128, 428), (184, 500), (226, 618)], [96, 88, 72])
    if self._full:
      self._pair(canvas.ellipse(232, 640, 40, 42), skin["base"], "skin")
    if self._kind in ("hoodie", "shirt", "sweater", "blazer"):
      self._pair(arm, sleeve)
      if self._full:
        cuff = canvas.brush([(190, 630), (258, 604)], [26, 26])
        self._pair(cuff, palette.shade(sleeve, -0.12), width=7)
      return
    self._pair(arm, skin["base"], "skin")
    if self._full:
      # Arm and hand are one limb: hide the line between them.
      wrist = self._pose.body(canvas.ellipse(228, 618, 31, 30))
      other = self._pose.body(canvas.ellipse(-228, 618, 31, 30))
      self._scene.draw(wrist, other, fill=skin["base"])
    top = canvas.brush([(122, 420), (168, 478), (190, 528)], [104, 108, 104])
    if self._kind == "dress":
      top = canvas.ellipse(150, 446, 62, 56)
    self._pair(top, sleeve)

  def _draw_trunk(self) -> None:
    wide = {"dress": 244, "hoodie": 178, "sweater": 172}.get(self._kind, 160)
    hem = {"dress": 742, "overalls": HIP + 10}.get(self._kind, HIP + 24)
    half = [
      (88, 366),
      (146, 396),
      (158, 470),
      (150 if self._kind != "dress" else 146, 548),
      (wide, hem),
    ]
    bottom = [(0, hem + 18)]
    knots = half + bottom + [(-x, y) for x, y in reversed(half)]
    color = self._color if self._kind != "overalls" else self._accent
    neck = {"hoodie": 30, "sweater": 8, "overalls": 44, "dress": 74}.get(
      self._kind, 52
    )
    collar = [(-52, 366 + 0.7 * neck), (0, 366 + neck), (52, 366 + 0.7 * neck)]
    shape = canvas.spline(knots + collar, closed=True, corners=[0, 4, 6, 10])
    # No line between shoulder and sleeve: only sides, hem and collar have one.
    placed = self._pose.body(shape)
    self._scene.draw(placed, fill=color, label="other")
    side = -1 if self._face.attributes.light_azimuth > 0 else 1
    with self._scene.clip(placed):
      # Shadow of the head on the chest, then of the side away from the light.
      shade = palette.shade(color, -0.18)
      shadow = canvas.ellipse(0, 318, 176, 96)
      self._scene.draw(self._pose.body(shadow), fill=shade, opacity=0.8)
      moved = placed + np.array([-side * 30, -10]) * self._pose.scale
      self._scene.draw(placed, moved, holes=True, fill=shade, opacity=0.8)
      if self._kind == "dress":
        for x in (-0.6, -0.2, 0.2, 0.6):
          self._line([(100 * x, 580), (150 * x, 650), (220 * x, 748)], 7, shade)
    line = palette.outline(color)
    for part in (shape[2:8], shape[11:13]):
      self._scene.draw(
        self._pose.body(part), stroke=line, width=LINE, closed=False
      )
    if self._full and self._kind in ("tshirt", "sweater", "hoodie"):
      self._line(
        [(-wide + 8, hem - 26), (0, hem - 10), (wide - 8, hem - 26)], 6, shade
      )

  # What makes each garment that garment -------------------------------------

  def _detail_tshirt(self) -> None:
    rim = canvas.brush(
      [(-90, 372), (-52, 408), (0, 424), (52, 408), (90, 372)], [16] * 5
    )
    self._piece(rim, palette.mix(self._color, self._accent, 0.85), width=6)
    star = []
    for k in range(10):
      reach = 40 if k % 2 == 0 else 18
      angle = np.pi * k / 5
      star.append((reach * np.sin(angle), 510 - reach * np.cos(angle)))
    self._scene.draw(self._pose.body(canvas.polygon(star)), fill=self._accent)

  def _detail_hoodie(self) -> None:
    dark = palette.shade(self._color, -0.12)
    for side in (-1, 1):
      hood = canvas.spline(
        [
          (side * 10, 440),
          (side * 60, 424),
          (side * 104, 372),
          (side * 146, 380),
          (side * 122, 448),
          (side * 44, 484),
        ],
        closed=True,
        corners=[0],
      )
      self._piece(hood, dark)
    for side in (-1, 1):
      cord = [(side * 36, 462), (side * 40, 505), (side * 36, 548)]
      self._piece(canvas.brush(cord, [10, 10, 14]), self._accent, width=5)
    if self._full:
      pocket = canvas.spline(
        [(-84, 560), (84, 560), (112, 634), (-112, 634)],
        closed=True,
        corners=range(4),
      )
      self._piece(pocket, dark, width=7)

  def _detail_shirt(self) -> None:
    line = palette.outline(self._color)
    self._line([(0, 424), (0, 540), (0, 668)], 7, line)
    for y in (470, 530, 590, 645):
      self._piece(canvas.ellipse(18, y, 8), self._accent, width=4)
    for side in (-1, 1):
      collar = canvas.polygon(
        [(side * 4, 428), (side * 70, 366), (side * 112, 392), (side * 66, 466)]
      )
      self._piece(collar, palette.shade(self._color, 0.35))

  def _detail_sweater(self) -> None:
    roll = canvas.spline(
      [(-84, 352), (0, 384), (84, 352), (96, 400), (0, 436), (-96, 400)],
      closed=True,
      corners=[0, 2],
    )
    self._piece(roll, palette.shade(self._color, 0.10))
    for y, fill in (
      (500, self._accent),
      (540, palette.shade(self._accent, -0.1)),
    ):
      band = [(-150, y), (-70, y + 12), (0, y + 16), (70, y + 12), (150, y)]
      self._scene.draw(
        self._pose.body(canvas.brush(band, [20] * 5)), fill=fill, opacity=0.9
      )

  def _detail_blazer(self) -> None:
    shirt = canvas.spline(
      [(-58, 388), (0, 430), (58, 388), (0, 600)],
      closed=True,
      corners=range(4),
    )
    self._piece(shirt, "#fbfaf7", width=7)
    tie = canvas.polygon(
      [
        (-16, 424),
        (16, 424),
        (10, 448),
        (24, 540),
        (0, 572),
        (-24, 540),
        (-10, 448),
      ]
    )
    self._piece(tie, self._accent, width=6)
    for side in (-1, 1):
      lapel = canvas.polygon(
        [
          (side * 2, 606),
          (side * 62, 372),
          (side * 106, 388),
          (side * 100, 470),
          (side * 70, 476),
        ]
      )
      self._piece(lapel, palette.shade(self._color, -0.10))
    for y in (626, 652):
      self._piece(canvas.ellipse(4, y, 9), "#3a332f", width=3)

  def _detail_dress(self) -> None:
    sash = canvas.brush([(-148, 556), (0, 572), (148, 556)], [34, 36, 34])
    self._piece(sash, self._accent, width=7)
    rim = canvas.brush(
      [(-92, 372), (-52, 420), (0, 442), (52, 420), (92, 372)], [22] * 5
    )
    self._piece(rim, palette.shade(self._color, 0.65), width=7)
    if self._full:
      hem = canvas.brush([(-232, 722), (0, 742), (232, 722)], [18, 18, 18])
      self._scene.draw(
        self._pose.body(hem), fill=palette.shade(self._color, 0.5)
      )

  def _detail_overalls(self) -> None:
    bib = canvas.spline(
      [
        (-92, 470),
        (92, 470),
        (110, 570),
        (158, HIP + 6),
        (0, HIP + 26),
        (-158, HIP + 6),
        (-110, 570),
      ],
      closed=True,
      corners=[0, 1, 3, 5],
    )
    self._piece(bib, self._color)
    for side in (-1, 1):
      strap = canvas.brush(
        [(side * 108, 382), (side * 84, 430), (side * 76, 486)], [34, 34, 34]
      )
      self._piece(strap, self._color)
      self._piece(canvas.ellipse(side * 76, 490, 14), "#f2c14e", width=5)
    pocket = canvas.spline(
      [(-46, 520), (46, 520), (40, 580), (0, 592), (-40, 580)],
      closed=True,
      corners=[0, 1],
    )
    self._piece(pocket, palette.shade(self._color, -0.08), width=6)
