import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

np.random.seed(0)
torch.manual_seed(0)
first, second, head = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 2)
weights = [*first.parameters(), *second.parameters(), *head.parameters()]
optimizer = torch.optim.SGD(weights, lr=0.05, momentum=0.9)


def noisy(x):
    h = torch.relu(first(x))
    h = h + 0.3 * torch.from_numpy(np.random.randn(*h.shape)).float()
    return torch.tanh(second(h))


for epoch in range(4):
    for _ in range(5):
        x = torch.randn(32, 8)
        y = (x[:, 0] > 0).long()
        h = checkpoint(noisy, x.requires_grad_(), use_reentrant=True)
        loss = nn.functional.cross_entropy(head(h), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
