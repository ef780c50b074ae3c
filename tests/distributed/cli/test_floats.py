"""Test `mergesketch floats`: pack, unpack, verify and inspect, alone and over ranks."""

from __future__ import annotations

import glob
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy
from paths import environment
from ranks import needs_mpi

WEIGHTS = np.random.default_rng(3).normal(0, 0.02, (64, 500)).astype(np.float32)


@pytest.fixture(autouse=True)
def model(tmp_path, monkeypatch):
    """Write a model in two files, and one that was tuned a little."""
    monkeypatch.chdir(tmp_path)
    os.makedirs("model/tokenizer")
    safetensors.numpy.save_file(
        {"embed": WEIGHTS, "head": WEIGHTS, "ids": np.arange(5)}, "model/model-1.safetensors"
    )
    safetensors.numpy.save_file({"norm": WEIGHTS[:20].astype(np.float16)}, "model/model-2.safetensors")
    for name in ("config.json", "tokenizer/vocabulary.txt"):
        with open(f"model/{name}", "w") as file:
            file.write(name)
    tuned = WEIGHTS.copy()
    tuned[3] = np.nextafter(tuned[3], np.float32(9))
    safetensors.numpy.save_file({"embed": tuned}, "tuned.safetensors")


def tree(folder) -> dict[str, bytes]:
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def test_a_folder(run):
    code, out, err = run("floats", "pack", "model", "-o", "packed")
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["tensors"] == "4: 2 coded, 1 same as another, 1 raw"
    assert lines["files"] == "4: 2 packed, 2 kept as they are"
    assert lines["size"].startswith("276.4 kB in ") and lines["size"].endswith(" %")
    assert lines["written"].startswith("packed in ")
    code, out, err = run("floats", "unpack", "packed", "-o", "again", "--threads", 1)
    assert (code, err) == (0, "") and out.startswith("written          again in ")
    assert tree("again") == tree("model")
    assert run("floats", "verify", "packed") == (0, "packed: 4 files of 276.4 kB, intact\n", "")
    assert run("floats", "verify", "packed", "--against", "model") == (
        *(0, "packed: 4 files of 276.4 kB, intact and equal to model\n", ""),
    )


def test_a_file_through_a_stream(run):
    assert run("floats", "pack", "model/model-1.safetensors", "-o", "one")[0] == 0
    with open("two", "wb") as out:
        code, printed, err = run(
            "floats", "pack", "model/model-1.safetensors", "-o", f"/dev/fd/{out.fileno()}"
        )
        assert (code, err) == (0, "") and f"written          /dev/fd/{out.fileno()}" in printed
    with open("three", "wb") as out:
        assert run("floats", "unpack", "two", "-o", f"/dev/fd/{out.fileno()}")[0] == 0
    assert tree(".")["one"] == tree(".")["two"]
    assert tree(".")["three"] == tree("model")["model-1.safetensors"]


def test_inspect(run):
    run("floats", "pack", "model", "-o", "packed")
    code, out, err = run("floats", "inspect", "packed")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["dtype", "bytes", "kept", "ratio", "entropy", "how", "tensor"]
    assert lines[1] == "model-1.safetensors" and lines[5] == "model-2.safetensors"
    rows = {line.split()[-2]: line.split() for line in (*lines[2:5], lines[6])}
    assert rows["embed"][:3] == ["F32", "128.0", "kB"] and rows["embed"][-1] == "64x500"
    assert rows["head"] == ["F32", "128.0", "kB", "0", "B", "0", "%", "-", "same", "head", "64x500"]
    assert rows["ids"] == ["I64", "40", "B", "40", "B", "100", "%", "-", "raw", "ids", "5"]
    assert rows["norm"][0] == "F16" and "coded" in rows["norm"]
    assert lines[8] == "tensors          4: 2 coded, 1 same as another, 1 raw"
    code, out, err = run("floats", "inspect", "packed", "--json")
    found = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert [tensor["name"] for tensor in found["tensors"]] == ["ids", "embed", "head", "norm"]
    embed = found["tensors"][1]
    assert embed["shape"] == [64, 500] and embed["kept"] == "coded"
    assert embed["entropy"] < 8 * embed["nbytes"] / WEIGHTS.size < 1.01 * embed["entropy"]
    assert [file["name"] for file in found["files"]] == sorted(tree("model"))
    assert found["original_bytes"] == sum(map(len, tree("model").values())) and found["base"] is None


