import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(9, 32), nn.SiLU(), nn.Linear(32, 8))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for _ in range(8):
    data = torch.randn(32, 8) / 3
    source = torch.rand_like(data)
    t = torch.rand(32, 1)
    between = (1 - t) * source + t * data
    loss = nn.functional.mse_loss(net(torch.cat([between, t], 1)), data - source)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
