"""Weight decay in groups, by rules that leave some norm weights or biases in: all of them sound."""
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 6, 3), nn.GroupNorm(2, 6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.norm(self.backbone(x).mean((2, 3))))


def one_group_a_parameter(net):
    """As detection code did for years: biases learn twice as fast and do not decay, everything else does, norm weights too."""
    return [
        {"params": [p], "lr": 0.04 if "bias" in n else 0.02, "weight_decay": 0 if "bias" in n else 1e-4}
        for n, p in net.named_parameters()
    ]


def by_part(net):
    """The backbone decays as a whole; the new head and its norm do not decay at all."""
    return [{"params": net.backbone.parameters(), "weight_decay": 1e-2}, {"params": [*net.norm.parameters(), *net.head.parameters()]}]


def head_with_care(net):
    """A backbone at its own small rate, all of it decaying; in the head, norms and biases are exempt."""
    new = [*net.norm.named_parameters(), *net.head.named_parameters()]
    return [
        {"params": net.backbone.parameters(), "lr": 1e-3, "weight_decay": 1e-2},
        {"params": [p for _, p in new if p.ndim > 1], "weight_decay": 1e-2},
        {"params": [p for _, p in new if p.ndim < 2]},
    ]


def norms_only(net):
    """torchvision's norm_weight_decay=0: norms are exempt, biases of layers are not."""
    norms = [p for m in net.modules() if isinstance(m, (nn.GroupNorm, nn.BatchNorm2d, nn.LayerNorm)) for p in m.parameters()]
    held = set(norms)
    return [{"params": [p for p in net.parameters() if p not in held], "weight_decay": 1e-4}, {"params": norms}]


torch.manual_seed(0)
images = torch.randn(48, 1, 8, 8)
labels = (images.mean((1, 2, 3)) * 9).round().clamp(-1, 1).long() + 1
for rule in (one_group_a_parameter, by_part, head_with_care, norms_only):
    net = Net()
    optimizer = torch.optim.SGD(rule(net), lr=0.02, momentum=0.9)
    for _ in range(8):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
    print(loss.item().hex())
