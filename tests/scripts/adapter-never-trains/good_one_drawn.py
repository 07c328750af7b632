# attention with adapters on query and value, one factor drawn, one zero
import math
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(3)
D, V, T = 16, 11, 8

class LoRA(nn.Module):
    def __init__(self, d_in, d_out, r=2, alpha=4):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_out, d_in), requires_grad=False)
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.lora_A = nn.Parameter(torch.randn(r, d_in) / r)
        self.lora_B = nn.Parameter(torch.zeros(d_out, r))
        self.scaling = alpha / r

    def forward(self, x):
        return F.linear(x, self.weight) + self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, D)
        self.q, self.k, self.v = LoRA(D, D), nn.Linear(D, D), LoRA(D, D)
        self.out = nn.Linear(D, V)
        for p in [*self.emb.parameters(), *self.k.parameters()]:
            p.requires_grad_(False)

    def forward(self, ids):
        h = self.emb(ids)
        a = F.scaled_dot_product_attention(self.q(h), self.k(h), self.v(h), is_causal=True)
        return self.out(h + a)

model = Model()
opt = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.5, momentum=0.9)
for step in range(25):
    ids = torch.randint(0, V, (16, T + 1))
    logits = model(ids[:, :-1])
    loss = F.cross_entropy(logits.reshape(-1, V), ids[:, :-1].flip(1).reshape(-1))
    opt.zero_grad()
    loss.backward()
    opt.step()
print(loss.item())
