"""Gradients that PyTorch's DistributedDataParallel sends in part, with an error feedback of little memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.configured import Configured, differing_field
from ...lsh.support.public import publish
from .error_memory import ErrorMemory, block_start, check_share, share_of
from .torch_buckets import Bucket, Parameter, Part, strides_of
from .torch_compressors import PowerFactors, count_columns, exchange_block, exchange_top, is_factored
from .torch_process_group import ProcessGroup

__all__ = ["SketchedErrorFeedbackState", "sketched_error_feedback_hook"]

_COMPRESSORS = ("top_k", "random_block", "power_sgd")
_MOST_RANK = 1 << 10
_MOST_FLOAT = float(np.finfo(np.float32).max)


class SketchedErrorFeedbackState(Configured):
    """Remember in little memory what the ranks of DistributedDataParallel have not sent of their gradients.

    It is the state of `sketched_error_feedback_hook`, and does for buckets of PyTorch what
    `SketchedErrorFeedback` does for arrays.

    Parameters
    ----------
    module : torch.nn.Module
        The model, or the DistributedDataParallel module around it. Parameters that need gradients are float32
        in main memory, and their gradients are dense. They are numbered in the order of
        ``module.parameters()``.
    compression : float, default 0.01
        The share of the entries of a bucket that a rank sends, in (0, 1]. "power_sgd" does not use it.
    memory, beta, seed
        As for `SketchedErrorFeedback`.
    compressor : {"top_k", "random_block", "power_sgd"}
        "power_sgd" sends matrices of low rank for gradients of matrices (PowerSGD [1]_), and other gradients
        in full. The others are as for `SketchedErrorFeedback`, for each bucket.
    rank : int, default 1
        The rank of the matrices of "power_sgd". Higher ranks send more.
    process_group : torch.distributed.ProcessGroup, optional
        That of the DistributedDataParallel module. None for the default group.

    Attributes
    ----------
    n_parameters : int
        The number of entries of all parameters that need gradients.
    n_steps : int
        The number of backward passes so far.
    bytes_sent : int
        Bytes that this process has sent so far, if the best known algorithms were used.
    nbytes : int
        Bytes of the memory, and with "power_sgd" of the matrices that the next step begins with.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, or if a parameter is not float32 in main
        memory.

    Notes
    -----
    Errors belong to the positions of parameters in the model. DistributedDataParallel makes new buckets after
    its first step, and no error is lost then. PyTorch's own hook of PowerSGD forgets them.

    If the gradient of a parameter tensor is zero on all ranks, as when no rank has used it, its errors stay
    in the memory until a later step. DistributedDataParallel would not apply them. The entries that were
    chosen from it are sent for nothing.

    A state cannot be copied or pickled: save its `state_dict`. So ``torch.save`` of the state itself and
    ``copy.deepcopy`` of it raise TypeError.

    Gradients are exchanged while the hook runs, bucket after bucket, and the backward pass waits.

    References
    ----------
    .. [1] Vogels, Karimireddy, Jaggi. PowerSGD: Practical Low-Rank Gradient Compression for Distributed
       Optimization. NeurIPS 2019.

    Examples
    --------
    In one process. Of several, each has its own rank:

    >>> import tempfile
    >>> import torch
    >>> from mergesketch.distributed import SketchedErrorFeedbackState, sketched_error_feedback_hook
    >>> meeting = f"file://{tempfile.mkdtemp()}/meeting"
    >>> torch.distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    >>> model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(100, 10))
    >>> state = SketchedErrorFeedbackState(model, compression=0.02, memory=0.1)
    >>> model.register_comm_hook(state, sketched_error_feedback_hook)
    >>> model(torch.ones(5, 100)).sum().backward()
    >>> state.n_steps, state.n_parameters, state.nbytes
    (1, 1010, 404)
    >>> torch.distributed.destroy_process_group()
    """

    _parameters = ("n_parameters", "compression", "memory", "beta", "compressor", "rank", "seed")

    def __init__(
        self,
        module: nn.Module,
        *,
        compression: float = 0.01,
        memory: float = 0.1,
        beta: float | None = None,
        compressor: str = "top_k",
        rank: int = 1,
        seed: int = 0,
        process_group: Any = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
        self.compression = check_share("compression", compression)
        self.memory = check_share("memory", memory)
        self.beta = None if beta is None else check_real("beta", beta, 0.0, 1.0, closed=True)
        self.compressor: str = check_choice("compressor", compressor, _COMPRESSORS)
        self.rank = check_int("rank", rank, 1, _MOST_RANK)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self._group = ProcessGroup(process_group)
        #: The parameters are kept, so that no other object gets the identity of one.
        self._tensors = [p for p in module.parameters() if p.requires_grad]
        self._first: dict[int, int] = {}
        n_parameters = 0
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
                raise TypeError(
                    f"module must have parameters of float32 in main memory, got {name} of "
                    f"{parameter.dtype} on {parameter.device}"
                )
            self._first[id(parameter)] = n_parameters
            n_parameters += parameter.numel()
        if n_parameters == 0:
            raise ValueError("module must have a parameter that needs a gradient, got none")
        self.n_parameters = n_parameters
        places = np.zeros(share_of(self.n_parameters, self.memory), np.float32)
        self._memory = ErrorMemory(places, self.n_parameters, self.beta, self.seed)
        self._matrices = PowerFactors(self.rank, self.seed)
        self.n_steps = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the memory, and with "power_sgd" of the matrices that the next step begins with."""
        return self._memory.places.nbytes + sum(
            q.numel() * q.element_size() for q in self._matrices.factors.values()
        )

    @property
    def bytes_sent(self) -> int:
        """Bytes that this process has sent so far, if the best known algorithms were used."""
        return self._group.bytes_sent

    # -- storage --------------------------------------------------------------------------------------

    def __reduce__(self) -> NoReturn:
        # A copy would belong to the parameters of this process, and two states would change one memory.
        raise TypeError(
            "a SketchedErrorFeedbackState cannot be copied or pickled: save its state_dict(), and load that "
            "into a new state of the module"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state of this rank, for `torch.save`. Each rank has its own.

        Returns
        -------
        dict
            Numbers and tensors, which share no memory with the state.
        """
        return {
            "config": self.config(),
            "memory": torch.from_numpy(self._memory.places.copy()),
            "factors": {first: factor.clone() for first, factor in self._matrices.factors.items()},
            "n_steps": self.n_steps,
            "bytes_sent": self.bytes_sent,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a rank that `state_dict` has returned.

        Parameters
        ----------
        state : dict

        Raises
        ------
        TypeError, ValueError
            If the state is of another configuration, or damaged. Nothing is changed then.
        """
        expected = {"config", "memory", "factors", "n_steps", "bytes_sent"}
        if not isinstance(state, Mapping) or set(state) != expected:
            raise ValueError(f"state must be a dict with the keys {sorted(expected)}")
        if not isinstance(state["config"], Mapping):
            raise ValueError(f"state['config'] must be a dict, got {type(state['config']).__name__}")
        difference = differing_field(self.config(), state["config"])
        if difference is not None:
            raise ValueError(f"state must be of the same configuration, but it differs in {difference}")
        factors, matrices = state["factors"], self._matrix_columns()
        fits = _fits(state["memory"], self._memory.places.shape) and isinstance(factors, Mapping)
        if not fits or not all(
            first in matrices and _fits(factor, (matrices[first], self.rank))
            for first, factor in factors.items()
        ):
            raise ValueError("state must have finite numbers of the shapes that this state has")
        n_steps = check_int("state['n_steps']", state["n_steps"], 0)
        bytes_sent = check_int("state['bytes_sent']", state["bytes_sent"], 0)
        self._memory.places[...] = state["memory"].numpy()
        self._matrices.factors = {first: factor.clone() for first, factor in factors.items()}
        self.n_steps, self._group.bytes_sent = n_steps, bytes_sent

    def _matrix_columns(self) -> dict[int, int]:
        """Return the number of columns of each matrix that is sent as two factors."""
        shapes = ((self._first[id(p)], p.shape) for p in self._tensors)
        return {first: count_columns(shape) for first, shape in shapes if is_factored(shape, self.rank)}

    # -- the exchange of a bucket ---------------------------------------------------------------------

    def exchange(self, bucket: Any) -> Tensor:
        """Return the mean over the ranks of what they send of a bucket, and remember the rest.

        `sketched_error_feedback_hook` calls it.

        Parameters
        ----------
        bucket : torch.distributed.GradBucket

        Returns
        -------
        Tensor
            The bucket's own tensor, which is overwritten.

        Raises
        ------
        DistributedError
            On every rank, if gradients of one of them are not finite, are so large that numbers could get
            beyond float32, or are not dense arrays of float32, or if the ranks' states differ in their
            configuration or number of steps. Buckets before this one have changed the memory then, and the
            DistributedDataParallel module cannot be used any more. To go on, make the network, the module
            and the state anew, and load saved states.
        """
        if bucket.index() == 0:
            self._group.check_same("their states", self.config() | {"n_steps": self.n_steps})
        buffer = bucket.buffer()
        part, failure = None, None
        try:
            part = self._part(bucket, buffer)
        except Exception as error:
            failure = error
        is_used = np.zeros(len(bucket.parameters()), np.bool_)
        if part is not None:
            is_used[:] = [part.gradient[one.cut].any() for one in part.parameters]
        own, is_used = self._exchange(Bucket(buffer, part, failure, is_used))
        assert part is not None
        errors = part.gradient - own
        for one, used in zip(part.parameters, is_used, strict=True):
            if used:
                self._memory.add(errors[one.cut], one.first)
            else:
                # DistributedDataParallel may not apply what is sent of it, so nothing counts as sent.
                buffer[one.cut] = 0
        if bucket.is_last():
            self.n_steps += 1
        return buffer

    def _exchange(self, bucket: Bucket) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Write the mean over the ranks into the buffer; return what was sent, and the used parameters."""
        if self.compressor == "power_sgd":
            return self._matrices.exchange(self._group, bucket)
        n = bucket.buffer.numel()
        k = share_of(n, self.compression)
        if self.compressor == "top_k":
            return exchange_top(self._group, bucket, k)
        positions = (block_start(n, self.seed, self.n_steps) + np.arange(k)) % n
        return exchange_block(self._group, bucket, positions)

    def _part(self, bucket: Any, buffer: Tensor) -> Part:
        if buffer.layout != torch.strided:
            raise TypeError(f"gradients must be dense, got {buffer.layout}: use Embedding with sparse=False")
        if buffer.dtype != torch.float32:
            raise TypeError(
                f"gradients must be float32, got {buffer.dtype}: register the hook without wrapper"
            )
        gradient = buffer.numpy().copy()
        corrected, parameters, start = np.empty_like(gradient), [], 0
        for parameter in bucket.parameters():
            first, stop = self._first.get(id(parameter)), start + parameter.numel()
            if first is None:
                raise ValueError("the module must have the parameters that the state was made for")
            self._memory.corrected(gradient[start:stop], first, corrected[start:stop])
            parameters.append(Parameter(first, slice(start, stop), parameter.shape, strides_of(parameter)))
            start = stop
        if not np.isfinite(corrected).all():
            what = "the memory of errors" if np.isfinite(gradient).all() else "a gradient"
            raise ValueError(f"{what} is not finite")
        self._check_size(gradient, corrected)
        return Part(gradient, corrected, parameters)

    def _check_size(self, gradient: NDArray[np.float32], corrected: NDArray[np.float32]) -> None:
        """Refuse gradients that could make a sum over the ranks, or a number of the memory, infinite."""
        places = self._memory.places
        largest = [float(max(a.max(initial=0), -a.min(initial=0))) for a in (gradient, corrected, places)]
        sent = largest[1]
        if self.compressor == "power_sgd":
            # A factor has numbers of at most 1 or normal random ones. Entries of a product are below this.
            sent *= 8 * gradient.size
        share = -(-self.n_parameters // places.size)
        if max(self._group.size * sent, largest[2] + share * (largest[0] + sent)) > _MOST_FLOAT:
            raise ValueError(
                f"a gradient is so large that sums could be beyond float32: with the errors that are sent "
                f"again, it has {largest[1]:g}"
            )


def _fits(value: Any, shape: tuple[int, ...]) -> bool:
    """Return if a value is a tensor of finite numbers, of a shape, in main memory."""
    if not isinstance(value, Tensor) or value.shape != shape or value.device.type != "cpu":
        return False
    if value.layout != torch.strided:
        return False
    return value.dtype == torch.float32 and not value.requires_grad and bool(value.isfinite().all())


def sketched_error_feedback_hook(
    state: SketchedErrorFeedbackState, bucket: dist.GradBucket
) -> torch.futures.Future[Tensor]:
    """Average a part of a bucket of gradients over the ranks, for DistributedDataParallel.

    Pass it to ``DistributedDataParallel.register_comm_hook`` with its state.

    Parameters
    ----------
    state : SketchedErrorFeedbackState
    bucket : torch.distributed.GradBucket

    Returns
    -------
    torch.futures.Future of Tensor
        The mean of what the ranks send, in the bucket's own tensor.

    Raises
    ------
    DistributedError
        On every rank, if gradients of one of them are not finite, too large, not dense or not float32, or
        if the states differ. The DistributedDataParallel module cannot be used after that. To go on, make the
        network, the module and the state anew, and load saved states.
    """
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    future.set_result(state.exchange(bucket))
    return future


# DistributedDataParallel compares these annotations with types, and refuses strings.
sketched_error_feedback_hook.__annotations__ |= {
    "bucket": dist.GradBucket,
    "return": torch.futures.Future[Tensor],
}

publish("mergesketch.distributed", __all__, globals())
