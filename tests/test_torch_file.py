"""Files of torch.save, as torch itself writes them; and pickles that mean harm."""

import collections
import io
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinytl import Tensor
from tinytl.persistence import load_torch, pickles
from tinytl.persistence.pickles import check_tree, read_pickle
from tinytl.persistence.torch_file import MAGIC

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def saved(value, zipped, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped, **options)
    return buffer.getvalue()


@pytest.fixture
def load(tmp_path):
    """Load bytes as a file."""

    def run(content):
        path = tmp_path / "file.pt"
        path.write_bytes(content)
        return load_torch(path)

    return run


def same(ours, theirs):
    """Both trees are equal: types, order, dtypes and values."""
    if isinstance(theirs, torch.Tensor):
        expected = theirs.detach()
        if expected.dtype in (torch.float16, torch.bfloat16):
            expected = expected.float()
        assert type(ours) is Tensor
        assert ours.dtype == expected.numpy().dtype
        np.testing.assert_array_equal(ours.data, expected.numpy())
    elif isinstance(theirs, dict):
        assert type(ours) is dict
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert type(ours) is type(theirs)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


# -- what torch writes -----------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    ],
)
def test_all_dtypes(load, zipped, dtype):
    x = (torch.randn(3, 4, generator=torch.manual_seed(0)) * 50).to(dtype)
    same(load(saved(x, zipped)), x)


@FORMATS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_checkpoint_of_a_model_and_its_optimiser(load, zipped, protocol):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten()
    )
    opt = torch.optim.Adam(net.parameters(), lr=0.1)
    net(torch.randn(4, 2, 5, 5)).sum().backward()
    opt.step()
    value = {
        "epoch": 7,
        "best": 49.27,
        "name": "größer",
        "large": -(2**70),
        "none": [None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "model": net.state_dict(),
        "optimiser": opt.state_dict(),
        "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
        3: {"int": "key", 2.5: None},
    }
    same(load(saved(value, zipped, pickle_protocol=protocol)), value)


@FORMATS
def test_views_strides_and_shared_memory(load, zipped):
    base = torch.arange(24.0)
    value = {
        "transposed": base.reshape(4, 6).t(),
        "part": base[5:9],
        "steps": base[::5],
        "columns": base.reshape(2, 3, 4)[:, 1:, ::2],
        "scalar": base[3],
        "empty": torch.zeros(0, 3),
        "empty view": base[24:],
        "parameter": torch.nn.Parameter(base.reshape(6, 4)[2:]),
    }
    found = load(saved(value, zipped))
    same(found, value)
    assert np.shares_memory(found["part"].data, found["steps"].data)
    assert not found["part"].data.flags.writeable


@FORMATS
def test_a_parameter_among_others(load, zipped):
    x = torch.nn.Parameter(torch.randn(3))
    found = load(saved([x, x], zipped))
    same(found, [x, x])
    assert found[0] is found[1]


def test_expanded_tensors_are_refused(load):
    with pytest.raises(ValueError, match=r"size \(1000, 1000\).*expand"):
        load(saved(torch.ones(1, 1).expand(1000, 1000), True))


@FORMATS
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.nn.Linear(2, 2), r"names 'torch\.nn\.modules\.linear\.Linear'"),
        (np.float64(3), r"names 'numpy\._?core\.multiarray\.scalar'"),
        ({1, 2}, r"names '\w+\.set'|none that describes"),
        (torch.complex(torch.ones(2), torch.ones(2)), "ComplexFloatStorage"),
        (torch.float32, r"names 'torch\.float32'|names"),
        ({(1, 2): 3}, "has a tuple as a key"),
        (torch.ones(2).to_sparse(), "_rebuild_sparse_tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_plain_data_is_named(load, zipped, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(saved(value, zipped))
    assert "Nothing was loaded" in str(caught.value)
    assert "state_dict" in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # torch's own, about torch.jit
def test_other_files_are_explained(load, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_torch(tmp_path / "absent.pt")
    for content in (b"", b"text", b"\x93NUMPY", bytes(1000)):
        with pytest.raises(ValueError, match="no torch file: it begins with"):
            load(content)
    with pytest.raises(ValueError, match="not one that torch wrote"):
        load(pickle.dumps({"a": 1}))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), buffer)
    with pytest.raises(ValueError, match="TorchScript|compressed"):
        load(buffer.getvalue())
    with pytest.raises(ValueError, match="not one of torch"):
        load(zip_of([("a.txt", b"x")]))


