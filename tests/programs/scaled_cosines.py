"""Logits that are large on purpose: a margin head on normalised weights, and a contrastive loss with a temperature."""
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
body = nn.Linear(12, 16)
centres = nn.Parameter(torch.randn(50, 16))
other = nn.Linear(9, 16)
optimizer = torch.optim.SGD([*body.parameters(), *other.parameters(), centres], lr=0.05)
for _ in range(12):
    x, y = torch.randn(24, 12), torch.randn(24, 9)
    labels = torch.randint(0, 50, (24,))
    left, right = F.normalize(body(x), dim=1), F.normalize(other(y), dim=1)
    cosine = F.linear(left, F.normalize(centres, dim=1))
    margin = cosine - 0.35 * F.one_hot(labels, 50)
    loss = F.cross_entropy(64 * margin, labels) + F.cross_entropy(left @ right.t() / 0.02, torch.arange(24))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
