"""Fitted estimators as files: skops's format, LightGBM's own text; never pickle. Loading runs no code from the file."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.artifacts import SUMS, read_checked
from limbeck.data.form import form_from_json
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import DamagedFileError, sha256_hex, write_bytes
from limbeck.models.booster import Booster
from limbeck.models.estimator import OWN_KINDS, Estimator
from limbeck.models.saving import DESCRIPTION, describe, read_description

ALLOWED: dict[str, tuple[str, ...]] = {
    "random-forest": ("sklearn.tree._tree.Tree",),
    "gradient-boosting": (
        "functools.partial",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.utils.validation.check_array",
    ),
}
"""What skops does not know in the estimators that limbeck fits, by kind; their trees are looked at when loaded."""

_SCHEMA = "schema.json"


def save_estimator(path: Path | str, estimator: object) -> None:
    """Write a fitted estimator as a skops file: the same fit in another process gives the same bytes.

    Raises:
        LimbeckError: skops is missing, or cannot hold the estimator.
    """
    write_bytes(Path(path), _dumped(estimator))


def load_estimator(path: Path | str, trusted: Sequence[str] = ()) -> Any:
    """Read a fitted estimator from a skops file.

    Args:
        path: of the file.
        trusted: types in it that skops does not know to be safe and that the user allows, as "module.Type".

    Raises:
        LimbeckError: there is no such file, it is no skops file or damaged, it holds types that nobody allowed, or a
            library that made it is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise LimbeckError(f"{path}: no such file, expected a fitted estimator as skops.io.dump writes it")
    return _loaded(path.read_bytes(), path, trusted)


def untrusted_types(path: Path | str) -> list[str]:
    """The types in a skops file that skops does not know to be safe, as `load_estimator` takes them.

    Raises:
        LimbeckError: it is no skops file; skops is not installed.
    """
    found = _unknown_types(Path(path).read_bytes(), ())
    if found is None:
        _skops()
        raise LimbeckError(f"{path} is no skops file: expected a fitted estimator as skops.io.dump writes it")
    return found


def save_estimator_model(
    folder: Path | str, model: Estimator, class_names: Sequence[str], details: Mapping[str, Any] | None = None
) -> None:
    """Write an estimator into a folder: model.json, and a file for each member.

    Args:
        folder: made if it is not there.
        model: what to save.
        class_names: the classes' names in the order of the log-probabilities.
        details: more that model.json should say, such as the artifact's identity.

    Raises:
        LimbeckError: skops is missing, or cannot hold the estimator.
        UsageError: if there are more names than classes, or fewer.
    """
    folder = Path(folder)
    if len(class_names) != model.classes:
        raise UsageError(f"{len(class_names)} class names for a model of {model.classes} classes: give one for each")
    members = []
    for number, member in enumerate(model.members):
        stem = "model" if len(model.members) == 1 else f"member-{number}"
        described: dict[str, Any] = {}
        if isinstance(member, Booster):
            name, content = f"{stem}.txt", member.text.encode()
            described["classes"] = member.classes_.tolist()
        else:
            name, content = f"{stem}.skops", _dumped(member)
        write_bytes(folder / name, content)
        members.append({"file": name, "sha256": sha256_hex(content), **described})
    describe(folder, model, class_names, labels=model.labels, members=members, **(details or {}))


def load_estimator_model(folder: Path | str, trusted: Sequence[str] = ()) -> tuple[Estimator, tuple[str, ...]]:
    """Read what `save_estimator_model` wrote, and the names of its classes; digests are checked.

    Args:
        folder: where it lies.
        trusted: as for `load_estimator`, for an estimator that limbeck has not fitted.

    Raises:
        LimbeckError: there is no such model there, it is damaged, or holds types that nobody allowed.
    """
    folder = Path(folder)
    description = read_description(folder)
    kind = str(description["kind"])
    if kind not in (*OWN_KINDS, "estimator"):
        raise LimbeckError(
            f'{folder} holds a model of kind "{kind}": expected one of {", ".join(OWN_KINDS)}, estimator'
        )
    members = []
    try:
        for described in description["members"]:
            path = folder / Path(str(described["file"])).name
            content = _content(folder, path, str(described["sha256"]))
            if path.suffix == ".txt":
                members.append(Booster(content.decode(), described["classes"]))
            else:
                member = _loaded(content, path, (*ALLOWED.get(kind, ()), *trusted))
                _check_trees(member, path)
                members.append(member)
        names = tuple(map(str, description["classes"]))
        form = form_from_json(description.get("form"))
        shape = [int(side) for side in description["input_shape"]]
        settings, labels = description["settings"], description["labels"]
        if not members or not isinstance(labels, bool):
            raise ValueError("no members, or labels that are neither true nor false")
        model = Estimator(members, shape, names, form=form, kind=kind, settings=settings, labels=labels)
    except (KeyError, TypeError, ValueError) as error:
        what = " ".join(str(error).split())[:200]
        raise DamagedFileError(folder / DESCRIPTION, f"it does not describe an estimator ({what})") from None
    return model.eval(), names


def _content(folder: Path, path: Path, digest: str) -> bytes:
    if not path.is_file():
        raise DamagedFileError(path, "it is missing")
    content = read_checked(folder, path.name) if (folder / SUMS).exists() else path.read_bytes()
    if sha256_hex(content) != digest:
        raise DamagedFileError(path, f"it does not give the digest in {DESCRIPTION}")
    return content


def _skops() -> Any:
    try:
        import skops.io
    except ImportError:
        raise LimbeckError('fitted estimators as files need skops: pip install "limbeck[data]"') from None
    return skops.io


