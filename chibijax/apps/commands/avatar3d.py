"""Commands of Gaussian heads: `avatar3d`, `animate`, `avatar3d-export`."""

import pathlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chibijax.apps.commands.common import (
  fail,
  keep_compiled,
  sentences,
)

if TYPE_CHECKING:
  from chibijax.apps.avatar3d_file import Avatar
  from chibijax.heads.motion import Motion
  from chibijax.tasks.avatar_model import AvatarModel

EXAMPLES = """
**Examples**

    chibijax avatar3d me.jpg me.avatar --workdir runs/gagavatar

    chibijax avatar3d me.jpg chibi.avatar --workdir runs/gagavatar --chibi 1
"""
ANIMATE_EXAMPLES = """
**Examples**

    chibijax animate me.avatar me.gif --drive demo

    chibijax animate me.avatar me.mp4 --drive talk.mp4

    chibijax animate me.avatar around.mp4 --turntable 45
"""
EXPORT_EXAMPLES = """
**Examples**

    chibijax avatar3d-export me.avatar me.html

    chibijax avatar3d-export me.avatar me.ply

    chibijax avatar3d-export me.avatar rig/

    chibijax avatar3d-export me.avatar frames/ --frames
"""
_AvatarFile = Annotated[
  pathlib.Path,
  typer.Argument(metavar="AVATAR", help="What avatar3d wrote."),
]
_Drive = Annotated[
  str,
  typer.Option(help="demo, a motion.npz, or a video (then it is tracked)."),
]
_Head = Annotated[
  str | None,
  typer.Option(help="procedural, flame:PATH or ict:PATH; else the training's."),
]
_Steady = Annotated[
  bool, typer.Option(help="Keep the photo's view: only the face moves.")
]
_Turntable = Annotated[
  float | None,
  typer.Option(help="Degrees to each side that the camera goes around."),
]


def avatar3d(
  photo: Annotated[
    pathlib.Path, typer.Argument(metavar="PHOTO", help="A photo of a face.")
  ],
  out: Annotated[
    pathlib.Path, typer.Argument(metavar="OUT.avatar", help="To be written.")
  ],
  workdir: Annotated[
    pathlib.Path | None,
    typer.Option(help="A training of configs/gagavatar.py."),
  ] = None,
  weights: Annotated[
    pathlib.Path | None,
    typer.Option(help="What chibijax export wrote of such a training."),
  ] = None,
  chibi: Annotated[
    float, typer.Option(help="How much of a chibi; 0 nothing, 1 all of it.")
  ] = 0.0,
  stylize: Annotated[
    pathlib.Path | None,
    typer.Option(help="A translation's training that draws the photo first."),
  ] = None,
  mask: Annotated[
    bool, typer.Option(help="Make the photo's background black.")
  ] = True,
  head: _Head = None,
  detector: Annotated[
    str, typer.Option(help="auto, mtcnn, haar, yunet or blazeface.")
  ] = "auto",
  detector_weights: Annotated[
    pathlib.Path | None, typer.Option(help="Its weights.")
  ] = None,
  consent: Annotated[
    bool | None,
    typer.Option(
      "--consent/--no-consent", help="Record that you may use the photo."
    ),
  ] = None,
) -> None:
  """Builds a Gaussian head of one photo."""
  if (workdir is None) == (weights is None):
    fail("say what builds the head: either --workdir or --weights.")
  from chibijax.apps import avatar3d as avatars
  from chibijax.apps import avatar3d_build, avatar3d_file, avatar3d_photo

  keep_compiled()
  start = time.perf_counter()
  with sentences():
    avatar3d_file.check_name(out)
    networks = avatars.load_networks(workdir or weights, head)
    finder = avatar3d_photo.load_finder(detector, detector_weights, mask=mask)
    made = avatar3d_build.from_photo(
      avatar3d_photo.read(photo),
      networks,
      finder,
      chibi=chibi,
      stylize=stylize,
      consent=consent,
    )
    avatar3d_file.write(out, made.avatar)
  for sentence in made.said:
    typer.echo(sentence)
  count = avatar3d_file.count(made.avatar)
  typer.echo(
    f"{count:,} Gaussians in {time.perf_counter() - start:.1f} s with "
    f"{networks.source}: {out} ({out.stat().st_size / 2**20:.1f} MiB)"
  )


