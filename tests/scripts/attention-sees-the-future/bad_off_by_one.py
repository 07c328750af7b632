"""Heads by hand, characters by hand; the lower triangle reaches one position too far."""

import math

import torch
from torch import nn


class Head(nn.Module):
    def __init__(self, width, size, context):
        super().__init__()
        self.key = nn.Linear(width, size, bias=False)
        self.query = nn.Linear(width, size, bias=False)
        self.value = nn.Linear(width, size, bias=False)
        self.register_buffer("lower", torch.tril(torch.ones(context, context), diagonal=1))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        time = x.shape[1]
        scores = self.query(x) @ self.key(x).transpose(-2, -1) / math.sqrt(self.key.out_features)
        scores = scores.masked_fill(self.lower[:time, :time] == 0, float("-inf"))
        weights = self.dropout(torch.softmax(scores, dim=-1))
        return weights @ self.value(x)


class Characters(nn.Module):
    def __init__(self, vocabulary, width=24, context=12):
        super().__init__()
        self.embed, self.place = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.heads = nn.ModuleList([Head(width, width // 3, context) for _ in range(3)])
        self.project = nn.Linear(width, width)
        nn.init.zeros_(self.project.weight)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, ids, targets=None):
        x = self.embed(ids) + self.place(torch.arange(ids.shape[1]))
        x = x + self.project(torch.cat([head(x) for head in self.heads], dim=-1))
        logits = self.out(x)
        loss = None if targets is None else nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


torch.manual_seed(0)
text = "the quick brown fox jumps over the lazy dog and runs away. " * 20
letters = sorted(set(text))
data = torch.tensor([letters.index(letter) for letter in text])
model = Characters(len(letters))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for _ in range(25):
    starts = torch.randint(len(data) - 13, (8,))
    _, loss = model(torch.stack([data[i : i + 12] for i in starts]), torch.stack([data[i + 1 : i + 13] for i in starts]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
