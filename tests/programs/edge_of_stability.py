"""Full-batch descent at a rate as large as it can bear: the loss swings, its curvature hovers at 2 / lr, and it falls."""
import torch
from torch import nn

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.4)
x = torch.randn(64, 6)
y = torch.sin(2 * x.sum(1, keepdim=True))
for _ in range(150):
    loss = nn.functional.mse_loss(network(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(loss.item().hex())
