import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(0)
blocks = nn.ModuleList([nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Dropout(0.1)) for _ in range(4)])
head = nn.Linear(16, 3)
optimizer = torch.optim.Adam([*blocks.parameters(), *head.parameters()], lr=1e-3)
for i in range(10):
    x = torch.randn(8, 16, requires_grad=True)
    h = x
    for block in blocks:
        h = checkpoint(block, h, use_reentrant=bool(i % 2))
    loss = nn.functional.cross_entropy(head(h), torch.randint(0, 3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
