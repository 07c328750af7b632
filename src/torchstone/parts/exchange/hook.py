"""The schemes as communication hooks of DistributedDataParallel."""

from collections.abc import Callable
from concurrent.futures import Future as Job
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future

from torchstone.core.errors import UsageError
from torchstone.laws.exchange.scheme import Scheme, scheme_named
from torchstone.parts.exchange.running import Traffic
from torchstone.parts.exchange.schemes import TIMEOUT, checked_timeout, exchange

Hook = Callable[[dist.ProcessGroup | None, dist.GradBucket], Future[Tensor]]  # type: ignore[name-defined] # no stub has it


def ddp_hook(scheme: str = "ring", *, timeout: float = TIMEOUT, traffic: list[Traffic] | None = None) -> Hook:
    """A communication hook that averages each bucket of gradients by a scheme.

    Written `model.register_comm_hook(None, ddp_hook("ring"))`.

    The hook's state is the process group, None for the default one. On the CPU buckets are exchanged in the background, one after
    the other, while the backward pass goes on. `traffic` gets what each bucket sent. A scheme must leave the whole mean on every
    worker: raises UsageError for another, and for a timeout that is none. A backward pass raises where a worker dies, hangs or does
    not come for `timeout` seconds.

    torch.nn.parallel.DistributedDataParallel.register_comm_hook.
    """
    kind = scheme_named(scheme)
    if not kind.whole or kind is Scheme.SEPARATE_SERVER:
        takes = "all_to_all, parameter_server, tree, ring or halving_doubling"
        message = f"after {kind.words} not every worker has the mean: a hook takes {takes}"
        raise UsageError(message)
    checked_timeout(timeout)
    background = ThreadPoolExecutor(1, thread_name_prefix="torchstone-exchange")

    def average(buffer: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        sent = exchange(buffer, kind, "mean", group=group, timeout=timeout, agree=False)  # DDP has seen to it that buckets agree
        if traffic is not None:
            traffic.append(sent)
        return buffer

    def hook(state: dist.ProcessGroup | None, bucket: dist.GradBucket) -> Future[Tensor]:  # type: ignore[name-defined]
        buffer = bucket.buffer()
        if buffer.is_cuda:  # its messages are in the stream's order: nothing is gained by another thread
            future: Future[Tensor] = torch.futures.Future(devices=[buffer.device])
            future.set_result(average(buffer, state))
            return future
        done: Future[Job[Tensor]] = torch.futures.Future()
        background.submit(average, buffer, state).add_done_callback(done.set_result)
        return done.then(_result)

    return hook


def _result(done: Future[Job[Tensor]]) -> Tensor:
    """What the background made, or its error raised: an exception set on a future itself, DDP would take for a tensor."""
    return done.value().result()
