"""The findings about a Hugging Face cache and about a lock, as data: code -> (title, explanation)."""

from __future__ import annotations

CACHE_RULES: dict[str, tuple[str, str]] = {
    "OSR101": (
        "cache-missing",
        "The directory that the weights are to be read from does not exist. With a missing cache_dir the Hub "
        "library creates it and downloads, or fails where there is no network.",
    ),
    "OSR102": (
        "cache-not-a-directory",
        "What cache_dir names is a file (or a link to one), not a directory.",
    ),
    "OSR103": (
        "cache-unreadable",
        "The cache, a repo's folder in it, or a file that the loader asks for cannot be read by this user. A "
        "shared cache needs r on files and rx on folders for everyone who loads from it; writing is not needed.",
    ),
    "OSR104": (
        "cache-is-hf-home",
        "The directory is what HF_HOME names. The models lie one level deeper, in its hub/: that is what "
        "cache_dir takes.",
    ),
    "OSR105": (
        "cache-is-a-model-folder",
        "The directory is one model's own folder (models--ORG--NAME) or a snapshot in it. cache_dir takes the "
        "directory that holds the models--... folders.",
    ),
    "OSR106": (
        "flat-download",
        "The weights lie as plain files, as `git clone` or `hf download --local-dir` leave them. A loader that is "
        "given a repo id looks only for models--ORG--NAME/{blobs,refs,snapshots}; `adopt` brings the files into "
        "that layout.",
    ),
    "OSR107": (
        "repo-absent",
        "A repo that a loader reads from is not in the cache. It may be one that no config names, because the "
        "loader's source does (the VAE of PixArt for OpenSoraVAE_V1_2).",
    ),
    "OSR108": (
        "ref-missing",
        "The repo lies there, but refs/REVISION (refs/main when none is asked for) does not say which commit to "
        "read. Offline, the Hub library then finds nothing.",
    ),
    "OSR109": (
        "ref-malformed",
        "The ref holds more than the bare commit: a newline, a blank, a byte-order mark. The Hub library reads "
        "the file as it is, and looks for a snapshot of that very name. `echo SHA > refs/main` does this; `printf "
        "%s` does not.",
    ),
    "OSR110": (
        "snapshot-missing",
        "The ref (or the asked commit) names a snapshot that is not in snapshots/.",
    ),
    "OSR111": (
        "symlinks-lost",
        "snapshots/ should hold links into blobs/. A copy that drops links (rsync without -l, object storage, "
        "some archives) leaves it empty; one that writes links out as text leaves small files that hold a "
        "relative path.",
    ),
    "OSR112": (
        "broken-symlink",
        "A snapshot's link leads to a blob that is not there.",
    ),
    "OSR113": (
        "file-missing",
        "The snapshot lacks a file, or a shard of an index's weight_map, that this loader asks for.",
    ),
    "OSR114": (
        "file-altered",
        "A file is not what was published: its hash differs from the blob's name (--hash), its size from the "
        "cached listing, or its own structure is cut short (safetensors header, zip directory of a .bin, JSON).",
    ),
    "OSR115": (
        "lfs-pointer",
        "A Git-LFS pointer (three lines of text) stands where the weights should be: cloned without git-lfs.",
    ),
    "OSR116": (
        "download-unfinished",
        "blobs/ holds an .incomplete file for something that the loader asks for: a download was interrupted or "
        "still runs. As a warning: the file itself is complete, and the .incomplete beside it is a leftover.",
    ),
    "OSR117": (
        "repo-hard-coded",
        "A warning: this repo is read although no config names it, because the loader's source does. It is in the "
        "cache; remember it when a cache is copied or trimmed.",
    ),
    "OSR118": (
        "not-verified",
        "A warning of --hash: the cache has no symlinks, so the files do not carry the hash that they should "
        "have. A lock or the cached listing (trees/) can stand in.",
    ),
    "OSR121": (
        "lock-commit",
        "The cache now gives another commit than the lock was written for.",
    ),
    "OSR122": (
        "lock-file-added",
        "The loader now asks for a file that the lock does not have, and finds it.",
    ),
    "OSR123": (
        "lock-file-missing",
        "A file of the lock is no longer among those that the loader finds.",
    ),
    "OSR124": (
        "lock-file-changed",
        "A file's size or hash is not the lock's.",
    ),
    "OSR125": (
        "lock-repo-unneeded",
        "A warning: no config needs this repo of the lock any more.",
    ),
    "OSR126": (
        "lock-repo-new",
        "A config needs a repo that the lock does not have; as a warning: the lock has the repo, but not for this "
        "config.",
    ),
}
