"""A module with its variables: the pure functions that an objective may use as it likes."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxvae.batch import Batch
from jaxvae.models.output import Output

Result = TypeVar("Result")


class Bound:
    """`model(batch)`, `model.decode(z, batch)` and so on, with these variables.

    In training a pass updates statistics (BatchNorm's, a codebook's). Those of the first pass are
    kept, in `updated`; those of further ones are not.
    """

    def __init__(self, module: Any, variables: dict[str, Any], train: bool = False):
        self.module = module
        self.variables = variables
        self.train = train
        self.updated: dict[str, Any] = {}

    @property
    def params(self) -> dict[str, Any]:
        """The model's parameters."""
        return self.variables["params"]

    def __call__(self, batch: Batch, **settings: Any) -> Output:
        """Encode, draw, decode; with settings that only this module has, such as a temperature."""
        if not self.train:
            return self.module.apply(self.variables, batch, **settings)
        collections = [name for name in self.variables if name != "params"]
        output, updated = self.module.apply(
            self.variables, batch, train=True, mutable=collections, **settings
        )
        self._keep(updated)
        return output

    def _keep(self, updated: Any) -> None:
        if not self.updated:
            self.updated.update(updated)

    def decode(self, z: jax.Array, batch: Batch) -> jax.Array:
        """Codes to what the decoder says of them, also to be derived by the codes."""
        return self.method("decode", z, batch)

    def embed(self, batch: Batch) -> jax.Array:
        """The deterministic code."""
        return self.method("embed", batch)

    def prior(self, batch: Batch) -> jax.Array:
        """Codes drawn from the model's own prior."""
        return self.method("prior", batch)

    def method(self, name: str, *args: Any) -> Any:
        """Any method of the module, with running statistics, which stay what they are."""
        return self.module.apply(self.variables, *args, method=name)

    def each(self, function: Callable[["Bound", Any], Result], xs: Any) -> Result:
        """`function(model, x)` for each x of `xs`, at once: results have a new first axis.

        What does not depend on x, such as an encoder where x numbers the draws, is computed once.
        """

        def one(x: Any) -> tuple[Result, dict[str, Any]]:
            model = Bound(self.module, self.variables, self.train)
            return function(model, x), model.updated

        results, updated = jax.vmap(one)(xs)
        self._keep(jax.tree.map(lambda value: value[0], updated))
        return results

    def draws(self, batch: Batch, number: int) -> Output:
        """So many samples of each code, along a new first axis; the first is that of `self`."""
        return self.each(lambda model, draw: model(batch.another(draw)), jnp.arange(number))

    def holding(self, *names: str) -> "Bound":
        """The same model, of which no gradient reaches the parameters under these names.

        Raises:
            KeyError: it has no parameters of that name, such as "encoder" or "decoder".
        """
        held = {name: jax.lax.stop_gradient(self.params[name]) for name in names}
        variables = self.variables | {"params": self.params | held}
        model = Bound(self.module, variables, self.train)
        model.updated = self.updated  # whichever is called first
        return model
