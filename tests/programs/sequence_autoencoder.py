import torch
from torch import nn


class Sentences(nn.Module):
    """One code for a sentence, read both ways; a decoder that runs forward. Both read the same embedded tokens."""

    def __init__(self, vocabulary=30, width=32):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.encoder = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True)
        self.mean, self.log_variance, self.start = nn.Linear(width, 8), nn.Linear(width, 8), nn.Linear(8, width)
        self.decoder = nn.GRU(2 * width, width, batch_first=True)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, ids):
        tokens = self.embed(ids)
        code = self.encoder(tokens).mean(1)
        mean, log_variance = self.mean(code), self.log_variance(code)
        drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        start = self.start(drawn).unsqueeze(1).expand_as(tokens)
        states, _ = self.decoder(torch.cat([tokens, start], dim=-1))
        return self.out(states), mean, log_variance


torch.manual_seed(0)
model = Sentences()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(8):
    ids = torch.randint(0, 30, (16, 9))
    logits, mean, log_variance = model(ids[:, :-1])
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()) + 0.1 * divergence
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
