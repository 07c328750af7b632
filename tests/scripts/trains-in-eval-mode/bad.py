"""A classifier with validation in every epoch; train() is called once only."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(320, 10)
y = x[:, :4].argmax(1)
train = DataLoader(TensorDataset(x[:256], y[:256]), batch_size=32, shuffle=True)
held_out = DataLoader(TensorDataset(x[256:], y[256:]), batch_size=16)
net = nn.Sequential(nn.Linear(10, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Dropout(0.25), nn.Linear(40, 4))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
criterion = nn.CrossEntropyLoss()
net.train()
for epoch in range(4):
    for inputs, labels in train:
        optimizer.zero_grad()
        criterion(net(inputs), labels).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        correct = sum((net(inputs).argmax(1) == labels).sum().item() for inputs, labels in held_out)
