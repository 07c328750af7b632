# run: torchrun 2
"""Local SGD: every rank steps by itself, parameters are averaged every third step."""
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(0)
net = DistributedDataParallel(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
torch.manual_seed(1 + rank)
for step in range(11):
    x = torch.randn(16, 8)
    with net.no_sync():
        loss = nn.functional.cross_entropy(net(x), x[:, :3].argmax(1))
        optimizer.zero_grad()
        loss.backward()
    optimizer.step()
    if step % 3 == 2:
        for p in net.parameters():
            distributed.all_reduce(p.data)
            p.data /= 2
    if rank == 0:
        print(loss.item().hex())
