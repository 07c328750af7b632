import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Annealed(nn.Module):
    """A gate that opens with the number of calls."""

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        gate = 1 - 0.9 ** self.calls
        return x + gate * torch.tanh(self.linear(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.gated, self.head = nn.Linear(8, 16), Annealed(16), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(checkpoint(self.gated, self.enter(x), use_reentrant=False))


torch.manual_seed(0)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(20):
    x = torch.randn(32, 8)
    loss = nn.functional.cross_entropy(net(x), x[:, :3].argmax(1))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
