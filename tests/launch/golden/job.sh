#!/usr/bin/env bash
#SBATCH --job-name=chibijax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output='/runs/my run/slurm-%j.log'
#SBATCH --partition=gpu
#SBATCH --account=faces
#SBATCH --constraint=a100

set -uo pipefail
workdir='/runs/my run'
mkdir -p "$workdir"
module load cuda/12
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-${workdir}/compiled}"
export XLA_PYTHON_CLIENT_MEM_FRACTION=.92
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY

srun --kill-on-bad-exit=1 --label python -m chibijax.main \
  --config=configs/cyclegan.py:quick \
  '--workdir=/runs/my run' &
wait $!
code=$?

again() {
  local file="$workdir/$1.count" count=0
  [ -f "$file" ] && count=$(<"$file")
  [ "$count" -lt "$2" ] || return 1
  echo $((count + 1)) > "$file"
  echo "launch: exit code $code, back into the queue"
  scontrol requeue "$SLURM_JOB_ID"
}
case "$code" in
  0) rm -f "$workdir"/preemptions.count "$workdir"/failures.count ;;
  42) again preemptions 100 ;;
  134|137|143) again failures 3 ;;
esac
exit "$code"
