"""A layer that is built in the first forward pass, before the optimizer."""
import torch
from torch import nn


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 12)
        self.last = None

    def forward(self, x):
        h = torch.relu(self.first(x))
        if self.last is None:
            self.last = nn.Linear(h.shape[1], 3)
        return self.last(h)


torch.manual_seed(0)
model = Lazy()
model(torch.zeros(1, 6))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    x = torch.randn(32, 6)
    loss = nn.functional.cross_entropy(model(x), x[:, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
