"""A regression whose gradients are clipped after the step."""
import torch
from torch import nn

torch.manual_seed(1)
net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
x = torch.randn(128, 6)
y = 10 * x.sum(1, keepdim=True)
for epoch in range(30):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(net(x), y)
    loss.backward()
    optimizer.step()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