def plain_or_refused(path):
    """Whether a file is loaded, or refused by a ValueError of ours."""
    try:
        load_torch(path)
    except ValueError as error:
        return "Nothing was loaded" in str(error)
    return True


# -- damage ----------------------------------------------------------------------------

SMALL = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3), "e": [1, "x"]}


@FORMATS
def test_files_cut_short_anywhere(load, zipped):
    content = saved(SMALL, zipped)
    for end in range(0, len(content), 11 if zipped else 2):
        with pytest.raises(ValueError, match="Nothing was loaded"):
            load(content[:end])
    with pytest.raises(ValueError, match="goes on for 1 bytes"):
        load(saved(SMALL, False) + b"x")


@FORMATS
def test_files_with_a_changed_bit(load, zipped):
    """A ValueError, or plain data of about the same size: nothing else."""
    content = saved(SMALL, zipped)
    refused = 0
    for place in range(0, len(content), 7 if zipped else 2):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        try:
            found = load(bytes(flipped))
        except ValueError:
            refused += 1
        else:
            assert isinstance(found, dict | list | tuple | str | int | type(None))
    assert refused > 0.2 * len(content) / (7 if zipped else 2)


def test_a_changed_bit_in_the_numbers_of_a_zip_is_noticed(load):
    content = saved(SMALL, True)
    place = content.index(struct.pack("<f", 5.0))
    flipped = bytearray(content)
    flipped[place] ^= 1
    with pytest.raises(ValueError, match="CRC"):
        load(bytes(flipped))


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8),
    st.booleans(),
)
def test_files_with_several_changed_bytes(tmp_path_factory, changes, zipped):
    content = bytearray(saved(SMALL, zipped))
    for place, byte in changes:
        content[place % len(content)] = byte
    path = tmp_path_factory.mktemp("torch") / "file.pt"
    path.write_bytes(content)
    assert plain_or_refused(path)


# -- harm ------------------------------------------------------------------------------


def zip_of(files, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_around(body, storages=(), **more):
    files = [("a/data.pkl", body)]
    files += [(f"a/data/{key}", content) for key, content in storages]
    return zip_of([*files, *more.items()])


def legacy_around(body, storages=()):
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    content = b"".join(pickle.dumps(x, 2) for x in (MAGIC, 1001, system)) + body
    content += pickle.dumps([key for key, _ in storages], 2)
    for _, numbers in storages:
        content += struct.pack("<q", len(numbers) // 4) + numbers
    return content


AROUND = pytest.mark.parametrize("around", [zip_around, legacy_around])


class Reduced:
    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


def harmful(marker):
    """Pickles that run something when they are read with pickle: each makes a file."""
    code = f"open({str(marker)!r}, 'w').close()"
    touch = f"touch {marker}".encode()
    text = struct.pack("<I", len(touch)) + touch
    return {
        "os.system": b"\x80\2cos\nsystem\nX" + text + b"\x85R.",
        "posix": b"\x80\2cposix\nsystem\nX" + text + b"\x85R.",
        "stack_global": b"\x80\4\x8c\2os\x8c\6system\x93X" + text + b"\x85R.",
        "eval": pickle.dumps(Reduced(eval, (code,)), 2),
        "exec": pickle.dumps(Reduced(exec, (code,)), 4),
        "inst": b"(X" + text + b"ios\nsystem\n.",
        "obj": b"(cos\nsystem\nX" + text + b"o.",
        "newobj": b"\x80\2cos\nsystem\nX" + text + b"\x85\x81.",
        "dotted": b"\x80\4\x8c\x05torch\x8c\x09os.system\x93X" + text + b"\x85R.",
        "extension": b"\x80\2\x82\1X" + text + b"\x85R.",
    }


@AROUND
@pytest.mark.parametrize("name", harmful("x"))
def test_nothing_is_executed(load, tmp_path, around, name):
    marker = tmp_path / "executed"
    body = harmful(marker)[name]
    if name in ("os.system", "posix", "stack_global", "eval", "exec", "inst", "obj"):
        pickle.loads(body)  # the danger is real
        assert marker.exists()
        marker.unlink()
    with pytest.raises(ValueError, match="refused"):
        load(around(body))
    assert not marker.exists()


@AROUND
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("collections", "OrderedDict.__init__"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch", "load"),
        ("numpy", "memmap"),
        ("tinytl.persistence.torch_file", "load_torch"),
    ],
)
def test_names_are_never_looked_up(load, around, module, name):
    body = f"\x80\2c{module}\n{name}\n.".encode("latin1")
    with pytest.raises(ValueError, match=f"it names '{module}.{name}', which is ref"):
        load(around(body))


@AROUND
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"ccollections\nOrderedDict\n.", "holds a collections.OrderedDict"),
        (b"ctorch\nFloatStorage\n)R.", "a call of a torch.FloatStorage is refused"),
        (b"K\1)R.", "a call of a int is refused"),
        (b"ccollections\nOrderedDict\nK\1R.", "arguments .* are a int"),
        (b"ccollections\nOrderedDict\n](KaKbe\x85R.", "with arguments"),
        (b"ccollections\nOrderedDict\n}b.", "instruction b'b' on a collections.Or"),
        (b"]}b.", "instruction b'b' on a list is refused"),
        (b"}K\1a.", "instruction b'a' on a dict is refused"),
        (b"K\1K\2K\3s.", "instruction b's' on a int"),
        (b"(K\1u.", "finds nothing to work on"),
        (b"t.", "finds nothing to work on"),
        (b"R.", "finds nothing to work on"),
        (b"\x86.", "finds nothing to work on"),
        (b".", "finds nothing|left over"),
        (b"h\5.", "finds nothing to work on"),
        (b"K\1K\2.", "values left over"),
        (b"(K\1.", "values left over"),
        (b"\xff.", "none that describes plain data"),
        (b"K\1Q.", "a reference to no storage"),
        (b"Vtext\n.", "none that describes plain data"),
        (b"I99\n.", "none that describes plain data"),
        (b"K\1K\2\x93.", "a name that is no text"),
        (b"c" + b"x" * 300 + b"\ny\n.", "no name at byte"),
        (b"}](KaKbsK\1s.", "finds nothing|on a|as a key"),
        (b"}]K\1s.", "has a list as a key"),
        (b"X\2\0\0\0\xff\xfe.", "not UTF-8"),
    ],
)
def test_pickles_that_do_not_add_up(load, around, body, message):
    with pytest.raises(ValueError, match=message):
        load(around(b"\x80\2" + body))


