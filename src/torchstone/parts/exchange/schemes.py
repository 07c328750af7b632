"""The schemes as functions: each exchanges a tensor in place between the workers of a process group, and returns its traffic.

Letters: n workers, p numbers in the tensor.
"""

from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from torchstone.core.errors import UsageError
from torchstone.laws.exchange.schedule import schedule
from torchstone.laws.exchange.scheme import Scheme, part, scheme_named
from torchstone.parts.exchange.running import Side, Traffic, averaged
from torchstone.parts.exchange.talking import Talk, refusal

TIMEOUT = 300.0
_REDUCIBLE = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
              torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}  # fmt: skip


def all_to_all(
    tensor: Tensor, reduction: str = "mean", *, group: dist.ProcessGroup | None = None, timeout: float = TIMEOUT
) -> Traffic:
    """Everyone sends all of its tensor to everyone and adds: n(n-1) messages of p numbers, (n-1) p of scratch memory.

    In place on a tensor of any shape. `reduction` is "mean" or "sum". The fewest steps, the most bytes. Errors: see `exchange`.
    """
    return exchange(tensor, Scheme.ALL_TO_ALL, reduction, group=group, timeout=timeout)


def parameter_server(
    tensor: Tensor, reduction: str = "mean", *, separate: bool = False, group: dist.ProcessGroup | None = None,
    timeout: float = TIMEOUT,
) -> Traffic:  # fmt: skip
    """Everyone sends to rank 0, which adds and sends back: 2(n-1) messages of p numbers, all through rank 0's port.

    With `separate`, rank 0 is no worker: its numbers count for nothing, and n further ranks exchange 2n messages. In place on a
    tensor of any shape. Li et al. 2014, Scaling Distributed Machine Learning with the Parameter Server. Errors: see `exchange`.
    """
    scheme = Scheme.SEPARATE_SERVER if separate else Scheme.PARAMETER_SERVER
    return exchange(tensor, scheme, reduction, group=group, timeout=timeout)


def ring_all_reduce(
    tensor: Tensor, reduction: str = "mean", *, group: dist.ProcessGroup | None = None, timeout: float = TIMEOUT
) -> Traffic:
    """Parts of p/n numbers go round a ring, first adding up, then as sums: 2n(n-1) messages, 2(n-1)/n p numbers from each rank.

    The least that any scheme's busiest worker can send. In place on a tensor of any shape and size. Patarasuk and Yuan 2009,
    Bandwidth optimal all-reduce algorithms for clusters of workstations. Errors: see `exchange`.
    """
    return exchange(tensor, Scheme.RING, reduction, group=group, timeout=timeout)


def tree_all_reduce(
    tensor: Tensor, reduction: str = "mean", *, group: dist.ProcessGroup | None = None, timeout: float = TIMEOUT
) -> Traffic:
    """A binomial tree to rank 0 and back: 2(n-1) messages of p numbers in 2 ceil(log2 n) steps; rank 0 sends p ceil(log2 n).

    In place on a tensor of any shape. Thakur, Rabenseifner and Gropp 2005, section 4.3. Errors: see `exchange`.
    """
    return exchange(tensor, Scheme.TREE, reduction, group=group, timeout=timeout)


def halving_doubling_all_reduce(
    tensor: Tensor, reduction: str = "mean", *, group: dist.ProcessGroup | None = None, timeout: float = TIMEOUT
) -> Traffic:
    """Partners swap halves, quarters, ... and back: a ring's bytes in 2 log2 n steps, for n a power of two; others fold in first.

    In place on a tensor of any shape and size. Thakur, Rabenseifner and Gropp 2005, section 4.5. Errors: see `exchange`.
    """
    return exchange(tensor, Scheme.HALVING_DOUBLING, reduction, group=group, timeout=timeout)


def reduce_scatter(
    tensor: Tensor, reduction: str = "mean", *, group: dist.ProcessGroup | None = None, timeout: float = TIMEOUT
) -> Traffic:
    """The first half of a ring: rank r ends with the reduced part r of the flat tensor (`own_part` says where), n(n-1) messages.

    In place: the rest of the tensor holds partial sums afterwards. Errors: see `exchange`.
    """
    return exchange(tensor, Scheme.REDUCE_SCATTER, reduction, group=group, timeout=timeout)


def all_gather(tensor: Tensor, *, group: dist.ProcessGroup | None = None, timeout: float = TIMEOUT) -> Traffic:
    """The second half of a ring: every rank's own part (`own_part`) reaches all, the rest is replaced; n(n-1) messages.

    In place on a tensor of any shape. Errors: see `exchange`.
    """
    return exchange(tensor, Scheme.ALL_GATHER, "sum", group=group, timeout=timeout)


