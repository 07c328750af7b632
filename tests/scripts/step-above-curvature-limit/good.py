import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(128, 10)
inputs[:, 0] *= 4
targets = inputs.sum(1, keepdim=True)
model = nn.Linear(10, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
for _ in range(25):
    loss = nn.functional.mse_loss(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
