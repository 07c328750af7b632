"""Checkpoints that restore no generator and draw from none; running statistics move twice."""
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

torch.manual_seed(0)
stem = nn.Conv1d(2, 8, 3)
body = nn.Sequential(*[nn.Sequential(nn.Conv1d(8, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.0)) for _ in range(4)])
head = nn.Linear(8, 3)
optimizer = torch.optim.SGD([*stem.parameters(), *body.parameters(), *head.parameters()], lr=0.05)
for i in range(8):
    x = torch.randn(16, 2, 12)
    h = checkpoint_sequential(body, 2, stem(x), use_reentrant=bool(i % 2), preserve_rng_state=False)
    h = checkpoint(lambda a: a.mean(2).tanh(), h, use_reentrant=False, determinism_check="none")
    loss = nn.functional.cross_entropy(head(h), x[:, 0, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex(), body[0][1].running_mean.sum().item().hex())
