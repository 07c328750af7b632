import torch
from torch import nn

VOCABULARY, MASK = 60, 1


class Encoder(nn.Module):
    """Reads both ways, on purpose: it fills in the words that were taken out."""

    def __init__(self, width=32):
        super().__init__()
        self.embed, self.place = nn.Embedding(VOCABULARY, width, padding_idx=0), nn.Embedding(20, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, ids, attention_mask):
        x = self.embed(ids) + self.place(torch.arange(ids.size(1)))
        return self.head(self.encoder(x, src_key_padding_mask=attention_mask == 0))


torch.manual_seed(0)
model = Encoder()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(8):
    mask = (torch.arange(20) < torch.randint(8, 21, (8, 1))).long()
    ids = torch.randint(2, VOCABULARY, (8, 20)) * mask
    chosen = (torch.rand(8, 20) < 0.3) & (mask == 1)
    logits = model(ids.masked_fill(chosen, MASK), mask)
    loss = nn.functional.cross_entropy(logits.view(-1, VOCABULARY), ids.masked_fill(~chosen, -100).view(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
