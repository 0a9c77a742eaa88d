"""Fingerprints of local files and folders: what lies there counts, not how the path was typed."""

import hashlib
from pathlib import Path

from tombola.foundations.errors import system_errors


def fingerprint(source: str) -> str:
    """SHA-256 over names and contents of a local file or folder, hidden files apart; of anything else its name."""
    path, digest = Path(source).expanduser(), hashlib.sha256()
    with system_errors():
        if not path.exists():
            return source
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        for file in files:
            if any(part.startswith(".") for part in file.relative_to(path).parts):
                continue
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
