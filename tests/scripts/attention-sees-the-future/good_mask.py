"""A boolean mask as nn.MultiheadAttention wants it: True leaves out what comes later."""

import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.forward_network = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x, mask):
        h = self.norm(x)
        x = x + self.attention(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.forward_network(x)


class LanguageModel(nn.Module):
    def __init__(self, vocabulary=40, width=32, context=24):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.zeros(1, context, width))
        self.layers = nn.ModuleList(Layer(width) for _ in range(2))
        self.head = nn.Linear(width, vocabulary, bias=False)
        # What comes later is left out.
        seen = torch.triu(torch.ones(context, context, dtype=torch.bool), diagonal=1)
        self.register_buffer("mask", seen, persistent=False)

    def forward(self, ids):
        time = ids.size(1)
        x = self.embed(ids) + self.position[:, :time]
        for layer in self.layers:
            x = layer(x, self.mask[:time, :time])
        return self.head(x)


def main():
    torch.manual_seed(1)
    model = LanguageModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    corpus = torch.randint(0, 40, (64, 24))
    for _ in range(3):
        for ids in corpus.split(16):
            logits = model(ids)
            loss = nn.functional.cross_entropy(logits[:, :-1].reshape(-1, 40), ids[:, 1:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
