"""Batches: complete, of one orientation, repeatable, and divided without overlap."""

import pytest

from refinemask.data.sampler import BatchSampler, RankShare

RATIOS = [1.5, 0.7, 1.0, 1.4, 1.3, 0.5, 1.2, 1.9, 0.9]


def epoch_of(sampler: BatchSampler, epoch: int) -> list[list[int]]:
    per_epoch = sampler.iterations_per_epoch
    return [[pick.image for pick in sampler.batch(epoch * per_epoch + i)] for i in range(per_epoch)]


def test_an_epoch_shows_every_image_and_fills_up_batches() -> None:
    sampler = BatchSampler(RATIOS, 2, seed=0)
    batches = epoch_of(sampler, 0)
    assert len(batches) == 5  # five wide images in three batches, four others in two
    shown = [image for batch in batches for image in batch]
    assert set(shown) == set(range(9))
    assert len(shown) == 10


def test_a_batch_has_one_orientation() -> None:
    for batch in epoch_of(BatchSampler(RATIOS, 2, seed=1), 3):
        assert len({RATIOS[image] > 1 for image in batch}) == 1


def test_a_small_group_fills_a_batch_by_repetition() -> None:
    assert epoch_of(BatchSampler([2.0], 4, seed=0), 0) == [[0, 0, 0, 0]]


def test_seed_and_iteration_decide_the_batch() -> None:
    first, second = BatchSampler(RATIOS, 2, seed=5), BatchSampler(RATIOS, 2, seed=5)
    wanted = [first.batch(i) for i in range(15)]
    assert [second.batch(i) for i in reversed(range(15))][::-1] == wanted
    assert wanted != [BatchSampler(RATIOS, 2, seed=6).batch(i) for i in range(15)]
    assert epoch_of(first, 0) != epoch_of(first, 1)
    assert len({pick.seed for batch in wanted for pick in batch}) == 30


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)])
def test_processes_and_micro_batches_divide_each_batch(world: int, accumulate: int) -> None:
    sampler = BatchSampler(RATIOS, 4, seed=0)
    shares = [list(RankShare(sampler, 1, 4, rank, world, accumulate)) for rank in range(world)]
    assert all(len(share) == 3 * accumulate for share in shares)
    for iteration in range(3):
        joint = [
            pick for part in range(accumulate) for share in shares for pick in share[iteration * accumulate + part]
        ]
        assert joint == sampler.batch(iteration + 1)


def test_a_share_knows_its_length() -> None:
    assert len(RankShare(BatchSampler(RATIOS, 4, seed=0), 2, 7, accumulate=2)) == 10
