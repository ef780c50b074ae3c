"""Define the commands ``mergesketch floats pack``, ``unpack``, ``verify`` and ``inspect``."""

from __future__ import annotations

from typing import Any

from .options import Command

__all__ = ["add_floats"]

_PACK_HELP = """\
Compress the weights of a model bit for bit: bfloat16 to about two thirds of its size, float32 to about five
sixths. `unpack` gives back the very files.

MODEL is a safetensors file, or a folder of a model as Hugging Face has them. In a folder, each safetensors
file is packed as NAME.safetensors.floats, and the other files are kept as they are. Links are followed.
Tensors that repeat are kept once. Integers and booleans are kept as they are. The folder .git is left out.

With --base, tensors are kept as differences from those of a similar model, for example the one that this one
was fine-tuned from, where that is smaller. To unpack them, you need the same base.
"""

_PACK_EXAMPLES = """\
examples:
  mergesketch floats pack model.safetensors -o model.floats
  mergesketch floats pack ~/models/llama -o llama.packed
  mergesketch floats pack ~/models/my-llama -o my-llama.packed --base ~/models/llama
  mpiexec -n 4 mergesketch floats pack ~/models/llama -o llama.packed

Each rank packs some of the files of a folder.
"""

_UNPACK_HELP = """\
Write the files of a packed model, byte for byte as they were. Their checksums are compared, and nothing is
written if one does not match.
"""

_VERIFY_HELP = """\
Decode a packed model and compare it with the checksums of its files, without writing it. The exit code is 2
if it is damaged, or if it differs from the model --against.
"""

_INSPECT_HELP = """\
Print the tensors of a packed model: type, shape, bytes before and after, their ratio, how each is kept, and
for coded tensors the bits of entropy of a value, which no code of that kind can go below.
"""


def add_floats(commands: Any) -> None:
    """Add the commands."""
    floats = commands.add_parser("floats", help="compress the weights of models bit for bit (safetensors)")
    actions = floats.add_subparsers(dest="action", metavar="ACTION", required=True)
    pack = Command(actions, "pack", "compress the weights of a model", _PACK_HELP, _PACK_EXAMPLES)
    pack.path("path", "MODEL", "safetensors file, or folder of a model")
    pack.output("write this file, or for a folder this folder", required=True)
    pack.path("--base", "MODEL", "keep differences from this model, which may be packed")
    pack.threads()
    unpack = Command(actions, "unpack", "write the files of a packed model", _UNPACK_HELP)
    unpack.path("path", "ARCHIVE", "what `floats pack` has written")
    unpack.output("write this file, or for a folder this folder", required=True)
    verify = Command(actions, "verify", "decode a packed model and compare its checksums", _VERIFY_HELP)
    verify.path("path", "ARCHIVE", "what `floats pack` has written")
    verify.path("--against", "MODEL", "compare the files with those of this model, too")
    for command in (unpack, verify):
        command.path("--base", "MODEL", "the base that it was packed with, which may be packed")
        command.threads()
    inspect = Command(actions, "inspect", "print the tensors of a packed model", _INSPECT_HELP)
    inspect.path("path", "ARCHIVE", "what `floats pack` has written")
    inspect.options.add_argument("--json", action="store_true", help="print one JSON object")
