"""The published network on official images, where these files are.

They are not part of the repository. Set TINYTL_DATA to a folder that holds
model_best.pth.tar (of ``python -m tinytl.data l2t-source``) and the archive of CIFAR-10
to run these tests; they are skipped otherwise, and say so.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from twins import distance

from reference.torch import networks
from tinytl import Tensor, no_grad
from tinytl.data import cifar10, imagenet_scale
from tinytl.models import count_parameters, load_source

FOLDER = Path(os.environ.get("TINYTL_DATA", "absent"))
NETWORKS = sorted(FOLDER.glob("*.pth.tar")) + sorted(FOLDER.glob("*resnet32*.safet*"))
CIFAR10 = sorted(FOLDER.glob("cifar-10-binary*.tar.gz"))

pytestmark = pytest.mark.skipif(
    not (NETWORKS and CIFAR10),
    reason="TINYTL_DATA names no folder with L2T-ww's source network and CIFAR-10",
)


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.name)
def test_features_of_the_first_official_image(path):
    # The numbers were computed with PyTorch in float32.
    net, result = load_source(path)
    assert count_parameters(net) == 479_272
    assert len(result.loaded) == 201
    assert result.complete
    x = imagenet_scale(cifar10("train", CIFAR10[0]).images[:1])
    with no_grad():
        scores, maps = net.forward_with_features(Tensor(x))
    pooled = maps[14].data.mean((2, 3))[0]
    first = [0.53361523, 0.18504749, 1.6415622, 0.840718, 0.9709431, 0.28603587]
    np.testing.assert_allclose(pooled[:6], first, rtol=1e-5)
    assert abs(pooled.sum() - 72.850784) < 1e-3
    assert scores.data.argmax() == 5
    assert abs(scores.data.max() - 9.338469) < 1e-4


def test_all_features_on_real_images_equal_pytorchs():
    net, _ = load_source(NETWORKS[0])
    twin = networks.resnet32(200).eval()
    state = {k: torch.tensor(np.array(v.data)) for k, v in net.state_dict().items()}
    twin.load_state_dict(state)
    x = imagenet_scale(cifar10("train", CIFAR10[0]).images[:32])
    with no_grad(), torch.no_grad():
        _, ours = net.forward_with_features(Tensor(x))
        _, theirs = twin.forward_with_features(torch.tensor(x))
    assert len(ours) == len(theirs) == 15
    for a, b in zip(ours, theirs, strict=True):
        assert distance(a.data, b.numpy()) < 1e-5
