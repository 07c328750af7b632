import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
V, T, H, Z = 12, 10, 32, 8
table = torch.randint(2, V, (V, 3))   # successors


def sentences(count):
    rows = [torch.randint(2, V, (count,))]
    for _ in range(T - 1):
        rows.append(table[rows[-1], torch.randint(0, 3, (count,))])
    return torch.stack(rows, 1)


class TextVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(V, H)
        self.encoder = nn.LSTM(H, H, batch_first=True)
        self.to_mean, self.to_logvar = nn.Linear(H, Z), nn.Linear(H, Z)
        self.to_hidden = nn.Linear(Z, H)
        self.decoder = nn.LSTM(H, H, batch_first=True)
        self.head = nn.Linear(H, V)

    def forward(self, tokens):
        _, (hidden, _) = self.encoder(self.embedding(tokens))
        mean, logvar = self.to_mean(hidden[-1]), self.to_logvar(hidden[-1])
        z = torch.randn_like(mean) * torch.exp(0.5 * logvar) + mean
        start = torch.tanh(self.to_hidden(z)).unsqueeze(0)
        shifted = torch.cat([torch.ones_like(tokens[:, :1]), tokens[:, :-1]], dim=1)
        out, _ = self.decoder(self.embedding(shifted), (start, torch.zeros_like(start)))
        return self.head(out), mean, logvar


model = TextVAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(200):
    tokens = sentences(32)
    logits, mean, logvar = model(tokens)
    nll = F.cross_entropy(logits.reshape(-1, V), tokens.reshape(-1), reduction="sum") / len(tokens)
    by_latent = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).mean(0)
    kl = by_latent.clamp(min=0.7).sum()  # free bits
    loss = nll + kl
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
