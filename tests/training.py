"""A small training run with all that has a memory, to be stopped and resumed.

It needs nothing but tinytl, so that another process can start it quickly.
"""

import numpy as np

import tinytl
from tinytl import Tensor, nn, optim
from tinytl import functional as F

DATA = np.random.default_rng(42)
IMAGES = DATA.standard_normal((37, 1, 8, 8)).astype(np.float32)
CLASSES = DATA.integers(0, 3, 37)


def sgd_and_cosine(parameters):
    opt = optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)
    return opt, optim.CosineAnnealingLR(opt, 6)


def adam_and_warm_up(parameters):
    opt = optim.Adam(parameters, lr=0.01, amsgrad=True)
    parts = [optim.LinearLR(opt, 0.1, 1.0, 2), optim.CosineAnnealingLR(opt, 4)]
    return opt, optim.SequentialLR(opt, parts, [2])


class Training:
    """Batch norm, dropout, shuffling, momentum, a schedule: all that has a memory."""

    def __init__(self, make, seed, dtype):
        rng = np.random.default_rng(seed)
        self.shuffling = np.random.default_rng(seed + 1)
        self.model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, generator=rng, dtype=dtype),
            nn.BatchNorm2d(4, dtype=dtype),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3, generator=rng),
            nn.Linear(64, 3, generator=rng, dtype=dtype),
        )
        self.optimizer, self.scheduler = make(self.model.parameters())
        self.losses = []
        self.dtype = dtype

    def parts(self):
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "generator": self.shuffling,
        }

    def epochs(self, count):
        for _ in range(count):
            order = self.shuffling.permutation(len(IMAGES))
            for batch in np.array_split(order, 3):
                x = Tensor(IMAGES[batch].astype(self.dtype))
                loss = F.cross_entropy(self.model(x), Tensor(CLASSES[batch]))
                parameters = list(self.model.parameters())
                self.optimizer.step(tinytl.grad(loss, parameters))
                self.losses.append(loss.item())
            self.scheduler.step()
