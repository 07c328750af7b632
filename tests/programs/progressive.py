"""Auxiliary head that is used on some steps only; unused samples are skipped when their loss is not finite."""
import torch
from torch import nn

torch.manual_seed(0)
body, main_head, rare_head = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 3)
optimizer = torch.optim.Adam([*body.parameters(), *main_head.parameters(), *rare_head.parameters()])
for i in range(24):
    x = torch.randn(16, 4)
    if i == 5:
        x[0, 0] = float("nan")
    hidden = torch.relu(body(x))
    head = rare_head if i % 4 == 0 else main_head
    loss = nn.functional.cross_entropy(head(hidden), torch.randint(0, 3, (16,)))
    if not torch.isfinite(loss):
        print("skipped")
        continue
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
