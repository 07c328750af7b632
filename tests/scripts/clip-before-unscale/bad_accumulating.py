"""A trainer with accumulation, a smaller scale and clipping too early."""
import torch
from torch import nn
from torch.amp import GradScaler


class Trainer:
    def __init__(self, model, lr, clip):
        self.model, self.clip = model, clip
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        self.scaler = GradScaler("cpu", init_scale=2.0**12)

    def update(self, batches):
        for x, y in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = nn.functional.mse_loss(self.model(x).float(), y) / len(batches)
            self.scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def batch():
    x = torch.randn(16, 8)
    return x, 3 * x[:, :1] - x[:, 1:2]


torch.manual_seed(4)
trainer = Trainer(nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1)), 0.02, 1.0)
for _ in range(25):
    trainer.update([batch() for _ in range(3)])
