"""Twenty residual blocks whose last layers begin at 0, trained with a small rate: what changes is little, and right."""
import torch
from torch import nn

torch.manual_seed(2)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.Sigmoid(), nn.Linear(width, width))
        nn.init.zeros_(self.inner[2].weight)

    def forward(self, x):
        return x + self.inner(x)


model = nn.Sequential(nn.Linear(6, 24), *[Block(24) for _ in range(20)], nn.Linear(24, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
inputs = torch.randn(256, 6)
labels = torch.randint(0, 3, (256,))
for step in range(40):
    rows = torch.randperm(256)[:64]
    loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
