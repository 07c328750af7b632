"""nn.TransformerEncoder on padded sequences, a window of 20 to both sides given as src_mask."""

import argparse

import torch
from torch import nn


def window_mask(length, window):
    distance = (torch.arange(length)[None, :] - torch.arange(length)[:, None]).abs()
    return distance > window  # True = not allowed, as nn.Transformer wants it


class Tagger(nn.Module):
    def __init__(self, vocabulary, classes, window):
        super().__init__()
        self.window = window
        self.embed = nn.Embedding(vocabulary, 32, padding_idx=0)
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, classes)

    def forward(self, tokens):
        mask = window_mask(tokens.shape[1], self.window)
        x = self.encoder(self.embed(tokens), mask=mask, src_key_padding_mask=tokens == 0)
        return self.head(x)


def batches(count, length):
    for _ in range(count):
        tokens = torch.randint(1, 30, (2, length))
        labels = (tokens + tokens.roll(1, 1)) % 5
        tokens[1, -60:] = 0
        yield tokens, labels.masked_fill(tokens == 0, -100)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--length", type=int, default=600)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = Tagger(30, 5, window=20)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for tokens, labels in batches(args.steps, args.length):
        loss = criterion(model(tokens).transpose(1, 2), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