def animate(
  avatar: _AvatarFile,
  out: Annotated[
    pathlib.Path,
    typer.Argument(metavar="OUT", help="An .mp4, a .gif or a folder of PNGs."),
  ],
  drive: _Drive = "demo",
  turntable: _Turntable = None,
  steady: _Steady = False,
  coarse: Annotated[
    bool, typer.Option(help="Show the splatted colours, not the renderer's.")
  ] = False,
  head: _Head = None,
) -> None:
  """Moves a Gaussian head, and writes the film."""
  from tqdm import tqdm

  from chibijax.apps import avatar3d as avatars
  from chibijax.apps import avatar3d_build, videos

  keep_compiled()
  with sentences():
    videos.check_name(out)
    found, model, motion = _opened(avatar, drive, head)
    motion = _viewed(motion, found, model, turntable, steady)
    player = avatars.Player(found, model)
    # The first frame compiles, which says nothing of the others.
    avatars.warm_up(player)
    start = time.perf_counter()
    frames = avatar3d_build.frames(player, motion, coarse=coarse)
    bar = tqdm(frames, total=len(motion), unit="frame", disable=None)
    about = avatar3d_build.sentence(found)
    shown = (frame for frame in bar)  # A bar is no plain iterator.
    count = videos.write(out, shown, motion.fps, about=about)
  seconds = time.perf_counter() - start
  typer.echo(
    f"{count} frames of {player.size} px in {seconds:.1f} s "
    f"({count / seconds:.1f} a second): {out}"
  )


def avatar3d_export(
  avatar: _AvatarFile,
  out: Annotated[
    pathlib.Path,
    typer.Argument(
      metavar="OUT", help="A .ply, .spz or .html name; a folder: with the rig."
    ),
  ],
  drive: _Drive = "demo",
  frames: Annotated[
    bool, typer.Option(help="Into the folder, a .ply of each frame.")
  ] = False,
  spz: Annotated[
    bool, typer.Option(help="With --frames: .spz, ten times smaller.")
  ] = False,
  steps: Annotated[
    int, typer.Option(help="Steps that fit the colours to the renderer's.")
  ] = 200,
  degree: Annotated[
    int, typer.Option(help="Of the colours' harmonics, 0 or 1 (not .html).")
  ] = 0,
  steady: _Steady = False,
  turntable: _Turntable = None,
  head: _Head = None,
) -> None:
  """Writes a Gaussian head for viewers: plain colours instead of features."""
  from chibijax.apps import avatar3d as avatars
  from chibijax.apps import avatar3d_export as exporting
  from chibijax.apps import avatar3d_page

  keep_compiled()
  suffix = out.suffix.lower()
  kind = suffix.removeprefix(".") or "folder"
  if kind not in ("ply", "spz", "html", "folder"):
    fail(f"{out} is not a .ply, .spz or .html name, or a folder.")
  if frames and kind != "folder":
    fail("--frames writes a file for each frame; give a folder.")
  if kind == "html" and degree:
    fail("a page has colours of degree 0; leave --degree out.")
  with sentences():
    found, model, motion = _opened(avatar, drive, head)
    motion = _viewed(motion, found, model, turntable, steady)
    plain = exporting.distill(
      found, model, steps=steps, degree=degree, progress=True
    )
    player = avatars.Player(found, model)
    if kind in ("ply", "spz"):
      exporting.write_splats(out, plain.gaussians)
      what = f"{len(plain.gaussians.means):,} Gaussians"
    elif kind == "html":
      what = f"{len(motion)} frames, " + _page(
        avatar3d_page.write, out, plain, player, motion, found
      )
    elif frames:
      suffix = ".spz" if spz else ".ply"
      count = exporting.write_frames(out, plain, player, motion, suffix)
      what = f"{count} files"
    else:
      exporting.write_rig(out, plain, player.posed_head, motion)
      what = f"{len(plain.gaussians.means):,} Gaussians and their rig"
  typer.echo(
    f"{what}; PSNR against the renderer on held-out views: features "
    f"{plain.before:.2f} dB, distilled {plain.after:.2f} dB: {out}"
  )


def _page(
  write: Any,
  out: pathlib.Path,
  plain: Any,
  player: Any,
  motion: "Motion",
  found: "Avatar",
) -> str:
  """Writes the page; returns its size in words."""
  from chibijax.apps import avatar3d_build, avatar3d_export

  vertices = avatar3d_export.frame_vertices(player, motion)
  said = avatar3d_build.sentence(found)
  size = write(out, plain, vertices, motion, title=out.stem, said=said)
  return f"{size / 1e6:.2f} MB"


def _opened(
  path: pathlib.Path, drive: str, head: str | None
) -> tuple["Avatar", "AvatarModel", "Motion"]:
  """An avatar, its model and the motion that is to drive it."""
  from chibijax.apps import avatar3d as avatars
  from chibijax.apps import avatar3d_file, avatar3d_motions

  found = avatar3d_file.read(path)
  model = avatars.load_model(found, head)
  return found, model, avatar3d_motions.load(drive, found, model)


def _viewed(
  motion: "Motion",
  found: "Avatar",
  model: "AvatarModel",
  turntable: float | None,
  steady: bool,
) -> "Motion":
  """A motion from the views that the options ask for."""
  from chibijax.apps import avatar3d_motions

  if steady and turntable is not None:
    fail("--steady keeps the view and --turntable moves it; give one of them.")
  if steady:
    return avatar3d_motions.steady(motion, found)
  if turntable is not None:
    return avatar3d_motions.turntable(motion, found, model.head, turntable)
  return motion
