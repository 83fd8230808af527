"""The command `track`."""

import pathlib
from typing import Annotated

import typer

from chibijax.apps.commands.common import (
  DetectorKind,
  keep_compiled,
  sentences,
)

EXAMPLES = """
**Examples**

    chibijax track talk.mp4 clips/talk

    chibijax track frames/ clips/frames --head ict:FaceXModel --fps 30
"""


def track(
  video: Annotated[
    pathlib.Path,
    typer.Argument(metavar="VIDEO", help="A video, or a folder of pictures."),
  ],
  out: Annotated[
    pathlib.Path, typer.Argument(metavar="OUT", help="The folder to make.")
  ],
  head: Annotated[
    str, typer.Option(help="procedural, flame:PATH or ict:PATH.")
  ] = "procedural",
  size: Annotated[int, typer.Option(help="Side in pixels.")] = 512,
  every: Annotated[int, typer.Option(help="Use one of so many frames.")] = 1,
  max_frames: Annotated[
    int | None, typer.Option(help="The most frames that are used.")
  ] = None,
  fps: Annotated[
    float, typer.Option(help="Frames per second of a folder of pictures.")
  ] = 25.0,
  background: Annotated[
    bool, typer.Option(help="Keep the background; else it becomes black.")
  ] = False,
  published: Annotated[
    bool, typer.Option(help="Write GAGAvatar's optim.pkl too.")
  ] = False,
  detector: DetectorKind = "auto",
  overwrite: Annotated[
    bool, typer.Option(help="Replace an earlier result.")
  ] = False,
) -> None:
  """Tracks a head in a video: frames and parameters for training, a motion."""
  keep_compiled()
  from chibijax.apps import detectors
  from chibijax.apps import track as tracking
  from chibijax.apps.track_source import Follower, Options
  from chibijax.faces import landmarks, segment
  from chibijax.tasks import avatar_model

  with sentences():
    options = Options(
      size=size,
      every=every,
      most=max_frames,
      fps=fps,
      overwrite=overwrite,
      published=published,
    )
    report = tracking.run(
      video,
      out,
      avatar_model.load_head(head),
      Follower(detectors.make(detector), landmarks.load()),
      segment=None if background else segment.load(),
      options=options,
    )
  if report.damaged:
    typer.echo(f"chibijax: the video ends early: {report.damaged}", err=True)
  if report.several:
    typer.echo(
      f"{report.several} frames show several faces; the largest was followed.",
      err=True,
    )
  unseen = report.frames - report.seen
  filled = f" ({unseen} without the face, filled in)" if unseen else ""
  typer.echo(
    f"{report.frames} frames{filled} in {report.look_seconds:.1f} s for "
    f"landmarks, {report.fit_seconds:.1f} s for the fit, "
    f"{report.write_seconds:.1f} s to write; off by {report.error:.1f} px; "
    f"gaze straight, landmarks do not tell it: {report.out}"
  )
