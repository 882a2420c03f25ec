#!/usr/bin/env bash
# Train on a Slurm cluster: GPUS=16 scripts/slurm_train.sh PARTITION JOB_NAME RECIPE OUTPUT [options of refinemask.train]
#
# Variables and their defaults: GPUS in all (8), GPUS_PER_NODE (8), CPUS_PER_GPU (6); SRUN_ARGS go to srun. When the job
# is preempted it writes its state. When it is submitted again it goes on from this state.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME RECIPE OUTPUT [options of refinemask.train]" >&2
    exit 2
fi
partition=$1 job=$2 recipe=$3 output=$4
shift 4
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
if [ "$gpus" -lt "$per_node" ]; then per_node=$gpus; fi
if [ $((gpus % per_node)) -ne 0 ]; then
    echo "error: GPUS=$gpus is no multiple of GPUS_PER_NODE=$per_node" >&2
    exit 2
fi
export PYTHONPATH="$(realpath "$(dirname "$0")/..")${PYTHONPATH:+:$PYTHONPATH}"

# One launcher per node; the nodes meet at the first one.
# shellcheck disable=SC2016,SC2086
exec srun \
    --partition "$partition" \
    --job-name "$job" \
    --nodes $((gpus / per_node)) \
    --ntasks-per-node 1 \
    --gpus-per-node "$per_node" \
    --cpus-per-task $((per_node * ${CPUS_PER_GPU:-6})) \
    --kill-on-bad-exit 1 \
    ${SRUN_ARGS:-} \
    bash -c '
        gpus=$1; shift
        exec "${PYTHON:-python}" -m torch.distributed.run \
            --nproc-per-node "$gpus" \
            --nnodes "$SLURM_NNODES" \
            --rdzv-id "$SLURM_JOB_ID" \
            --rdzv-backend c10d \
            --rdzv-endpoint "$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):${MASTER_PORT:-29500}" \
            "$@"' \
    launch "$per_node" -m refinemask.train --recipe "$recipe" --output "$output" --resume auto "$@"
