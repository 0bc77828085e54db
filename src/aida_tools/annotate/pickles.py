"""Reading CellTypist's pickled classifiers without running what is in them.

A pickle is a program: unpickling one from elsewhere runs it. The reader here hands out numpy's array builders,
each behind a check, and empty shells in place of scikit-learn's classes; every other name is refused. No
scikit-learn is imported, so it does not matter which version wrote the file.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aida_tools.core.errors import AidaError
from aida_tools.core.files import sha256
from aida_tools.scan.classifier import LinearClassifier

#: scikit-learn's and CellTypist's names that become shells: they keep their state and can do nothing.
_SHELLS = {
    "sklearn.linear_model._logistic": {"LogisticRegression"},
    "sklearn.linear_model._stochastic_gradient": {"SGDClassifier"},
    "sklearn.linear_model._sgd_fast": {"Log"},
    "sklearn.linear_model.logistic": {"LogisticRegression"},
    "sklearn.linear_model.stochastic_gradient": {"SGDClassifier"},
    "sklearn.linear_model.sgd_fast": {"Log"},
    "sklearn._loss._loss": {"CyHalfBinomialLoss", "__pyx_unpickle_CyHalfBinomialLoss"},
    "sklearn._loss.loss": {"HalfBinomialLoss", "HalfMultinomialLoss"},
    "sklearn.preprocessing._data": {"StandardScaler"},
    "sklearn.preprocessing.data": {"StandardScaler"},
}
_LARGEST = 2 * 2**30
#: Stands for numpy.ndarray, which itself could be called to claim memory.
_NDARRAY = object()


class _Refused(Exception):
    """The pickle asks for something that is not on the list."""


class _Shell:
    """Stands in for a scikit-learn object: attributes without methods."""

    def __init__(self, *_: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


def _empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    # Every pickled array starts as one of shape (0,); any other shape is a way to claim memory.
    if kind is not _NDARRAY or shape != (0,) or code not in (b"b", "b"):
        raise _Refused("an array that does not start empty")
    return np.ndarray((0,), dtype="b")


def _dtype(code: Any, *rest: Any) -> np.dtype[Any]:
    if not isinstance(code, str) or len(code) > 16 or len(rest) > 2:
        raise _Refused("a dtype other than a plain one")
    return np.dtype(code, *rest)


def _scalar(dtype: Any, value: Any = None) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(value, bytes):
        raise _Refused("a scalar that is not a number or text")
    return np.frombuffer(value, dtype=dtype, count=1)[0]


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise _Refused("a codec other than latin1")
    return text.encode("latin1")


_NUMPY: dict[str, dict[str, Any]] = {
    "multiarray": {"_reconstruct": _empty_array, "scalar": _scalar},
    "numeric": {"_frombuffer": _frombuffer},
}
#: What the rest of the names become.
_BUILDERS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.{module}", name): builder
        for core in ("core", "_core")
        for module, names in _NUMPY.items()
        for name, builder in names.items()
    },
}


class _Reader(pickle.Unpickler):
    """Knows the names above and no other."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return what a name of the pickle stands for.

        Raises
        ------
        _Refused
            If it is not on the list.
        """
        if (module, name) in _BUILDERS:
            return _BUILDERS[module, name]
        if name in _SHELLS.get(module, ()):
            # A class of its own: what a pickle does to one shell does not reach the next file's.
            return type(name, (_Shell,), {})
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to outside the file."""
        raise _Refused(f"the outside object {pid!r}")


def _read(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise AidaError(f"{path}: {size} bytes; a CellTypist classifier is not that large.")
        content = path.read_bytes()
    except OSError as error:
        raise AidaError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        return _Reader(io.BytesIO(content)).load()
    except _Refused as error:
        raise AidaError(
            f"{path}: refused. Its pickle asks for {error}, which no CellTypist classifier needs. It may be made to "
            "run a program on your machine: do not open it with other tools either unless you trust its source."
        ) from error
    except Exception as error:
        # A damaged or hostile pickle may raise anything at all here.
        raise AidaError(f"{path}: not a readable pickle ({type(error).__name__}: {error}).") from error


def _array(state: dict[str, Any], name: str, path: Path, dtype: type = np.float64) -> Any:
    """Take one array of an object, as plain numbers or text."""
    array = state.get(name)
    if not isinstance(array, np.ndarray) or array.ndim > 2:
        raise AidaError(
            f"{path}: the classifier has no '{name}', so it is not a CellTypist classifier of a version known here."
        )
    if dtype is str:
        if not all(isinstance(v, str) for v in array.ravel()):
            raise AidaError(f"{path}: '{name}' is not text.")
        return array.astype(str)
    if array.dtype.kind not in "fiu":
        raise AidaError(f"{path}: '{name}' is not numbers.")
    return array.astype(np.float64)


def read_celltypist(path: Path, name: str) -> LinearClassifier:
    """Read a classifier that CellTypist pickled.

    Parameters
    ----------
    path
        The `.pkl` file.
    name
        What the classifier is called here.

    Returns
    -------
    The same classifier; two classes, which scikit-learn keeps as one row of weights, become two rows.

    Raises
    ------
    AidaError
        If the pickle asks for anything but arrays and scikit-learn's linear classifiers, or is no such classifier.
    """
    content = _read(path)
    parts = [content.get(key) if isinstance(content, dict) else None for key in ("Model", "Scaler_")]
    if not all(isinstance(part, _Shell) for part in parts):
        raise AidaError(f"{path}: not a CellTypist classifier (a dictionary of 'Model', 'Scaler_' and 'description').")
    classifier, scaler = (part.state for part in parts if part is not None)
    coef = np.atleast_2d(_array(classifier, "coef_", path))
    intercept = np.atleast_1d(_array(classifier, "intercept_", path))
    genes = _array(classifier, "features", path, str)
    if coef.shape[0] == 1:
        coef, intercept = np.vstack([-coef, coef]), np.concatenate([-intercept, intercept])
    mean = _array(scaler, "mean_", path) if scaler.get("with_mean", True) else np.zeros(len(genes))
    description = content.get("description")
    described = description if isinstance(description, dict) else {}
    about = {
        "origin": "converted from a CellTypist pickle",
        "file": path.name,
        "sha256": sha256(path),
        **{str(k): str(v) for k, v in described.items() if isinstance(v, str | int | float)},
    }
    return LinearClassifier(
        name=name, genes=genes, classes=_array(classifier, "classes_", path, str), coef=coef, intercept=intercept,
        mean=mean, scale=_array(scaler, "scale_", path), about=about,
    )  # fmt: skip
