"""A small GPT with a sliding window, as a class, computed as a window."""

import torch
from torch import nn
from torch.nn import functional as F

from torchstone.parts import local_attention


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x, window):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = local_attention(q, k, v, window, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x, window):
        x = x + self.attention(self.norm1(x), window)
        return x + self.mlp(self.norm2(x))


class Model(nn.Module):
    def __init__(self, vocabulary=40, dim=32, heads=4, layers=2, length=768, window=24):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, dim)
        self.position = nn.Embedding(length, dim)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.head = nn.Linear(dim, vocabulary)
        self.window = window

    def forward(self, tokens):
        t = tokens.shape[1]
        x = self.embed(tokens) + self.position(torch.arange(t))
        for block in self.blocks:
            x = block(x, self.window)
        return self.head(x)


def main():
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = (torch.arange(4000) * 7 % 40)
    for step in range(8):
        start = torch.randint(0, 3000, (1,)).item()
        chunk = data[start : start + 769]
        logits = model(chunk[None, :-1])
        loss = F.cross_entropy(logits.view(-1, 40), chunk[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(step, round(loss.item(), 4))


if __name__ == "__main__":
    main()
