"""A cluster of this process alone leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from refinemask.batch.cluster import Pool, connected
from refinemask.files import UserError


def folder_of_logs() -> Path:
    import ray

    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path())


def fail_on_ray(folders: list[Path]) -> None:
    with connected(Pool(least=1, most=1), None):
        folders.append(folder_of_logs())
        raise UserError("the job failed")


@pytest.mark.slow
def test_logs_of_ray_are_kept_after_an_error_alone() -> None:
    with connected(Pool(least=1, most=1), None):
        folder = folder_of_logs()
        assert folder.is_dir()
    assert not folder.exists()
    folders: list[Path] = []
    with pytest.raises(UserError, match="the job failed"):
        fail_on_ray(folders)
    assert folders[0].is_dir()
