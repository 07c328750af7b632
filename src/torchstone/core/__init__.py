"""The vocabulary of torchstone: plain, frozen, validated data. Standard library only."""
