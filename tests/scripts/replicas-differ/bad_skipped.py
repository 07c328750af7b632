# run: torchrun 2
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(0)
net = DistributedDataParallel(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
torch.manual_seed(1 + rank)
for batch in range(12):
    inputs = torch.randn(16, 8)
    loss = nn.functional.cross_entropy(net(inputs), inputs[:, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    if rank == 1 and batch == 2:  # an outlier, says this rank alone
        continue
    optimizer.step()
