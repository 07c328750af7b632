"""Several yes-or-no labels on a normalised state; the head keeps nn.init.normal_'s default std of 1."""
import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self, labels=12):
        super().__init__()
        self.state = nn.Sequential(nn.Linear(20, 64), nn.LayerNorm(64))
        self.head = nn.Linear(64, labels)
        nn.init.normal_(self.head.weight)

    def forward(self, x):
        return self.head(self.state(x))


torch.manual_seed(0)
tagger = Tagger()
optimizer = torch.optim.Adam(tagger.parameters(), lr=1e-3)
criterion = nn.BCEWithLogitsLoss(reduction="sum")
for _ in range(15):
    x = torch.randn(64, 20)
    loss = criterion(tagger(x), (x[:, :12] > 0.5).float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
