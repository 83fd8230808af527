"""Starting runs on one host, SLURM, Kubernetes and TPU VMs.

Each module is a command, needs the standard library only, and ends in
`python -m chibijax.main` with the flags that follow `--`:

  python -m launch.local --processes 2 -- --config=... --workdir=runs/x

Exit codes of a training, which all launchers read alike: 0 done; 42 saved and
asked to stop, to be started again; 134, 137 and 143 (aborted, killed,
terminated) to be started again, a few times; anything else is a mistake that
another start would only repeat.
"""
