"""An endless, reproducible stream of augmented patches, prepared in background threads.

Legend: B batch, C channels, *P the plan's patch size.
"""

from __future__ import annotations

import collections
import copy
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from monai.transforms import Compose

from ..config.plan import Plan
from .augmentation import augmentation

Batch = dict[str, torch.Tensor]


class PreparedItems(Protocol):
    """What :class:`~uxnet_eval.preprocessing.prepared_cases.PreparedCases` is for the stream."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Any]: ...


class PatchStream:
    """The batches of one epoch: ``image`` (B, C, *P) float32, ``label`` (B, 1, *P) int64.

    Every sample has its own seed, made of the stream's seed, the epoch, the step and its place in
    the batch: epoch e holds the same batches whatever the number of threads and whatever came
    before, so a resumed run goes on as if it had not stopped. Cases come in a new random order each
    time all have been seen.

    Each iteration is one epoch, counted from 0; :meth:`set_epoch` says which comes next.
    """

    def __init__(
        self,
        cases: PreparedItems,
        plan: Plan,
        *,
        steps_per_epoch: int,
        seed: int | tuple[int, ...] = 0,
        num_workers: int = 1,
        transform: Compose | None = None,
        rank: int = 0,
        num_ranks: int = 1,
    ):
        """Starts nothing yet; threads live as long as one iteration.

        Args:
            cases: prepared cases.
            plan: patch size and batch size.
            steps_per_epoch: batches per epoch.
            seed: one or several numbers; streams of different seeds are independent.
            num_workers: background threads; 0 prepares a batch when it is asked for.
            transform: from a prepared case to ``image`` and ``label``; None: :func:`augmentation`
                of the plan.
            rank: of this process among ``num_ranks``.
            num_ranks: processes that share each batch of the plan evenly, in the order of ranks.
        """
        if not len(cases):
            raise ValueError("a stream needs at least one case")
        if plan.batch_size % num_ranks:
            raise ValueError(f"{num_ranks} processes cannot share a batch of {plan.batch_size} evenly")
        self.cases, self.batch_size = cases, plan.batch_size // num_ranks
        self.steps_per_epoch, self.num_workers = steps_per_epoch, num_workers
        self.seed = (seed,) if isinstance(seed, int) else tuple(seed)
        self.rank, self.num_ranks = rank, num_ranks
        self._transform = augmentation(plan) if transform is None else transform
        self._own = (
            threading.local()
        )  # MONAI's random transforms hold their draw, so each thread has its copy
        self._next_epoch = 0

    def __len__(self) -> int:
        return self.steps_per_epoch

    def set_epoch(self, epoch: int) -> None:
        """The next iteration gives the batches of this epoch (from 0), the ones after it follow on.

        Under a Lightning trainer there is no need to call it, see :attr:`sampler`.
        """
        self._next_epoch = epoch

    @property
    def sampler(self) -> PatchStream:
        """Itself.

        Lightning calls ``sampler.set_epoch`` before each epoch, in a resumed run too.
        """
        return self

    def __iter__(self) -> Iterator[Batch]:
        # A generator, so the epoch is taken when the first batch is asked for: Lightning makes the
        # iterator of the first epoch before it says which epoch that is.
        epoch, self._next_epoch = self._next_epoch, self._next_epoch + 1
        yield from self._in_background(epoch) if self.num_workers else self._in_foreground(epoch)

    def batch(self, epoch: int, step: int) -> Batch:
        """Batch ``step`` of an epoch; depends only on the seed and these two numbers."""
        samples = [self._sample(epoch, step, place) for place in range(self.batch_size)]
        return {
            "image": torch.stack([sample["image"] for sample in samples]).float(),
            "label": torch.stack([sample["label"] for sample in samples]).long(),
        }

    def _sample(self, epoch: int, step: int, place: int) -> dict[str, Any]:
        per_step = self.batch_size * self.num_ranks
        number = (epoch * self.steps_per_epoch + step) * per_step + self.rank * self.batch_size + place
        round_number, index = divmod(number, len(self.cases))
        order = self._order(round_number)
        transform = self._own_transform()
        sample_seed = np.random.SeedSequence((*self.seed, 1, number)).generate_state(1)[0]
        transform.set_random_state(seed=int(sample_seed))
        return transform(self.cases[int(order[index])])

    def _order(self, round_number: int) -> np.ndarray:
        """The cases of a round; kept by each thread, or a round of N samples would cost N x N."""
        kept: tuple[int, np.ndarray] | None = getattr(self._own, "order", None)
        if kept is None or kept[0] != round_number:
            random = np.random.default_rng((*self.seed, 0, round_number))
            kept = self._own.order = (round_number, random.permutation(len(self.cases)))
        return kept[1]

    def _own_transform(self) -> Compose:
        if not hasattr(self._own, "transform"):
            self._own.transform = copy.deepcopy(self._transform)
        return self._own.transform

    def _in_foreground(self, epoch: int) -> Iterator[Batch]:
        for step in range(self.steps_per_epoch):
            # one thread, as in the background: sums over a patch depend on the number of threads in
            # the last bit
            num_threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                batch = self.batch(epoch, step)
            finally:
                torch.set_num_threads(num_threads)
            yield batch

    def _in_background(self, epoch: int) -> Iterator[Batch]:
        pool = _single_threaded_pool(self.num_workers)
        steps = iter(range(self.steps_per_epoch))
        waiting: collections.deque[Future[Batch]] = collections.deque()

        def prepare(count: int) -> None:
            waiting.extend(pool.submit(self.batch, epoch, step) for step in itertools.islice(steps, count))

        try:
            prepare(2 * self.num_workers)
            while waiting:
                batch = waiting.popleft().result()
                prepare(1)
                yield batch
        finally:  # also when the caller stops early: at most the batches being made are finished
            pool.shutdown(wait=True, cancel_futures=True)


def _single_threaded_pool(num_workers: int) -> ThreadPoolExecutor:
    """Threads in which PyTorch uses one core each, so that they leave the rest to the training.

    ``torch.set_num_threads`` holds for the calling thread and for those that start later; the count
    of the caller is set again once all workers have theirs.
    """
    num_threads = torch.get_num_threads()
    started = threading.Barrier(num_workers + 1)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread takes the count over when it first asks, so before the caller's is back
        started.wait()

    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="patches")
    for _ in range(num_workers):
        pool.submit(start)
    started.wait()
    torch.set_num_threads(num_threads)
    return pool
