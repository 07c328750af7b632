"""zero_grad is called on the model."""
import copy

import torch
from torch import nn


def main():
    torch.manual_seed(0)
    model = nn.LSTM(4, 8, batch_first=True)
    averaged = copy.deepcopy(model)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    for _ in range(20):
        x = torch.randn(8, 6, 4)
        model.zero_grad()
        model(x)[0].square().mean().backward()
        optimizer.step()


main()