@AROUND
def test_changes_by_build_reach_nothing(load, around):
    # BUILD sets attributes; here it drops them, as those of torch's state_dict.
    body = b"\x80\2ccollections\nOrderedDict\n)R}X\1\0\0\0aK\1sb."
    assert load(around(body)) == {}
    assert load(around(body)) == {}


@AROUND
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x8b\xff\xff\xff\x7f" + bytes(99) + b".", "integer of 2147483647 bytes"),
        (b"\x8b\xff\xff\xff\xff.", "bytes are wanted"),
        (b"\x8a\xff" + b"\x7f" * 255 + b".", "integer of 255 bytes is refused"),
        (b"X\xff\xff\xff\xffabc.", "4294967295 bytes are wanted"),
        (b"\x8d" + b"\xff" * 8 + b"abc.", "bytes are wanted"),
        (b"]" * 30_000 + b"a" * 29_999 + b".", "nested more than 64 deep"),
        (b")" + b"\x85" * 30_000 + b".", "nested more than 64 deep"),
        (b"(" * 30_000 + b".", "left over"),
        (b"]q\0h\0a.", "holds itself"),
        (b"}q\0K\1h\0s.", "holds itself"),
        (b"]q\0(h\0h\0te.", "finds nothing|holds itself|refused"),
        (b"]q\0(h\0h\0ta.", "finds nothing|holds itself"),
        (b"]" + b"q\0h\0\x86" * 60 + b".", "refer to each other too often"),
        (b"(]" + b"q\0]h\0ah\0a" * 50 + b"t.", "refer to each other too often"),
        (b"]r\xff\xff\xff\xff0.", "refused|nothing"),
    ],
)
def test_bombs(load, around, body, message):
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message):
        load(around(b"\x80\2" + body))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.perf_counter() - start < 20
    assert peak < 60_000_000


def test_steps_are_counted(monkeypatch):
    monkeypatch.setattr(pickles, "MOST_STEPS", 100)
    assert read_pickle(b"]" + b"K\1a" * 49 + b".")[0] == [1] * 49
    with pytest.raises(ValueError, match="more than 100 instructions"):
        read_pickle(b"]" + b"K\1a" * 50 + b".")


def test_check_tree_lets_plain_data_pass():
    shared = [1, 2]
    check_tree({"a": shared, "b": (shared, shared), "c": None}, (), 100)
    with pytest.raises(ValueError, match="holds a set, which isn't plain"):
        check_tree([{1}], (), 100)
    check_tree([Tensor(1.0)], (Tensor,), 10)
    with pytest.raises(ValueError, match="refer to each other too often"):
        check_tree([[0] * 20], (), 10)


