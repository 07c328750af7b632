import torch
from torch import nn

PREFIX, LENGTH = 5, 14
torch.manual_seed(0)
# The prefix is read both ways and not predicted; what follows it is read forward.
hidden = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
hidden[:PREFIX, :PREFIX] = False


class PrefixModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(25, 32)
        self.layers = nn.ModuleList(nn.MultiheadAttention(32, 4, batch_first=True) for _ in range(2))
        self.head = nn.Linear(32, 25)

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = x + layer(x, x, x, attn_mask=hidden)[0]
        return self.head(x)


model = PrefixModel()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(8):
    ids = torch.randint(0, 25, (8, LENGTH + 1))
    targets = ids[:, 1:].clone()
    targets[:, : PREFIX - 1] = -100
    loss = nn.functional.cross_entropy(model(ids[:, :-1]).transpose(1, 2), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
