import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.body = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 50)

    def forward(self, tokens, targets):
        logits = self.head(self.body(self.embed(tokens)))
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


torch.manual_seed(0)
net = Net()
compiled = torch.compile(net, fullgraph=True)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
for _ in range(10):
    tokens = torch.randint(0, 50, (4, 9))
    loss = compiled(tokens[:, :-1], tokens[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
print(torch._dynamo.utils.counters["stats"]["unique_graphs"])