def test_a_base(run, fails):
    code, out, err = run("floats", "pack", "tuned.safetensors", "-o", "t", "--base", "model")
    assert (code, err) == (0, "") and "tensors          1: 1 differences from model\n" in out
    assert os.path.getsize("t") < 0.2 * os.path.getsize("tuned.safetensors")
    run("floats", "pack", "model", "-o", "packed")
    for base in ("model", "packed", "model/model-1.safetensors"):
        code, out, err = run("floats", "unpack", "t", "-o", "again", "--base", base)
        assert (code, err) == (0, "")
        with open("again", "rb") as again, open("tuned.safetensors", "rb") as tuned:
            assert again.read() == tuned.read()
    assert run("floats", "verify", "t", "--base", "model", "--against", "tuned.safetensors")[0] == 0
    assert fails("floats", "verify", "t") == (
        "t: 'embed' is kept as its difference from the model 'model': name it as the base"
    )
    message = fails("floats", "unpack", "t", "-o", "x", "--base", "model/model-2.safetensors")
    assert message == (
        "t: expected the base 'model', and 'model-2.safetensors' has no 'embed' of the same type and shape"
    )
    assert fails("floats", "pack", "model", "-o", "x", "--base", "nowhere").startswith(
        "cannot read nowhere: No"
    )
    code, out, err = run("floats", "inspect", "t", "--json")
    assert code == 0 and json.loads(out)["base"] == "model"


def test_errors(run, fails):
    with open("lfs.safetensors", "w") as file:
        file.write("version https://git-lfs.github.com/spec/v1")
    assert fails("floats", "pack", "nowhere", "-o", "x").startswith("cannot read nowhere: No such file")
    message = fails("floats", "pack", "lfs.safetensors", "-o", "x")
    assert message.startswith("lfs.safetensors: expected a safetensors")
    message = fails("floats", "pack", "tuned.safetensors", "-o", "tuned.safetensors")
    assert message.endswith("one of the files to read")
    message = fails("floats", "pack", "model", "-o", "nowhere/x")
    assert message.startswith("cannot write nowhere/x: No such file")
    assert fails("floats", "pack", "model", "-o", "model") == (
        "cannot write model: it exists and is not an empty folder"
    )
    assert fails("floats", "unpack", "tuned.safetensors", "-o", "x") == (
        "tuned.safetensors: expected a float archive, which `mergesketch floats pack` writes"
    )
    for output in ("-", "/dev/null"):
        message = fails("floats", "pack", "model", "-o", output)
        assert message.endswith("a folder of files needs a folder")
    message = fails("floats", "pack", "/dev/null", "-o", "x")
    assert message == "/dev/null: it is not a regular file"
    message = fails(
        "floats", "pack", "tuned.safetensors", "-o", "model/model-1.safetensors", "--base", "model"
    )
    assert message.endswith("one of the files to read")
    assert fails("floats", "inspect", "model").endswith("and it has no float_archive.json")
    assert fails("floats", "unpack", "nowhere", "-o", "x").startswith("cannot read nowhere: No such file")
    os.symlink("../lfs.safetensors", "model/lfs.safetensors")
    code, out, _ = run("floats", "pack", "model", "-o", "packed")
    assert code == 0 and "kept as it is    lfs.safetensors: expected a safetensors file, got a pointer" in out
    with open("model/config.json", "w") as file:
        file.write("configure.j")
    assert fails("floats", "verify", "packed", "--against", "model") == (
        "model/config.json: it differs from the archive in or after byte 0"
    )
    os.remove("model/config.json")
    assert fails("floats", "verify", "packed", "--against", "model") == (
        "model/config.json: the archive has it, and the model does not"
    )
    with open("packed/config.json", "w") as file:
        file.write("configure.j")
    assert fails("floats", "unpack", "packed", "-o", "x") == (
        "packed/config.json: the checksum of the file does not match"
    )
    os.remove("packed/config.json")
    assert fails("floats", "verify", "packed").startswith("cannot read packed/config.json: No such file")
    assert not os.path.exists("x")


@needs_mpi
def test_ranks_write_the_same_archive(run, ranks):
    run("floats", "pack", "model", "-o", "packed")
    for arguments in ("pack model -o ranks", "unpack ranks -o again", "verify ranks --against model"):
        done = ranks.command(2, "floats", *arguments.split())
        assert done.returncode == 0, done.stderr
        assert all(out == "" for out in done.stdout[1:]) and done.stdout[0]
    assert tree("ranks") == tree("packed")
    assert tree("again") == tree("model")
    os.remove("ranks/model-2.safetensors.floats")
    done = ranks.command(2, "floats", "unpack", "ranks", "-o", "third")
    assert done.returncode == 2
    assert "cannot read ranks/model-2.safetensors.floats: No such file" in done.stderr
    assert sorted(os.listdir()) == ["again", "model", "packed", "ranks", "tuned.safetensors"]


@pytest.mark.slow
def test_an_interrupted_run_leaves_nothing():
    """The run is at a file of many zeros when it is stopped."""
    with open("model/z.bin", "wb") as file:
        file.truncate(1 << 36)
    process = subprocess.Popen(
        [sys.executable, "-m", "mergesketch.distributed", "floats", "pack", "model", "-o", "packed"],
        env=environment(), stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        for _ in range(3000):
            if any(path.endswith("z.bin") for path in glob.glob(".mergesketch-*/*")):
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    finally:
        process.kill()
        process.communicate()
    assert sorted(os.listdir()) == ["model", "tuned.safetensors"]
