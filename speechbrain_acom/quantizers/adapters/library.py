"""The library vector-quantize-pytorch, an optional extra."""

from types import ModuleType

INSTALL = 'pip install "speechbrain_acom[vector-quantize]"'


def vector_quantize_pytorch() -> ModuleType:
    """Import the library.

    Returns
    -------
    ModuleType
        The library.

    Raises
    ------
    ImportError
        If it is not installed; the message holds the command that installs
        it.
    """
    try:
        import vector_quantize_pytorch
    except ImportError as error:
        raise ImportError(
            "vector_quantize_pytorch: not found, expected for this quantizer; "
            f"install it with {INSTALL}"
        ) from error
    return vector_quantize_pytorch
