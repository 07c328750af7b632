import torch
from torch import nn

torch.manual_seed(0)
layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
model = nn.Sequential(layer, nn.Linear(16, 4))
no_decay = ["bias", "LayerNorm.weight"]
named = list(model.named_parameters())
groups = [
    {"params": [p for n, p in named if not any(word in n for word in no_decay)], "weight_decay": 0.01},
    {"params": [p for n, p in named if any(word in n for word in no_decay)], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=1e-3)
for x in torch.randn(20, 8, 5, 16):
    optimizer.zero_grad()
    logits = model(x)[:, 0]
    nn.functional.cross_entropy(logits, x[:, 0, :4].argmax(1)).backward()
    optimizer.step()
