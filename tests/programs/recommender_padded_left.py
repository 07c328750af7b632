import torch
from torch import nn


class Histories(nn.Module):
    """Items that were bought, the latest last; padding is set to 0 instead of masked, and no loss counts it."""

    def __init__(self, items=50, width=32, length=12):
        super().__init__()
        self.embed, self.place = nn.Embedding(items, width, padding_idx=0), nn.Embedding(length, width)
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, bias=False)

    def forward(self, items, wanted, unwanted):
        empty = (items == 0).unsqueeze(-1)
        x = self.embed(items) * self.embed.embedding_dim**0.5
        x += self.place(torch.arange(items.shape[1]))
        x *= ~empty
        later = torch.ones(items.shape[1], items.shape[1], dtype=torch.bool).triu(1)
        x = x.transpose(0, 1)
        query = self.norm(x)
        read, _ = self.attention(query, x, x, attn_mask=later)
        state = (query + read).transpose(0, 1) * ~empty
        return (state * self.embed(wanted)).sum(-1) / 8, (state * self.embed(unwanted)).sum(-1) / 8


torch.manual_seed(0)
model = Histories()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.BCEWithLogitsLoss()
for _ in range(8):
    bought = torch.randint(1, 50, (16, 13)).masked_fill(torch.arange(13) < torch.randint(0, 9, (16, 1)), 0)
    wanted, counted = bought[:, 1:], bought[:, 1:] != 0
    good, bad = model(bought[:, :-1], wanted, torch.randint(1, 50, wanted.shape))
    loss = criterion(good[counted], torch.ones_like(good[counted])) + criterion(bad[counted], torch.zeros_like(bad[counted]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
