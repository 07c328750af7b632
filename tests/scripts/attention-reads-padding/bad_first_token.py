"""A classifier that reads its first position, over nn.TransformerEncoder without a padding mask."""

import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self, vocabulary=50, width=16, classes=3):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width, padding_idx=0)
        layer = nn.TransformerEncoderLayer(width, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens))[:, 0])


torch.manual_seed(0)
model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(10):
    lengths = torch.randint(3, 12, (16,))
    tokens = torch.randint(1, 50, (16, 12)).masked_fill(torch.arange(12) >= lengths[:, None], 0)
    loss = nn.functional.cross_entropy(model(tokens), lengths % 3)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
