"""A compiled model with a checkpoint and dropout inside: the compiler does the recomputation."""
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.body, self.head = nn.Linear(8, 16), nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.Dropout(0.2)), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(checkpoint(self.body, self.enter(x), use_reentrant=False))


torch.manual_seed(0)
net = Net()
compiled = torch.compile(net, backend="aot_eager")
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
for _ in range(6):
    x = torch.randn(16, 8)
    loss = nn.functional.cross_entropy(compiled(x), x[:, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
print(torch._dynamo.utils.counters["stats"]["unique_graphs"])
