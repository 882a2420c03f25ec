#!/usr/bin/env bash
# Evaluate on several GPUs: scripts/dist_test.sh RECIPE CHECKPOINT GPUS DATA_ROOT [options of refinemask.evaluate]
#
# The recipe says which annotations and images under DATA_ROOT the checkpoint is evaluated on.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: $0 RECIPE CHECKPOINT GPUS DATA_ROOT [options of refinemask.evaluate]" >&2
    exit 2
fi
recipe=$1 checkpoint=$2 gpus=$3 root=$4
shift 4
export PYTHONPATH="$(realpath "$(dirname "$0")/..")${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python}

validation=$("$python" -c '
import sys
from refinemask.recipes import RECIPES
if sys.argv[1] not in RECIPES:
    sys.exit(f"error: no recipe {sys.argv[1]!r}; there are {chr(44).join(RECIPES)}")
recipe = RECIPES[sys.argv[1]]
print(recipe.data.format, recipe.validation.annotations, recipe.validation.images, sep="\n")
' "$recipe") || exit 2
{ read -r metric; read -r annotations; read -r images || true; } <<< "$validation"

exec "$python" -m torch.distributed.run --standalone --nproc-per-node "$gpus" \
    -m refinemask.evaluate "$checkpoint" --metric "$metric" --device cuda \
    --annotations "$root/$annotations" --images "$root/$images" "$@"
