"""Training: epochs, validation, early stopping, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pyconv import functional, nn, random
from pyconv.autograd import Tensor, no_grad
from pyconv.functional._common import as_tensor
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.optim import AveragedModel, Optimizer, lr_scheduler, update_bn

__all__ = ["Callback", "EarlyStopping", "Trainer", "predict"]

Record = dict[str, Any]

_FORMAT = 1  # of a checkpoint; another number is refused
_PER_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.LinearWarmup)


class Callback:
    """What a `Trainer` calls on the way; a subclass has what it needs of these methods.

    Each gets the trainer, whose ``epoch`` (epochs done), ``history`` and ``record`` (the entry of
    the present epoch) it may read, and whose ``stop`` it may set, to end the training after this
    epoch. The state that `state_dict` returns goes into the checkpoints.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch, after a checkpoint was resumed."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each step of the optimizer."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After an epoch and its validation, before the checkpoint."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch; not after an error."""

    def state_dict(self) -> dict[str, Any]:
        """Nested dicts, lists, numbers, arrays."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class EarlyStopping(Callback):
    """Ends the training when a metric has not got better for `patience` epochs, and brings the
    model of the best epoch back, however the training ended.

    Parameters
    ----------
    patience : int
        From 1 on.
    monitor : str
        A key of the history. The largest is best for accuracies, the smallest for all others.
    min_delta : float
        By how much the best has to be beaten.

    Attributes
    ----------
    best : float
    best_epoch : int
        Counted from 1; 0 before the first.

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range; while training, a `monitor` that the history lacks.

    Notes
    -----
    Prechelt, Early stopping -- but when? (1998).

    Examples
    --------
    >>> from pyconv import EarlyStopping
    >>> EarlyStopping(patience=3, monitor="validation_accuracy")
    EarlyStopping(patience=3, monitor='validation_accuracy')
    """

    def __init__(
        self, patience: int, monitor: str = "validation_loss", min_delta: float = 0.0
    ) -> None:
        self.patience = check.integer("EarlyStopping", "patience", patience, 1)
        if not isinstance(monitor, str):
            raise TypeError(f"EarlyStopping: monitor must be a str, got {check.kind(monitor)}")
        self.monitor = monitor
        self.min_delta = check.number("EarlyStopping", "min_delta", min_delta, 0.0)
        self._sign = -1.0 if "accuracy" in monitor else 1.0
        self._forget()

    def _forget(self) -> None:
        self.best = self._sign * math.inf
        self.best_epoch = 0
        self.waited = 0
        self._models: dict[str, dict[str, np.ndarray]] = {}

    def on_fit_begin(self, trainer: Trainer) -> None:
        if trainer.epoch == 0:
            self._forget()
        trainer.stop = trainer.stop or self.waited >= self.patience

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.monitor not in trainer.record:
            numbers = ", ".join(k for k, v in trainer.record.items() if isinstance(v, float))
            raise ValueError(
                f"EarlyStopping: the history has no {self.monitor!r}; it has {numbers}"
            )
        value = float(trainer.record[self.monitor])
        if self._sign * (self.best - value) > self.min_delta:
            self.best, self.best_epoch, self.waited = value, trainer.epoch, 0
            self._models = {
                name: {key: array.copy() for key, array in model.state_dict().items()}
                for name, model in trainer._models().items()
            }
        else:
            self.waited += 1
            trainer.stop = trainer.stop or self.waited >= self.patience

    def on_fit_end(self, trainer: Trainer) -> None:
        for name, model in trainer._models().items():
            if name in self._models:
                model.load_state_dict(self._models[name])

    def state_dict(self) -> dict[str, Any]:
        """The best value and model, and how long it has been waited."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "models": self._models,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.best = float(state_dict["best"])
        self.best_epoch = int(state_dict["best_epoch"])
        self.waited = int(state_dict["waited"])
        self._models = state_dict["models"]

    def __repr__(self) -> str:
        return f"EarlyStopping(patience={self.patience}, monitor={self.monitor!r})"


