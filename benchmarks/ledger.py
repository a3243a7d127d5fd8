"""Where the time of a step goes: every operation's time and multiply-adds, by kind.

The ledger sees each operation that PyTorch runs, forward and backward, below autocast and autograd. The gradients of a
convolution for its feature map and for its kernel are computed by one operation; the ledger has them computed one after
the other, which is what the libraries do anyway, and so tells them apart.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten

FORWARD, OF_DATA, OF_WEIGHTS = "convolution", "convolution, of the map", "convolution, of the kernel"
NORM, RESAMPLING, COPIES = "norm and activation", "resampling", "copies and casts"
SUMS, KERNELS, OPTIMIZER, OTHER = "sums of maps", "kernel sums", "optimizer", "other operations"
BETWEEN = "between operations"
KINDS = (FORWARD, OF_DATA, OF_WEIGHTS, NORM, RESAMPLING, COPIES, SUMS, KERNELS, OPTIMIZER, OTHER, BETWEEN)

_BY_NAME = {
    NORM: ("native_batch_norm", "native_group_norm", "cudnn_batch_norm", "leaky_relu", "relu", "threshold"),
    RESAMPLING: ("upsample", "max_pool", "avg_pool", "lerp", "_adaptive"),
    COPIES: ("clone", "_to_copy", "copy_", "cat", "constant_pad_nd", "slice_backward", "select_backward"),
    SUMS: ("add", "sub", "mul", "div", "sum", "neg"),
    KERNELS: ("bmm", "mm", "dot"),
}
KERNEL_SIZES = {1, 3, 5}
_NO_OPERATION = (
    "view",
    "select",
    "slice",
    "permute",
    "expand",
    "detach",
    "alias",
    "t",
    "as_strided",
    "unsqueeze",
)


class _Watch(TorchDispatchMode):
    """Hands every operation to its ledger."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._ledger.run(func, args, kwargs or {})


class Ledger:
    """Within it, operations are entered in :attr:`seconds` and :attr:`multiply_adds`, by kind.

    Args:
        batch_size: tells feature maps, whose first axis is that long, from kernels.
        device: on a GPU, times are those between events in its stream.
    """

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._watch = _Watch(self)
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self.multiply_adds = dict.fromkeys(KINDS, 0)
        self.num_operations = 0
        self._batch_size, self._device = batch_size, device
        self._in_optimizer = False
        self._events: list[tuple[str, Any, Any]] = []

    def __enter__(self) -> Ledger:
        self._hooks = [
            register_optimizer_step_pre_hook(lambda *_: self._optimizer(True)),
            register_optimizer_step_post_hook(lambda *_: self._optimizer(False)),
        ]
        self._start = time.perf_counter()
        self._watch.__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        self._watch.__exit__(*args)
        for hook in self._hooks:
            hook.remove()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            for kind, begin, end in self._events:
                self.seconds[kind] += begin.elapsed_time(end) / 1000
        total = time.perf_counter() - self._start
        self.seconds[BETWEEN] = max(0.0, total - sum(self.seconds.values()))

    def to_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "multiply_adds": self.multiply_adds,
            "num_operations": self.num_operations,
        }

    def _optimizer(self, inside: bool) -> None:
        self._in_optimizer = inside

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Runs one operation and enters it."""
        packet = func._overloadpacket
        if packet is aten.convolution_backward:
            mask = args[10]
            results: list[Any] = [None, None, None]
            for index, kind in enumerate((OF_DATA, OF_WEIGHTS)):
                alone = [index == 0 and mask[0], index == 1 and mask[1], index == 1 and mask[2]]
                if any(alone):
                    parts = self._timed(kind, func, packet, (*args[:10], alone), kwargs)
                    results = [
                        part if own else result
                        for own, part, result in zip(alone, parts, results, strict=True)
                    ]
            return tuple(results)
        if packet not in flop_registry and packet is not aten.convolution:
            with self._watch:  # in inference mode operations come before they are taken apart (conv3d)
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        kind = FORWARD if packet is aten.convolution else self._kind(packet, args, kwargs)
        return self._timed(kind, func, packet, args, kwargs)

    def _timed(self, kind: str, func: Any, packet: Any, args: Any, kwargs: Any) -> Any:
        self.num_operations += 1
        if self._device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            out = func(*args, **kwargs)
            end.record()
            self._events.append((kind, begin, end))
        else:
            start = time.perf_counter()
            out = func(*args, **kwargs)
            self.seconds[kind] += time.perf_counter() - start
        if packet in flop_registry:
            self.multiply_adds[kind] += flop_registry[packet](*args, **kwargs, out_val=out) // 2
        return out

    def _kind(self, packet: Any, args: Any, kwargs: Any) -> str:
        if self._in_optimizer:
            return OPTIMIZER
        name = packet.__name__
        if name in _NO_OPERATION:
            return OTHER
        for kind, names in _BY_NAME.items():
            if name.startswith(names):
                return KERNELS if kind in (COPIES, SUMS) and self._is_kernel(args, kwargs) else kind
        return OTHER

    def _is_kernel(self, args: Any, kwargs: Any) -> bool:
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if not tensors and args and isinstance(args[0], (list, tuple)):
            tensors = [x for x in args[0] if isinstance(x, Tensor)]
        largest = max(tensors, key=lambda x: x.numel(), default=None)
        if largest is None or largest.ndim < 4:
            return False
        return set(largest.shape[2:]) <= KERNEL_SIZES and largest.shape[0] != self._batch_size
