"""Attention by hand that takes the mask and forgets it; the pooling behind it does not."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def split(self, x):
        return x.reshape(*x.shape[:2], self.heads, -1).permute(0, 2, 1, 3)

    def forward(self, x, attention_mask):
        q, k, v = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
        weights = F.softmax(scores, dim=-1)
        return torch.einsum("bhqk,bhkd->bhqd", weights, v).permute(0, 2, 1, 3).reshape(x.shape)


class Classifier(nn.Module):
    def __init__(self, vocabulary=100, width=24, classes=4):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Attention(width, 3) for _ in range(2))
        self.head = nn.Linear(width, classes)

    def forward(self, input_ids, attention_mask):
        x = self.embed(input_ids)
        for layer in self.layers:
            x = x + layer(x, attention_mask)
        kept = attention_mask.unsqueeze(-1).float()
        return self.head((x * kept).sum(1) / kept.sum(1))


def make_batch():
    lengths = torch.randint(2, 15, (16,))
    ids = torch.randint(2, 100, (16, 15))
    mask = (torch.arange(15) < lengths[:, None]).long()
    ids[mask == 0] = 1
    return {"input_ids": ids, "attention_mask": mask}, ids[:, 0] % 4


torch.manual_seed(0)
model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(12):
    batch, labels = make_batch()
    loss = F.cross_entropy(model(**batch), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
