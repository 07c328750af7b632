import torch
from torch import nn

torch.manual_seed(0)
features, head = nn.Linear(8, 16), nn.Linear(16, 2)
optimizer = torch.optim.Adam([*features.parameters(), *head.parameters()])
for _ in range(10):
    x = torch.randn(16, 8)
    with torch.no_grad():
        h = features(x).relu()
    loss = nn.functional.cross_entropy(head(h), (x.sum(1) > 0).long())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
