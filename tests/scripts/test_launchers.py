"""The launch scripts: the command that each makes of its arguments."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / script), *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    """A PATH on which ``srun`` says what it was asked for, and runs it as the first of two nodes would."""
    srun = tmp_path / "srun"
    srun.write_text(
        '#!/bin/sh\necho "srun $*" | head -n 1\nwhile [ "$1" != bash ]; do shift; done\n'
        "SLURM_NNODES=2 SLURM_JOB_ID=7 SLURM_JOB_NODELIST='n[1-2]' exec \"$@\"\n"
    )
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\nprintf 'n1\\nn2\\n'\n")
    for tool in (srun, scontrol):
        tool.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_dist_train_starts_one_process_per_gpu() -> None:
    told = run("dist_train.sh", "nuclei-demo", "4", "--amp", "bf16", PYTHON="echo").stdout.split()
    assert told[:2] == ["-m", "torch.distributed.run"]
    assert told[told.index("--nproc-per-node") + 1] == "4"
    assert told[told.index("--nnodes") + 1] == "1"
    assert told[-6:] == ["-m", "refinemask.train", "--recipe", "nuclei-demo", "--amp", "bf16"]


def test_dist_train_joins_other_machines() -> None:
    where = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29511"}
    told = run("dist_train.sh", "nuclei-demo", "8", PYTHON="echo", **where).stdout
    assert "--nnodes 2 --node-rank 1 --master-addr 10.0.0.1 --master-port 29511" in told


def test_slurm_train_starts_one_launcher_per_node(cluster: str) -> None:
    told = run(
        "slurm_train.sh", "gpu", "job", "nuclei-demo", "runs/a b", "--seed", "3", GPUS="16", PYTHON="echo", PATH=cluster
    )
    srun, launcher = told.stdout.splitlines()[0], told.stdout.splitlines()[-1]
    assert "--partition gpu --job-name job --nodes 2 --ntasks-per-node 1 --gpus-per-node 8" in srun
    assert "--nproc-per-node 8 --nnodes 2 --rdzv-id 7" in launcher
    assert "--rdzv-endpoint n1:29500" in launcher
    assert launcher.endswith("-m refinemask.train --recipe nuclei-demo --output runs/a b --resume auto --seed 3")


def test_slurm_train_uses_few_gpus_of_one_node(cluster: str) -> None:
    told = run("slurm_train.sh", "gpu", "job", "nuclei-demo", "out", GPUS="2", PYTHON="echo", PATH=cluster).stdout
    assert "--nodes 1" in told
    assert "--gpus-per-node 2" in told


def test_slurm_train_refuses_a_broken_number_of_gpus(cluster: str) -> None:
    told = run("slurm_train.sh", "gpu", "job", "nuclei-demo", "out", GPUS="12", PATH=cluster)
    assert told.returncode == 2
    assert "no multiple" in told.stderr


def test_dist_test_evaluates_on_the_recipes_validation_images(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then exec {sys.executable} "$@"; fi\necho "$@"\n')
    python.chmod(0o755)
    checkpoint, root, where = str(tmp_path / "w.safetensors"), str(tmp_path), {"PYTHON": str(python)}
    told = run("dist_test.sh", "refinemask-r50-coco-1x", checkpoint, "8", root, "--limit", "5", **where).stdout.split()
    assert told[told.index("--nproc-per-node") + 1] == "8"
    assert told[told.index("refinemask.evaluate") + 1] == checkpoint
    assert told[told.index("--annotations") + 1] == f"{root}/annotations/instances_val2017.json"
    assert told[told.index("--images") + 1] == f"{root}/val2017"
    assert told[-2:] == ["--limit", "5"]
    lvis = run("dist_test.sh", "refinemask-r50-lvis-1x", checkpoint, "8", root, **where).stdout.split()
    assert lvis[lvis.index("--metric") + 1] == "lvis"
    assert lvis[lvis.index("--images") + 1] == f"{root}/"
    unknown = run("dist_test.sh", "r50", checkpoint, "8", root, **where)
    assert unknown.returncode == 2
    assert "no recipe 'r50'" in unknown.stderr


@pytest.mark.parametrize("script", ["dist_train.sh", "slurm_train.sh", "dist_test.sh"])
def test_too_few_arguments_show_the_usage(script: str) -> None:
    told = run(script, "nuclei-demo")
    assert told.returncode == 2
    assert told.stderr.startswith("usage: ")


@pytest.mark.parametrize(
    ("script", "arguments"), [("dist_train.sh", "nuclei-demo 1"), ("slurm_train.sh", "gpu job nuclei-demo out")]
)
def test_paths_are_relative_to_where_the_user_is(
    script: str, arguments: str, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PWD" "$PYTHONPATH"\n')
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    told = run(script, *arguments.split(), PYTHON=str(python), PATH=cluster, PYTHONPATH="more", GPUS="2")
    assert told.stdout.splitlines()[-1] == f"{tmp_path} {SCRIPTS.parent}:more"