class Trainer:
    """Trains a model.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
        Of the model's parameters.
    loss : callable
        ``loss(output, target)`` returns a scalar Tensor, the mean over the batch.
    scheduler : schedule of `optim.lr_scheduler`, optional
    callbacks : sequence of Callback or callable
        A callable is called with the trainer after each epoch.
    clip_grad_norm : float, optional
        The largest common norm of the gradients.
    l1 : float
        Times the sum of the weights' absolute values is added to what is minimised (not to the
        loss that is shown). Weights have more than one axis: biases, and the scales and shifts of
        norms, are spared. L2 is the optimizer's ``weight_decay``.
    average : AveragedModel, optional
        Takes every step's parameters in: an `optim.AveragedModel` or
        `optim.ExponentialMovingAverage` of the model. When `fit` ends, its batch-norm statistics
        are computed anew on the training data, unless it averages buffers itself.
    device : {"cpu", "cuda"}, optional
        Where to bring the model and the batches.
    progress : bool or "epochs"
        Show a bar with loss and accuracy on standard error, one for each epoch; "epochs" is one for
        all of them, for epochs that are short.
    scheduler_per : {"auto", "batch", "epoch"}
        When the scheduler steps: "auto" is "batch" for OneCycleLR and LinearWarmup. A
        ReduceLROnPlateau gets the validation loss, or the loss without validation.
    average_from : int
        The epoch, counted from 0, from which on parameters are averaged.

    Attributes
    ----------
    epoch : int
        How many epochs are done.
    history : list of dict
        One for each epoch: ``epoch`` (from 1), ``loss``, ``accuracy`` (for targets that are class
        numbers), ``validation_loss``, ``validation_accuracy``, ``lr``, ``seconds``.
    record : dict
        The entry of the present epoch, as far as it is known.
    stop : bool
        Set it to end the training after this epoch.
    metadata : dict
        What JSON can hold; it is written into the checkpoints.
    result : Module
        The average, if there is one and it has begun; otherwise the model.

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import Trainer, models, optim
    >>> from pyconv.data import DataLoader
    >>> x = np.random.default_rng(0).standard_normal((64, 2)).astype(np.float32)
    >>> data = DataLoader((x, (x[:, 0] > 0).astype(int)), batch_size=16, shuffle=True)
    >>> model = models.mlp(num_classes=2, in_features=2, hidden=(8,))
    >>> trainer = Trainer(model, optim.Adam(model.parameters(), lr=0.05), progress=False)
    >>> history = trainer.fit(data, epochs=10)
    >>> len(history), trainer.evaluate(data)["accuracy"] > 0.9
    (10, True)
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[[Any, Any], Tensor] = functional.cross_entropy,
        *,
        scheduler: Any = None,
        callbacks: Sequence[Any] = (),
        clip_grad_norm: float | None = None,
        l1: float = 0.0,
        average: AveragedModel | None = None,
        device: str | None = None,
        progress: bool | str = True,
        scheduler_per: str = "auto",
        average_from: int = 0,
    ) -> None:
        name = "Trainer"
        _check_type("model", model, Module)
        _check_type("optimizer", optimizer, Optimizer)
        if not callable(loss):
            raise TypeError(f"{name}: loss must be callable, got {check.kind(loss)}")
        if scheduler is not None and not hasattr(scheduler, "step"):
            raise TypeError(f"{name}: scheduler must have a step, got {check.kind(scheduler)}")
        if scheduler_per not in ("auto", "batch", "epoch"):
            raise ValueError(
                f'{name}: scheduler_per must be "auto", "batch" or "epoch", got {scheduler_per!r}'
            )
        if average is not None:
            _check_type("average", average, AveragedModel)
        if device is not None and not isinstance(device, str):
            raise TypeError(f"{name}: device must be a str, got {check.kind(device)}")
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback) and not callable(callback):
                raise TypeError(
                    f"{name}: callbacks must be Callbacks or callable, got {check.kind(callback)}"
                )
        self.model = model if device is None else model.to(device)
        self.optimizer = optimizer
        self.loss = loss
        self.scheduler = scheduler
        self.clip_grad_norm = (
            None
            if clip_grad_norm is None
            else check.number(name, "clip_grad_norm", clip_grad_norm, 0.0)
        )
        self.l1 = check.number(name, "l1", l1, 0.0)
        self.average = average
        self.average_from = check.integer(name, "average_from", average_from, 0)
        self.device = device
        self.progress = progress
        if progress != "epochs":
            check.boolean(name, "progress", progress)
        per_batch = isinstance(scheduler, _PER_BATCH) or scheduler_per == "batch"
        self._step_per_batch = per_batch and scheduler_per != "epoch"
        self.epoch = 0
        self.history: list[Record] = []
        self.record: Record = {}
        self.metadata: dict[str, Any] = {}
        self.stop = False

    @property
    def result(self) -> Module:
        """The average, if there is one and it has begun; otherwise the model."""
        if self.average is not None and self.average.n_averaged.item() > 0:
            return self.average.module
        return self.model

    def fit(
        self,
        train: Iterable[Any],
        validation: Iterable[Any] | None = None,
        epochs: int = 10,
        *,
        checkpoint: Any = None,
        resume: Any = None,
    ) -> list[Record]:
        """Train until `epochs` epochs are done; afterwards the model is in inference mode.

        Parameters
        ----------
        train : DataLoader, or iterable of (x, y) that can be gone through several times
        validation : the same, optional
            Looked at after each epoch.
        epochs : int
            In all: those of a resumed checkpoint, or of an earlier call, count.
        checkpoint : str or path, optional
            A file that is written before the first epoch and after each, always as a whole. An
            interruption (Ctrl-C, an error) loses the epoch that it falls into and no more.
        resume : str or path, optional
            A checkpoint to go on from: the same model, optimizer, scheduler, callbacks and loaders,
            built anew, end with the same bits as an uninterrupted run.

        Returns
        -------
        list of dict
            The `history`.

        Raises
        ------
        TypeError, ValueError
            Wrong types; a checkpoint of another model or optimizer; data without batches.
        OSError
            A checkpoint can't be read or written.
        """
        check.integer("fit", "epochs", epochs, 0)
        for argument, data in (("train", train), ("validation", validation)):
            if data is not None:
                _check_repeatable(argument, data)
        self.stop = False
        if resume is not None:
            self.load_checkpoint(resume, train, validation)
        self._call("on_fit_begin")
        if checkpoint is not None:
            self.save_checkpoint(checkpoint, train, validation)
        try:
            with _bar(self.progress == "epochs", range(epochs), "training", "epoch") as bar:
                bar.update(self.epoch)
                while self.epoch < epochs and not self.stop:
                    self._one_epoch(train, validation, epochs)
                    bar.set_postfix(_short(self.record), refresh=False)
                    bar.update()
                    if checkpoint is not None:
                        self.save_checkpoint(checkpoint, train, validation)
            if self.average is not None and self.average.n_averaged.item() > 0:
                if not self.average.use_buffers:
                    update_bn(train, self.average, self.device)
            self._call("on_fit_end")
        finally:
            self.model.eval()
            if self.average is not None:
                self.average.eval()
        return self.history

    def evaluate(self, data: Iterable[Any], model: Module | None = None) -> dict[str, float]:
        """Loss and accuracy on data, without learning.

        Parameters
        ----------
        data : DataLoader, or iterable of (x, y)
        model : Module, optional
            By default the `result`.

        Returns
        -------
        dict
            ``loss``, and ``accuracy`` where targets are class numbers: means over the samples.

        Raises
        ------
        ValueError
            There are no batches.
        """
        model = self.result if model is None else model
        meter = _Meter()
        modes = [(m, m.training) for m in model.modules()]
        model.eval()
        try:
            with no_grad():
                for x, y in data:
                    y = self._place(y)
                    output = model(self._place(x))
                    meter.add(self.loss(output, y), output, y)
        finally:
            for module, mode in modes:
                module.training = mode
        return meter.means("evaluate")

    # -- one epoch ------------------------------------------------------------------------------

    def _one_epoch(self, train: Any, validation: Any, epochs: int) -> None:
        start = time.perf_counter()
        self.record = {"epoch": self.epoch + 1}
        meter = _Meter()
        self.model.train()
        title = f"epoch {self.epoch + 1}/{epochs}"
        with _bar(self.progress is True, train, title) as bar:
            batches = iter(train)
            try:
                for x, y in batches:
                    self._one_step(x, y, meter)
                    bar.set_postfix(meter.text(), refresh=False)
                    bar.update()
                    self._call("on_batch_end")
            finally:  # so that a loader's threads end now, whatever happened
                if hasattr(batches, "close"):
                    batches.close()
            self.record.update(meter.means("fit"))
            if validation is not None:
                found = self.evaluate(validation, self.model)
                self.record.update({f"validation_{key}": value for key, value in found.items()})
                bar.set_postfix({**meter.text(), **_short(found, "validation_")})
        self.record["lr"] = float(self.optimizer.param_groups[0]["lr"])
        self.record["seconds"] = time.perf_counter() - start
        if self.scheduler is not None and not self._step_per_batch:
            if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
                self.scheduler.step(self.record.get("validation_loss", self.record["loss"]))
            else:
                self.scheduler.step()
        self.epoch += 1
        self.history.append(self.record)
        self._call("on_epoch_end")

    def _one_step(self, x: Any, y: Any, meter: _Meter) -> None:
        x, y = self._place(x), self._place(y)
        seen: list[tuple[Any, Any]] = []

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            output = self.model(x)
            loss = self.loss(output, y)
            loss.backward()
            self._regularise()
            seen.append((loss, output))
            return loss

        self.optimizer.step(closure)
        meter.add(*seen[0], y)  # the first: a line search computes several
        if self.scheduler is not None and self._step_per_batch:
            self.scheduler.step()
        if self.average is not None and self.epoch >= self.average_from:
            self.average.update_parameters(self.model)

    def _regularise(self) -> None:
        if self.l1:
            for p in self.model.parameters():
                if p.grad is not None and p.ndim > 1:
                    p.grad.data += p.dtype.type(self.l1) * (p.data > 0)
                    p.grad.data -= p.dtype.type(self.l1) * (p.data < 0)
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)

    def _place(self, x: Any) -> Any:
        return x if self.device in (None, "cpu") else Tensor(x).to(self.device)

    def _call(self, method: str) -> None:
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                getattr(callback, method)(self)
            elif method == "on_epoch_end":
                callback(self)

    # -- checkpoints ----------------------------------------------------------------------------

    def _models(self) -> dict[str, Module]:
        found: dict[str, Module] = {"model": self.model}
        if self.average is not None:
            found["average"] = self.average
        return found

    def save_checkpoint(self, path: Any, train: Any = None, validation: Any = None) -> None:
        """Write all that is needed to go on: model, average, optimizer, scheduler, callbacks,
        random state, the loaders' epochs, history, `metadata`.

        Parameters
        ----------
        path : str or path
        train, validation : DataLoader, optional
            Those that `fit` gets.
        """
        from pyconv import io

        arrays: dict[str, Any] = {}
        for name, model in self._models().items():
            arrays.update({f"{name}.{key}": array for key, array in model.state_dict().items()})
        parts = {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "callbacks": [
                c.state_dict() if isinstance(c, Callback) else None for c in self.callbacks
            ],
            "loaders": [d.state_dict() if _is_loader(d) else None for d in (train, validation)],
            "random": random.get_rng_state(),
        }
        trees = {}
        for name, part in parts.items():
            trees[name], found = io.pack(part, name)
            arrays.update(found)
        notes = dict(self.metadata)
        notes["architecture"] = getattr(self.model, "architecture", None)
        notes["checkpoint"] = {
            "format": _FORMAT,
            "epoch": self.epoch,
            "history": self.history,
            "averaged": self.average is not None,
            **trees,
        }
        io.save(arrays, path, notes)

    def load_checkpoint(self, path: Any, train: Any = None, validation: Any = None) -> None:
        """Take over the state that `save_checkpoint` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            It is no checkpoint, or one of another model, optimizer or number of callbacks.
        """
        from pyconv import io

        arrays, notes = io.load_state(path)
        found = notes.get("checkpoint")
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise ValueError(f"load_checkpoint: {path} is no checkpoint that this version reads")
        if found["averaged"] != (self.average is not None):
            words = {True: "with", False: "without"}
            raise ValueError(
                f"load_checkpoint: {path} is of a training {words[found['averaged']]} an average, "
                f"this one is {words[self.average is not None]}"
            )
        names = ("optimizer", "scheduler", "callbacks", "loaders", "random")
        parts = {name: io.unpack(found[name], arrays) for name in names}
        if len(parts["callbacks"]) != len(self.callbacks):
            raise ValueError(
                f"load_checkpoint: {path} has the state of {len(parts['callbacks'])} callbacks, "
                f"this training has {len(self.callbacks)}"
            )
        if (parts["scheduler"] is None) != (self.scheduler is None):
            raise ValueError(f"load_checkpoint: {path}: one training has a scheduler, one has none")
        for name, model in self._models().items():
            start = f"{name}."
            own = {k[len(start) :]: v for k, v in arrays.items() if k.startswith(start)}
            try:
                model.load_state_dict(own)
            except ValueError as error:
                raise ValueError(f"load_checkpoint: {path}: {error}") from None
        self.optimizer.load_state_dict(parts["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(parts["scheduler"])
        for callback, state in zip(self.callbacks, parts["callbacks"], strict=True):
            if isinstance(callback, Callback):
                callback.load_state_dict(state or {})
        for data, state in zip((train, validation), parts["loaders"], strict=True):
            if _is_loader(data) and state is not None:
                data.load_state_dict(state)
        random.set_rng_state(parts["random"])
        self.epoch = int(found["epoch"])
        self.history = list(found["history"])

    def __repr__(self) -> str:
        return (
            f"Trainer({type(self.model).__name__}, {type(self.optimizer).__name__}, "
            f"epoch={self.epoch})"
        )


def predict(model: Module, data: Iterable[Any], device: str | None = None) -> np.ndarray:
    """The model's outputs for all samples of some data.

    Parameters
    ----------
    model : Module
        Runs in inference mode; its own mode is kept.
    data : DataLoader, or iterable of (x, y) or of x
    device : {"cpu", "cuda"}, optional
        Where to bring the batches.

    Returns
    -------
    ndarray, N×...

    Raises
    ------
    ValueError
        There are no batches.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models, training
    >>> model = models.mlp(num_classes=3, in_features=4)
    >>> training.predict(model, [np.zeros((5, 4), np.float32)]).shape
    (5, 3)
    """
    _check_type("model", model, Module, "predict")
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    outputs = []
    try:
        with no_grad():
            for batch in data:
                x = batch[0] if isinstance(batch, (tuple, list)) else batch
                x = x if device in (None, "cpu") else Tensor(x).to(device)
                outputs.append(as_tensor("predict", "output", model(x)).numpy())
    finally:
        for module, mode in modes:
            module.training = mode
    if not outputs:
        raise ValueError("predict: data has no batches")
    return np.concatenate(outputs)


class _Meter:
    """Means of loss and accuracy over the samples of an epoch."""

    def __init__(self) -> None:
        self.samples = 0
        self.loss = 0.0
        self.cells = 0
        self.right = 0

    def add(self, loss: Any, output: Any, y: Any) -> None:
        value = loss.item() if hasattr(loss, "item") else float(loss)
        n = len(y)
        self.samples += n
        self.loss += value * n
        target = y.data if isinstance(y, Tensor) else y
        scores = output.data if isinstance(output, Tensor) else output
        if target.dtype.kind in "iu" and getattr(scores, "ndim", 0) == target.ndim + 1:
            self.right += int((scores.argmax(1) == target).sum())
            self.cells += target.size

    def means(self, function: str) -> dict[str, float]:
        if not self.samples:
            raise ValueError(f"{function}: data has no samples")
        found = {"loss": self.loss / self.samples}
        if self.cells:
            found["accuracy"] = self.right / self.cells
        return found

    def text(self) -> dict[str, str]:
        found = {"loss": f"{self.loss / self.samples:.4f}"} if self.samples else {}
        if self.cells:
            found["accuracy"] = f"{self.right / self.cells:.4f}"
        return found


def _short(found: dict[str, Any], start: str = "") -> dict[str, str]:
    """Losses and accuracies for the bar."""
    wanted = {k: v for k, v in found.items() if k.endswith(("loss", "accuracy"))}
    return {f"{start}{key}": f"{value:.4f}" for key, value in wanted.items()}


def _bar(progress: bool, data: Any, title: str, unit: str = "batch") -> Any:
    from tqdm import tqdm

    total = len(data) if hasattr(data, "__len__") else None
    return tqdm(total=total, desc=title, unit=unit, disable=not progress)


def _is_loader(data: Any) -> bool:
    return hasattr(data, "state_dict") and hasattr(data, "load_state_dict")


def _check_type(argument: str, value: Any, kind: type, function: str = "Trainer") -> None:
    if not isinstance(value, kind):
        raise TypeError(
            f"{function}: {argument} must be of type {kind.__name__}, got {type(value).__name__}"
        )


def _check_repeatable(argument: str, data: Any) -> None:
    if not isinstance(data, Iterable):
        raise TypeError(
            f"fit: {argument} must be a DataLoader or an iterable of (x, y), "
            f"got {type(data).__name__}"
        )
    if isinstance(data, Iterator):
        raise TypeError(
            f"fit: {argument} can be gone through only once; give a DataLoader or a list"
        )
