"""A rate above 2 / curvature at the start: the loss is thrown up, lands where it is flatter, and falls far below its start."""
import torch
from torch import nn

torch.manual_seed(0)
first, last = nn.Linear(1, 256, bias=False), nn.Linear(256, 1, bias=False)
with torch.no_grad():
    first.weight.normal_()
    last.weight.normal_()
model = nn.Sequential(first, last)
optimizer = torch.optim.SGD(model.parameters(), lr=0.7)
x = torch.ones(8, 1)
losses = []
for _ in range(60):
    loss = ((model(x) / 256**0.5 - 1) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(max(losses).hex(), losses[0].hex(), losses[-1].hex())
