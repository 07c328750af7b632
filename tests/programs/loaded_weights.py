import tempfile

import torch
from torch import nn

torch.manual_seed(0)
teacher = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 20))
with torch.no_grad():
    teacher[2].weight.mul_(60)
with tempfile.NamedTemporaryFile(suffix=".pt") as file:
    torch.save(teacher.state_dict(), file.name)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 20))
    model.load_state_dict(torch.load(file.name, weights_only=True))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
for _ in range(6):
    x = torch.randn(32, 8)
    loss = nn.functional.cross_entropy(model(x), torch.randint(0, 20, (32,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
