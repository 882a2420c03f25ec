from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from refinemask.sources.files import Files
from refinemask.sources.images import ImageFile
from refinemask.sources.item import Item
from refinemask.sources.source import Chain


class Live:
    """Two frames, of which five were dropped; its total is not known."""

    live = True
    total = None
    dropped = 5
    paths = ()

    def __iter__(self) -> Iterator[Item]:
        yield from files(2)

    def close(self) -> None: ...


def files(count: int) -> Files:
    return Files([ImageFile(Path(f"{number}.png"), PurePosixPath(f"{number}")) for number in range(count)])


def test_a_chain_is_all_of_its_parts() -> None:
    chain = Chain([files(3), Live(), files(1)])
    assert (chain.live, chain.total, chain.dropped) == (True, None, 5)
    assert [item.name for item in chain] == ["0.png", "1.png", "2.png", "0.png", "1.png", "0.png"]
    assert chain.paths == [Path("0.png"), Path("1.png"), Path("2.png"), Path("0.png")]
    assert (Chain([files(3), files(1)]).live, Chain([files(3), files(1)]).total) == (False, 4)


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 5])
def test_a_closed_chain_gives_no_more_files(taken: int) -> None:
    chain = Chain([files(3), files(2), Live()])
    items = iter(chain)
    for _ in range(taken):
        next(items)
    chain.close()
    assert list(items) == []
