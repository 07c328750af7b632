import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

class LoRALinear(nn.Module):
    def __init__(self, base, rank=2):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features) / rank)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T

torch.manual_seed(0)
layer, head = LoRALinear(nn.Linear(8, 16)), nn.Linear(16, 4)
optimizer = torch.optim.Adam([layer.lora_A, layer.lora_B, *head.parameters()], lr=1e-2)
for x in torch.randn(30, 64, 8):
    optimizer.zero_grad()
    nn.functional.cross_entropy(head(checkpoint(layer, x, use_reentrant=False)), x[:, :4].argmax(1)).backward()
    optimizer.step()
