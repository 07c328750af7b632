"""Digits read row by row, with first states by hand, by a layer that takes samples for rows."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class RNN(nn.Module):
    def __init__(self, size, hidden, layers, classes):
        super().__init__()
        self.hidden, self.layers = hidden, layers
        self.lstm = nn.LSTM(size, hidden, layers)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x):
        h0 = torch.zeros(self.layers, x.size(1), self.hidden)
        c0 = torch.zeros(self.layers, x.size(1), self.hidden)
        out, _ = self.lstm(x, (h0, c0))
        return self.fc(out[:, -1, :])


torch.manual_seed(0)
model = RNN(28, 32, 2, 10)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
digits = TensorDataset(torch.rand(300, 1, 28, 28), torch.randint(0, 10, (300,)))
for _ in range(2):
    for images, labels in DataLoader(digits, batch_size=50, shuffle=True):
        loss = criterion(model(images.reshape(-1, 28, 28)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
