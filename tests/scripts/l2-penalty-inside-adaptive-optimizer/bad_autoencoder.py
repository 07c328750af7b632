# residual autoencoder, argparse, DataLoader, a schedule; matrices and vectors in groups of their own
import argparse
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=2e-3)
parser.add_argument("--weight-decay", type=float, default=0.1)
parser.add_argument("--epochs", type=int, default=5)
args = parser.parse_args()

class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
    def forward(self, x):
        return x + 0.3 * self.inner(x)

torch.manual_seed(2)
model = nn.Sequential(nn.Linear(16, 48), Residual(48), Residual(48), nn.Linear(48, 16))
decay = [p for p in model.parameters() if p.ndim >= 2]
rest = [p for p in model.parameters() if p.ndim < 2]
optimizer = torch.optim.Adam(
    [{"params": decay, "weight_decay": args.weight_decay}, {"params": rest, "weight_decay": 0.0}], lr=args.lr, betas=(0.9, 0.95),
)
data = torch.randn(512, 4) @ torch.randn(4, 16) / 4
loader = DataLoader(TensorDataset(data), batch_size=32, shuffle=True)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(loader))
for epoch in range(args.epochs):
    for (x,) in loader:
        loss = ((model(x) - x) ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
    print(epoch, loss.item())