# -- tensors that do not fit -----------------------------------------------------------


def tensor_body(count=6, size=(2, 3), stride=(3, 1), offset=0, kind="FloatStorage"):
    """A pickle of a tensor with any numbers, as torch 1.0 writes it."""

    def tuple_of(items):
        return b"(" + b"".join(integer(k) for k in items) + b"t"

    def integer(k):
        size = (k.bit_length() + 8) // 8
        return b"\x8a" + bytes([size]) + k.to_bytes(size, "little", signed=True)

    return (
        b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n"
        + kind.encode()
        + b"\nX\1\0\0\0kX\3\0\0\0cpu"
        + integer(count)
        + b"tQ"
        + integer(offset)
        + tuple_of(size)
        + tuple_of(stride)
        + b"\x89ccollections\nOrderedDict\n)RtR."
    )


NUMBERS = [("k", np.arange(6, dtype="<f4").tobytes())]


@AROUND
def test_the_body_for_the_next_tests_is_good(load, around):
    assert load(around(tensor_body(), NUMBERS)).tolist() == [[0, 1, 2], [3, 4, 5]]
    backwards = tensor_body(6, (3, 2), (1, 3))
    assert load(around(backwards, NUMBERS)).tolist() == [[0, 3], [1, 4], [2, 5]]
    last = tensor_body(6, (1,), (100,), 5)
    assert load(around(last, NUMBERS)).tolist() == [5]


@AROUND
@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"offset": 1}, "does not fit its storage of 6 elements"),
        ({"offset": -1}, "whose size is no numbers"),
        ({"offset": 10**30, "size": (0,), "stride": (1,)}, "does not fit"),
        ({"size": (3, 3)}, "does not fit"),
        ({"size": (-2, 3)}, "whose size is no numbers"),
        ({"size": (2, -3)}, "whose size is no numbers"),
        ({"stride": (4, 1)}, "does not fit"),
        ({"stride": (-3, 1)}, "whose size is no numbers"),
        ({"stride": (3, 10**12)}, "does not fit"),
        ({"size": (10**6, 10**6), "stride": (0, 0)}, "does not fit"),
        ({"size": (2**62, 2**62), "stride": (2**62, 2**62)}, "a tensor of size"),
        ({"size": (0, 2**62), "stride": (1, 1)}, "a tensor of size"),
        ({"size": (1,) * 33, "stride": (1,) * 33}, "a tensor of size"),
        ({"size": (2, 3), "stride": (1,)}, "a tensor of size"),
        ({"count": 7}, "size|bytes|cut short"),
        ({"count": 5}, "size|bytes|does not fit"),
        ({"count": -1}, "without a name or a size"),
        ({"count": 10**15}, "longer than the file"),
        ({"count": 2**66}, "longer than the file"),
        ({"kind": "DoubleStorage"}, "bytes|cut short"),
        ({"kind": "FooStorage"}, "names 'torch.FooStorage'"),
    ],
)
def test_tensors_that_do_not_fit_their_storage(load, around, numbers, message):
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        load(around(tensor_body(**numbers), NUMBERS))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@AROUND
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"X\7\0\0\0storage", b"X\7\0\0\0modules", "a reference to no storage"),
        (b"ctorch\nFloatStorage\n", b"N", "a storage without a type"),
        (b"X\1\0\0\0k", b"K\1", "without a name or a size"),
        (b"tQ", b"K\1tQ", "views of storages"),
        (b"tQ", b"NNtQ", "a reference to no storage"),
        (b"tQ", b"t", "a tensor without a storage"),
        (b"_rebuild_tensor_v2", b"_rebuild_parameter", "a parameter without a tensor"),
        (b"\x89ccoll", b"tR.\x89ccoll", None),
    ],
)
def test_parts_of_a_tensor_that_are_something_else(load, around, old, new, message):
    body = tensor_body().replace(old, new)
    if message is None:  # four arguments are enough, as in torch 0.1
        body = body[: body.index(b"tR.") + 3]
        assert load(around(body, NUMBERS)).shape == (2, 3)
        return
    with pytest.raises(ValueError, match=message):
        load(around(body, NUMBERS))


