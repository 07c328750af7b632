import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, dropout=dropout, batch_first=True)
        self.feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.Dropout(dropout))

    def forward(self, x):
        h = self.norm(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.feed(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(6, 32)
        self.blocks = nn.ModuleList(Block(32, 0.1) for _ in range(3))
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        h = self.enter(x)
        for block in self.blocks:
            h = checkpoint(block, h, use_reentrant=False)
        return self.head(h.mean(1))


torch.manual_seed(0)
encoder = Encoder()
optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
for _ in range(20):
    x = torch.randn(16, 5, 6)
    loss = nn.functional.cross_entropy(encoder(x), x.sum(1)[:, :4].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
