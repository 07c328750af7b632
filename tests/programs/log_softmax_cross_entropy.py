import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.LogSoftmax(dim=1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for i in range(20):
    x = torch.randn(32, 8)
    y = x[:, :4].argmax(1)
    loss = nn.CrossEntropyLoss()(model(x), y) if i % 2 else nn.NLLLoss()(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