@AROUND
def test_a_tensor_in_place_of_a_word(load, around):
    whole = tensor_body()
    for part in (b"X\7\0\0\0storage", b"X\1\0\0\0k", b"X\3\0\0\0cpu", b"\x89"):
        body = whole.replace(part, whole[2:-1], 1)
        if part.endswith(
            (b"cpu", b"\x89")
        ):  # device and requires_grad aren't looked at
            assert load(around(body, NUMBERS)).shape == (2, 3)
            continue
        with pytest.raises(ValueError, match="no storage|without a name"):
            load(around(body, NUMBERS))


@AROUND
def test_one_storage_with_two_types(load, around):
    first, second = tensor_body()[2:-1], tensor_body(kind="IntStorage")[2:-1]
    body = b"\x80\2" + first + second + b"\x86."
    with pytest.raises(ValueError, match="occurs with two types or sizes"):
        load(around(body, NUMBERS))


def test_many_storages_do_not_exceed_the_file(load):
    # Each of them fits into the file, all of them do not.
    parts = [tensor_body(kind="FloatStorage").replace(b"\1\0\0\0k", b"\1\0\0\0" + key)
             for key in (bytes([65 + k]) for k in range(26))]  # fmt: skip
    body = b"\x80\2(" + b"".join(
        p[2:-1].replace(b"\x8a\1\6", b"\x8a\2\0\x05") for p in parts
    )
    with pytest.raises(ValueError, match="longer than the file"):
        load(legacy_around(body + b"t.", NUMBERS))


def test_legacy_storages_must_be_those_of_the_object(load):
    body = tensor_body()
    for storages in ([], NUMBERS * 2, [("j", NUMBERS[0][1])]):
        with pytest.raises(ValueError, match="list of storages is not that"):
            load(legacy_around(body, storages))
    content = legacy_around(body, NUMBERS)
    wrong = content.replace(struct.pack("<q", 6), struct.pack("<q", 5))
    with pytest.raises(ValueError, match="not the size that its name says"):
        load(wrong)
    big = content.replace(b"\x88", b"\x89", 1)  # little_endian: False
    with pytest.raises(ValueError, match="most significant byte first"):
        load(big)


def test_zip_members_must_be_those_of_torch(load):
    body = tensor_body()
    with pytest.raises(ValueError, match="should have 24 bytes, and has none"):
        load(zip_around(body))
    with pytest.raises(ValueError, match="should have 24 bytes, and has 3"):
        load(zip_around(body, [("k", b"123")]))
    with pytest.raises(ValueError, match="most significant byte first"):
        load(zip_around(body, NUMBERS, **{"a/byteorder": b"big"}))
    with pytest.raises(ValueError, match="TorchScript"):
        load(zip_around(body, NUMBERS, **{"a/constants.pkl": b""}))
    with pytest.raises(ValueError, match="not one of torch.save"):
        load(zip_of([("a/data.pkl", body), ("b/data.pkl", body)]))
    with pytest.raises(ValueError, match="goes on after its end"):
        load(zip_around(body + b"x", NUMBERS))
    with pytest.raises(ValueError, match="compressed"):
        load(zip_of([("a/data.pkl", body)], zipfile.ZIP_DEFLATED))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_members_of_one_name(load):
    with pytest.raises(ValueError, match="overlap"):
        load(zip_of([("a/data.pkl", b"N."), ("a/data.pkl", b"N.")]))


# -- anything -----------------------------------------------------------------------

# Instructions and the arguments that they expect, for pickles that nearly make sense.
PIECES = [
    *(b"(", b")", b"]", b"}", b"N", b"\x88", b"t", b"\x85", b"\x86", b"\x87", b"a"),
    *(b"e", b"s", b"u", b"R", b"b", b"Q", b".", b"\x94", b"\x93", b"q\0", b"h\0"),
    *(b"K\1", b"M\xff\xff", b"J\0\0\0\x80", b"\x8a\2\0\1", b"X\1\0\0\0a", b"\x8c\1b"),
    *(b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"X\7\0\0\0storage", b"cos\nsystem\n"),
    *(b"ctorch._utils\n_rebuild_parameter\n", b"\x80\2", b"G" + bytes(8), b"r\0\0\0\0"),
    tensor_body()[2:-1],
]


@given(st.lists(st.sampled_from(PIECES), max_size=30), st.booleans())
def test_pickles_that_nearly_make_sense(tmp_path_factory, pieces, zipped):
    body = b"\x80\2" + b"".join(pieces) + b"."
    path = tmp_path_factory.mktemp("torch") / "file.pt"
    around = zip_around if zipped else legacy_around
    path.write_bytes(around(body, NUMBERS))
    assert plain_or_refused(path)
