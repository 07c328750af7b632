"""A small language model with a validation loss; validation leaves it in evaluation mode."""
import torch
from torch import nn
import torch.nn.functional as F


class Model(nn.Module):
    def __init__(self, vocabulary=20, width=24):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.block = nn.TransformerEncoderLayer(width, 2, 48, dropout=0.1, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.block(self.embed(tokens), src_mask=mask, is_causal=True))


def loss_of(model, tokens):
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def draw(rows):
    start = torch.randint(20, (rows, 1))
    return (start + 3 * torch.arange(9)) % 20


@torch.no_grad()
def validate(model, batches=3):
    model.eval()
    losses = [loss_of(model, draw(8)) for _ in range(batches)]
    return torch.stack(losses).mean()


def main():
    torch.manual_seed(1)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(36):
        if step and step % 9 == 0:
            validate(model)
        optimizer.zero_grad()
        loss_of(model, draw(16)).backward()
        optimizer.step()


main()
