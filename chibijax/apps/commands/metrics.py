"""Commands that measure: `compare` folders, `path-length` of a generator."""

import pathlib
from typing import Annotated

import typer

from chibijax.apps.commands.common import keep_compiled, sentences

COMPARE_EXAMPLES = """Examples:

  chibijax compare chibis/ made/ --metric kid_squeeze --metric fd_squeeze

  chibijax compare photos/ made/ --reference source --metric inversion

  chibijax compare chibis/ made/ --metric lpips_squeeze --groups people.csv
"""


def compare(
  real: Annotated[
    pathlib.Path,
    typer.Argument(metavar="REAL", help="Folder of the reference."),
  ],
  fake: Annotated[
    pathlib.Path,
    typer.Argument(metavar="FAKE", help="Folder of what is judged."),
  ],
  metric: Annotated[
    list[str] | None,
    typer.Option(
      "--metric",
      "-m",
      help="A metric, such as kid_squeeze; may be repeated. By default "
      "kid_squeeze, and ssim where files are named alike.",
    ),
  ] = None,
  weights: Annotated[
    pathlib.Path | None,
    typer.Option(help="Folder or file of the feature networks' weights."),
  ] = None,
  groups: Annotated[
    pathlib.Path | None,
    typer.Option(
      help="CSV with a column file and one for each label (sex, age, skin): "
      "every metric by group, and the gap."
    ),
  ] = None,
  least: Annotated[
    int, typer.Option(help="Pictures that a group needs to be judged.")
  ] = 30,
  size: Annotated[
    int | None,
    typer.Option(help="Read all pictures as squares of this side, in pixels."),
  ] = None,
  reference: Annotated[
    str,
    typer.Option(
      help="What REAL is: target (what FAKE should look like) or source (what "
      "it was made from)."
    ),
  ] = "target",
  at: Annotated[
    int | None,
    typer.Option(help="Pictures for the Frechet distance (FD@n); all of them."),
  ] = None,
  block: Annotated[
    int, typer.Option(help="Pictures in each of KID's subsets.")
  ] = 1000,
  out: Annotated[
    pathlib.Path | None,
    typer.Option("--out", "-o", help="Write a metrics.json here."),
  ] = None,
  as_json: Annotated[
    bool, typer.Option("--json", help="Print the metrics.json.")
  ] = False,
  seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
) -> None:
  """Compares a folder of pictures with a folder of real ones.

  A distance of sets is never called FID, and one of pairs never LPIPS, unless
  it is that: the names of the results say which network they rest on.
  """
  keep_compiled()
  with sentences():
    from chibijax.apps import compare as comparing

    report, lines = comparing.compare(
      real,
      fake,
      tuple(metric or ()),
      comparing.Options(
        weights=weights,
        groups=groups,
        least=least,
        size=size,
        reference=reference,
        at=at,
        block=block,
        seed=seed,
        progress=not as_json,
      ),
    )
    text = comparing.write(report, out)
  if as_json:
    typer.echo(text, nl=False)
  else:
    for line in lines:
      typer.echo(line)
  if out is not None:
    typer.echo(str(out), err=as_json)


def path_length(
  workdir: Annotated[
    pathlib.Path,
    typer.Option(
      help="A training of a GAN or an autoencoder, or an exported one."
    ),
  ],
  network: Annotated[
    str,
    typer.Option(help="squeeze, vgg (whose numbers are the papers') or alex."),
  ] = "squeeze",
  weights: Annotated[
    pathlib.Path | None,
    typer.Option(help="Folder or file of the network's weights."),
  ] = None,
  where: Annotated[
    str | None,
    typer.Option("--space", metavar="z|w", help="As of generate."),
  ] = None,
  count: Annotated[int, typer.Option(help="Paths.")] = 1000,
  out: Annotated[
    pathlib.Path | None,
    typer.Option("--out", "-o", help="Write a metrics.json here."),
  ] = None,
  seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
) -> None:
  """Measures how smooth a generator is: its perceptual path length (PPL)."""
  keep_compiled()
  with sentences():
    from chibijax.apps import compare as comparing
    from chibijax.apps import path_length as lengths

    found, words = lengths.judge(
      workdir,
      network=network,
      weights=weights,
      where=where,
      count=count,
      seed=seed,
    )
    comparing.write(found, out)
  typer.echo(words)
  if out is not None:
    typer.echo(str(out))
