"""Checkpoints that survive a kill, and those of another model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speechbrain.utils.checkpoints import METAFNAME, Checkpoint, Checkpointer
from speechbrain.utils.distributed import ddp_barrier

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.storage import writing_into

UNFINISHED = f"{METAFNAME}.unfinished"

# How torch begins the message when a weight is missing or of another shape.
MISMATCH = "Error(s) in loading state_dict"


class WholeCheckpointer(Checkpointer):
    """A checkpoint exists once all of it is written.

    SpeechBrain writes the file that makes a folder a checkpoint before the
    others: a training that is killed while it saves cannot be resumed. Here
    that file gets its name last. The files are SpeechBrain's own.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.utils.checkpoints.Checkpointer``.

    Example
    -------
    >>> import torch
    >>> model = torch.nn.Linear(1, 1)
    >>> folder = getfixture("tmp_path")
    >>> checkpointer = WholeCheckpointer(folder, {"model": model})
    >>> saved = checkpointer.save_checkpoint()
    >>> sorted(path.name for path in saved.path.iterdir())
    ['CKPT.yaml', 'model.ckpt']
    """

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> Checkpoint | None:
        """Save all that is to be recovered; as ``Checkpointer``'s.

        Raises
        ------
        DataError
            If there is no room for it.
        """
        with writing_into(self.checkpoints_dir):
            saved = super().save_checkpoint(*args, **kwargs)
        if saved is not None:  # only the first process has written
            (saved.path / UNFINISHED).rename(saved.path / METAFNAME)
        # All processes list the checkpoints next, and must see the same.
        ddp_barrier()
        return saved

    def _save_checkpoint_metafile(
        self,
        fpath: Path,
        meta_to_include: Mapping[str, Any],
        end_of_epoch: bool,
    ) -> dict[str, Any]:
        return super()._save_checkpoint_metafile(
            fpath.with_name(UNFINISHED), meta_to_include, end_of_epoch
        )


@contextmanager
def same_model(folder: str | Path) -> Iterator[None]:
    """Turn torch's report of weights that do not fit into a one-line error.

    Arguments
    ---------
    folder : str | Path
        Where the checkpoints lie that are loaded in this context.

    Raises
    ------
    ConfigurationError
        If a checkpoint is of a model with other hyperparameters.

    Example
    -------
    >>> import torch
    >>> with same_model("results/1/save"):
    ...     torch.nn.Linear(1, 1).load_state_dict({})
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: output_folder: found 'results/1/save', expected checkpoints of a model with these hyperparameters: take another folder (Missing key(s) in state_dict: "weight", "bias".)
    """
    try:
        yield
    except RuntimeError as error:
        head, _, details = str(error).partition("\n")
        if not head.startswith(MISMATCH):
            raise
        first = details.strip().split("\n")[0]
        raise ConfigurationError(
            "output_folder",
            str(folder),
            "checkpoints of a model with these hyperparameters: take another "
            f"folder ({first})",
        ) from error
