"""Front hair that is not a cap with a fringe: shaved cuts, afro, and extras.

Coordinates are head units (see `pose`).
"""

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Number
from chibijax.artist.hair import Hair


class SpecialHair(Hair):
  """Front hair drawn by its own rules."""

  def _front_buzz(self) -> None:
    self._shaved(0.0)
    if self.hat:
      return
    w = self.face.width
    shine = canvas.brush(
      [(-0.5 * w, -252), (-0.15 * w, -290), (0.25 * w, -288)], [0, 22, 0]
    )
    self.scene.draw(
      self.pose.head(shine, 0.35), fill=self.colors["light"], opacity=0.35
    )

  def _front_mohawk(self) -> None:
    self._shaved(0.12)
    if self.hat:
      return
    knots = [(-78, -196)]
    spikes = [(-128, -330), (-104, -424), (-30, -478), (58, -470), (118, -396)]
    valleys = [(-92, -352), (-52, -410), (16, -424), (72, -392)]
    for k, spike in enumerate(spikes):
      knots.append(spike)
      if k < len(valleys):
        knots.append(valleys[k])
    knots += [(112, -300), (78, -196), (34, -150), (6, -186), (-34, -146)]
    corners = [*range(1, 10), 12, 13, 14]
    placed = self.shape(
      canvas.spline(knots, closed=True, corners=corners), 0.45
    )
    with self.scene.clip(placed):
      glow = canvas.brush([(-70, -300), (-20, -338), (60, -318)], [10, 40, 10])
      self.scene.draw(
        self.pose.head(glow, 0.45), fill=self.colors["light"], opacity=0.6
      )
    for x, top in ((-44, -400), (6, -420), (52, -390)):
      self.strand([(0.5 * x, -215), (0.9 * x, -300), (x, top)], 10, 0.45)

  def _front_undercut(self) -> None:
    """Draws long top hair swept over shaved sides."""
    self._shaved(0.06)
    if self.hat:
      return
    w = self.face.width
    fringe = self.fringe
    # Where the swept ends come down depends on the fringe.
    drop = {"none": -150, "side_swept": -20, "choppy": -70}.get(fringe, -90)
    top = [(0.62 * w, -226), (0.72 * w, -318), (0.40 * w, -404)]
    top += [(-0.10 * w, -416), (-0.66 * w, -372), (-1.02 * w, -244)]
    top += [(-1.10 * w, drop - 60)]
    edge = [(-0.90 * w, drop - 90), (-0.78 * w, drop), (-0.58 * w, drop - 100)]
    edge += [(-0.44 * w, drop - 28), (-0.22 * w, -190), (-0.06 * w, -150)]
    edge += [(0.14 * w, -212), (0.40 * w, -190)]
    shape = canvas.spline(top + edge, closed=True, corners=[0, 6, 8, 10, 12])
    side = -1 if self.parting < 0 else 1
    placed = self.shape(shape * (side, 1), 0.45)
    self._shade(placed)
    for x, y, u, v in (
      (0.40, -236, -0.70, -320),
      (0.16, -236, -0.86, -240),
      (-0.10, -214, -0.92, -150),
    ):
      x, u = side * x, side * u
      self.strand(
        [(x * w, y), (0.5 * (x + u) * w, 0.5 * (y + v) - 40), (u * w, v)],
        12,
        0.45,
      )

  def _front_afro(self) -> None:
    w = self.face.width
    if self.hat:
      return
    inner = [
      (0.97 * w, 10),
      (0.86 * w, -80),
      (0.70 * w, -160),
      (0.34 * w, -212),
      (0.0, -220),
      (-0.34 * w, -212),
      (-0.70 * w, -160),
      (-0.86 * w, -80),
      (-0.97 * w, 10),
    ]
    edge = []
    for k, knot in enumerate(inner):
      edge.append(knot)
      if k < len(inner) - 1:
        x, y = inner[k + 1]
        edge.append(((knot[0] + x) / 2, (knot[1] + y) / 2 + 9))
    lid = [(-1.12 * w, -60), (-0.9 * w, -300), (0, -380)]
    lid += [(0.9 * w, -300), (1.12 * w, -60)]
    shape = canvas.spline(
      edge + lid, closed=True, corners=[*range(0, 17, 2)], roundness=1.3
    )
    placed = self.pose.head(shape, 0.4)
    self.scene.draw(placed, fill=self.colors["base"], label="hair")
    line = self.pose.head(
      canvas.spline(edge, corners=range(0, 17, 2), roundness=1.3), 0.4
    )
    self.scene.draw(line, stroke=self.colors["line"], width=8, closed=False)
    spots = [(-0.9, -250), (-0.4, -370), (0.15, -330), (0.65, -390)]
    spots += [(1.02, -230), (-1.2, -80), (1.24, -40), (-0.25, -265)]
    spots += [(0.5, -262), (-1.1, 60), (1.12, 110)]
    for k, (x, y) in enumerate(spots):
      turn = 1 if k % 2 else -1
      points = [
        (x * w - 20 * turn, y + 12),
        (x * w - 8 * turn, y - 14),
        (x * w + 18 * turn, y - 6),
      ]
      self.strand(points, 11, 0.0, "light" if k % 3 == 1 else "line")

  def _front_braids(self) -> None:
    """Draws two plaits that fall in front of the shoulders."""
    w = self.face.width
    color = self.face.colors.accent
    for side in (-1, 1):
      for k in range(5):
        x = side * (0.97 * w + 12 - 7 * k)
        y = 190 + 66 * k
        size = 54 - 4 * k
        left = canvas.ellipse(x - 0.42 * size, y, 0.62 * size, 48, -32)
        right = canvas.ellipse(x + 0.42 * size, y + 20, 0.62 * size, 48, 32)
        self.shape(left, -0.1)
        self.shape(right, -0.1)
      x = side * (0.97 * w - 22)
      tuft = canvas.spline(
        [(x - 22, 545), (x - 40, 610), (x, 660), (x + 40, 610), (x + 22, 545)],
        closed=True,
        corners=[2],
      )
      self.shape(tuft, -0.1)
      tie = canvas.brush([(x - 26, 540), (x + 26, 540)], [26, 26])
      self.scene.draw(
        self.pose.head(tie, -0.1),
        fill=color,
        stroke=palette.outline(color),
        width=7,
        label="other",
      )

  def _shaved(self, height: Number) -> None:
    """Draws the close-cropped sides of a buzz, mohawk or undercut."""
    w = self.face.width
    knots = [
      (-(w + 5), 16),
      (-(w + 4), -60),
      (-0.92 * w, -160),
      (-0.58 * w, -290),
      (0, -339),
      (0.58 * w, -290),
      (0.92 * w, -160),
      (w + 4, -60),
      (w + 5, 16),
      (0.88 * w, 26),
      (0.86 * w, -70),
      (0.70 * w, -170),
      (0.30 * w, -222),
      (-0.30 * w, -222),
      (-0.70 * w, -170),
      (-0.86 * w, -70),
      (-0.88 * w, 26),
    ]
    shape = canvas.spline(knots, closed=True, corners=[0, 8, 9, 16])
    bare = 0.32 + height
    if self.face.soft:
      bare *= 0.5
    fill = palette.mix(self.colors["base"], self.face.skin["base"], bare)
    self.scene.draw(
      self.pose.head(shape, 0.35),
      fill=fill,
      stroke=palette.outline(fill),
      width=6,
      label="hair",
    )

  def _shine_on_scalp(self) -> None:
    side = 1 if self.face.attributes.light_azimuth > 0 else -1
    for points, widths in (
      ([(150, -208), (96, -258), (20, -284)], [0, 34, 0]),
      ([(182, -160), (172, -180), (166, -188)], [8, 20, 8]),
    ):
      mark = canvas.brush([(side * x, y) for x, y in points], widths)
      self.scene.draw(
        self.pose.head(mark, 0.3),
        fill=self.face.skin["light"],
        opacity=0.9,
      )

  def _curls(self) -> None:
    """Draws small arcs all over curly hair."""
    # Closer together where the curls stand off less.
    reach = 1 + 0.1 * self.face.attributes.hair_volume
    if self.style == "short_curls":
      reach *= 0.88
    w = self.face.width
    spots = [(-0.75, -235), (-0.35, -300), (0.1, -318), (0.5, -280)]
    spots += [(0.85, -190), (-1.05, -110), (1.08, -60), (-1.08, 30)]
    for k, (x, y) in enumerate(spots):
      x, y = x * reach, y * reach
      turn = 1 if k % 2 else -1
      points = [
        (x * w - 34 * turn, y + 10),
        (x * w - 12 * turn, y - 22),
        (x * w + 24 * turn, y - 12),
        (x * w + 20 * turn, y + 20),
      ]
      self.strand(points, 12, 0.3, "light" if k % 3 == 0 else "line")
