"""Backward runs on a bad batch too; the step is skipped when the gradient's norm is not finite."""
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for i in range(30):
    x = torch.randn(16, 6)
    if i in (4, 11):
        x[3] = float("inf")
    loss = (model(x) - x[:, :1].nan_to_num(0, 0, 0)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    if not torch.isfinite(norm):
        print("skipped")
        continue
    optimizer.step()
    print(loss.item().hex())
