# run: torchrun 2
"""A classifier on two ranks; the loop calls the wrapper."""
import argparse

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def train(model, loader, sampler, optimizer, epochs):
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    inputs = torch.randn(256, 10)
    data = TensorDataset(inputs, inputs[:, :4].argmax(1))
    sampler = DistributedSampler(data)
    model = DDP(nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4)))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    train(model, DataLoader(data, batch_size=32, sampler=sampler), sampler, optimizer, args.epochs)


if __name__ == "__main__":
    main()
