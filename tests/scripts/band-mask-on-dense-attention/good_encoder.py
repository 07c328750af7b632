"""The tagger with a layer that computes its window."""

import torch
from torch import nn

from torchstone.parts import LocalSelfAttention


class Layer(nn.Module):
    def __init__(self, width, window):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = LocalSelfAttention(width, 2, window, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x, padding):
        x = x + self.attention(self.norm1(x), padding)
        return x + self.mlp(self.norm2(x))


torch.manual_seed(0)
embed, head = nn.Embedding(30, 32, padding_idx=0), nn.Linear(32, 5)
layers = nn.ModuleList(Layer(32, 20) for _ in range(2))
optimizer = torch.optim.Adam([*embed.parameters(), *layers.parameters(), *head.parameters()], lr=1e-3)
for _ in range(6):
    tokens = torch.randint(1, 30, (2, 600))
    labels = (tokens + tokens.roll(1, 1)) % 5
    tokens[1, -60:] = 0
    x = embed(tokens)
    for layer in layers:
        x = layer(x, tokens == 0)
    loss = nn.functional.cross_entropy(head(x).transpose(1, 2), labels.masked_fill(tokens == 0, -100))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"loss {loss.item():.4f}")
