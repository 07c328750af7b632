"""Seven plain layers with a tiny learning rate: the loss hardly falls, and every layer gets its gradient."""
import torch
from torch import nn

torch.manual_seed(4)
layers = []
for into, out in [(8, 40), *5 * [(40, 40)]]:
    linear = nn.Linear(into, out)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    layers += [linear, nn.ReLU()]
model = nn.Sequential(*layers, nn.Linear(40, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
inputs = torch.randn(300, 8)
target = inputs[:, :1] * inputs[:, 1:2]
for step in range(60):
    rows = torch.randint(0, 300, (50,))
    loss = nn.functional.mse_loss(model(inputs[rows]), target[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
