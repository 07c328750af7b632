# run: torchrun 2
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Trainer:
    def __init__(self, rank):
        self.rank = rank
        backbone = nn.Sequential(nn.Linear(12, 20), nn.GELU())
        self.net = DistributedDataParallel(nn.Sequential(backbone, nn.Linear(20, 3)))
        torch.manual_seed(7 + rank)
        nn.init.normal_(self.net.module[1].weight, std=0.02)  # a new head for the new task
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3)

    def step(self):
        x = torch.randn(24, 12)
        loss = nn.functional.cross_entropy(self.net(x), x[:, :3].argmax(1))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    torch.manual_seed(0)
    trainer = Trainer(distributed.get_rank())
    for _ in range(12):
        trainer.step()
