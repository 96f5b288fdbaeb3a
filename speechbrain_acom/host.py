"""SpeechBrain as the host: is it there, and can it be imported?"""

INSTALL = 'pip install "torch>=2.11,<2.15" "torchaudio==2.11.0" speechbrain'


def check_host() -> None:
    """Import SpeechBrain and explain in one line what to do if that fails.

    torch and torchaudio that were built for different versions of CUDA fail
    at import, and so does SpeechBrain, which imports both.

    Raises
    ------
    ImportError
        If SpeechBrain, torch or torchaudio cannot be imported; the message
        holds the command that installs versions that fit together.

    Example
    -------
    >>> check_host()
    """
    try:
        import speechbrain  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise ImportError(
            f"SpeechBrain cannot be imported ({reason}); versions that fit "
            f"together: {INSTALL}"
        ) from error
