import torch
from torch import nn

model = nn.Linear(4, 2)
with torch.no_grad():
    model.weight.copy_(torch.arange(8.0).reshape(2, 4) / 10)
    model.bias.zero_()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.linspace(-1, 1, 64).reshape(16, 4)
y = (x[:, 0] > 0).long()
for _ in range(8):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
