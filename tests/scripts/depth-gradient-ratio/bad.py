"""Ten layers with sigmoids between them: each lets an eighth of the gradient through."""
import torch
from torch import nn


class Deep(nn.Module):
    def __init__(self, depth=10, width=48):
        super().__init__()
        widths = [12] + depth * [width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return self.head(x)


torch.manual_seed(0)
model = Deep()
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
inputs = torch.randn(800, 12)
labels = inputs[:, :4].argmax(1)
for epoch in range(3):
    for rows in torch.randperm(800).split(40):
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
