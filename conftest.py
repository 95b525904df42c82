"""Programs that several tests need are compiled once in each process that runs tests, and for the
commands that it starts."""

import os
import tempfile

programs = tempfile.TemporaryDirectory(prefix="jaxvae-programs-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = programs.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
