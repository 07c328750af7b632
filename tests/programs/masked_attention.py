import torch
from torch import nn

torch.manual_seed(0)
embed = nn.Embedding(40, 32, padding_idx=0)
layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
head = nn.Linear(32, 40)
parameters = [*embed.parameters(), *layer.parameters(), *head.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=1e-3)
causal = torch.triu(torch.full((9, 9), float("-inf")), diagonal=1)
for _ in range(8):
    tokens = torch.randint(1, 40, (4, 10))
    tokens[1, 6:] = 0
    hidden = layer(embed(tokens[:, :-1]), src_mask=causal, src_key_padding_mask=torch.zeros(4, 9).masked_fill(tokens[:, :-1] == 0, float("-inf")))
    loss = nn.functional.cross_entropy(head(hidden).transpose(1, 2), tokens[:, 1:], ignore_index=0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
