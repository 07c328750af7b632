"""An encoder of torch's, whose samples are taken for positions."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(nn.Module):
    def __init__(self, features=5, width=16, classes=3):
        super().__init__()
        self.project = nn.Linear(features, width)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, 2, 32), 2)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.encoder(self.project(x)).mean(dim=1))


torch.manual_seed(0)
inputs = torch.randn(128, 9, 5)
labels = inputs[:, 0, :3].argmax(1)
model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(3):
    for x, y in DataLoader(TensorDataset(inputs, labels), batch_size=32, shuffle=True):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
