"""Recurrent weights drawn with std 0.4: the gradient of the first of 50 steps is thousands of times that of the last."""
import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(3, 48, batch_first=True)
        self.head = nn.Linear(48, 2)
        for name, parameter in self.named_parameters():
            if "weight_hh" in name:
                nn.init.normal_(parameter, std=0.4)

    def forward(self, x):
        return self.head(self.rnn(x)[1].squeeze(0))


torch.manual_seed(0)
model = Tagger()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(30):
    x = torch.randn(32, 50, 3)
    loss = nn.functional.cross_entropy(model(x), (x[:, -5:, 0].sum(1) > 0).long())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
