#!/usr/bin/env bash
# Train on several GPUs: scripts/dist_train.sh RECIPE GPUS [options of refinemask.train]
#
# On several machines, start it on each with NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT set.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 RECIPE GPUS [options of refinemask.train]" >&2
    exit 2
fi
recipe=$1 gpus=$2
shift 2
export PYTHONPATH="$(realpath "$(dirname "$0")/..")${PYTHONPATH:+:$PYTHONPATH}"

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nproc-per-node "$gpus" \
    --nnodes "${NNODES:-1}" \
    --node-rank "${NODE_RANK:-0}" \
    --master-addr "${MASTER_ADDR:-127.0.0.1}" \
    --master-port "${MASTER_PORT:-29500}" \
    -m refinemask.train --recipe "$recipe" "$@"
