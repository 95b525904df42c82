"""Training: a frozen state, one pure step, the compiled loop, checkpoints."""

from jaxvae.training.epoch import NonFiniteError
from jaxvae.training.listener import Listener, StopTraining
from jaxvae.training.loop import Task, carry_out, train
from jaxvae.training.optimizer import make_optimizer, make_schedule
from jaxvae.training.start import Beginning
from jaxvae.training.state import TrainState, Variables, initial_state
from jaxvae.training.step import make_advance, make_train_step

__all__ = [
    "Beginning",
    "Listener",
    "NonFiniteError",
    "StopTraining",
    "Task",
    "TrainState",
    "Variables",
    "carry_out",
    "initial_state",
    "make_advance",
    "make_optimizer",
    "make_schedule",
    "make_train_step",
    "train",
]
