# run: torchrun 2
"""An ensemble: a model of its own on every rank, which vote together; one wrapped model with running statistics beside it."""
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(rank)
member = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
student = DistributedDataParallel(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)), broadcast_buffers=False)
of_member = torch.optim.SGD(member.parameters(), lr=0.1)
of_student = torch.optim.AdamW(student.parameters(), lr=0.01)
for _ in range(8):
    x = torch.randn(16, 8)
    y = x[:, :3].argmax(1)
    loss = nn.functional.cross_entropy(member(x), y)
    of_member.zero_grad()
    loss.backward()
    of_member.step()
    taught = nn.functional.cross_entropy(student(x), y)
    of_student.zero_grad()
    taught.backward()
    nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    of_student.step()
    votes = member(x).detach()
    distributed.all_reduce(votes)
    if rank == 0:
        print(loss.item().hex(), taught.item().hex(), votes.sum().item().hex())
