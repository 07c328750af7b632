import torch
from torch import nn


class Routed(nn.Module):
    """Each row goes to one expert by its sign pattern; some experts never get a row."""

    def __init__(self, experts=8):
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(6, 6) for _ in range(experts)])
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        chosen = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            rows = chosen == i
            if rows.any():
                out[rows] = expert(x[rows])
        return self.head(torch.relu(out))


torch.manual_seed(0)
model = Routed()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for _ in range(20):
    x = torch.randn(32, 6)
    loss = nn.functional.cross_entropy(model(x), x[:, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
