import torch
from torch import nn


class Columns(nn.Module):
    """Attention over the columns of a table. Category 0 is a missing entry, wherever it stands: no padding."""

    def __init__(self, width=16):
        super().__init__()
        self.embed = nn.Embedding(90, width, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(width, 2, 32, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, rows):
        return self.head(self.layer(self.embed(rows)).mean(1))


torch.manual_seed(0)
model = Columns()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(8):
    rows = torch.randint(1, 90, (32, 8)).masked_fill(torch.rand(32, 8) < 0.25, 0)
    loss = nn.functional.cross_entropy(model(rows), rows[:, 0] % 2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
