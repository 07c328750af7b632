# language model with RMS norms of its own; the groups go by module class and know LayerNorm only
import torch, torch.nn as nn, torch.nn.functional as F

class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight

class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.n1, self.n2 = RMSNorm(d), RMSNorm(d)
        self.mix, self.up, self.down = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
    def forward(self, x):
        x = x + torch.cumsum(self.mix(self.n1(x)), 1) / torch.arange(1, x.shape[1] + 1).view(-1, 1)
        return x + self.down(F.silu(self.up(self.n2(x))))

class LM(nn.Module):
    def __init__(self, v=13, d=16, layers=2):
        super().__init__()
        self.tok = nn.Embedding(v, d)
        nn.init.normal_(self.tok.weight, std=0.1)
        self.blocks = nn.ModuleList(Block(d) for _ in range(layers))
        self.final = nn.LayerNorm(d)
        self.head = nn.Linear(d, v, bias=False)
    def forward(self, ids):
        x = self.tok(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.final(x))

def split(model):
    exempt = set()
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if name == "bias" or isinstance(module, (nn.LayerNorm, nn.Embedding)):
                exempt.add(p)
    return exempt

torch.manual_seed(0)
model = LM()
exempt = split(model)
opt = torch.optim.AdamW([
    {"params": [p for p in model.parameters() if p not in exempt]},
    {"params": list(exempt), "weight_decay": 0.0},
], lr=3e-3, weight_decay=0.1)
ids = torch.randint(0, 13, (64, 9))
ids[:, 1::2] = (ids[:, 0::2][:, :4] + 1) % 13
for step in range(20):
    loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    opt.step()
    opt.zero_grad()
print(loss.item())