def _dumped(estimator: object) -> bytes:
    skops = _skops()
    try:
        # Compressed, for a forest takes ten times as much memory as its file.
        return _canonical(skops.dumps(estimator, compression=zipfile.ZIP_DEFLATED, compresslevel=1))
    except MemoryError:
        raise
    except Exception as error:  # skops has an exception of its own, and lets others through
        reason = " ".join(str(error).split())[:200]
        raise LimbeckError(
            f"skops cannot hold this {type(estimator).__name__} ({reason}): record what it knows by limbeck.extract"
        ) from None


def _loaded(content: bytes, path: Path, trusted: Sequence[str]) -> Any:
    skops = _skops()
    try:
        return skops.loads(content, trusted=list(trusted))
    except ImportError as error:
        raise LimbeckError(f"{path} needs a library that is not installed ({error}): install it") from None
    except MemoryError:
        raise
    except Exception as error:  # skops, zipfile, json and the types' own __setstate__ each have their own
        unknown, reason = _unknown_types(content, trusted), " ".join(str(error).split())[:120]
        if unknown is None:
            raise LimbeckError(
                f"{path} is no skops file, or damaged ({reason}): expected a fitted estimator as skops.io.dump writes "
                "it; pickle and joblib files are not opened, for they can run anything"
            ) from None
        if not unknown:
            raise LimbeckError(f"{path} cannot be loaded ({reason}): it is damaged, or of another version") from None
        listed = ", ".join(f'"{one}"' for one in unknown)
        raise LimbeckError(
            f"{path} holds types that are not known to be safe: {', '.join(unknown)}: if you trust whoever made the "
            f"file, allow them by trust = [{listed}]"
        ) from None


def _unknown_types(content: bytes, trusted: Sequence[str]) -> list[str] | None:
    """The types in a skops file that nobody allowed; None where it is none.

    Asked only where loading has failed, for it takes as long again, and as much memory.
    """
    try:
        return sorted(set(_skops().get_untrusted_types(data=content)) - set(trusted))
    except Exception:  # zipfile, json and skops each have their own for what is no such file
        return None


def _canonical(content: bytes) -> bytes:
    """A skops file with the same content and bytes that depend on nothing else.

    skops names objects and files by their address in memory, and a zip file has the time of day. Here they are
    numbered in the order in which the schema has them, equal constants being one.
    """
    numbers: dict[Any, int] = {}
    files: dict[str, str] = {}

    def renumber(node: Any) -> None:
        if isinstance(node, list):
            for one in node:
                renumber(one)
        if not isinstance(node, dict):
            return
        if "__id__" in node:
            constant = node.get("__loader__") == "JsonNode"
            key = (node["__class__"], str(node["content"])) if constant else node["__id__"]
            node["__id__"] = numbers.setdefault(key, len(numbers) + 1)
        if "__loader__" in node and isinstance(node.get("file"), str):
            node["file"] = files.setdefault(node["file"], f"{len(files):06d}{Path(node['file']).suffix}")
        for one in node.values():
            renumber(one)

    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        schema = json.loads(source.read(_SCHEMA))
        renumber(schema)
        for old, new in files.items():
            _put(made, new, _without_gaps(source.read(old)))
        _put(made, _SCHEMA, json.dumps(schema, separators=(",", ":")).encode())
    return target.getvalue()


def _without_gaps(content: bytes) -> bytes:
    """An array's file, the bytes between a structure's fields set to zero: they hold whatever was in memory."""
    if not re.match(rb"\x93NUMPY.{2,6}{'descr': [\[{]", content, re.DOTALL):
        return content
    found = np.load(io.BytesIO(content), allow_pickle=False)
    clean = np.zeros(found.shape, found.dtype)
    for name in found.dtype.names or ():
        clean[name] = found[name]
    target = io.BytesIO()
    np.save(target, clean, allow_pickle=False)
    return target.getvalue()


def _put(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system, entry.external_attr = 3, 0o600 << 16
    file.writestr(entry, content)


def _check_trees(estimator: Any, path: Path) -> None:
    """Every walk through a tree ends in a leaf: the compiled code that walks them does not look.

    Raises:
        DamagedFileError: one does not.
    """
    features = int(getattr(estimator, "n_features_in_", 0))
    for grown in getattr(estimator, "estimators_", ()):
        tree = getattr(grown, "tree_", None)
        if tree is not None:
            asks = tree.children_left >= 0
            _check_walks(tree.children_left[asks], tree.children_right[asks], tree.feature[asks], asks, features, path)
    for trees in getattr(estimator, "_predictors", ()):
        for predictor in trees:
            nodes = predictor.nodes
            asks = nodes["is_leaf"] == 0
            left, right, feature = (nodes[name][asks].astype(np.int64) for name in ("left", "right", "feature_idx"))
            _check_walks(left, right, feature, asks, features, path)
            sets = nodes["bitset_idx"][asks & (nodes["is_categorical"] != 0)]
            if not (sets < len(predictor.raw_left_cat_bitsets)).all():
                raise DamagedFileError(path, "a tree in it asks about categories that it does not list")


def _check_walks(left: Any, right: Any, feature: Any, asks: Any, features: int, path: Path) -> None:
    at = np.flatnonzero(asks)
    for below in (left, right):
        if not ((below > at) & (below < len(asks))).all():
            raise DamagedFileError(path, "a tree in it has a question whose turns lead nowhere")
    if not len(asks) or not ((feature >= 0) & (feature < features)).all():
        raise DamagedFileError(path, f"a tree in it asks about a feature that {features} features do not have")
