"""The comparison with the authors' code, as far as it goes without that code."""

import numpy as np
import pytest

from reference import published


def test_the_worst_array_counts_and_zeros_do_not():
    ours = [np.ones((2, 1)), np.array([0.0, 4.0]), np.array([3e-15])]
    theirs = [np.ones(2), np.array([1.0, 4.0]), np.array([-3e-15])]
    assert published.difference(ours, theirs) == 0.25


@pytest.mark.parametrize("side", [0, 1])
def test_what_is_no_number_shows(side):
    sides = [[np.ones(2), np.ones(2)], [np.ones(2), np.ones(2)]]
    sides[side][1] = np.array([1.0, np.nan])
    assert np.isnan(published.difference(*sides))


def test_as_many_arrays_on_both_sides():
    with pytest.raises(ValueError, match="argument 2 is longer"):
        published.difference([np.ones(2)], [np.ones(2), np.ones(2)])


def test_classes_of_a_script_that_cannot_be_imported(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import a_package_that_is_not_there\n"
        "class Half(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return F.relu(x) / two()\n"
        "def two():\n"
        "    return 2\n"
        "raise SystemExit\n"
    )
    assert published.classes(script)["Half"]()(published.torch.tensor(3.0)) == 1.5


def test_a_folder_without_their_code_is_named(tmp_path):
    with pytest.raises(SystemExit, match="has no logs/.*; clone https://github.com"):
        published.main([str(tmp_path)])
