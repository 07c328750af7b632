"""A window as a mask where it costs nothing: few positions, a window of most of them, short sequences in a long batch."""

import torch
from torch import nn

torch.manual_seed(0)


def window(length, left, right):
    back = torch.arange(length)[:, None] - torch.arange(length)
    return (back > left) | (back < -right)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16, padding_idx=0)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True), 1, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens, mask):
        hidden = self.encoder(self.embed(tokens), mask=mask, src_key_padding_mask=tokens == 0)
        kept = (tokens != 0).unsqueeze(-1)
        return self.head((hidden * kept).sum(1) / kept.sum(1))


model = Reader()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
masks = {128: window(128, 8, 8), 512: window(512, 200, 200), 640: window(640, 640, 0)}
for step, (length, mask) in enumerate(list(masks.items()) * 2):
    tokens = torch.randint(1, 30, (4, length))
    labels = tokens[:, 0] % 3
    tokens[:, length // 4 :] = 0
    loss = nn.functional.cross_entropy(model(tokens, mask), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, length, loss.item().hex())
