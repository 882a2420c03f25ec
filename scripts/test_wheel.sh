#!/usr/bin/env bash
# The wheels as a user gets them: with the newest releases of the package index, in fresh environments. Before a release.
# Usage: scripts/test_wheel.sh PYTHON FOLDER_OF_WHEELS
set -euo pipefail
python=$(command -v "$1") wheels=$(realpath "$2")
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
cd "$work"

environment() { # NAME EXTRA: an environment with this extra of the wheel
    "$python" -m venv "$1"
    "$1/bin/pip" install --quiet --find-links "$wheels" "refinemask[$2] @ file://$(echo "$wheels"/refinemask-*.whl)"
}
demo() { # NAME: the folder of the demo in an environment
    "$1/bin/python" -c 'from refinemask.bundled import DEMO; print(DEMO)'
}
refuses() { # TEXT COMMAND…: the command ends with 2, and one line that has the text
    local code=0
    "${@:2}" 2>message || code=$?
    [[ $code == 2 && $(wc -l <message) == 1 ]] && grep --fixed-strings --quiet "$1" message && return
    echo "expected exit code 2 and '$1', found $code:" && cat message && exit 1
}

environment all all-cpu
files=$(demo all)
image=$files/nuclei/images/0005.png data="--annotations $files/nuclei/annotations/instances_val.json --images $files/nuclei/images"
all/bin/refinemask export "$files/weights/refinemask-nuclei.safetensors" -o nuclei.onnx --masks found
all/bin/refinemask predict "$image" --model nuclei.onnx -o drawn && ls drawn/0005.png drawn/results.json
# shellcheck disable=SC2086
all/bin/refinemask compare nuclei.onnx nuclei.onnx@openvino:fp32 $data --limit 2
all/bin/pip list --format freeze | grep --extended-regexp '^(torch|torchvision|numpy|onnx|onnxruntime|openvino)=='
rm -r all

environment cpu cpu
if cpu/bin/python -c 'import torch' 2>/dev/null; then echo 'refinemask[cpu] installs PyTorch' && exit 1; fi
cpu/bin/refinemask predict "$(demo cpu)/nuclei/images/0005.png" --model nuclei.onnx -o found --no-draw
cmp <(ls found) <(echo results.json)
refuses "pip install 'refinemask[draw]'" cpu/bin/refinemask predict "$(demo cpu)/photos/images" --model nuclei.onnx -o more
refuses "pip install 'refinemask[train]'" cpu/bin/refinemask train --recipe nuclei-demo
refuses "pip install 'refinemask[bench]'" cpu/bin/refinemask compare nuclei.onnx
echo "the wheels run with refinemask[all-cpu] and with refinemask[cpu]"
