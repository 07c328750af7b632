"""The summarizer with one mistake: its embeddings are drawn from N(0, 1).

A vector of 256 such numbers has length 16; the decoder's last LayerNorm gives the head vectors
just as long; and the head is the word embedding again. So the first logits spread by 16 where
they should be near zero, and that of the word just read, which the residual stream still carries,
is near 150. The model is sure that every word comes twice: its loss begins near 150 (163 without
dropout), where one that knows nothing should have ln(8000) = 9.0. From there it falls fast, which
looks like learning, but is only the way back to where a good start would have begun.

All else is summarizer.py: the same data, the same random numbers, only 50 times as large.
"""

from torch import nn

from summarizer import Summarizer, main


def initialize(model: Summarizer) -> None:
    """The mistake: 1.0 where summarizer.py has 0.02."""
    nn.init.normal_(model.embed.weight, std=1.0)
    nn.init.normal_(model.position.weight, std=1.0)


if __name__ == "__main__":
    main(initialize)
