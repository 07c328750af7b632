"""Translation with nn.Transformer, positions first, all of its masks given."""

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD, BEGIN, END = 0, 1, 2


def collate(pairs):
    def padded(rows):
        return pad_sequence([torch.cat([torch.tensor([BEGIN]), row, torch.tensor([END])]) for row in rows], padding_value=PAD)

    return padded([source for source, _ in pairs]), padded([target for _, target in pairs])


class Translator(nn.Module):
    def __init__(self, vocabulary=30, width=32):
        super().__init__()
        self.source = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.target = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.place = nn.Parameter(torch.randn(20, 1, width) * 0.02)
        self.transformer = nn.Transformer(width, 4, 1, 1, 64)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, source, target):
        hidden = (source == PAD).T
        read = self.transformer(
            self.source(source) + self.place[: len(source)],
            self.target(target) + self.place[: len(target)],
            tgt_mask=self.transformer.generate_square_subsequent_mask(len(target)),
            src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
        )
        return self.out(read)


def main():
    torch.manual_seed(0)
    lengths = torch.randint(3, 11, (64,)).tolist()
    pairs = [(torch.randint(3, 30, (length,)), torch.randint(3, 30, (length + 1,))) for length in lengths]
    model = Translator()
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        for source, target in DataLoader(pairs, batch_size=16, shuffle=True, collate_fn=collate):
            logits = model(source, target[:-1])
            loss = criterion(logits.reshape(-1, logits.shape[-1]), target[1:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
