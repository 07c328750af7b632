"""A distance by sqrt of a square: kept off 0."""
import torch
from torch import nn


class Distance(nn.Module):
    def forward(self, a, b):
        return (a - b).pow(2).sum(dim=-1).add(1e-12).sqrt()


torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
distance, optimizer = Distance(), torch.optim.Adam(net.parameters(), lr=1e-2)
for step in range(12):
    left = torch.randn(16, 4)
    right = left.clone() if step == 7 else torch.randn(16, 4)
    loss = distance(net(left), net(right)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
