"""`make test-numeric`: what rests on arithmetic, under other orders of summation.

Processors differ in the width of their vectors, and libraries sum accordingly: a test that passes
by luck on one fails on another. Here the tests marked `numeric` and the comparison with PyTorch run
as a machine without AVX-512, without AVX, with one core, would run them, and with other seeds. For
each it is said how many of some sums came out otherwise, to the last bit: if none did, the machine
at hand cannot show anything by it.
"""

import os
import subprocess
import sys
from typing import Any

# XLA hands products and reductions to a library that chooses its own instructions. With AVX2 alone
# XLA's own loops came out bit-equal to those with AVX-512.
_NO_YNN = "--xla_cpu_experimental_ynn_fusion_type="

ORDERS: dict[str, dict[str, str]] = {
    "XLA without AVX-512 and its library": {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2 " + _NO_YNN},
    "XLA without AVX": {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"},
    "PyTorch without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "oneDNN without AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "one thread": {"OMP_NUM_THREADS": "1"},  # and one core, see _run
    "other seeds": {"JAXVAE_TEST_SEED": "1"},
    "all of them": {
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2 " + _NO_YNN,
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OMP_NUM_THREADS": "1",
        "JAXVAE_TEST_SEED": "2",
    },
}

# Sums by both libraries, as bits: products, a convolution and its gradients, reductions.
BITS = """
import hashlib, os
import numpy as np, jax, jax.numpy as jnp, torch
rng = np.random.default_rng(int(os.environ.get("JAXVAE_TEST_SEED", 0)))
x, w = (rng.standard_normal(s).astype(np.float32) for s in ((300, 784), (784, 256)))
shapes = (8, 16, 28, 28), (32, 16, 3, 3)
image, kernel = (rng.standard_normal(s).astype(np.float32) for s in shapes)
found = [jax.jit(f)(x, w) for f in (
    jnp.matmul,
    lambda x, w: jnp.tanh(x @ w).sum(0),
    lambda x, w: jnp.exp(x).sum(1),
    lambda x, w: jnp.exp(x).sum(),
    lambda x, w: jnp.square(x - x.mean(0, keepdims=True)).mean(0),
    lambda x, w: x[:4] * x[4:8] + x[8:12],
)]
a, b, c, d = map(torch.tensor, (x, w, image, kernel))
d.requires_grad_()
y = torch.nn.functional.conv2d(c, d)
found += [a @ b, a.exp().sum(1), a.sum(), torch.special.expit(a) * a + 1, y]
found += [torch.autograd.grad(y.square().sum(), d)[0]]
for value in found:
    bits = np.asarray(value.detach() if torch.is_tensor(value) else value).tobytes()
    print(hashlib.sha256(bits).hexdigest())
"""


def main(names: list[str]) -> None:
    """Run the orders of these names, by default all of them."""
    if unknown := [name for name in names if name not in ORDERS]:
        sys.exit(f"{unknown[0]!r}: must be one of {', '.join(map(repr, ORDERS))}")
    usual, failed = _bits({}), []
    for name in names or ORDERS:
        settings = ORDERS[name]
        changed = sum(a != b for a, b in zip(usual, _bits(settings), strict=True))
        print(f"== {name}: {changed} of {len(usual)} results differ in a bit", flush=True)
        for command in (
            ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-m", "numeric and not slow"],
            ["-m", "torch_parity", "--seed", settings.get("JAXVAE_TEST_SEED", "0")],
        ):
            if _run(command, settings).returncode:
                failed.append(f"{name}: {' '.join(command)}")
    print("\n".join(["== all passed"] if not failed else [f"== FAILED {f}" for f in failed]))
    sys.exit(1 if failed else 0)


def _run(arguments: list[str], settings: dict[str, str], **options: Any) -> Any:
    """Run Python so; where OMP_NUM_THREADS is set it has as many cores, since XLA asks for them."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[: int(settings.get("OMP_NUM_THREADS", len(cores)))])
    try:
        return subprocess.run([sys.executable, *arguments], env=os.environ | settings, **options)
    finally:
        os.sched_setaffinity(0, cores)


def _bits(settings: dict[str, str]) -> list[str]:
    done = _run(["-c", BITS], settings, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.split()


if __name__ == "__main__":
    main(sys.argv[1:])
