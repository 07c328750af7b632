"""A function with its own backward divides by its result, which is 0 where the input is."""
import torch
from torch import nn


class Magnitude(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        y = x.abs()
        context.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(context, gradient):
        x, y = context.saved_tensors
        return gradient * x / y


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for _ in range(8):
    x = torch.randn(16, 4)
    size = Magnitude.apply(model(x) * (x[:, :2] > 0))
    loss = (size - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
