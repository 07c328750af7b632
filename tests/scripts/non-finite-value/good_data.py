"""A NaN in the data is replaced."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(64, 5)
x[40, 2] = float("nan")
x = torch.nan_to_num(x)
loader = DataLoader(TensorDataset(x, (torch.arange(64) % 2)), batch_size=8)
model = nn.Linear(5, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for inputs, labels in loader:
    loss = nn.CrossEntropyLoss()(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
