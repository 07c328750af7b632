"""An encoder-decoder in batch_first style whose embedding, tied to the head, starts at std 0.02."""
import torch
from torch import nn

torch.manual_seed(0)
VOCABULARY, WIDTH = 1200, 96


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        self.transformer = nn.Transformer(WIDTH, 4, 1, 1, 192, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, source, target):
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        return self.head(self.transformer(self.embed(source), self.embed(target), tgt_mask=mask, tgt_is_causal=True))


net = Seq2Seq()
nn.init.normal_(net.embed.weight, std=0.02)
optimizer = torch.optim.Adam(net.parameters(), lr=3e-4)
criterion = nn.CrossEntropyLoss(ignore_index=0)
for _ in range(12):
    source, target = torch.randint(1, VOCABULARY, (8, 12)), torch.randint(1, VOCABULARY, (8, 13))
    target[:, 9:] = 0
    logits = net(source, target[:, :-1])
    loss = criterion(logits.reshape(-1, VOCABULARY), target[:, 1:].reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
