"""Documents packed into one sequence: block-diagonal causal masks with holes, padding, and a linear bias of positions."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
LENGTH, DIM, HEADS = 512, 16, 2
embed, project, head = nn.Embedding(20, DIM), nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, 20)
optimizer = torch.optim.Adam([*embed.parameters(), *project.parameters(), *head.parameters()], lr=1e-2)
ends = torch.tensor([40, 75, 130, 180, 210, 260, 300, 350, 400, 455, 512])
document = torch.bucketize(torch.arange(LENGTH), ends, right=True)
place = torch.arange(LENGTH)
causal = place[:, None] >= place
packed = (document[:, None] == document) & causal
slopes = torch.tensor([0.5, 0.25])[:, None, None]
alibi = (-slopes * (place[:, None] - place)).masked_fill(~causal, float("-inf"))
strided = causal & ((place[:, None] - place) % 32 == 0) | (place[:, None] - place).abs().le(4) & causal


def attend(x, mask):
    q, k, v = project(x).view(1, LENGTH, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


for step in range(4):
    tokens = torch.randint(20, (1, LENGTH + 1))
    x = embed(tokens[:, :-1])
    for mask in (packed, alibi, strided):
        x = x + attend(x, mask)
    loss = F.cross_entropy(head(x).flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item().hex())
