import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
inputs = torch.randn(128, 8)
labels = inputs[:, :3].argmax(1)
for epoch in range(4):
    for i in range(0, 128, 32):
        loss = nn.functional.cross_entropy(model(inputs[i : i + 32]), labels[i : i + 32])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item().hex())
    model.eval()
    with torch.no_grad():
        print((model(inputs).argmax(1) == labels).float().mean().item())
    model.train()
print(torch.rand(3).tolist())