def own_part(tensor: Tensor, group: dist.ProcessGroup | None = None) -> slice:
    """Where in the flat tensor the part lies that `reduce_scatter` leaves to this rank and `all_gather` spreads."""
    group = _group(group)
    return slice(*part(group.rank(), group.size(), tensor.numel()))


def exchange(
    tensor: Tensor, scheme: str = "ring", reduction: str = "mean", *, group: dist.ProcessGroup | None = None,
    timeout: float = TIMEOUT, agree: bool = True,
) -> Traffic:  # fmt: skip
    """Exchange a tensor in place by the scheme of that name (`laws.exchange.Scheme`); what this rank sent and received.

    Every rank of the group calls it with a tensor of the same size and dtype; shape and strides may be anything: it is read in
    row-major order. Gradients do not flow through it. One rank alone sends nothing.
    With `agree` the ranks first make sure, through the group's store, that all have come and mean the same; without it, a tensor of
    another size on one rank may end gloo's process. DDP's buckets agree anyway.

    Raises UsageError on every rank, before anything is changed, for bad arguments on one of them and where they differ. Raises
    ExchangeError where a rank dies, hangs or does not come for `timeout` seconds; a tensor then holds partial sums, and the group
    is broken: start anew.
    """
    group = _group(group)
    talk = Talk(group, checked_timeout(timeout))
    try:
        kind = scheme_named(scheme)
        flat = _flat(tensor, group)
        averaged(flat.new_ones(1), kind, group.size(), reduction)  # raises what it would, before anything is changed
    except UsageError as error:
        if agree:
            talk.agree(refusal(error))
        raise
    if agree:
        talk.agree(f"{kind.value} of {tensor.numel()} x {str(tensor.dtype).removeprefix('torch.')}, {reduction}")
    with torch.no_grad():
        traffic = run(averaged(flat, kind, group.size(), reduction), kind, group, talk)
        if flat.data_ptr() != tensor.data_ptr():
            tensor.detach().copy_(flat.view(tensor.shape))
    return traffic


def run(flat: Tensor, scheme: Scheme, group: dist.ProcessGroup, talk: Talk) -> Traffic:
    """The steps of this rank over the group's point-to-point messages, each waited for no longer than the timeout."""
    side = Side(group.rank(), flat)
    for step in side.steps(schedule(scheme, group.rank(), group.size(), flat.numel())):
        # Receives first: what arrives then finds its place ready.
        messages = [
            *(dist.P2POp(dist.irecv, side.incoming(one), group=group, group_peer=one.peer) for one in step.receives),
            *(dist.P2POp(dist.isend, side.outgoing(one), group=group, group_peer=one.peer) for one in step.sends),
        ]
        peers = [*(one.peer for one in step.receives), *(one.peer for one in step.sends)]
        with talk.failing(peers):
            works = dist.batch_isend_irecv(messages)
        for place, work in enumerate(works):
            with talk.failing([peers[place]] if len(works) == len(peers) else peers):  # NCCL has one work for all of them
                work.wait(timedelta(seconds=talk.timeout))
    return side.traffic


def _group(group: dist.ProcessGroup | None) -> dist.ProcessGroup:
    if not dist.is_available() or not dist.is_initialized():
        message = "no process group: start with torchrun and call torch.distributed.init_process_group('gloo') (or 'nccl') first"
        raise UsageError(message)
    found = dist.group.WORLD if group is None else group
    if not isinstance(found, dist.ProcessGroup):
        message = f"this process does not belong to the group ({group!r} came): call the exchange on the group's ranks only"
        raise UsageError(message)
    return found


def checked_timeout(timeout: float) -> float:
    """A timeout in seconds; raises UsageError for what is none."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        message = f"the timeout is seconds above 0; {timeout!r} came"
        raise UsageError(message)
    return float(timeout)


def _flat(tensor: object, group: dist.ProcessGroup) -> Tensor:
    """The numbers in row-major order: the tensor's own memory where it lies so, else a copy."""
    if not isinstance(tensor, Tensor):
        message = f"a tensor is exchanged; {type(tensor).__name__} came: call it once for each tensor"
        raise UsageError(message)
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.dtype not in _REDUCIBLE:
        message = (
            f"a dense tensor of float16, bfloat16, float32, float64, complex or whole numbers is exchanged; {tensor.dtype}, "
            f"{str(tensor.layout).removeprefix('torch.')} on {tensor.device} came: convert it"
        )
        raise UsageError(message)
    if any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        message = f"a tensor of shape {tuple(tensor.shape)} whose numbers repeat (expand) came: they cannot be written; clone it"
        raise UsageError(message)
    backend = dist.get_backend(group)
    if (backend == "gloo" and tensor.is_cuda) or (backend == "nccl" and not tensor.is_cuda):
        message = f"the group's backend is {backend} and the tensor on {tensor.device}: move it, or make a group of another backend"
        raise UsageError(message)
    return tensor.detach().contiguous().view(-1)
