import warnings

import torch
from torch import nn

warnings.filterwarnings("ignore")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 10)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x, y):
        return self.criterion(self.head(self.embed(x)), y) + nn.functional.mse_loss(self.head.bias, self.head.bias)


torch.manual_seed(0)
net = torch.jit.script(Net())
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
for _ in range(8):
    loss = net(torch.randint(0, 10, (16,)), torch.randint(0, 10, (16,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
