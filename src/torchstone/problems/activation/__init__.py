"""Questions about softmax (A1, B2), steps (B1), the tanh twin (B3) and LogLU (A6)."""
