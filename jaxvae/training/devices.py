"""On which devices a run computes: the mesh and its runners."""

import logging
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import (
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
)

from jaxvae import axis
from jaxvae.checks import require
from jaxvae.config import Parallel
from jaxvae.training.state import refuse_more_than_memory

log = logging.getLogger("jaxvae")

WHOLE = PartitionSpec()  # every device holds all of an array
EXAMPLES = PartitionSpec(axis.NAME)  # each device has its part of (batch, ...)
BATCHES = PartitionSpec(None, axis.NAME)  # and of (steps, batch, ...)


def local(tree: Any) -> Any:
    """Arrays that every device holds, as arrays of this process's first device alone."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def compile_within_memory(program: Any, *args: Any) -> Any:
    """Compile a jitted program that works on batches, for these arguments.

    Raises:
        UsageError: it needs more memory than there is.
    """
    compiled = _compiled(program.lower(*args))
    needs = compiled.memory_analysis()
    if needs is not None:  # not every backend tells
        arrays = needs.argument_size_in_bytes + needs.output_size_in_bytes
        needed = arrays + needs.temp_size_in_bytes - needs.alias_size_in_bytes
        refuse_more_than_memory("a program over data.batch_size images", needed)
    return compiled


# A step of a small model is some 60 kernels of 2 microseconds each, so what matters on a GPU is who
# launches them. With these options XLA records whole loops, their conditions included, as one CUDA
# graph; by default the host decides about each step (docs/gpu.md has the times).
CUDA_OPTIONS: dict[str, str | int] = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,"
    "DYNAMIC_SLICE_FUSION,WHILE,CONDITIONAL",
    "xla_gpu_graph_min_graph_size": 1,
}


def compile_options() -> dict[str, str | int]:
    """What XLA is told on the devices that are there; XLA_FLAGS go before."""
    if "cuda" not in jax.devices()[0].client.platform_version.lower():
        return {}
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in CUDA_OPTIONS.items() if name not in flags}


def _compiled(lowered: Any) -> Any:
    options = compile_options()
    try:
        return lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if not any(name in str(error) for name in options):
            raise
        log.warning("XLA does not know %s, which make loops fast", ", ".join(options))
        return lowered.compile()


class Runner(NamedTuple):
    """How one pure program runs on a mesh of devices.

    jit: on one device. sharded: `jit` over the mesh, XLA divides the work. shard_map, pmap: each
    device runs the program on its part of each batch, and `jaxvae.axis` combines what it must.
    """

    name: str
    mesh: Mesh

    def describe(self) -> str:
        """Such as `sharded over 8 devices of 2 processes`."""
        if self.mesh.size == 1:
            return f"{self.name} on 1 device"
        processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
        return f"{self.name} over {self.mesh.size} devices{processes}"

    def sharding(self, spec: PartitionSpec = WHOLE) -> Sharding:
        """Where an array lives; on a mesh of one device simply there."""
        if self.mesh.size == 1:
            return SingleDeviceSharding(self.mesh.devices.item())
        return NamedSharding(self.mesh, spec)

    def put(self, tree: Any, spec: PartitionSpec = WHOLE) -> Any:
        """Host arrays on the devices. Every process gives the whole of each array."""
        sharding = self.sharding(spec)

        def placed(x: Any) -> jax.Array:
            x = np.asarray(x)
            return jax.make_array_from_callback(x.shape, sharding, lambda where: x[where])

        return jax.tree.map(placed, tree)

    def put_parts(self, tree: Any, spec: PartitionSpec) -> Any:
        """Host arrays on the devices. Every process gives the rows of its own devices alone."""
        sharding = self.sharding(spec)
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
        )

    def own_rows(self, batch_size: int) -> slice:
        """The rows of a batch that the devices of this process work on."""
        if self.mesh.size == 1:
            return slice(0, batch_size)
        parts = self.sharding(EXAMPLES).addressable_devices_indices_map((batch_size,))
        rows = [part[0].indices(batch_size)[:2] for part in parts.values() if part is not None]
        own = slice(min(start for start, _ in rows), max(stop for _, stop in rows))
        assert own.stop - own.start == sum(stop - start for start, stop in rows)  # no gap
        return own

    def make(self, function: Callable[[], Any]) -> Any:
        """What `function` returns, made on every device."""
        return jax.jit(function, out_shardings=self.sharding())()

    def compile_whole(
        self, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()
    ) -> Any:
        """Compile a program that sees whole batches, with results on every device."""
        program = jax.jit(function, donate_argnums=donate, out_shardings=self.sharding())
        if self.mesh.size == 1:
            return compile_within_memory(program, *args)
        with jax.set_mesh(self.mesh):
            return compile_within_memory(program, *args)

    def compile(
        self,
        function: Callable[..., Any],
        *args: Any,
        specs: tuple[Any, ...],
        donate: tuple[int, ...] = (),
    ) -> Any:
        """Compile a program in the runner's way; `specs` says how each argument is divided."""
        if self.name == "shard_map":
            # check_vma=False: with it, gradients of replicated parameters come summed over the
            # devices already, and the mean over them would be too large by their number.
            mapped = jax.shard_map(
                function, mesh=self.mesh, in_specs=specs, out_specs=WHOLE, check_vma=False
            )
            return compile_within_memory(jax.jit(mapped, donate_argnums=donate), *args)
        if self.name == "pmap":
            return self._compile_pmap(function, *args, specs=specs, donate=donate)
        return self.compile_whole(function, *args, donate=donate)

    def _compile_pmap(
        self,
        function: Callable[..., Any],
        *args: Any,
        specs: tuple[Any, ...],
        donate: tuple[int, ...],
    ) -> Any:
        """`pmap` takes the state as it is, and (steps, batch, ...) as (steps, devices, part, ...).

        It wants one argument along whose first axis the devices are counted, which none has.
        """
        count = self.mesh.size
        numbers = np.arange(count)
        axes = jax.tree.map(lambda spec: 1 if spec == BATCHES else None, specs)

        def divided(args: tuple[Any, ...]) -> list[Any]:
            def part(spec: PartitionSpec, x: Any) -> Any:
                if spec != BATCHES:
                    return x
                return x.reshape(x.shape[0], count, x.shape[1] // count, *x.shape[2:])

            return [
                arg if isinstance(spec, PartitionSpec) else jax.tree.map(part, spec, arg)
                for spec, arg in zip(specs, args, strict=True)
            ]

        mapped = jax.pmap(
            lambda _, *args: function(*args),
            axis_name=axis.NAME,
            in_axes=(0, *axes),
            out_axes=None,
            devices=list(self.mesh.devices.flat),
            donate_argnums=tuple(i + 1 for i in donate),
        )
        compiled = mapped.lower(numbers, *divided(args)).compile()
        return lambda *args: compiled(numbers, *divided(args))


def choose(parallel: Parallel, batch_size: int) -> Runner:
    """The runner that `parallel` asks for, over the devices that are there.

    Raises:
        UsageError: there are not so many devices, the batch does not divide by them, or the runner
            does not take them.
    """
    # In this order each process has neighbouring rows of a batch. On TPUs JAX would choose another,
    # as the chips are wired; the collectives here span all of them, in any order.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    count = len(devices) if parallel.devices is None else parallel.devices
    if parallel.runner == "jit" and parallel.devices is None and jax.process_count() == 1:
        count = 1
    more = "; on a CPU, JAX_NUM_CPU_DEVICES=N makes N" if jax.default_backend() == "cpu" else ""
    there = f"in 1..{len(devices)}, the devices that are there{more}"
    require(1 <= count <= len(devices), "parallel.devices", count, there)
    name = parallel.runner
    if name == "auto":
        name = "jit" if count == 1 else "sharded"
    alone = jax.process_count() == 1
    several = f"'auto', 'sharded', 'shard_map' or 'pmap' on {count} devices"
    if not alone:
        several = f"'auto', 'sharded' or 'shard_map' on devices of {jax.process_count()} processes"
    require(name != "jit" or count == 1, "parallel.runner", name, several)
    require(name != "pmap" or alone, "parallel.runner", name, several)
    every = f"{len(devices)}, all that the processes have"
    require(alone or count == len(devices), "parallel.devices", count, every)
    fewer = max(n for n in range(1, count + 1) if batch_size % n == 0)
    hint = f", or --parallel.devices {fewer}" if alone else ""
    allowed = f"a multiple of the {count} devices that share each batch{hint}"
    require(batch_size % count == 0, "data.batch_size", batch_size, allowed)
    mesh = Mesh(np.asarray(devices[:count]), (axis.NAME,), axis_types=(AxisType.Auto,))
    return Runner(name, mesh)
